// Package enginetest helps to test programs with an engine inside, and providers of one's own.
//
// [TestProvider] holds a provider to what the engine expects of every provider. [Open] makes an
// engine that runs in a test, and [NewReceiver] a destination that checks what it is sent.
package enginetest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/engine/signature"
)

// Open opens an engine and starts it, and closes it when the test ends. Where o says nothing,
// the file is in a directory of the test's own. Destinations and sources on this machine are
// allowed, and writes are not synced to the disk, which makes tests quick.
func Open(t testing.TB, o engine.Options) *engine.Engine {
	t.Helper()
	if o.Path == "" {
		o.Path = filepath.Join(t.TempDir(), "callbacks.db")
	}
	o.AllowPrivateNetworks, o.NoSync = true, true
	e, err := engine.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("close the engine: %v", err)
		}
	})
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return e
}

// Delivery is a request that a [Receiver] got.
type Delivery struct {
	ID     string // of the notification, the same at every attempt
	Header http.Header
	Body   []byte
}

// Receiver is a destination on this machine, which ends with its test.
type Receiver struct {
	URL string // for a destination

	t      testing.TB
	got    chan Delivery
	mu     sync.Mutex
	fail   int
	secret string
}

// NewReceiver starts a receiver, which answers every delivery with 200.
func NewReceiver(t testing.TB) *Receiver {
	r := &Receiver{t: t, got: make(chan Delivery, 1000)}
	server := httptest.NewServer(r)
	r.URL = server.URL
	t.Cleanup(server.Close)
	return r
}

// Verify has the receiver check from now on that deliveries are signed with a destination's signing
// secret. One that is not is answered with 401 and fails the test.
func (r *Receiver) Verify(secret string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.secret = secret
}

// Fail has the next n deliveries answered with 500. They are not given to Next.
func (r *Receiver) Fail(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = n
}

// Next waits for the next delivery that was answered with 200. The test fails if there is none
// within 10 s. It may be one that came before, as deliveries are repeated when their answers are lost.
func (r *Receiver) Next() Delivery {
	r.t.Helper()
	select {
	case d := <-r.got:
		return d
	case <-time.After(10 * time.Second):
		r.t.Fatal("nothing was delivered within 10 s")
		return Delivery{}
	}
}

// ServeHTTP takes a delivery.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // the sender is gone
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.secret != "" {
		if err := signature.Verify(req.Header, body, signature.Options{Secrets: []string{r.secret}}); err != nil {
			r.t.Errorf("a delivery is not signed as it should be: %v", err)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
	}
	if r.fail > 0 {
		r.fail--
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	select {
	case r.got <- Delivery{ID: req.Header.Get(signature.HeaderID), Header: req.Header, Body: body}:
	default: // nobody asks for them
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}
