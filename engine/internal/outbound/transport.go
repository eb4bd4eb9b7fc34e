package outbound

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/idna"
)

// Transport sends requests over HTTP/1.1, and each of them once: unlike [http.Transport],
// it never sends one again, because a server may have acted on it although the connection
// ended without an answer. Instead it looks at a kept connection before it uses it, and
// takes a new one where the server has hung up.
//
// A request runs in its caller's goroutine, with one write and mostly one read, where
// [http.Transport] has two goroutines for each connection (see BenchmarkTransport). It has no proxies, no HTTP/2, no compression and no "Expect: 100-continue".
//
// It is safe for concurrent use. Make one with [NewTransport] and share it.
type Transport struct {
	dialer *net.Dialer
	tls    *tls.Config
	idle   idle
}

const (
	dialTimeout      = 10 * time.Second // to connect, and again for the TLS handshake
	maxResponseHead  = 64 << 10
	maxInformational = 5        // 1xx answers in front of the real one
	singleWrite      = 64 << 10 // bodies up to here are sent with their headers
	maxKeptOut       = 4 << 10  // bytes of memory that a kept connection keeps for its next request
)

// NewTransport makes a transport that refuses to connect to a [Blocked] address, unless
// allowPrivate, as [NewClient] does. roots are whom TLS trusts; nil: the system's.
func NewTransport(allowPrivate bool, roots *x509.CertPool) *Transport {
	return &Transport{
		dialer: newDialer(allowPrivate, nil),
		tls:    &tls.Config{RootCAs: roots, ClientSessionCache: tls.NewLRUClientSessionCache(1024), NextProtos: []string{"http/1.1"}},
	}
}

// RoundTrip sends a request, whose URL must be absolute and whose ContentLength known, and
// returns its answer, whatever its status; redirects are not followed. When the request's
// context ends, so does the exchange, also while the answer's body is being read. The body
// must be closed; its connection is kept if the body was read to its end.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		defer req.Body.Close()
	}
	if req.ContentLength < 0 || req.ContentLength > 0 && req.Body == nil {
		return nil, errors.New("the length of the body is not known")
	}
	key, err := addressOf(req)
	if err != nil {
		return nil, err
	}
	ctx := req.Context()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c := t.idle.take(key)
	if c == nil {
		if c, err = t.connect(ctx, key); err != nil {
			return nil, cause(ctx, err)
		}
	}
	deadline, _ := ctx.Deadline() // zero: none, and takes back that of the last request
	if err := c.SetDeadline(deadline); err != nil {
		c.Close()
		return nil, err
	}
	c.release = context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	resp, err := c.exchange(req)
	if err != nil {
		c.release()
		c.Close()
		return nil, cause(ctx, err)
	}
	resp.Body = &body{from: resp.Body, t: t, c: c, ctx: ctx, keep: !resp.Close && !req.Close && resp.StatusCode != http.StatusSwitchingProtocols}
	return resp, nil
}

// Close closes the connections that are kept, and keeps none any more.
func (t *Transport) Close() { t.idle.close() }

// cause is ctx's error where it was ctx that ended an exchange.
func cause(ctx context.Context, err error) error {
	if e := ctx.Err(); e != nil {
		return e
	}
	// The connection's deadline is the context's, and can be noticed a moment sooner. Half a line
	// that it ended is malformed to those who read it, so what kind of error it is says nothing.
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return err
}

// address is where a connection leads to.
type address struct {
	secure bool
	host   string // in ASCII
	port   string
}

func addressOf(req *http.Request) (a address, err error) {
	switch req.URL.Scheme {
	case "http":
		a.port = "80"
	case "https":
		a.secure, a.port = true, "443"
	default:
		return a, fmt.Errorf("the scheme %q is not http or https", req.URL.Scheme)
	}
	if port := req.URL.Port(); port != "" {
		a.port = port
	}
	a.host = req.URL.Hostname()
	for i := range len(a.host) {
		if a.host[i] >= 0x80 {
			if a.host, err = idna.Lookup.ToASCII(a.host); err != nil {
				return a, fmt.Errorf("the host name is not valid: %w", err)
			}
			break
		}
	}
	if a.host == "" {
		return a, errors.New("the URL has no host")
	}
	return a, nil
}

// connect makes a connection, which ctx can end until it stands.
func (t *Transport) connect(ctx context.Context, key address) (*conn, error) {
	raw, err := t.dialer.DialContext(ctx, "tcp", net.JoinHostPort(key.host, key.port))
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: raw, raw: raw, key: key}
	if key.secure {
		config := t.tls.Clone()
		config.ServerName = key.host
		secure := tls.Client(raw, config)
		handshake, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		if err := secure.HandshakeContext(handshake); err != nil {
			raw.Close()
			if e, ok := errors.AsType[tls.RecordHeaderError](err); ok && string(e.RecordHeader[:]) == "HTTP/" {
				err = http.ErrSchemeMismatch
			}
			return nil, err
		}
		c.Conn = secure
	}
	c.head = io.LimitedReader{R: c.Conn, N: maxResponseHead}
	c.in = bufio.NewReader(&c.head)
	return c, nil
}

// conn is a connection with what it needs for an exchange.
type conn struct {
	net.Conn
	raw     net.Conn // beneath TLS
	key     address
	head    io.LimitedReader // bounds what comes in front of a body
	in      *bufio.Reader
	out     []byte
	sending sync.WaitGroup // of a large body, while its answer is read
	release func() bool    // ends the watch of the request's context
	used    time.Time      // when it was last
}

// Close ends what is being sent, too.
func (c *conn) Close() error {
	err := c.Conn.Close()
	c.sending.Wait()
	return err
}

// exchange sends a request and reads the answer's head.
func (c *conn) exchange(req *http.Request) (*http.Response, error) {
	var err error
	if c.out, err = appendRequest(c.out[:0], req, c.key); err != nil {
		return nil, err
	}
	sent := make(chan error, 1)
	if req.ContentLength <= singleWrite {
		_, err := c.Write(c.out)
		sent <- err
	} else {
		// A server may answer before it has read a large body, and read no more: the connection
		// is closed then, which ends the sending.
		c.sending.Go(func() {
			_, err := c.Write(c.out)
			if err == nil {
				_, err = io.CopyN(c.Conn, req.Body, req.ContentLength)
			}
			sent <- err
		})
	}
	c.head.N = maxResponseHead
	for range maxInformational + 1 {
		resp, err := http.ReadResponse(c.in, req)
		switch {
		case err != nil:
			if c.head.N <= 0 {
				err = fmt.Errorf("the headers of the answer have more than %d KiB", maxResponseHead>>10)
			}
			select {
			case failed := <-sent: // the reason why there is no answer
				if failed != nil {
					err = failed
				}
			default:
			}
			return nil, err
		case resp.StatusCode/100 != 1 || resp.StatusCode == http.StatusSwitchingProtocols:
			select {
			case err := <-sent:
				resp.Close = resp.Close || err != nil
			default: // the rest of the body has nowhere to go
				resp.Close = true
			}
			c.head.N = 1<<63 - 1
			return resp, nil
		}
	}
	return nil, errors.New("too many informational answers")
}

// appendRequest writes a request's head, and its body if that is small.
func appendRequest(b []byte, req *http.Request, key address) ([]byte, error) {
	target := req.URL.RequestURI()
	if strings.ContainsFunc(req.Method+target, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return nil, errors.New("the URL has a space or a control character")
	}
	b = append(b, req.Method...)
	b = append(b, ' ')
	b = append(b, target...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, hostHeader(key)...)
	b = append(b, "\r\n"...)
	if user := req.URL.User; user != nil && req.Header.Get("Authorization") == "" {
		password, _ := user.Password()
		with := http.Request{Header: make(http.Header)}
		with.SetBasicAuth(user.Username(), password)
		b = append(append(append(b, "Authorization: "...), with.Header.Get("Authorization")...), "\r\n"...)
	}
	for name, values := range req.Header {
		switch name {
		case "Host", "Content-Length", "Transfer-Encoding", "Connection", "Expect", "Trailer", "Upgrade", "Te":
			continue // how a request is sent is not its caller's to say
		}
		for _, value := range values {
			if strings.ContainsAny(value, "\r\n\x00") || strings.ContainsAny(name, "\r\n\x00: ") {
				return nil, fmt.Errorf("header %q cannot be sent", name)
			}
			b = append(b, name...)
			b = append(b, ": "...)
			b = append(b, value...)
			b = append(b, "\r\n"...)
		}
	}
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, req.ContentLength, 10)
	b = append(b, "\r\n\r\n"...)
	if req.ContentLength == 0 || req.ContentLength > singleWrite {
		return b, nil
	}
	start := len(b)
	b = append(b, make([]byte, req.ContentLength)...)
	_, err := io.ReadFull(req.Body, b[start:])
	return b, err
}

// hostHeader is an address as a Host header has it.
func hostHeader(key address) string {
	host, _, _ := strings.Cut(key.host, "%") // a zone is for us alone
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if key.secure && key.port == "443" || !key.secure && key.port == "80" {
		return host
	}
	return host + ":" + key.port
}

// clean makes a connection ready to be kept. It is not if more than the answer has come: what
// answers no question would be taken for the answer to the next.
func (c *conn) clean() bool {
	if c.in.Buffered() > 0 {
		return false
	}
	if c.key.secure {
		// TLS may have decrypted more than was read. With a deadline that has passed, it gives
		// what it has, and asks the network for nothing.
		if c.SetReadDeadline(time.Unix(1, 0)) != nil {
			return false
		}
		n, err := c.Conn.Read(make([]byte, 1))
		if timeout, ok := errors.AsType[net.Error](err); n > 0 || !ok || !timeout.Timeout() {
			return false
		}
	}
	if cap(c.out) > maxKeptOut {
		c.out = nil
	}
	return c.SetDeadline(time.Time{}) == nil // that of the last request would end the wait for the next
}

// body is an answer's body; with its end or its Close, the exchange ends.
type body struct {
	from io.ReadCloser
	t    *Transport
	c    *conn
	ctx  context.Context
	keep bool
	once sync.Once
	eof  bool
}

// Read reads on; the context's end ends it.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.from.Read(p)
	if err == io.EOF {
		b.eof = true
	} else if err != nil {
		err = cause(b.ctx, err)
	}
	return n, err
}

// Close gives the connection back, or closes it if something of the answer is left in it.
func (b *body) Close() error {
	b.once.Do(func() {
		ended := !b.c.release()
		if b.eof && b.keep && !ended && b.c.clean() {
			b.t.idle.put(b.c)
		} else {
			b.c.Close()
		}
	})
	return nil
}
