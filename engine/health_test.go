package engine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// logged keeps what was logged at info and above.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// count is how many records there are with a level and a text.
func (l *logged) count(level, text string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.SplitSeq(l.text.String(), "\n") {
		if strings.Contains(line, "level="+level) && strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// withLog is inVirtualTime with a log that can be read.
func withLog(t *testing.T, o engine.Options, deliver roundTrip, test func(t *testing.T, e *engine.Engine, l *logged)) {
	t.Helper()
	path, l := filepath.Join(t.TempDir(), "callbacks.db"), new(logged)
	synctest.Test(t, func(t *testing.T) {
		o.Path, o.NoSync, o.Random = path, true, func() float64 { return 0.5 }
		o.HTTPClient = &http.Client{Transport: deliver}
		o.Logger = slog.New(slog.NewTextHandler(l, nil))
		e := must(engine.Open(t.Context(), o))(t)
		test(t, e, l)
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
	})
}

// A trigger without a successful poll for three intervals is stuck, whatever the reason; that
// is logged once, and its recovery too.
func TestStuckTrigger(t *testing.T) {
	t.Parallel()
	const interval = 10 * time.Second
	var down atomic.Bool
	for name, poll := range map[string]func(context.Context) error{
		"Failing": func(context.Context) error { return errors.New("source is down") },
		"Hanging": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"Deaf": func(context.Context) error {
			for down.Load() {
				time.Sleep(time.Second)
			}
			return nil
		},
		"Starved": nil,
	} {
		t.Run(name, func(t *testing.T) {
			var release chan struct{}
			starve := func(ctx context.Context) error { <-release; return nil }
			trigger := func(key string, poll func(context.Context) error) engine.Trigger {
				return engine.Trigger{Key: key, Interval: interval, Poll: func(ctx context.Context, _ engine.PollRequest) (engine.PollResult, error) {
					if poll != nil && down.Load() {
						return engine.PollResult{}, poll(ctx)
					}
					return engine.PollResult{}, nil
				}}
			}
			triggers, o := []engine.Trigger{trigger("t", poll)}, engine.Options{PollTimeout: time.Minute}
			if name == "Starved" { // by the poll that has the only place
				triggers = []engine.Trigger{trigger("a", starve), trigger("t", nil)}
				o.MaxPolls, o.PollTimeout = 1, time.Hour
			}
			o.Providers = []engine.Provider{{Key: "p", Triggers: triggers}}
			withLog(t, o, nil, func(t *testing.T, e *engine.Engine, l *logged) {
				release = make(chan struct{})
				down.Store(false)
				s := attach(t, e, "p", engine.DestinationSettings{URL: "http://receiver.test"})
				start(t, e)
				time.Sleep(15 * time.Second)
				down.Store(true)
				shown := func() engine.InstanceTrigger {
					all := must(e.Instance(t.Context(), s.callback.ID, s.instance.ID))(t).Triggers
					return all[len(all)-1]
				}
				time.Sleep(15 * time.Second) // at most two intervals since the last success
				if n := e.Health().StuckTriggers; n != 0 || l.count("WARN", "stuck") != 0 {
					t.Errorf("%d are stuck too early", n)
				}
				time.Sleep(25 * time.Second)
				if n := e.Health().StuckTriggers; n < 1 {
					t.Errorf("%d are stuck", n)
				}
				if !e.Health().Ready() {
					t.Errorf("others' failures make it unready: %q", e.Health().Reasons)
				}
				if tr := shown(); tr.Status != "failing" || tr.LastError == nil {
					t.Errorf("it is shown as %s, %+v", tr.Status, tr.LastError)
				}
				time.Sleep(10 * time.Minute)
				if n := l.count("WARN", "a trigger is stuck"); n != len(triggers) {
					t.Errorf("it was said %d times", n)
				}
				if n := l.count("INFO", "stuck"); n != 0 {
					t.Errorf("it has recovered %d times too early", n)
				}
				down.Store(false)
				close(release)
				time.Sleep(15 * time.Minute)
				if n := e.Health().StuckTriggers; n != 0 || l.count("INFO", "that was stuck is polled again") != len(triggers) || l.count("WARN", "a trigger is stuck") != len(triggers) {
					t.Errorf("%d are stuck at the end, it was said %d times, and %d times that it is over", n, l.count("WARN", "a trigger is stuck"), l.count("INFO", "that was stuck is polled again"))
				}
				if tr := shown(); tr.Status != "active" || tr.LastError != nil {
					t.Errorf("at the end it is %s, %+v", tr.Status, tr.LastError)
				}
			})
		})
	}
}

func TestStuckTriggerThatIsDetachedIsForgotten(t *testing.T) {
	t.Parallel()
	src := &source{fail: func(int) error { return errors.New("source is down") }}
	withLog(t, engine.Options{Providers: []engine.Provider{src.provider()}}, nil, func(t *testing.T, e *engine.Engine, _ *logged) {
		s := attach(t, e, "source", engine.DestinationSettings{URL: "http://receiver.test"})
		start(t, e)
		time.Sleep(time.Minute)
		if n := e.Health().StuckTriggers; n != 1 {
			t.Errorf("%d are stuck", n)
		}
		must(e.DetachInstance(t.Context(), s.callback.ID, s.instance.ID))(t)
		time.Sleep(time.Minute)
		if n := e.Health().StuckTriggers; n != 0 {
			t.Errorf("%d are stuck", n)
		}
	})
}

func TestFailingDestination(t *testing.T) {
	t.Parallel()
	var status atomic.Int64
	status.Store(500)
	deliver := func(*http.Request) (*http.Response, error) { return answer(int(status.Load()), nil, ""), nil }
	withLog(t, engine.Options{Providers: []engine.Provider{(&source{}).provider()}}, deliver, func(t *testing.T, e *engine.Engine, l *logged) {
		s := attach(t, e, "source", engine.DestinationSettings{URL: "http://receiver.test", Retry: engine.Retry{Type: engine.RetryLinear, MaxAttempts: 2, Delay: time.Second}})
		start(t, e)
		shown := func() engine.Destination { return must(e.Destination(t.Context(), s.destination.ID))(t) }
		for range 2 {
			publish(t, e, s.callback.ID)
			time.Sleep(5 * time.Second)
		}
		if d := shown(); d.ConsecutiveFailures != 4 || d.LastError == nil || d.LastError.Code != "http_500" || l.count("WARN", "is failing") != 0 {
			t.Errorf("after four attempts: %d, %+v", d.ConsecutiveFailures, d.LastError)
		}
		for range 3 {
			publish(t, e, s.callback.ID)
			time.Sleep(5 * time.Second)
		}
		h := e.Health()
		if h.FailingDestinations != 1 || !h.Ready() || l.count("WARN", "is failing") != 1 {
			t.Errorf("%+v, said %d times", h, l.count("WARN", "is failing"))
		}
		if c := must(e.Callback(t.Context(), s.callback.ID))(t); c.Destinations[0].ConsecutiveFailures != 10 {
			t.Errorf("its callback shows %d failures", c.Destinations[0].ConsecutiveFailures)
		}
		status.Store(200)
		publish(t, e, s.callback.ID)
		time.Sleep(time.Second)
		if d := shown(); d.ConsecutiveFailures != 0 || d.LastError != nil || e.Health().FailingDestinations != 0 || l.count("INFO", "takes deliveries again") != 1 {
			t.Errorf("after a success: %d, %+v", d.ConsecutiveFailures, d.LastError)
		}
	})
}

// While the file cannot be written, nothing is accepted or polled, what is stored is delivered,
// once, and its outcomes are recorded when writing goes on, by itself.
func TestStoreThatCannotWrite(t *testing.T) {
	t.Parallel()
	path, away := filepath.Join(t.TempDir(), "callbacks.db"), filepath.Join(t.TempDir(), "away")
	l := new(logged)
	var mu sync.Mutex
	made := make(map[string]int)
	gone := false
	hold := make(chan struct{})
	src := &source{}
	synctest.Test(t, func(t *testing.T) {
		hold = make(chan struct{})
		deliver := roundTrip(func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			made[r.Header.Get("webhook-id")]++
			wait := !gone
			mu.Unlock()
			if wait {
				<-hold
			}
			return answer(200, nil, ""), nil
		})
		o := engine.Options{Path: path, NoSync: true, HTTPClient: &http.Client{Transport: deliver}, Logger: slog.New(slog.NewTextHandler(l, nil)), Providers: []engine.Provider{src.provider()}}
		e := must(engine.Open(t.Context(), o))(t)
		s := attach(t, e, "source", engine.DestinationSettings{URL: "http://receiver.test", MaxInFlight: 2})
		start(t, e)
		for range 100 {
			publish(t, e, s.callback.ID)
		}
		time.Sleep(3 * time.Second)
		rename := func(from, to string) {
			t.Helper()
			if err := os.Rename(from, to); err != nil {
				t.Fatal(err)
			}
		}
		rename(path, away)
		mu.Lock()
		gone = true
		mu.Unlock()
		time.Sleep(2 * time.Second)
		polls := src.count()
		close(hold)
		time.Sleep(time.Minute)
		err := e.Publish(t.Context(), s.callback.ID, engine.NewEvent{Type: "x", Output: json.RawMessage(`{}`)})
		if engine.CodeOf(err) != engine.CodeUnavailable {
			t.Errorf("publish: %v", err)
		}
		if n := src.count() - polls; n > 0 {
			t.Errorf("%d polls while nothing can be recorded", n)
		}
		if h := e.Health(); h.Ready() || len(h.Reasons) != 1 {
			t.Errorf("%+v", h)
		}
		if n := l.count("ERROR", "cannot be written"); n != 1 {
			t.Errorf("it was said %d times", n)
		}
		mu.Lock()
		if len(made) != 100 {
			t.Errorf("%d of 100 were delivered", len(made))
		}
		mu.Unlock()
		rename(away, path)
		time.Sleep(10 * time.Second)
		if h := e.Health(); !h.Ready() || l.count("INFO", "can be written again") != 1 {
			t.Errorf("%+v", h)
		}
		if src.count() <= polls {
			t.Error("it does not poll again")
		}
		open := must(e.ListNotifications(t.Context(), s.callback.ID, engine.NotificationFilter{Statuses: []string{"pending", "retrying"}}, engine.Page{}))(t)
		if len(open.Items) != 0 {
			t.Error("outcomes were not recorded")
		}
		mu.Lock()
		for id, n := range made {
			if n != 1 {
				t.Errorf("%s was delivered %d times", id, n)
			}
		}
		mu.Unlock()
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
	})
}
