// Package outbound is everything that leaves the process by HTTP: the transport of
// deliveries, the client of polls, which addresses both refuse, and how their answers and
// errors are read.
package outbound

import (
	"net"
	"net/http"
	"time"
)

// Options says how a client behaves. The zero value is the safe one.
type Options struct {
	// AllowPrivate lets connections reach every address, also those that [Blocked] names.
	AllowPrivate bool
	// Resolver looks names up. nil means [net.DefaultResolver].
	Resolver *net.Resolver
}

// NewClient makes a client for requests to addresses that strangers chose. It
//
//   - refuses to connect to a [Blocked] address, with an error that wraps
//     [ErrBlockedAddress]. The check is of the very address being connected to, so
//     what a name resolves to at another moment does not matter;
//   - asks for gzip and decompresses what is answered. A small answer can then become a
//     huge body, so read it with [ReadCapped];
//   - follows no redirect: the caller gets the 3xx;
//   - uses no proxy, whatever the environment says, since a proxy would connect
//     where the check cannot see;
//   - has no time limit for a whole exchange: give each request a context with one. A
//     connection that takes 10 s to establish, or 10 s for its TLS handshake, fails.
//
// It is safe for concurrent use and keeps connections: make one and share it.
func NewClient(o Options) *http.Client {
	dialer := newDialer(o.AllowPrivate, o.Resolver)
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		// Not a clone of http.DefaultTransport: a program that embeds the engine may have
		// put something else there.
		Transport: &http.Transport{
			DialContext:            dialer.DialContext,
			ForceAttemptHTTP2:      true, // a DialContext turns it off otherwise
			IdleConnTimeout:        90 * time.Second,
			MaxIdleConns:           2048, // a fan-out talks to many hosts at once
			MaxIdleConnsPerHost:    64,
			MaxResponseHeaderBytes: 64 << 10,
			TLSHandshakeTimeout:    10 * time.Second,
			// Without pings, a peer that vanished takes every request on its shared
			// HTTP/2 connection with it until the kernel gives up, a quarter of an hour later.
			HTTP2: &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
		},
	}
}

func newDialer(allowPrivate bool, resolver *net.Resolver) *net.Dialer {
	d := &net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second, Resolver: resolver}
	if !allowPrivate {
		d.Control = refuseBlocked
	}
	return d
}
