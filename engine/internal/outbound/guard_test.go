package outbound_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/callbackd/callbackd/engine/internal/outbound"
)

func TestBlocked(t *testing.T) {
	t.Parallel()

	for _, tt := range []struct {
		name    string
		blocked bool
		addrs   string
	}{
		// RFC 6890, section 2.2.2, and its updates: the first and the last of each.
		{"ThisNetwork", true, "0.0.0.0 0.255.255.255"},
		{"Private10", true, "10.0.0.0 10.255.255.255"},
		{"Shared", true, "100.64.0.0 100.100.100.200 100.127.255.255"},
		{"Loopback", true, "127.0.0.0 127.0.0.1 127.255.255.255"},
		{"LinkLocal", true, "169.254.0.0 169.254.169.254 169.254.255.255"},
		{"Private172", true, "172.16.0.0 172.31.255.255"},
		{"ProtocolAssignments", true, "192.0.0.0 192.0.0.192 192.0.0.255"},
		{"Documentation", true, "192.0.2.0 192.0.2.255 198.51.100.0 198.51.100.255 203.0.113.0 203.0.113.255"},
		{"Relay6to4", true, "192.88.99.0 192.88.99.255"},
		{"Private192", true, "192.168.0.0 192.168.255.255"},
		{"Benchmarking", true, "198.18.0.0 198.19.255.255"},
		{"Multicast", true, "224.0.0.0 239.255.255.255"},
		{"Reserved", true, "240.0.0.0 255.255.255.254"},
		{"Broadcast", true, "255.255.255.255"},
		{"AzureHostAgent", true, "168.63.129.16"},
		// RFC 6890, section 2.2.3, and its updates.
		{"Unspecified6", true, "::"},
		{"Loopback6", true, "::1"},
		{"Mapped", true, "::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:8.8.8.8"},
		{"Compatible", true, "::127.0.0.1 ::8.8.8.8"},
		{"Translated", true, "::ffff:0:127.0.0.1"},
		{"NAT64", true, "64:ff9b::127.0.0.1 64:ff9b::8.8.8.8 64:ff9b:1:: 64:ff9b:1:ffff:ffff:ffff:10.0.0.1"},
		{"DiscardOnly", true, "100:: 100::ffff:ffff:ffff:ffff 100:0:0:1::"},
		{"Teredo", true, "2001:: 2001:0:ffff:ffff:ffff:ffff:ffff:ffff"},
		{"ProtocolAssignments6", true, "2001:1::1 2001:2:: 2001:10:: 2001:20:: 2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff"},
		{"Documentation6", true, "2001:db8:: 2001:db8:ffff:ffff:ffff:ffff:ffff:ffff 3fff:: 3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"},
		{"Carrier6to4", true, "2002:: 2002:7f00:1:: 2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
		{"SegmentRouting", true, "5f00::"},
		{"UniqueLocal", true, "fc00:: fd00:ec2::254 fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
		{"LinkLocal6", true, "fe80:: fe80::1 febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
		{"SiteLocal", true, "fec0:: feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
		{"Multicast6", true, "ff00:: ff02::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
		{"Zone", true, "::1%lo fe80::1%eth0 2001:db8::1%eth0"},

		{"Public", false, "1.1.1.1 8.8.8.8 93.184.215.14"},
		{"Neighbours", false, "1.0.0.0 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 " +
			"168.63.129.15 168.63.129.17 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 191.255.255.255 192.0.1.0 " +
			"192.0.3.0 192.88.98.255 192.88.100.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 " +
			"198.51.99.255 198.51.101.0 203.0.112.255 203.0.114.0 223.255.255.255"},
		{"Public6", false, "2606:4700:4700::1111 2001:4860:4860::8888 2a00:1450:4001::1 2606:4700::1%eth0"},
		{"Neighbours6", false, "2000:: 2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff 2001:200:: " +
			"2001:db7:ffff:ffff:ffff:ffff:ffff:ffff 2001:db9:: 2003:: 3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff 3fff:1000::"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for addr := range strings.FieldsSeq(tt.addrs) {
				if got := outbound.Blocked(netip.MustParseAddr(addr)); got != tt.blocked {
					t.Errorf("Blocked(%s) = %v, want %v", addr, got, tt.blocked)
				}
			}
		})
	}

	t.Run("NoAddress", func(t *testing.T) {
		t.Parallel()
		if !outbound.Blocked(netip.Addr{}) {
			t.Error("the zero Addr is not blocked")
		}
	})
}

func TestClientRefusesBlockedAddresses(t *testing.T) {
	t.Parallel()

	reached := func(http.ResponseWriter, *http.Request) { t.Error("the server was reached") }
	srv := httptest.NewServer(http.HandlerFunc(reached))
	t.Cleanup(srv.Close)
	port := portOf(t, srv.Listener.Addr())

	for _, host := range []string{"127.0.0.1", "[::ffff:127.0.0.1]", "0.0.0.0", "[::1]", "[::1%25lo]", "[::]"} {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			if strings.HasPrefix(host, "[::1") || host == "[::]" {
				needIPv6(t)
			}
			_, err := outbound.NewClient(outbound.Options{}).Get("http://" + host + ":" + port)
			if !errors.Is(err, outbound.ErrBlockedAddress) {
				t.Fatalf("Get = %v, want ErrBlockedAddress", err)
			}
			if !strings.Contains(err.Error(), "private networks must be allowed") {
				t.Errorf("%q does not say what to do", err)
			}
		})
	}
}

// A name that is public when it is looked at and private when it is connected to, is
// refused: what counts is the address of the connection.
func TestClientRefusesARebindingName(t *testing.T) {
	t.Parallel()

	reached := func(http.ResponseWriter, *http.Request) { t.Error("the server was reached") }
	srv := httptest.NewServer(http.HandlerFunc(reached))
	t.Cleanup(srv.Close)

	answers := make(chan netip.Addr, 2)
	answers <- netip.MustParseAddr("8.8.8.8")
	answers <- netip.MustParseAddr("127.0.0.1")
	resolver := fakeResolver(func() []netip.Addr { return []netip.Addr{<-answers} })

	looked, err := resolver.LookupNetIP(t.Context(), "ip4", "rebind.test")
	if err != nil {
		t.Fatal(err)
	}
	if len(looked) != 1 || outbound.Blocked(looked[0].Unmap()) {
		t.Fatalf("rebind.test is %v at first, want one public address", looked)
	}
	_, err = outbound.NewClient(outbound.Options{Resolver: resolver}).Get("http://rebind.test:" + portOf(t, srv.Listener.Addr()))
	if !errors.Is(err, outbound.ErrBlockedAddress) {
		t.Errorf("Get = %v, want ErrBlockedAddress", err)
	}
}
