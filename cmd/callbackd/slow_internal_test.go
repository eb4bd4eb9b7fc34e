package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener whose connections are pipes, so that their time is a test's.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p pipes) Close() error   { close(p.closed); return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

// Clients that are slow are cut off, by the settings that the daemon serves with, in virtual
// time. Each says how it behaves and when it must be gone.
func TestSlowClientsAreCutOff(t *testing.T) {
	t.Parallel()
	drip := func(text string) func(net.Conn) error { // a byte a second, for ever
		return func(c net.Conn) error {
			go func() { _, _ = io.Copy(io.Discard, c) }() // ends with the connection
			for i := 0; ; i++ {
				b := byte('x')
				if i < len(text) {
					b = text[i]
				}
				if _, err := c.Write([]byte{b}); err != nil {
					return err
				}
				<-time.After(time.Second)
			}
		}
	}
	wait := func(c net.Conn) error { // for what comes, or the end
		_, err := io.Copy(io.Discard, c)
		return err
	}
	send := func(text string, then func(net.Conn) error) func(net.Conn) error {
		return func(c net.Conn) error {
			if _, err := io.WriteString(c, text); err != nil {
				return err
			}
			return then(c)
		}
	}
	for name, tt := range map[string]struct {
		client func(net.Conn) error
		within time.Duration
	}{
		"SilentFromTheStart":  {wait, headerTimeout},
		"DripsTheRequestLine": {drip("GET /"), headerTimeout},
		"DripsHeaders":        {drip("GET / HTTP/1.1\r\nHost: a\r\nX: "), headerTimeout},
		"StopsInTheHeaders":   {send("GET / HTTP/1.1\r\nHost: a\r\n", wait), headerTimeout},
		"DripsTheBody":        {send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n", drip("")), requestTimeout},
		"StopsInTheBody":      {send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n", wait), requestTimeout},
		"DripsAChunk":         {send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n", drip("")), requestTimeout},
		"ReadsNoAnswer": {send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n", func(c net.Conn) error {
			for { // is it there still? The pipe says so by a write that can go nowhere
				if _, err := c.Write([]byte("x")); err != nil {
					return err
				}
			}
		}), requestTimeout + answerTimeout},
		"KeepsItsConnection": {send("GET / HTTP/1.1\r\nHost: a\r\n\r\n", wait), idleTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				client := connect(t, func(w http.ResponseWriter, r *http.Request) {
					if _, err := io.Copy(io.Discard, r.Body); err != nil {
						return
					}
					if r.URL.Path == "/large" {
						_, _ = io.WriteString(w, strings.Repeat("x", 1<<20))
					}
				})
				began := time.Now()
				err := tt.client(client)
				if took := time.Since(began); took > tt.within+time.Second {
					t.Errorf("it was cut off after %v (%v), want %v", took, err, tt.within)
				}
			})
		})
	}
}

// connect has a handler served as the daemon does, to one client, for the length of a test.
func connect(t *testing.T, handler http.HandlerFunc) (client net.Conn) {
	l := pipes{make(chan net.Conn), make(chan struct{})}
	server := newServer(handler, slog.New(slog.DiscardHandler))
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	client, conn := net.Pipe()
	l.conns <- conn
	_ = client.SetDeadline(time.Now().Add(time.Hour))
	t.Cleanup(func() {
		client.Close()
		server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return client
}

// A client whose body did not arrive in time hears of it, and there is time to work on one that
// arrived late.
func TestSlowBodiesAreAnswered(t *testing.T) {
	t.Parallel()
	for rest, want := range map[string]string{"": "late", "bc": "whole"} {
		synctest.Test(t, func(t *testing.T) {
			client := connect(t, func(w http.ResponseWriter, r *http.Request) {
				answer := "whole"
				if _, err := io.Copy(io.Discard, r.Body); err != nil {
					answer = "late"
				}
				<-time.After(answerTimeout - time.Second)
				_, _ = io.WriteString(w, answer)
			})
			go func() {
				_, _ = io.WriteString(client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na")
				<-time.After(requestTimeout - time.Millisecond)
				_, _ = io.WriteString(client, rest)
			}()
			resp, err := http.ReadResponse(bufio.NewReader(client), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if got, err := io.ReadAll(resp.Body); string(got) != want || err != nil {
				t.Errorf("%q, %v, want %q", got, err, want)
			}
		})
	}
}

// A request's line and headers may have 128 KiB, about: the answer to more is 431, and the
// rest is not read.
func TestHeadersAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := pipes{make(chan net.Conn), make(chan struct{})}
		server := newServer(http.NotFoundHandler(), slog.New(slog.DiscardHandler))
		served := make(chan error, 1)
		go func() { served <- server.Serve(l) }()
		for size, want := range map[int]int{64 << 10: 404, maxHeaders - 1<<10: 404, maxHeaders + 8<<10: 431, 10 << 20: 431} {
			client, conn := net.Pipe()
			l.conns <- conn
			go func() { // ends with the connection
				_, _ = fmt.Fprintf(client, "GET / HTTP/1.1\r\nHost: a\r\nX: %s\r\n\r\n", strings.Repeat("x", size))
			}()
			resp, err := http.ReadResponse(bufio.NewReader(client), nil)
			if err != nil || resp.StatusCode != want {
				t.Errorf("%d bytes: %v %v, want %d", size, resp, err, want)
			}
			client.Close()
		}
		server.Close()
		<-served
		<-time.After(time.Second) // the server lingers over what it refused
	})
}
