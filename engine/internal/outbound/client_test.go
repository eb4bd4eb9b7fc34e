package outbound_test

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/callbackd/callbackd/engine/internal/outbound"
)

// newClient is a client that may talk to this test's servers.
func newClient(t *testing.T, o outbound.Options) *http.Client {
	t.Helper()
	o.AllowPrivate = true
	client := outbound.NewClient(o)
	t.Cleanup(client.CloseIdleConnections)
	return client
}

// newServer makes a server, has start configure and start it, and hides what it logs
// of bad handshakes.
func newServer(t *testing.T, handler http.HandlerFunc, start func(*httptest.Server)) *httptest.Server {
	t.Helper()
	srv := httptest.NewUnstartedServer(handler)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	start(srv)
	t.Cleanup(srv.Close)
	return srv
}

// trust makes client accept the certificate of srv.
func trust(client *http.Client, srv *httptest.Server) {
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: pool}
}

func portOf(t *testing.T, addr net.Addr) string {
	t.Helper()
	_, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func needIPv6(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skipf("no IPv6 here: %v", err)
	}
	l.Close()
}

func get(t *testing.T, client *http.Client, url string) (*http.Response, string) {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func TestClient(t *testing.T) {
	t.Parallel()

	t.Run("ReachesPrivateNamesWhenAllowed", func(t *testing.T) {
		t.Parallel()
		srv := newServer(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Host) }, (*httptest.Server).Start)
		client := newClient(t, outbound.Options{Resolver: fakeResolver(func() []netip.Addr {
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}
		})})
		host := "receiver.test:" + portOf(t, srv.Listener.Addr())
		if _, body := get(t, client, "http://"+host); body != host {
			t.Errorf("the server saw host %q, want %q", body, host)
		}
	})

	t.Run("FollowsNoRedirect", func(t *testing.T) {
		t.Parallel()
		srv := newServer(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/" {
				t.Errorf("the redirect to %s was followed", r.URL)
			}
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, (*httptest.Server).Start)
		resp, _ := get(t, newClient(t, outbound.Options{}), srv.URL)
		if resp.StatusCode != http.StatusTemporaryRedirect {
			t.Errorf("status %d, want 307", resp.StatusCode)
		}
	})

	t.Run("UsesNoProxy", func(t *testing.T) {
		t.Parallel()
		if newClient(t, outbound.Options{}).Transport.(*http.Transport).Proxy != nil {
			t.Error("the transport has a proxy function, so the environment can set one")
		}
	})

	t.Run("SpeaksHTTP2", func(t *testing.T) {
		t.Parallel()
		srv := newServer(t, func(http.ResponseWriter, *http.Request) {}, func(srv *httptest.Server) {
			srv.EnableHTTP2 = true
			srv.StartTLS()
		})
		client := newClient(t, outbound.Options{})
		trust(client, srv)
		if resp, _ := get(t, client, srv.URL); resp.ProtoMajor != 2 {
			t.Errorf("answered with %s, want HTTP/2", resp.Proto)
		}
	})

	t.Run("KeepsTheConnectionsOfAFanOut", func(t *testing.T) {
		t.Parallel()
		const parallel = 16
		var opened atomic.Int32
		var arrived sync.WaitGroup
		srv := newServer(t, func(http.ResponseWriter, *http.Request) {
			arrived.Done()
			arrived.Wait() // all at once, so that each needs a connection
		}, func(srv *httptest.Server) {
			srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
				if s == http.StateNew {
					opened.Add(1)
				}
			}
			srv.Start()
		})
		client := newClient(t, outbound.Options{})
		for range 3 {
			arrived.Add(parallel)
			var done sync.WaitGroup
			for range parallel {
				done.Go(func() {
					resp, err := client.Get(srv.URL)
					if err != nil {
						t.Error(err)
						return
					}
					resp.Body.Close()
				})
			}
			done.Wait()
		}
		if n := opened.Load(); n != parallel {
			t.Errorf("%d connections for %d requests at a time", n, parallel)
		}
	})

	t.Run("RefusesHugeHeaders", func(t *testing.T) {
		t.Parallel()
		srv := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Huge", strings.Repeat("x", 128<<10))
		}, (*httptest.Server).Start)
		resp, err := newClient(t, outbound.Options{}).Get(srv.URL)
		if err == nil {
			resp.Body.Close()
			t.Error("an answer with a header of 128 KiB was read")
		}
	})
}

func TestClientAsksForGzip(t *testing.T) {
	t.Parallel()
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	io.WriteString(zip, "hello")
	zip.Close()
	srv := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Accept-Encoding"); got != "gzip" {
			t.Errorf("Accept-Encoding: %q", got)
		}
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(packed.Bytes())
	}, (*httptest.Server).Start)
	if _, body := get(t, newClient(t, outbound.Options{}), srv.URL); body != "hello" {
		t.Errorf("body %q", body)
	}
}
