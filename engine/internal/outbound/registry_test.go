package outbound_test

import (
	"net/netip"
	"testing"

	"github.com/callbackd/callbackd/engine/internal/outbound"
)

// specialPurpose are the IANA registries of special-purpose addresses (RFC 6890, as of
// 2025), and what is not in them but no host either: multicast (RFC 5771, RFC 4291), the
// forms of IPv6 that carry an IPv4 address (RFC 4291, RFC 2765, RFC 4380), site-local
// addresses (RFC 3879), and all that no registry has given to anybody.
var specialPurpose = []string{
	// iana-ipv4-special-registry
	"0.0.0.0/8", "0.0.0.0/32", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
	"192.0.0.0/24", "192.0.0.0/29", "192.0.0.8/32", "192.0.0.9/32", "192.0.0.10/32", "192.0.0.170/32", "192.0.0.171/32",
	"192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
	"198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4", "255.255.255.255/32",
	// beside it
	"224.0.0.0/4", "168.63.129.16/32",
	// iana-ipv6-special-registry
	"::1/128", "::/128", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64",
	"2001::/23", "2001::/32", "2001:1::1/128", "2001:1::2/128", "2001:1::3/128", "2001:2::/48", "2001:3::/32", "2001:4:112::/48",
	"2001:10::/28", "2001:20::/28", "2001:30::/28", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20",
	"5f00::/16", "fc00::/7", "fe80::/10",
	// beside it
	"::/96", "::ffff:0:0:0/96", "fec0::/10", "ff00::/8", "::/3", "4000::/2", "8000::/1",
}

// borders are addresses just outside of a range that lie in no other one.
var borders = []string{
	"1.0.0.0", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0", "169.253.255.255", "169.255.0.0",
	"172.15.255.255", "172.32.0.0", "191.255.255.255", "192.0.1.0", "192.0.1.255", "192.0.3.0", "192.31.195.255", "192.31.197.0", "192.52.192.255", "192.52.194.0",
	"192.88.98.255", "192.88.100.0", "192.167.255.255", "192.169.0.0", "192.175.47.255", "192.175.49.0", "198.17.255.255", "198.20.0.0",
	"198.51.99.255", "198.51.101.0", "203.0.112.255", "203.0.114.0", "223.255.255.255", "168.63.129.15", "168.63.129.17",
	"2000::", "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:200::", "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::",
	"2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2003::", "2620:4f:7fff:ffff:ffff:ffff:ffff:ffff", "2620:4f:8001::",
	"3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff:1000::", "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
}

func TestBlocked_Registries(t *testing.T) {
	t.Parallel()

	known := make(map[netip.Addr]bool) // borders that a range has
	ranges := make([]netip.Prefix, len(specialPurpose))
	for i, text := range specialPurpose {
		ranges[i] = netip.MustParsePrefix(text)
	}
	special := func(a netip.Addr) bool {
		for _, r := range ranges {
			if r.Contains(a) {
				return true
			}
		}
		return false
	}
	for _, text := range borders {
		a := netip.MustParseAddr(text)
		if known[a] = true; outbound.Blocked(a) {
			t.Errorf("%v lies outside of every special range, and is blocked", a)
		}
	}
	for _, r := range ranges {
		first, last := r.Addr(), lastOf(r)
		for _, a := range []netip.Addr{first, last, first.Next(), last.Prev()} {
			if r.Contains(a) && !outbound.Blocked(a) {
				t.Errorf("%v, of %v, is not blocked", a, r)
			}
		}
		for _, a := range []netip.Addr{first.Prev(), last.Next()} {
			switch {
			case !a.IsValid() || special(a):
			case !known[a]:
				t.Errorf("the neighbour %v of %v is missing in borders", a, r)
			}
		}
	}
}

// However an IPv4 address is written in IPv6, it is blocked if it is so by itself: there is
// no way to a private host through a tunnel or a translator.
func TestBlocked_FormsOfIPv4(t *testing.T) {
	t.Parallel()

	for _, text := range []string{"127.0.0.1", "10.0.0.1", "169.254.169.254", "192.168.1.1", "172.16.0.1", "100.64.0.1", "0.0.0.0", "255.255.255.255"} {
		v4 := netip.MustParseAddr(text).As4()
		form := func(prefix string, at int, flip byte) netip.Addr {
			b := netip.MustParseAddr(prefix).As16()
			for i, c := range v4 {
				b[at+i] = c ^ flip
			}
			return netip.AddrFrom16(b)
		}
		for name, a := range map[string]netip.Addr{
			"IPv4":                  netip.AddrFrom4(v4),
			"mapped":                form("::ffff:0:0", 12, 0),
			"compatible":            form("::", 12, 0),
			"translated":            form("::ffff:0:0:0", 12, 0),
			"NAT64":                 form("64:ff9b::", 12, 0),
			"local NAT64 /96":       form("64:ff9b:1::", 12, 0),
			"local NAT64 /48":       form("64:ff9b:1::", 6, 0),
			"6to4":                  form("2002::", 2, 0),
			"Teredo server":         form("2001::", 4, 0),
			"Teredo client":         form("2001::", 12, 0xff),
			"mapped, with a zone":   form("::ffff:0:0", 12, 0).WithZone("eth0"),
			"6to4 with a zone":      form("2002::", 2, 0).WithZone("1"),
			"ISATAP on link-local":  form("fe80::5efe:0:0", 12, 0),
			"interface of Teredo's": form("2001:0:ffff::", 12, 0xff),
		} {
			if !outbound.Blocked(a) {
				t.Errorf("%s as %s (%v) is not blocked", text, name, a)
			}
		}
	}
}

// lastOf is a range's last address.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b) // 4 or 16 bytes
	return a
}
