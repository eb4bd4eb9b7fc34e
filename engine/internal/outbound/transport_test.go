package outbound_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/callbackd/callbackd/engine/internal/outbound"
)

func newTransport(t *testing.T, roots *x509.CertPool) *outbound.Transport {
	t.Helper()
	tr := outbound.NewTransport(true, roots)
	t.Cleanup(tr.Close)
	return tr
}

// post sends a body and reads the answer to its end.
func post(ctx context.Context, tr *outbound.Transport, url string, body []byte) (*http.Response, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	req.Header.Set("X-Test", "value")
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp, string(text), err
}

// counted is a server with the number of its connections and requests.
type counted struct {
	*httptest.Server
	conns, requests atomic.Int64
}

func newCounted(t *testing.T, handler http.HandlerFunc) *counted {
	c := &counted{}
	c.Server = newServer(t, func(w http.ResponseWriter, r *http.Request) {
		c.requests.Add(1)
		handler(w, r)
	}, func(s *httptest.Server) {
		s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				c.conns.Add(1)
			}
		}
		s.Start()
	})
	return c
}

// script is a server that answers each connection by a function.
func script(t *testing.T, answer func(net.Conn, *bufio.Reader)) (url string, conns *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conns = new(atomic.Int64)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Add(1)
			wg.Go(func() {
				defer c.Close()
				answer(c, bufio.NewReader(c))
			})
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return "http://" + l.Addr().String(), conns
}

// heldConn keeps what is written back while it has somewhere to.
type heldConn struct {
	net.Conn
	held *bytes.Buffer
}

func (c *heldConn) Write(p []byte) (int, error) {
	if c.held != nil {
		return c.held.Write(p)
	}
	return c.Conn.Write(p)
}

func TestTransport(t *testing.T) {
	t.Parallel()

	t.Run("SendsWhatItIsGiven", func(t *testing.T) {
		t.Parallel()
		srv := newCounted(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			user, password, _ := r.BasicAuth()
			fmt.Fprintf(w, "%s %s %s %s %s:%s %d %v %s", r.Method, r.RequestURI, r.Host, r.Header.Get("X-Test"), user, password, r.ContentLength, r.TransferEncoding, body)
		})
		addr := srv.Listener.Addr().String()
		for _, size := range []int{0, 10, 64 << 10, 64<<10 + 1, 3 << 20} {
			body := bytes.Repeat([]byte("x"), size)
			resp, got, err := post(t.Context(), newTransport(t, nil), "http://me:pass%20word@"+addr+"/a%2Fb?c=d#e", body)
			want := fmt.Sprintf("POST /a%%2Fb?c=d %s value me:pass word %d [] %s", addr, size, body)
			if err != nil || resp.StatusCode != 200 || got != want {
				t.Errorf("%d bytes: %v, %.200q", size, err, got)
			}
		}
	})

	t.Run("KeepsAConnection", func(t *testing.T) {
		t.Parallel()
		srv, tr := newCounted(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, strings.Repeat("y", 10_000)) }), newTransport(t, nil)
		for range 5 {
			// The deadline of a request is not that of the connection.
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if _, _, err := post(ctx, tr, srv.URL, []byte("{}")); err != nil {
				t.Fatal(err)
			}
			cancel()
		}
		<-time.After(1100 * time.Millisecond)
		if _, _, err := post(t.Context(), tr, srv.URL, []byte("{}")); err != nil {
			t.Fatal(err)
		}
		if n := srv.conns.Load(); n != 1 {
			t.Errorf("%d connections for 6 requests", n)
		}
		tr.Close()
		if _, _, err := post(t.Context(), tr, srv.URL, []byte("{}")); err != nil {
			t.Fatal(err)
		}
		if n := srv.conns.Load(); n != 2 || tr.Idle() != 0 {
			t.Errorf("%d connections, %d kept after the end", n, tr.Idle())
		}
	})

	t.Run("KeepsNoneThatIsNotDone", func(t *testing.T) {
		t.Parallel()
		tr := newTransport(t, nil)
		srv := newCounted(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, strings.Repeat("y", 10_000)) })
		for range 3 { // the body is not read to its end
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL, http.NoBody)
			resp, err := tr.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.ReadFull(resp.Body, make([]byte, 10))
			resp.Body.Close()
		}
		closing := newCounted(t, func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Connection", "close") })
		for range 3 {
			if _, _, err := post(t.Context(), tr, closing.URL, nil); err != nil {
				t.Fatal(err)
			}
		}
		if a, b := srv.conns.Load(), closing.conns.Load(); a != 3 || b != 3 {
			t.Errorf("%d and %d connections for 3 requests each", a, b)
		}
	})

	// A server that breaks off has perhaps acted: it must not be asked again, however many
	// connections are kept.
	t.Run("SendsOnceWhateverBreaks", func(t *testing.T) {
		t.Parallel()
		var broken atomic.Int64
		var hold sync.WaitGroup
		hold.Add(20)
		srv := newCounted(t, func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/warm":
				hold.Done()
				hold.Wait()
			default:
				broken.Add(1)
				_, _ = io.Copy(io.Discard, r.Body)
				c, _, _ := http.NewResponseController(w).Hijack()
				if r.URL.Path == "/reset" {
					_ = c.(*net.TCPConn).SetLinger(0)
				}
				c.Close()
			}
		})
		tr := newTransport(t, nil)
		var warm sync.WaitGroup
		for range 20 {
			warm.Go(func() { _, _, _ = post(t.Context(), tr, srv.URL+"/warm", nil) })
		}
		warm.Wait()
		for i, path := range []string{"/reset", "/close"} {
			_, _, err := post(t.Context(), tr, srv.URL+path, []byte("{}"))
			if code := outbound.Classify(err); code != outbound.FailureConnectionReset || broken.Load() != int64(i+1) {
				t.Errorf("%s: %v (%s) after %d requests", path, err, code, broken.Load())
			}
		}
	})

	t.Run("TakesANewConnectionWhereTheServerHungUp", func(t *testing.T) {
		t.Parallel()
		closed := make(chan struct{})
		url, conns := script(t, func(c net.Conn, in *bufio.Reader) {
			req, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, req.Body)
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			c.Close()
			closed <- struct{}{}
		})
		tr := newTransport(t, nil)
		for i := range 3 {
			if _, got, err := post(t.Context(), tr, url, []byte("{}")); err != nil || got != "ok" {
				t.Fatalf("request %d: %q, %v", i, got, err)
			}
			<-closed
		}
		if n := conns.Load(); n != 3 {
			t.Errorf("%d connections", n)
		}
	})

	t.Run("RefusesPrivateAddresses", func(t *testing.T) {
		t.Parallel()
		srv := newCounted(t, func(http.ResponseWriter, *http.Request) {})
		_, _, err := post(t.Context(), outbound.NewTransport(false, nil), srv.URL, nil)
		if !errors.Is(err, outbound.ErrBlockedAddress) || srv.conns.Load() != 0 {
			t.Errorf("%v, %d connections", err, srv.conns.Load())
		}
	})

	t.Run("TheDeadlineIsForAll", func(t *testing.T) {
		t.Parallel()
		block := make(chan struct{})
		srv := newCounted(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/body" {
				fmt.Fprint(w, "some")
				_ = http.NewResponseController(w).Flush()
			}
			<-block
		})
		defer close(block)
		for _, path := range []string{"/head", "/body"} {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			_, _, err := post(ctx, newTransport(t, nil), srv.URL+path, nil)
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", path, err)
			}
		}
	})

	t.Run("ACancelledRequestEnds", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		block := make(chan struct{})
		srv := newCounted(t, func(http.ResponseWriter, *http.Request) { cancel(); <-block })
		defer close(block)
		if _, _, err := post(ctx, newTransport(t, nil), srv.URL, nil); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if _, _, err := post(ctx, newTransport(t, nil), srv.URL, nil); !errors.Is(err, context.Canceled) || srv.requests.Load() != 1 {
			t.Errorf("%v, %d requests", err, srv.requests.Load())
		}
	})

	t.Run("PassesOverInformationalAnswers", func(t *testing.T) {
		t.Parallel()
		srv := newCounted(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "</x>")
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusAccepted)
		})
		if resp, _, err := post(t.Context(), newTransport(t, nil), srv.URL, nil); err != nil || resp.StatusCode != http.StatusAccepted {
			t.Errorf("%v, %v", resp, err)
		}
		url, _ := script(t, func(c net.Conn, in *bufio.Reader) {
			_, _ = http.ReadRequest(in)
			fmt.Fprint(c, strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 100))
		})
		if _, _, err := post(t.Context(), newTransport(t, nil), url, nil); err == nil {
			t.Error("endless informational answers are no error")
		}
	})

	t.Run("HearsAnAnswerBeforeAllIsSent", func(t *testing.T) {
		t.Parallel()
		done := make(chan struct{})
		url, _ := script(t, func(c net.Conn, in *bufio.Reader) {
			fmt.Fprint(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
			<-done
		})
		defer close(done)
		if resp, _, err := post(t.Context(), newTransport(t, nil), url, make([]byte, 32<<20)); err != nil || resp.StatusCode != 413 {
			t.Errorf("%v, %v", resp, err)
		}
	})

	t.Run("ReadsNoEndlessHead", func(t *testing.T) {
		t.Parallel()
		url, _ := script(t, func(c net.Conn, in *bufio.Reader) {
			_, _ = http.ReadRequest(in)
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\n")
			for _, err := c.Write(nil); err == nil; _, err = fmt.Fprint(c, "X: ", strings.Repeat("x", 1000), "\r\n") {
			}
		})
		if _, _, err := post(t.Context(), newTransport(t, nil), url, nil); err == nil || !strings.Contains(err.Error(), "64 KiB") {
			t.Error(err)
		}
	})

	t.Run("SpeaksTLS", func(t *testing.T) {
		t.Parallel()
		srv := &counted{}
		srv.Server = newServer(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto, " ", r.Host) }, func(s *httptest.Server) {
			s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
				if state == http.StateNew {
					srv.conns.Add(1)
				}
			}
			s.EnableHTTP2 = true
			s.StartTLS()
		})
		roots := x509.NewCertPool()
		roots.AddCert(srv.Certificate())
		tr := newTransport(t, roots)
		for range 3 {
			if _, got, err := post(t.Context(), tr, srv.URL, []byte("{}")); err != nil || got != "HTTP/1.1 "+srv.Listener.Addr().String() {
				t.Errorf("%q, %v", got, err)
			}
		}
		if n := srv.conns.Load(); n != 1 {
			t.Errorf("%d connections", n)
		}
		plain := newCounted(t, func(http.ResponseWriter, *http.Request) {})
		for name, url := range map[string]string{"not trusted": srv.URL, "not TLS": strings.Replace(plain.URL, "http:", "https:", 1)} {
			if _, _, err := post(t.Context(), newTransport(t, nil), url, nil); outbound.Classify(err) != outbound.FailureTLS {
				t.Errorf("%s: %v is %s", name, err, outbound.Classify(err))
			}
		}
	})

	// What answers no question must not be taken for the answer to the next one, however it came.
	t.Run("ForgetsWhatWasNotAskedFor", func(t *testing.T) {
		t.Parallel()
		var n atomic.Int64
		answer := func(c net.Conn, in *bufio.Reader) {
			for {
				req, err := http.ReadRequest(in)
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, req.Body)
				stale := ""
				if n.Add(1) == 1 {
					stale = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstale"
				}
				fmt.Fprint(c, "HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno"+stale)
			}
		}
		plain, _ := script(t, answer)
		donor := newServer(t, nil, func(s *httptest.Server) { s.StartTLS() })
		roots := x509.NewCertPool()
		roots.AddCert(donor.Certificate())
		secure, _ := script(t, func(c net.Conn, _ *bufio.Reader) {
			together := &heldConn{Conn: c} // what comes later could not be told from an answer
			tc := tls.Server(together, &tls.Config{Certificates: donor.TLS.Certificates})
			in := bufio.NewReader(tc)
			for {
				req, err := http.ReadRequest(in)
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, req.Body)
				together.held = new(bytes.Buffer)
				fmt.Fprint(tc, "HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno")
				fmt.Fprint(tc, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstale")
				both := together.held.Bytes()
				together.held = nil
				_, _ = c.Write(both)
			}
		})
		for _, url := range []string{plain, strings.Replace(secure, "http:", "https:", 1)} {
			tr := newTransport(t, roots)
			for range 3 {
				if _, got, err := post(t.Context(), tr, url, nil); err != nil || got != "no" {
					t.Errorf("%s: %q, %v", url, got, err)
				}
			}
		}
	})

	t.Run("HearsAnyStatus", func(t *testing.T) {
		t.Parallel()
		for _, status := range []int{0, 99, 101, 600, 999} {
			url, _ := script(t, func(c net.Conn, in *bufio.Reader) {
				_, _ = http.ReadRequest(in)
				fmt.Fprintf(c, "HTTP/1.1 %03d Odd\r\nContent-Length: 0\r\n\r\n", status)
			})
			if resp, _, err := post(t.Context(), newTransport(t, nil), url, nil); err != nil || resp.StatusCode != status {
				t.Errorf("%d: %v, %v", status, resp, err)
			}
		}
	})

	t.Run("SendsNoForgedHeader", func(t *testing.T) {
		t.Parallel()
		srv := newCounted(t, func(http.ResponseWriter, *http.Request) {})
		for name, value := range map[string]string{"X-A": "b\r\nX-C: d", "X-A: b\r\nX-C": "d", "X-Nul": "\x00"} {
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL, http.NoBody)
			req.Header[name] = []string{value}
			if _, err := newTransport(t, nil).RoundTrip(req); err == nil {
				t.Errorf("%q: %q was sent", name, value)
			}
		}
		if n := srv.requests.Load(); n != 0 {
			t.Errorf("%d requests arrived", n)
		}
		// How a request is framed is not its caller's to say.
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL, strings.NewReader("{}"))
		req.Header = http.Header{"Content-Length": {"5"}, "Transfer-Encoding": {"chunked"}, "Host": {"other.test"}, "Connection": {"close"}}
		resp, err := newTransport(t, nil).RoundTrip(req)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("%v, %v", resp, err)
		}
		req.ContentLength = -1
		if _, err := newTransport(t, nil).RoundTrip(req); err == nil {
			t.Error("a body of unknown length was sent")
		}
	})

	t.Run("RefusesAddressesThatAreNone", func(t *testing.T) {
		t.Parallel()
		for _, url := range []string{"ftp://127.0.0.1/", "http:///path", "http://127.0.0.1/a b?c d", "http://a_b\u00e4\u0000/"} {
			req := &http.Request{Method: http.MethodPost, URL: mustParse(url), Header: http.Header{}}
			if _, err := newTransport(t, nil).RoundTrip(req.WithContext(t.Context())); err == nil {
				t.Errorf("%q is no error", url)
			}
		}
	})
}

// mustParse takes also what is not a valid URL.
func mustParse(text string) *url.URL {
	scheme, rest, _ := strings.Cut(text, "://")
	host, path, _ := strings.Cut(rest, "/")
	path, query, _ := strings.Cut(path, "?")
	return &url.URL{Scheme: scheme, Host: host, Path: "/" + path, RawQuery: query}
}

// BenchmarkTransport is a POST of 600 bytes by 16 callers for each CPU, beside the same
// through net/http's transport. The server, which both pay for, is in the same process.
func BenchmarkTransport(b *testing.B) {
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	defer srv.Close()
	body := bytes.Repeat([]byte("x"), 600)
	ours := outbound.NewTransport(true, nil)
	defer ours.Close()
	theirs := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	defer theirs.CloseIdleConnections()
	for name, tr := range map[string]http.RoundTripper{"ours": ours, "net_http": theirs} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(16)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					req, _ := http.NewRequestWithContext(b.Context(), http.MethodPost, srv.URL, bytes.NewReader(body))
					resp, err := tr.RoundTrip(req)
					if err != nil {
						b.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
			})
		})
	}
}
