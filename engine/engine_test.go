package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/engine/signature"
)

// source is a provider whose items a test adds, and whose polls it scripts.
type source struct {
	mu    sync.Mutex
	items []engine.Mapped
	fail  func(poll int) error
	polls int
}

func (s *source) add(ids ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		s.items = append(s.items, engine.Mapped{Type: "item.new", SourceID: id, Output: json.RawMessage(fmt.Sprintf(`{"id":%q}`, id))})
	}
}

// count is how often it was polled.
func (s *source) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.polls
}

func (s *source) provider() engine.Provider {
	return engine.Provider{Key: "source", Triggers: []engine.Trigger{{Key: "items", Interval: time.Second,
		Poll: func(_ context.Context, req engine.PollRequest) (engine.PollResult, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.polls++
			if s.fail != nil {
				if err := s.fail(s.polls); err != nil {
					return engine.PollResult{}, err
				}
			}
			var r engine.PollResult
			for _, item := range s.items {
				text, err := json.Marshal(item)
				if err != nil {
					return r, err
				}
				r.Inputs = append(r.Inputs, text)
			}
			r.State = json.RawMessage(fmt.Sprint(s.polls))
			return r, nil
		}}}}
}

// received is what a receiver got.
type received struct {
	header http.Header
	body   []byte
}

// receiver answers deliveries as a test says, and hands over what it got.
type receiver struct {
	*httptest.Server
	got chan received
}

func newReceiver(t *testing.T, answer http.HandlerFunc) *receiver {
	r := &receiver{got: make(chan received, 1000)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Errorf("receiver: %v", err)
		}
		if answer != nil {
			answer(w, req)
		}
		r.got <- received{req.Header.Clone(), body}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) next(t *testing.T) received {
	t.Helper()
	select {
	case got := <-r.got:
		return got
	case <-time.After(10 * time.Second):
		t.Fatal("nothing was delivered within 10 s")
		panic("unreachable")
	}
}

func open(t *testing.T, o engine.Options) *engine.Engine {
	t.Helper()
	if o.Path == "" {
		o.Path = filepath.Join(t.TempDir(), "callbacks.db")
	}
	o.AllowPrivateNetworks, o.NoSync = true, true
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	e, err := engine.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return e
}

func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// setup is a callback of a provider with one destination and one instance.
type setup struct {
	destination engine.Destination
	callback    engine.Callback
	instance    engine.Instance
}

func attach(t *testing.T, e *engine.Engine, provider string, d engine.DestinationSettings) setup {
	t.Helper()
	ctx := t.Context()
	d.Name = "receiver"
	var s setup
	s.destination = must(e.CreateDestination(ctx, engine.NewDestination{DestinationSettings: d}))(t)
	deployment := must(e.CreateDeployment(ctx, engine.NewDeployment{Provider: provider}))(t)
	config := must(e.CreateConfig(ctx, engine.NewConfig{Provider: provider, DeploymentID: deployment.ID, Value: json.RawMessage(`{}`)}))(t)
	s.callback = must(e.CreateCallback(ctx, engine.NewCallback{Details: engine.Details{Name: "test"}, DeploymentID: deployment.ID, DestinationIDs: []string{s.destination.ID}}))(t)
	s.instance = must(e.AttachInstance(ctx, s.callback.ID, engine.NewInstance{ConfigID: config.ID}))(t)
	return s
}

// eventually waits until a condition on what the engine tells holds.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-deadline:
			t.Fatalf("not within 10 s: %s", what)
		case <-tick.C:
		}
	}
}

func TestPolledEventIsDeliveredSignedAndRecorded(t *testing.T) {
	t.Parallel()
	src := &source{}
	src.add("a", "b")
	r := newReceiver(t, nil)
	e := open(t, engine.Options{Providers: []engine.Provider{src.provider()}})
	s := attach(t, e, "source", engine.DestinationSettings{URL: r.URL})
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		got := r.next(t)
		o := signature.Options{Secrets: []string{s.destination.SigningSecret}}
		if err := signature.Verify(got.header, got.body, o); err != nil {
			t.Errorf("standard signature: %v", err)
		}
		if err := signature.VerifyMetorial(got.header, got.body, o); err != nil {
			t.Errorf("metorial signature: %v", err)
		}
	}
	eventually(t, "both events are sent", func() bool {
		l := must(e.ListEvents(t.Context(), s.callback.ID, engine.EventFilter{DeliveryStatuses: []string{"sent"}}, engine.Page{}))(t)
		return len(l.Items) == 2
	})
	src.add("c")
	if got := r.next(t); !json.Valid(got.body) {
		t.Errorf("body is not JSON: %s", got.body)
	}
}

func TestFailingDestinationIsRetried(t *testing.T) {
	t.Parallel()
	var calls int
	r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		if calls++; calls <= 2 {
			http.Error(w, "not now", http.StatusInternalServerError)
		}
	})
	e := open(t, engine.Options{Providers: []engine.Provider{(&source{}).provider()}})
	s := attach(t, e, "source", engine.DestinationSettings{URL: r.URL, Retry: engine.Retry{Type: engine.RetryLinear, MaxAttempts: 5, Delay: time.Second}})
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := e.Publish(t.Context(), s.callback.ID, engine.NewEvent{Type: "x", Output: json.RawMessage(`{"n":1}`)}); err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= 3; i++ {
		if got := r.next(t).header.Get("Metorial-Delivery-Attempt"); got != fmt.Sprint(i) {
			t.Errorf("attempt %s, want %d", got, i)
		}
	}
	var n engine.Notification
	eventually(t, "it is delivered", func() bool {
		l := must(e.ListNotifications(t.Context(), s.callback.ID, engine.NotificationFilter{Statuses: []string{"delivered"}}, engine.Page{}))(t)
		if len(l.Items) == 1 {
			n = must(e.Notification(t.Context(), s.callback.ID, l.Items[0].ID))(t)
		}
		return len(l.Items) == 1
	})
	if n.AttemptCount != 3 || len(n.Attempts) != 3 || n.Attempts[0].Failure.Code != "http_500" || string(n.Attempts[0].Response.Body) != "not now\n" {
		t.Errorf("notification: %+v", n)
	}
}

// A client without a transport of its own has the default one, for deliveries too.
func TestAnyHTTPClientWillDo(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, nil)
	e := open(t, engine.Options{HTTPClient: &http.Client{}, Providers: []engine.Provider{(&source{}).provider()}})
	s := attach(t, e, "source", engine.DestinationSettings{URL: r.URL})
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := e.Publish(t.Context(), s.callback.ID, engine.NewEvent{Type: "x", Output: json.RawMessage(`{}`)}); err != nil {
		t.Fatal(err)
	}
	r.next(t)
}
