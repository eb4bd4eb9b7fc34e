package outbound

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
)

// ErrBlockedAddress is what a refusal to connect wraps, for [errors.Is].
var ErrBlockedAddress = errors.New("address is not public")

// blocked lists what is not a host of the public internet: RFC 6890 and the IANA
// registries of special-purpose addresses that grew from it. For IPv6 it needs only
// what lies within [global6].
var blocked = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),         // this network; 0.0.0.0 connects to this host
	netip.MustParsePrefix("10.0.0.0/8"),        // private
	netip.MustParsePrefix("100.64.0.0/10"),     // shared, behind a carrier's NAT
	netip.MustParsePrefix("127.0.0.0/8"),       // loopback
	netip.MustParsePrefix("168.63.129.16/32"),  // Azure's host agent, which every machine there can reach
	netip.MustParsePrefix("169.254.0.0/16"),    // link-local, and the metadata service of most clouds
	netip.MustParsePrefix("172.16.0.0/12"),     // private
	netip.MustParsePrefix("192.0.0.0/24"),      // IETF protocol assignments
	netip.MustParsePrefix("192.0.2.0/24"),      // documentation
	netip.MustParsePrefix("192.31.196.0/24"),   // AS112, which networks answer themselves
	netip.MustParsePrefix("192.52.193.0/24"),   // multicast relays
	netip.MustParsePrefix("192.88.99.0/24"),    // 6to4 relays, abandoned
	netip.MustParsePrefix("192.168.0.0/16"),    // private
	netip.MustParsePrefix("192.175.48.0/24"),   // AS112
	netip.MustParsePrefix("198.18.0.0/15"),     // benchmarking
	netip.MustParsePrefix("198.51.100.0/24"),   // documentation
	netip.MustParsePrefix("203.0.113.0/24"),    // documentation
	netip.MustParsePrefix("224.0.0.0/4"),       // multicast
	netip.MustParsePrefix("240.0.0.0/4"),       // reserved, and 255.255.255.255, broadcast
	netip.MustParsePrefix("2001::/23"),         // IETF protocol assignments: Teredo, benchmarking, ORCHID
	netip.MustParsePrefix("2001:db8::/32"),     // documentation
	netip.MustParsePrefix("2002::/16"),         // 6to4, which carries any IPv4 address
	netip.MustParsePrefix("2620:4f:8000::/48"), // AS112
	netip.MustParsePrefix("3fff::/20"),         // documentation
}

// global6 is the only IPv6 space that hosts of the public internet have. Outside are
// loopback, unspecified, unique local, link-local, site-local, multicast and
// discard-only addresses, and the forms that carry an IPv4 address: mapped, compatible
// and NAT64.
var global6 = netip.MustParsePrefix("2000::/3")

// Blocked tells whether a is not an address of the public internet, and so must not be
// reached on a stranger's word. Anything that is not known to be public is blocked: an
// IPv4 address in an IPv6 form, whatever it is, and the zero Addr. A zone changes
// nothing.
func Blocked(a netip.Addr) bool {
	a = a.WithZone("") // a prefix contains no address with a zone
	if !a.Is4() && !global6.Contains(a) {
		return true
	}
	for _, p := range blocked {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// refuseBlocked is a [net.Dialer]'s Control: it runs after the name was resolved, for
// each address, before a packet is sent.
func refuseBlocked(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("read the address to connect to: %w", err)
	}
	if Blocked(ap.Addr()) {
		return fmt.Errorf("%w: %v is private or reserved; to reach it, private networks must be allowed explicitly: --allow-private-networks (Options.AllowPrivateNetworks)", ErrBlockedAddress, ap.Addr())
	}
	return nil
}
