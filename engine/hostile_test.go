//go:build unix

package engine_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// No name server answers in these tests, which need none: they use addresses.
func init() {
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		asked, silent := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, silent) }() // ends when the resolver gives up
		return asked, nil
	}}
}

// hostile serves connections in a way that HTTP does not foresee, and counts what it sends on
// each at most.
type hostile struct {
	net.Listener
	most atomic.Int64 // bytes
}

func newHostile(t *testing.T, serve func(c net.Conn)) *hostile {
	t.Helper()
	h := &hostile{Listener: must(net.Listen("tcp", "127.0.0.1:0"))(t)}
	t.Cleanup(func() { h.Close() })
	go func() { // ends with the listener
		for {
			c, err := h.Accept()
			if err != nil {
				return
			}
			go func() { // ends with the connection
				defer c.Close()
				counted := &counting{Conn: c}
				serve(counted)
				for n, most := counted.sent, h.most.Load(); n > most && !h.most.CompareAndSwap(most, n); most = h.most.Load() {
				}
			}()
		}
	}()
	return h
}

// counting counts what is sent.
type counting struct {
	net.Conn
	sent int64
}

func (c *counting) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.sent += int64(n)
	return n, err
}

// asked serves whoever has sent a request.
func asked(serve func(c net.Conn)) func(net.Conn) {
	return func(c net.Conn) {
		if req, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			_, _ = io.Copy(io.Discard, req.Body)
			serve(c)
		}
	}
}

// flood sends what make makes until that fails.
func flood(c net.Conn, make func() string) {
	for {
		if _, err := io.WriteString(c, make()); err != nil {
			return
		}
	}
}

// full is a listener that accepts nothing, and whose queue is full: connecting to it hangs.
func full(t *testing.T) net.Listener {
	t.Helper()
	l := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	t.Cleanup(func() { l.Close() })
	raw := must(l.(*net.TCPListener).SyscallConn())(t)
	if err := raw.Control(func(fd uintptr) { _ = syscall.Listen(int(fd), 0) }); err != nil {
		t.Fatal(err)
	}
	for range 8 {
		c, err := net.DialTimeout("tcp", l.Addr().String(), 100*time.Millisecond)
		if err != nil {
			break
		}
		t.Cleanup(func() { c.Close() })
	}
	return l
}

// used is the memory in use.
func used() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// Receivers that do all they can to hold up a sender hold up themselves. There are more of
// them than attempts may run at a time, and still the others get theirs; and what they send
// is not kept.
func TestHostileReceiversHoldUpThemselves(t *testing.T) {
	t.Parallel()
	head := "HTTP/1.1 200 OK\r\n"
	chunk := strings.Repeat("x", 64<<10)
	drip := newHostile(t, asked(func(c net.Conn) {
		_, _ = io.WriteString(c, head+"Content-Length: 100\r\n\r\n")
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		flood(c, func() string { <-tick.C; return "x" })
	}))
	slowHead := newHostile(t, asked(func(c net.Conn) {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		flood(c, func() string { <-tick.C; return "H" })
	}))
	headers := newHostile(t, asked(func(c net.Conn) {
		_, _ = io.WriteString(c, head)
		flood(c, func() string { return "X-More: " + chunk[:1000] + "\r\n" })
	}))
	line := newHostile(t, asked(func(c net.Conn) { flood(c, func() string { return chunk }) }))
	large := newHostile(t, asked(func(c net.Conn) {
		_, _ = io.WriteString(c, head+"Content-Length: 10737418240\r\n\r\n")
		flood(c, func() string { return chunk })
	}))
	chunks := newHostile(t, asked(func(c net.Conn) {
		_, _ = io.WriteString(c, head+"Transfer-Encoding: chunked\r\n\r\n")
		flood(c, func() string { return "10000\r\n" + chunk + "\r\n" })
	}))
	deaf := newHostile(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	silent := full(t)
	kinds := []struct {
		name, url, status, code string // code of the error, if one is certain
		h                       *hostile
	}{
		{"one byte a second", "http://" + drip.Addr().String(), "failed", "timeout", drip},
		{"a head that does not end", "http://" + slowHead.Addr().String(), "failed", "timeout", slowHead},
		{"headers without end", "http://" + headers.Addr().String(), "failed", "", headers},
		{"one line without end", "http://" + line.Addr().String(), "failed", "", line},
		{"a body of 10 GB", "http://" + large.Addr().String(), "delivered", "", large},
		{"a body without end", "http://" + chunks.Addr().String(), "delivered", "", chunks},
		{"no answer", "http://" + deaf.Addr().String(), "failed", "timeout", nil},
		{"a TLS handshake without end", "https://" + deaf.Addr().String(), "failed", "", nil},
		{"a name server that is silent", "http://some.name.test", "failed", "", nil},
		{"a connection that never stands", "http://" + silent.Addr().String(), "failed", "", nil},
	}
	var got atomic.Int64
	done := make(chan struct{})
	const events = 200
	well := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if got.Add(1) == events {
			close(done)
		}
	}))
	defer well.Close()
	const each = 2
	e := open(t, engine.Options{Providers: []engine.Provider{(&source{}).provider()}, MaxDeliveries: len(kinds)})
	s := attach(t, e, "source", engine.DestinationSettings{URL: well.URL})
	c := manyDestinations(t, e, each*len(kinds), func(i int) string { return kinds[i/each].url },
		engine.DestinationSettings{Timeout: time.Second, Retry: engine.Retry{Type: engine.RetryLinear, MaxAttempts: 2, Delay: time.Second}})[0]
	start(t, e)
	publish(t, e, c)
	for range events {
		publish(t, e, s.callback.ID)
	}
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatalf("%d of %d were delivered to the one that is well", got.Load(), events)
	}
	eventually(t, "the others have ended", func() bool {
		return len(must(e.ListNotifications(t.Context(), c, engine.NotificationFilter{Statuses: []string{"pending", "retrying"}}, engine.Page{}))(t).Items) == 0
	})
	for _, n := range must(e.ListNotifications(t.Context(), c, engine.NotificationFilter{}, engine.Page{Limit: 100}))(t).Items {
		var i int
		must(fmt.Sscanf(n.Destination.Name, "destination %d", &i))(t)
		kind := kinds[i/each]
		if n.Status != kind.status || n.Status == "failed" && (n.AttemptCount != 2 || kind.code != "" && n.Error.Code != kind.code) {
			t.Errorf("%s: %s after %d attempts, %+v", kind.name, n.Status, n.AttemptCount, n.Error)
		}
	}
	for _, kind := range kinds {
		// What the kernel takes on the way is not ours.
		if kind.h != nil && kind.h.most.Load() > 32<<20 {
			t.Errorf("%s: %d bytes were read of one answer", kind.name, kind.h.most.Load())
		}
	}
}

// Of very many destinations nearly all are down, in one way or another: those that are not
// get everything, and memory and goroutines are bounded by the attempts at a time.
func TestTenThousandDestinationsOfWhichMostAreDown(t *testing.T) {
	if os.Getenv("CALLBACKD_LONG") == "" {
		t.Skip("CALLBACKD_LONG=1 runs it")
	}
	const destinations, perCallback, events, attempts = 10_000, 100, 5, 512
	refusing := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	refusing.Close()
	hanging := newHostile(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	var got atomic.Int64
	done := make(chan struct{})
	well := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if got.Add(1) == destinations/perCallback*events {
			close(done)
		}
	}))
	defer well.Close()
	e := open(t, engine.Options{Providers: []engine.Provider{(&source{}).provider()}, MaxDeliveries: attempts})
	callbacks := manyDestinations(t, e, destinations, func(i int) string {
		switch {
		case i%perCallback == 0:
			return well.URL
		case i%2 == 0:
			return "http://" + refusing.Addr().String()
		}
		return "http://" + hanging.Addr().String()
	}, engine.DestinationSettings{Timeout: time.Second})
	before, goroutines := used(), runtime.NumGoroutine()
	start(t, e)
	for range events {
		for _, c := range callbacks {
			publish(t, e, c)
		}
	}
	most, mostGoroutines := int64(0), 0
	deadline, tick := time.After(2*time.Minute), time.NewTicker(100*time.Millisecond)
	defer tick.Stop()
	for open := true; open; {
		select {
		case <-done:
			open = false
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%d of %d were delivered to those that are well", got.Load(), destinations/perCallback*events)
		}
		most, mostGoroutines = max(most, used()-before), max(mostGoroutines, runtime.NumGoroutine()-goroutines)
	}
	t.Logf("at most %d MiB and %d goroutines more than before", most>>20, mostGoroutines)
	if most > 256<<20 {
		t.Errorf("%d MiB in use", most>>20)
	}
	// One for each attempt, one for each connection at the receivers' side, and a few.
	if mostGoroutines > 6*attempts+500 {
		t.Errorf("%d goroutines", mostGoroutines)
	}
}
