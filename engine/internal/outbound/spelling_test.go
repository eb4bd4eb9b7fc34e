package outbound_test

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"testing"

	"github.com/callbackd/callbackd/engine/internal/outbound"
)

// roundTrippers are both ways out, which look names up with resolver.
func roundTrippers(t *testing.T, allowPrivate bool, resolver *net.Resolver) map[string]http.RoundTripper {
	deliveries := outbound.NewTransport(allowPrivate, nil)
	deliveries.Resolve(resolver)
	t.Cleanup(deliveries.Close)
	polls := outbound.NewClient(outbound.Options{AllowPrivate: allowPrivate, Resolver: resolver})
	t.Cleanup(polls.CloseIdleConnections)
	return map[string]http.RoundTripper{"Deliveries": deliveries, "Polls": polls.Transport}
}

// countConnections counts what connects to it on loopback.
func countConnections(t *testing.T) (port string, connected func() int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	count := make(chan int, 1)
	count <- 0
	done := make(chan struct{})
	go func() { // ends with the listener
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Close()
			count <- <-count + 1
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return portOf(t, l.Addr()), func() int {
		l.Close()
		<-done
		n := <-count
		count <- n
		return n
	}
}

// However loopback is spelled, nothing connects to it: a resolver that takes a spelling for
// an address finds that address, and the address is what counts.
func TestOddSpellingsOfLoopback(t *testing.T) {
	t.Parallel()

	for name, way := range roundTrippers(t, false, fakeResolver(func() []netip.Addr { return []netip.Addr{netip.MustParseAddr("127.0.0.1")} })) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			port, connected := countConnections(t)
			for _, host := range []string{
				"127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0X7F.1", "0177.0.0.1", "017700000001", "127.0.0.1.", "127.1.", "0", "0.0.0.0",
				"localhost", "LOCALHOST", "localhost.", "localhost.localdomain", "a.localhost", "metadata.google.internal", "127.0.0.1.nip.io",
				"\uff11\uff12\uff17.\uff10.\uff10.\uff11", "127\u30020\u30020\u30021", "\u2460\u2461\u2466.0.0.1", "\uff4c\uff4f\uff43\uff41\uff4c\uff48\uff4f\uff53\uff54",
				"[::1]", "[0:0:0:0:0:0:0:1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]",
				"[2001:0:0:0:0:0:80ff:fffe]", "[::1%25lo]", "[::ffff:127.0.0.1%25lo]", "[fe80::1%25lo]", "[::1%251]",
			} {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+host+":"+port+"/", nil)
				if err != nil {
					continue // not even a URL
				}
				resp, err := way.RoundTrip(req)
				if err == nil {
					resp.Body.Close()
					t.Errorf("%s was reached", host)
				} else if code := outbound.Classify(err); code != outbound.FailureBlockedAddress && code != outbound.FailureDNS && host[0] != '[' {
					t.Errorf("%s: %v (%s), want ErrBlockedAddress, or no such name", host, err, code)
				}
			}
			if n := connected(); n > 0 {
				t.Errorf("there were %d connections", n)
			}
		})
	}
}

// A name with a public and a private address leads to neither of the private ones: each
// address is checked, also those that are tried after the first failed.
func TestEveryAddressOfANameIsChecked(t *testing.T) {
	t.Parallel()

	private := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("127.0.0.2")}
	for name, way := range roundTrippers(t, false, fakeResolver(func() []netip.Addr { return private })) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			port, connected := countConnections(t)
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://many.test:"+port, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := way.RoundTrip(req)
			if err == nil {
				resp.Body.Close()
			}
			if !errors.Is(err, outbound.ErrBlockedAddress) {
				t.Errorf("%v, want ErrBlockedAddress", err)
			}
			if outbound.Classify(err) != outbound.FailureBlockedAddress {
				t.Errorf("it is classified as %s", outbound.Classify(err))
			}
			if n := connected(); n > 0 {
				t.Errorf("there were %d connections", n)
			}
		})
	}
}

// A name that changes its address between two lookups, from a public one to a private one,
// is refused at the second connection as at the first.
func TestRebindingNames(t *testing.T) {
	t.Parallel()

	for name := range roundTrippers(t, false, nil) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			port, connected := countConnections(t)
			answers := make(chan netip.Addr, 3)
			for _, a := range []string{"8.8.8.8", "127.0.0.1", "169.254.169.254"} {
				answers <- netip.MustParseAddr(a)
			}
			resolver := fakeResolver(func() []netip.Addr { return []netip.Addr{<-answers} })
			looked, err := resolver.LookupNetIP(t.Context(), "ip4", "rebind.test")
			if err != nil || len(looked) != 1 || outbound.Blocked(looked[0].Unmap()) {
				t.Fatalf("rebind.test is %v (%v) at first, want one public address", looked, err)
			}
			way := roundTrippers(t, false, resolver)[name]
			for range 2 {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://rebind.test:"+port, nil)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := way.RoundTrip(req)
				if err == nil {
					resp.Body.Close()
				}
				if !errors.Is(err, outbound.ErrBlockedAddress) {
					t.Errorf("%v, want ErrBlockedAddress", err)
				}
			}
			if n := connected(); n > 0 {
				t.Errorf("there were %d connections", n)
			}
		})
	}
}
