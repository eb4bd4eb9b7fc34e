package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/callbackd/callbackd/engine"
)

func retryAtOnce() engine.Retry {
	return engine.Retry{Type: engine.RetryLinear, MaxAttempts: 3, Delay: time.Second}
}

// destinationFor adds a destination to a callback's.
func destinationFor(t *testing.T, e *engine.Engine, s setup, d engine.DestinationSettings) engine.Destination {
	t.Helper()
	d.Name = "another"
	another := must(e.CreateDestination(t.Context(), engine.NewDestination{DestinationSettings: d}))(t)
	ids := []string{another.ID}
	for _, old := range must(e.Callback(t.Context(), s.callback.ID))(t).Destinations {
		ids = append(ids, old.ID)
	}
	if _, err := e.UpdateCallback(t.Context(), s.callback.ID, engine.UpdateCallback{DestinationIDs: &ids}); err != nil {
		t.Fatal(err)
	}
	return another
}

func TestMaxInFlightIsKept(t *testing.T) {
	t.Parallel()
	var now, most atomic.Int64
	var wg sync.WaitGroup
	wg.Add(40)
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		n := now.Add(1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		<-time.After(time.Millisecond) // long enough to be overtaken
		now.Add(-1)
		wg.Done()
	}))
	defer server.Close()
	e := open(t, engine.Options{Providers: []engine.Provider{(&source{}).provider()}})
	s := attach(t, e, "source", engine.DestinationSettings{URL: server.URL, MaxInFlight: 3})
	for range 40 {
		publish(t, e, s.callback.ID)
	}
	start(t, e)
	wg.Wait()
	if got := most.Load(); got < 2 || got > 3 {
		t.Errorf("at most %d at a time, want up to 3", got)
	}
}

func TestHangingDestinationHoldsUpNobody(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer hanging.Close()
	defer close(release)
	r := newReceiver(t, nil)
	e := open(t, engine.Options{Providers: []engine.Provider{(&source{}).provider()}, MaxDeliveries: 4})
	s := attach(t, e, "source", engine.DestinationSettings{URL: r.URL})
	hung := destinationFor(t, e, s, engine.DestinationSettings{URL: hanging.URL, Timeout: 60 * time.Second})
	start(t, e)
	for range 200 {
		publish(t, e, s.callback.ID)
	}
	for range 200 {
		r.next(t)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // whoever hangs is cut off
	if err := e.Stop(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Stop: %v", err)
	}
	l := must(e.ListNotifications(t.Context(), s.callback.ID, engine.NotificationFilter{Destinations: []string{hung.ID}}, engine.Page{Limit: 1000}))(t)
	for _, n := range l.Items {
		if n.Status != "pending" || n.AttemptCount != 0 || n.NextAttemptAt.IsZero() {
			t.Errorf("%s is %s after %d attempts; a shutdown is none", n.ID, n.Status, n.AttemptCount)
		}
	}
	if len(l.Items) != 200 {
		t.Errorf("%d notifications wait for the hanging destination", len(l.Items))
	}
}

// A program that publishes and stops has had its event attempted: it may never start again.
func TestStopMakesTheAttemptsThatAreAboutToBegin(t *testing.T) {
	t.Parallel()
	var got atomic.Int64
	f := engine.Function{Name: "f", Handle: func(context.Context, engine.Message) error { got.Add(1); return nil }}
	for i := range int64(5) {
		e := open(t, engine.Options{Providers: []engine.Provider{(&source{}).provider()}, Functions: []engine.Function{f}})
		d := must(e.CreateDeployment(t.Context(), engine.NewDeployment{Provider: "source"}))(t)
		c := must(e.CreateCallback(t.Context(), engine.NewCallback{Details: engine.Details{Name: "c"}, DeploymentID: d.ID, DestinationIDs: []string{"func:f"}}))(t)
		start(t, e)
		publish(t, e, c.ID)
		if err := e.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := got.Load(); n != i+1 {
			t.Fatalf("of %d events, each followed by a stop, %d were delivered", i+1, n)
		}
	}
}

func TestStopLetsAttemptsFinishAndTheNextStartGoesOn(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	var seen atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if seen.Add(1) == 1 {
			close(entered)
			<-release
		}
	}))
	defer server.Close()
	path := filepath.Join(t.TempDir(), "callbacks.db")
	e := open(t, engine.Options{Path: path, Providers: []engine.Provider{(&source{}).provider()}})
	s := attach(t, e, "source", engine.DestinationSettings{URL: server.URL, MaxInFlight: 1})
	start(t, e)
	for range 3 {
		publish(t, e, s.callback.ID)
	}
	<-entered
	stopped := make(chan error)
	go func() { stopped <- e.Stop(t.Context()) }()
	select {
	case <-stopped:
		t.Fatal("Stop did not wait for the attempt in flight")
	case <-time.After(20 * time.Millisecond):
	}
	close(release)
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	delivered := engine.NotificationFilter{Statuses: []string{"delivered"}}
	if l := must(e.ListNotifications(t.Context(), s.callback.ID, delivered, engine.Page{}))(t); len(l.Items) != 1 {
		t.Errorf("%d delivered when Stop returned, want the one in flight", len(l.Items))
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = open(t, engine.Options{Path: path, Providers: []engine.Provider{(&source{}).provider()}})
	start(t, e)
	eventually(t, "all are delivered", func() bool {
		return len(must(e.ListNotifications(t.Context(), s.callback.ID, delivered, engine.Page{}))(t).Items) == 3
	})
	if n := seen.Load(); n != 3 {
		t.Errorf("%d attempts for 3 notifications", n)
	}
}

func TestResponseIsCapped(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		for range 300 {
			if _, err := io.WriteString(w, strings.Repeat("x", 1024)); err != nil {
				return // the other side has had enough
			}
		}
	})
	e := open(t, engine.Options{Providers: []engine.Provider{(&source{}).provider()}})
	s := attach(t, e, "source", engine.DestinationSettings{URL: r.URL, Retry: engine.Retry{MaxAttempts: 1}})
	start(t, e)
	publish(t, e, s.callback.ID)
	eventually(t, "it has failed", func() bool { return only(t, e, s.callback.ID).Status == "failed" })
	n := only(t, e, s.callback.ID)
	if n.Error.Code != "http_418" || len(n.Attempts[0].Response.Body) != 16<<10 {
		t.Errorf("%+v, %d bytes of the body", n.Error, len(n.Attempts[0].Response.Body))
	}
}

func TestBlockedAddressIsAFailureThatSaysSo(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, func(http.ResponseWriter, *http.Request) { t.Error("the guard let it through") })
	e, err := engine.Open(t.Context(), engine.Options{Path: filepath.Join(t.TempDir(), "callbacks.db"), Providers: []engine.Provider{(&source{}).provider()}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	s := attach(t, e, "source", engine.DestinationSettings{URL: r.URL, Retry: engine.Retry{MaxAttempts: 1}})
	start(t, e)
	publish(t, e, s.callback.ID)
	eventually(t, "it has failed", func() bool { return only(t, e, s.callback.ID).Status == "failed" })
	if n := only(t, e, s.callback.ID); n.Error.Code != "blocked_address" || !strings.Contains(n.Error.Message, "127.0.0.1") {
		t.Errorf("%+v", n.Error)
	}
}

func TestArchivedCallbackDeliversWhatItAccepted(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, nil)
	e := open(t, engine.Options{Providers: []engine.Provider{(&source{}).provider()}})
	s := attach(t, e, "source", engine.DestinationSettings{URL: r.URL})
	publish(t, e, s.callback.ID)
	if _, err := e.ArchiveCallback(t.Context(), s.callback.ID); err != nil {
		t.Fatal(err)
	}
	err := e.Publish(t.Context(), s.callback.ID, engine.NewEvent{Type: "x", Output: json.RawMessage(`{}`)})
	if engine.CodeOf(err) != engine.CodeConflict {
		t.Errorf("publishing to an archived callback: %v", err)
	}
	start(t, e)
	r.next(t)
}

func TestChangedURLHoldsAtTheNextAttempt(t *testing.T) {
	t.Parallel()
	down := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	up := newReceiver(t, nil)
	e := open(t, engine.Options{Providers: []engine.Provider{(&source{}).provider()}})
	s := attach(t, e, "source", engine.DestinationSettings{URL: down.URL, Retry: retryAtOnce()})
	start(t, e)
	publish(t, e, s.callback.ID)
	down.next(t)
	if _, err := e.UpdateDestination(t.Context(), s.destination.ID, engine.UpdateDestination{URL: &up.URL}); err != nil {
		t.Fatal(err)
	}
	if got := up.next(t).header.Get("Metorial-Delivery-Attempt"); got != "2" {
		t.Errorf("attempt %s, want 2", got)
	}
}

func TestEveryEventReachesEveryDestinationUnderLoad(t *testing.T) {
	t.Parallel()
	const events, destinations = 300, 4
	e := open(t, engine.Options{Providers: []engine.Provider{(&source{}).provider()}})
	var mu sync.Mutex
	got := make(map[string]int) // by destination and notification
	var all sync.WaitGroup
	all.Add(events * destinations)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		id := r.Header.Get("webhook-id")
		if got[id]++; got[id] == 1 {
			all.Done()
		}
	}))
	defer server.Close()
	s := attach(t, e, "source", engine.DestinationSettings{URL: server.URL})
	for range destinations - 1 {
		destinationFor(t, e, s, engine.DestinationSettings{URL: server.URL})
	}
	start(t, e)
	var publishers sync.WaitGroup
	for range 10 {
		publishers.Go(func() {
			for range events / 10 {
				if err := e.Publish(t.Context(), s.callback.ID, engine.NewEvent{Type: "x", Output: json.RawMessage(`{}`)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	publishers.Wait()
	all.Wait()
	if err := e.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	for id, n := range got {
		if n != 1 {
			t.Errorf("%s was attempted %d times", id, n)
		}
	}
	l := must(e.ListEvents(t.Context(), s.callback.ID, engine.EventFilter{DeliveryStatuses: []string{"pending", "failed"}}, engine.Page{}))(t)
	if len(l.Items) != 0 {
		t.Errorf("%d events are not sent", len(l.Items))
	}
}

func TestFunctions(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		handle   func(ctx context.Context, m engine.Message) error
		status   string
		code     string
		attempts int
	}{
		{"Success", func(context.Context, engine.Message) error { return nil }, "delivered", "", 1},
		{"ErrorIsRetriedToTheEnd", func(context.Context, engine.Message) error { return errors.New("no") }, "failed", "function_error", 2},
		{"PermanentIsNotRetried", func(context.Context, engine.Message) error { return engine.Permanent(errors.New("no")) }, "failed", "function_error", 1},
		{"PanicIsAnError", func(context.Context, engine.Message) error { panic("bug") }, "failed", "function_error", 2},
		{"DeadlineIsATimeout", func(ctx context.Context, _ engine.Message) error { <-ctx.Done(); return ctx.Err() }, "failed", "timeout", 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := engine.Function{Name: "f", Handle: tt.handle, Timeout: time.Second, Retry: engine.Retry{Type: engine.RetryLinear, MaxAttempts: 2, Delay: time.Second}}
			inVirtualTime(t, engine.Options{Providers: []engine.Provider{(&source{}).provider()}, Functions: []engine.Function{f}}, nil, func(t *testing.T, e *engine.Engine) {
				d := must(e.CreateDeployment(t.Context(), engine.NewDeployment{Provider: "source"}))(t)
				c := must(e.CreateCallback(t.Context(), engine.NewCallback{Details: engine.Details{Name: "c"}, DeploymentID: d.ID, DestinationIDs: []string{"func:f"}}))(t)
				start(t, e)
				publish(t, e, c.ID)
				time.Sleep(time.Minute)
				n := only(t, e, c.ID)
				code := ""
				if n.Error != nil {
					code = n.Error.Code
				}
				if n.Status != tt.status || code != tt.code || n.AttemptCount != tt.attempts {
					t.Errorf("%s, %q, %d attempts", n.Status, code, n.AttemptCount)
				}
			})
		})
	}
}
