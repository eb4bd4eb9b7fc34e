package outbound

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http/httpguts"
)

// answering serves one connection: to the first request it answers raw, and to each that
// follows a marker. It hangs up after raw if it is to.
func answering(t testing.TB, raw []byte, hangsUp bool) (address string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // awaited by stop
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			in := bufio.NewReader(c)
			for answer := raw; ; answer = []byte("HTTP/1.1 299 Marker\r\nContent-Length: 0\r\n\r\n") {
				req, err := http.ReadRequest(in)
				if err != nil {
					break
				}
				_, _ = io.Copy(io.Discard, req.Body)
				if _, err := c.Write(answer); err != nil || hangsUp {
					break
				}
			}
			c.Close()
		}
	}()
	return l.Addr().String(), func() { l.Close(); <-done }
}

// FuzzAnswer has any bytes of a receiver end in an answer or an error, in bounded memory. What
// is left of one answer must never become the answer to the next request, which could be
// another event's.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 201 Smuggled\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nok\r\n0\r\nTrailer: a\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\nabc",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nrest",
		"HTTP/1.0 200 OK\r\n\r\nuntil the end", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"HTTP/1.1 200 OK\nA: b\n\nlines", "HTTP/1.1 200 OK\r\n Folded: x\r\n\r\n", "HTTP/9.9 999 ?\r\n\r\n", "\x16\x03\x01", "HTTP/1.1 200\r\n\r\n", "",
		"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 70<<10) + "\r\n\r\n",
	} {
		f.Add([]byte(seed), true)
		f.Add([]byte(seed), false)
	}
	f.Fuzz(func(t *testing.T, raw []byte, hangsUp bool) {
		address, stop := answering(t, raw, hangsUp)
		defer stop()
		transport := NewTransport(true, nil)
		defer transport.Close()
		exchange := func() (status int, body []byte, err error) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/", strings.NewReader("x"))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := transport.RoundTrip(req)
			if err != nil {
				if Classify(err) == "" {
					t.Errorf("%v has no class", err)
				}
				return 0, nil, err
			}
			defer resp.Body.Close()
			size := 0
			for name, values := range resp.Header {
				for _, value := range values {
					if size += len(name) + len(value); strings.ContainsAny(name+value, "\r\n\x00") {
						t.Errorf("header %q: %q", name, value)
					}
				}
			}
			if size > maxResponseHead {
				t.Errorf("%d bytes of headers", size)
			}
			body, _, err = ReadCapped(resp.Body, 1<<10)
			return resp.StatusCode, body, err
		}
		_, body, err := exchange()
		if len(body) > 1<<10 {
			t.Errorf("%d bytes of a body", len(body))
		}
		kept := transport.Idle() > 0
		if kept && err != nil {
			t.Errorf("a connection is kept after %v", err)
		}
		if !kept {
			return
		}
		// A new connection would be given raw again; the kept one only the marker.
		if status, _, err := exchange(); err == nil && status != 299 && !fresh(raw, status) {
			t.Errorf("the second answer is %d, which is what was left of the first", status)
		}
	})
}

// fresh tells whether raw begins with an answer of this status, so that it may have come on a
// new connection.
func fresh(raw []byte, status int) bool {
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(raw)), nil)
	for err == nil && resp.StatusCode/100 == 1 && status/100 != 1 {
		_, raw, _ = bytes.Cut(raw, []byte("\n\r\n"))
		resp, err = http.ReadResponse(bufio.NewReader(bytes.NewReader(raw)), nil)
	}
	return err == nil && resp.StatusCode == status
}

// FuzzRequest has every request that is written be read as one, with the headers that it was
// given: nothing in a URL or a header can end it early or begin another.
func FuzzRequest(f *testing.F) {
	for _, seed := range [][3]string{
		{"http://a.test/path?q=1#f", "X-A", "v"}, {"http://a.test/?a b", "X-A", "v"}, {"http://a.test/\r\nX-Evil: 1", "X-A", "v"}, {"http://a.test/", "X-A", "a\r\nX-Evil: 1"}, {"http://a.test/", "X-A: b\r\nX-Evil", "1"}, {"https://user:pass@a.test:443/é?ü=%0d%0a", "Authorization", "Bearer x"},
		{"http://[fe80::1%25en0]:80/", "x-a:b", "\x00"}, {"http://a.test/ HTTP/1.1\r\nHost: b\r\n\r\nGET /", "X A", "\x7f"}, {"http://\uff41.test//", "", ""}, {"http://a.test:80/%", "Content-Length", "0"},
		{"http://a.test/\u0085\u2028", "Transfer-Encoding", "chunked"}, {"http://a@b@c/", "Host", "evil.test"}, {"http:opaque", "X", "\t "}, {"http://a.test?\x01", "Connection", "close"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, target, name, value string) {
		u, err := url.Parse(target)
		if err != nil {
			return
		}
		const body = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
		req := &http.Request{Method: http.MethodPost, URL: u, Header: http.Header{http.CanonicalHeaderKey(name): {value}}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
		key, err := addressOf(req)
		if err != nil {
			return
		}
		text, err := appendRequest(nil, req, key)
		if err != nil {
			return
		}
		in := bufio.NewReader(bytes.NewReader(text))
		read, err := http.ReadRequest(in)
		if err != nil {
			if httpguts.ValidHeaderFieldName(name) && httpguts.ValidHeaderFieldValue(value) { // the engine lets no other through
				t.Errorf("%q is no request: %v", text, err)
			}
			return
		}
		got, err := io.ReadAll(read.Body)
		if err != nil || string(got) != body || in.Buffered() > 0 {
			t.Fatalf("%q: the body is %q, %v, and %d bytes follow", text, got, err, in.Buffered())
		}
		for header := range read.Header {
			if header != http.CanonicalHeaderKey(name) && header != "Content-Length" && (header != "Authorization" || u.User == nil) {
				t.Errorf("%q has a header %q", text, header)
			}
		}
		if read.RequestURI != u.RequestURI() {
			t.Errorf("%q asks for %q, want %q", text, read.RequestURI, u.RequestURI())
		}
	})
}
