package outbound_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/callbackd/callbackd/engine/internal/outbound"
)

// listen answers each connection to the URL that it returns with serve, which is not
// to close it.
func listen(t *testing.T, scheme string, serve func(*net.TCPConn)) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serve(conn.(*net.TCPConn))
			conn.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return scheme + "://" + l.Addr().String()
}

// readRequest empties conn, since closing one with unread data resets it.
func readRequest(conn net.Conn) {
	if req, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
		io.Copy(io.Discard, req.Body)
	}
}

// Every reason comes from a real failure of that kind.
func TestClassify(t *testing.T) {
	t.Parallel()

	// classify makes one request with client and says why it failed.
	classify := func(ctx context.Context, t *testing.T, client *http.Client, url, want string) {
		t.Helper()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		if got := outbound.Classify(fmt.Errorf("deliver: %w", err)); err == nil || got != want {
			t.Errorf("Classify(%v) = %q, want %q", err, got, want)
		}
	}

	t.Run("NoError", func(t *testing.T) {
		t.Parallel()
		if got := outbound.Classify(nil); got != "" {
			t.Errorf("Classify(nil) = %q", got)
		}
	})

	t.Run("BlockedAddress", func(t *testing.T) {
		t.Parallel()
		classify(t.Context(), t, outbound.NewClient(outbound.Options{}), "http://127.0.0.1:1", "blocked_address")
	})

	t.Run("NoSuchName", func(t *testing.T) {
		t.Parallel()
		client := newClient(t, outbound.Options{Resolver: fakeResolver(func() []netip.Addr { return nil })})
		classify(t.Context(), t, client, "http://missing.test", "dns")
	})

	t.Run("NoNameServer", func(t *testing.T) {
		t.Parallel()
		client := newClient(t, outbound.Options{Resolver: &net.Resolver{
			PreferGo: true,
			Dial: func(context.Context, string, string) (net.Conn, error) {
				return nil, &net.OpError{Op: "dial", Net: "udp", Err: syscall.ECONNREFUSED}
			},
		}})
		classify(t.Context(), t, client, "http://receiver.test", "dns")
	})

	t.Run("ConnectionRefused", func(t *testing.T) {
		t.Parallel()
		// The port of a connection's near end is taken, and yet nothing listens there.
		accepted := make(chan struct{})
		url := listen(t, "http", func(*net.TCPConn) { <-accepted })
		conn, err := net.Dial("tcp", url[len("http://"):])
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		defer close(accepted)
		classify(t.Context(), t, newClient(t, outbound.Options{}), "http://"+conn.LocalAddr().String(), "connection_refused")
	})

	t.Run("ConnectionReset", func(t *testing.T) {
		t.Parallel()
		url := listen(t, "http", func(conn *net.TCPConn) {
			readRequest(conn)
			conn.SetLinger(0)
		})
		classify(t.Context(), t, newClient(t, outbound.Options{}), url, "connection_reset")
	})

	t.Run("ClosedBeforeTheAnswer", func(t *testing.T) {
		t.Parallel()
		url := listen(t, "http", func(conn *net.TCPConn) { readRequest(conn) })
		classify(t.Context(), t, newClient(t, outbound.Options{}), url, "connection_reset")
	})

	t.Run("ClosedWithinTheAnswer", func(t *testing.T) {
		t.Parallel()
		url := listen(t, "http", func(conn *net.TCPConn) {
			readRequest(conn)
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
		})
		classify(t.Context(), t, newClient(t, outbound.Options{}), url, "connection_reset")
	})

	t.Run("ClosedWithinTheTLSHandshake", func(t *testing.T) {
		t.Parallel()
		url := listen(t, "https", func(conn *net.TCPConn) { conn.SetLinger(0) })
		classify(t.Context(), t, newClient(t, outbound.Options{}), url, "connection_reset")
	})

	t.Run("SelfSignedCertificate", func(t *testing.T) {
		t.Parallel()
		srv := newServer(t, nil, (*httptest.Server).StartTLS)
		classify(t.Context(), t, newClient(t, outbound.Options{}), srv.URL, "tls")
	})

	t.Run("CertificateOfAnotherName", func(t *testing.T) {
		t.Parallel()
		srv := newServer(t, nil, (*httptest.Server).StartTLS)
		client := newClient(t, outbound.Options{Resolver: fakeResolver(func() []netip.Addr {
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}
		})})
		trust(client, srv)
		classify(t.Context(), t, client, "https://receiver.test:"+portOf(t, srv.Listener.Addr()), "tls")
	})

	t.Run("TLSVersionRefused", func(t *testing.T) {
		t.Parallel()
		srv := newServer(t, nil, func(srv *httptest.Server) {
			srv.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
			srv.StartTLS()
		})
		client := newClient(t, outbound.Options{})
		trust(client, srv)
		client.Transport.(*http.Transport).TLSClientConfig.MaxVersion = tls.VersionTLS12
		classify(t.Context(), t, client, srv.URL, "tls")
	})

	t.Run("ClientCertificateRequired", func(t *testing.T) {
		t.Parallel()
		srv := newServer(t, nil, func(srv *httptest.Server) {
			srv.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12}
			srv.StartTLS()
		})
		client := newClient(t, outbound.Options{})
		trust(client, srv)
		classify(t.Context(), t, client, srv.URL, "tls")
	})

	t.Run("HTTPInsteadOfTLS", func(t *testing.T) {
		t.Parallel()
		srv := newServer(t, nil, (*httptest.Server).Start)
		classify(t.Context(), t, newClient(t, outbound.Options{}), "https://"+srv.Listener.Addr().String(), "tls")
	})

	t.Run("SomethingElseInsteadOfTLS", func(t *testing.T) {
		t.Parallel()
		url := listen(t, "https", func(conn *net.TCPConn) {
			io.WriteString(conn, "SSH-2.0-server\r\n")
			io.Copy(io.Discard, conn)
		})
		classify(t.Context(), t, newClient(t, outbound.Options{}), url, "tls")
	})

	t.Run("NoAnswerInTime", func(t *testing.T) {
		t.Parallel()
		srv := newServer(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, (*httptest.Server).Start)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		classify(ctx, t, newClient(t, outbound.Options{}), srv.URL, "timeout")
	})

	t.Run("HalfAnAnswerInTime", func(t *testing.T) {
		t.Parallel()
		srv := newServer(t, func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, (*httptest.Server).Start)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		classify(ctx, t, newClient(t, outbound.Options{}), srv.URL, "timeout")
	})

	t.Run("NoTLSHandshakeInTime", func(t *testing.T) {
		t.Parallel()
		url := listen(t, "https", func(conn *net.TCPConn) { io.Copy(io.Discard, conn) })
		client := newClient(t, outbound.Options{})
		client.Transport.(*http.Transport).TLSHandshakeTimeout = time.Millisecond
		classify(t.Context(), t, client, url, "timeout")
	})

	t.Run("ConnectionTimedOutInTheKernel", func(t *testing.T) {
		t.Parallel()
		// Takes a quarter of an hour to happen, so this one is made by hand.
		err := fmt.Errorf("transport connection broken: %w", &net.OpError{Op: "read", Net: "tcp", Err: syscall.ETIMEDOUT})
		if got := outbound.Classify(err); got != "timeout" {
			t.Errorf("Classify(%v) = %q, want timeout", err, got)
		}
	})

	t.Run("NotHTTP", func(t *testing.T) {
		t.Parallel()
		url := listen(t, "http", func(conn *net.TCPConn) {
			readRequest(conn)
			io.WriteString(conn, "220 mail ready\r\n\r\n")
		})
		classify(t.Context(), t, newClient(t, outbound.Options{}), url, "network")
	})

	t.Run("NoRoute", func(t *testing.T) {
		t.Parallel()
		err := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.EHOSTUNREACH}
		if got := outbound.Classify(err); got != "network" {
			t.Errorf("Classify(%v) = %q, want network", err, got)
		}
	})

	t.Run("Cancelled", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("shutting down"))
		classify(ctx, t, newClient(t, outbound.Options{}), "http://127.0.0.1:1", "network")
	})
}
