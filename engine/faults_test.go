package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// functionCallback is a callback whose one destination is a function.
func functionCallback(t *testing.T, e *engine.Engine, provider, function string) engine.Callback {
	t.Helper()
	d := must(e.CreateDeployment(t.Context(), engine.NewDeployment{Provider: provider, Config: &engine.NewConfigValue{Value: json.RawMessage(`{}`)}}))(t)
	c := must(e.CreateCallback(t.Context(), engine.NewCallback{Details: engine.Details{Name: "c"}, DeploymentID: d.ID, DestinationIDs: []string{"func:" + function}}))(t)
	must(e.AttachInstance(t.Context(), c.ID, engine.NewInstance{ConfigID: d.DefaultConfig.ID}))(t)
	return c
}

// Retries that come due beside new events, from the table and from memory at once, repeat
// no attempt.
func TestNoAttemptIsMadeTwice(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	made := make(map[string]int) // by notification and attempt
	delivered := make(map[string]int)
	f := engine.Function{Name: "f", Retry: engine.Retry{Type: engine.RetryLinear, Delay: time.Second, MaxAttempts: 5}, Handle: func(_ context.Context, m engine.Message) error {
		mu.Lock()
		defer mu.Unlock()
		made[fmt.Sprint(m.NotificationID, " attempt ", m.Attempt)]++
		if m.Attempt == 1 && strings.HasSuffix(m.SourceID, "7") {
			return errors.New("try again")
		}
		delivered[m.NotificationID]++
		return nil
	}}
	var n atomic.Int64
	var triggers []engine.Trigger
	for i := range 4 {
		triggers = append(triggers, engine.Trigger{Key: fmt.Sprint("t", i), Interval: time.Second, Poll: func(context.Context, engine.PollRequest) (engine.PollResult, error) {
			var r engine.PollResult
			for range 10 {
				text, err := json.Marshal(engine.Mapped{Type: "x", SourceID: fmt.Sprint(n.Add(1))})
				if err != nil {
					return r, err
				}
				r.Inputs = append(r.Inputs, text)
			}
			return r, nil
		}})
	}
	inVirtualTime(t, engine.Options{Providers: []engine.Provider{{Key: "p", Triggers: triggers}}, Functions: []engine.Function{f}}, nil, func(t *testing.T, e *engine.Engine) {
		functionCallback(t, e, "p", "f")
		start(t, e)
		time.Sleep(30 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		for what, times := range made {
			if times != 1 {
				t.Errorf("%s was made %d times", what, times)
			}
		}
		if len(delivered) < 1000 {
			t.Errorf("only %d were delivered", len(delivered))
		}
	})
}

func TestStopIsBoundedAlthoughAFunctionHangs(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	f := engine.Function{Name: "deaf", Handle: func(context.Context, engine.Message) error { close(entered); <-release; return nil }}
	e, err := engine.Open(t.Context(), engine.Options{Path: filepath.Join(t.TempDir(), "x.db"), Providers: []engine.Provider{(&source{}).provider()}, Functions: []engine.Function{f}})
	if err != nil {
		t.Fatal(err)
	}
	c := functionCallback(t, e, "source", "deaf")
	start(t, e)
	publish(t, e, c.ID)
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- e.Stop(ctx) }()
	select {
	case err := <-stopped:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Stop: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("Stop waits for foreign code that does not heed its context")
	}
}

func TestConfigThatIsMendedDuringAPollCounts(t *testing.T) {
	t.Parallel()
	polling, release := make(chan struct{}), make(chan struct{})
	good := make(chan struct{}, 100)
	p := engine.Provider{Key: "p", Triggers: []engine.Trigger{{Key: "t", Interval: time.Second, Poll: func(_ context.Context, req engine.PollRequest) (engine.PollResult, error) {
		if string(req.Config) == `{"v":"bad"}` {
			close(polling)
			<-release
			return engine.PollResult{}, engine.Permanent(errors.New("the config is bad"))
		}
		good <- struct{}{}
		return engine.PollResult{}, nil
	}}}}
	e := open(t, engine.Options{Providers: []engine.Provider{p}})
	d := must(e.CreateDeployment(t.Context(), engine.NewDeployment{Provider: "p", Config: &engine.NewConfigValue{Value: json.RawMessage(`{"v":"bad"}`)}}))(t)
	c := must(e.CreateCallback(t.Context(), engine.NewCallback{Details: engine.Details{Name: "c"}, DeploymentID: d.ID}))(t)
	i := must(e.AttachInstance(t.Context(), c.ID, engine.NewInstance{ConfigID: d.DefaultConfig.ID}))(t)
	start(t, e)
	<-polling
	must(e.UpdateConfig(t.Context(), d.DefaultConfig.ID, engine.UpdateConfig{Value: json.RawMessage(`{"v":"good"}`)}))(t)
	close(release)
	<-good
	<-good // and again
	if tr := must(e.Instance(t.Context(), c.ID, i.ID))(t).Triggers[0]; tr.Status != "active" || tr.LastError != nil {
		t.Errorf("the trigger is %s: %+v", tr.Status, tr.LastError)
	}
}

func TestForeignCodeThatEndsItsGoroutineIsAnError(t *testing.T) {
	t.Parallel()
	exit := func(context.Context, engine.Message) error { runtime.Goexit(); return nil }
	f := engine.Function{Name: "f", MaxInFlight: 1, Retry: engine.Retry{Type: engine.RetryLinear, MaxAttempts: 2, Delay: time.Second}, Handle: exit}
	inVirtualTime(t, engine.Options{Providers: []engine.Provider{(&source{}).provider()}, Functions: []engine.Function{f}}, nil, func(t *testing.T, e *engine.Engine) {
		c := functionCallback(t, e, "source", "f")
		start(t, e)
		publish(t, e, c.ID)
		time.Sleep(10 * time.Second)
		if n := only(t, e, c.ID); n.Status != "failed" || n.AttemptCount != 2 || n.Error.Message != "it ended its goroutine" {
			t.Errorf("%s after %d attempts: %+v", n.Status, n.AttemptCount, n.Error)
		}
	})
}

func TestFunctionThatFailsIsStillCalledSideBySide(t *testing.T) {
	t.Parallel()
	var now, most atomic.Int64
	f := engine.Function{Name: "f", Retry: engine.Retry{MaxAttempts: 1}, Handle: func(context.Context, engine.Message) error {
		n := now.Add(1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		time.Sleep(time.Second)
		now.Add(-1)
		return engine.Permanent(errors.New("no"))
	}}
	inVirtualTime(t, engine.Options{Providers: []engine.Provider{(&source{}).provider()}, Functions: []engine.Function{f}}, nil, func(t *testing.T, e *engine.Engine) {
		c := functionCallback(t, e, "source", "f")
		start(t, e)
		for range 200 {
			publish(t, e, c.ID)
		}
		time.Sleep(time.Minute)
		if got := most.Load(); got != engine.DefaultMaxInFlight {
			t.Errorf("%d at a time, want %d", got, engine.DefaultMaxInFlight)
		}
	})
}

func TestUsersHeadersArriveAsTheyAre(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, nil)
	e := open(t, engine.Options{Providers: []engine.Provider{(&source{}).provider()}})
	s := attach(t, e, "source", engine.DestinationSettings{URL: r.URL, Method: "PUT", Headers: map[string]string{"Idempotency-Key": "mine", "X-Own": "yes"}})
	start(t, e)
	publish(t, e, s.callback.ID)
	if h := r.next(t).header; h.Get("Idempotency-Key") != "mine" || h.Get("X-Own") != "yes" {
		t.Errorf("%v", h)
	}
}

// A large output waits in the table and is read when its turn comes.
func TestLargeOutputIsDelivered(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, nil)
	e := open(t, engine.Options{Providers: []engine.Provider{(&source{}).provider()}})
	s := attach(t, e, "source", engine.DestinationSettings{URL: r.URL})
	start(t, e)
	text := strings.Repeat("x", 500<<10)
	if err := e.Publish(t.Context(), s.callback.ID, engine.NewEvent{Type: "x", Output: json.RawMessage(`{"text":"` + text + `"}`)}); err != nil {
		t.Fatal(err)
	}
	if body := r.next(t).body; !strings.Contains(string(body), text) {
		t.Errorf("%d bytes arrived", len(body))
	}
}

func TestPollThatIsCutShortIsNoFailure(t *testing.T) {
	t.Parallel()
	polling := make(chan struct{})
	p := engine.Provider{Key: "p", Triggers: []engine.Trigger{{Key: "t", Poll: func(ctx context.Context, _ engine.PollRequest) (engine.PollResult, error) {
		close(polling)
		<-ctx.Done()
		return engine.PollResult{}, ctx.Err()
	}}}}
	e := open(t, engine.Options{Providers: []engine.Provider{p}})
	d := must(e.CreateDeployment(t.Context(), engine.NewDeployment{Provider: "p", Config: &engine.NewConfigValue{Value: json.RawMessage(`{}`)}}))(t)
	c := must(e.CreateCallback(t.Context(), engine.NewCallback{Details: engine.Details{Name: "c"}, DeploymentID: d.ID}))(t)
	i := must(e.AttachInstance(t.Context(), c.ID, engine.NewInstance{ConfigID: d.DefaultConfig.ID}))(t)
	start(t, e)
	<-polling
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Stop(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Stop: %v", err)
	}
	if tr := must(e.Instance(t.Context(), c.ID, i.ID))(t).Triggers[0]; tr.Status != "active" || tr.ConsecutiveFailures != 0 || !tr.LastPolledAt.IsZero() {
		t.Errorf("the trigger is %s after %d failures", tr.Status, tr.ConsecutiveFailures)
	}
}

// A destination that no longer answers is asked one thing at a time.
func TestSilentDestinationIsAskedOneThingAtATime(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	silent, now, most := false, 0, 0
	deliver := func(r *http.Request) (*http.Response, error) {
		mu.Lock()
		hang := silent
		if now++; hang {
			most = max(most, now)
		}
		mu.Unlock()
		defer func() {
			mu.Lock()
			now--
			mu.Unlock()
		}()
		if hang {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}
		time.Sleep(10 * time.Millisecond)
		return answer(200, nil, ""), nil
	}
	inVirtualTime(t, engine.Options{Providers: []engine.Provider{(&source{}).provider()}}, deliver, func(t *testing.T, e *engine.Engine) {
		s := attach(t, e, "source", engine.DestinationSettings{URL: "http://receiver.test", Timeout: 5 * time.Second, Retry: engine.Retry{Type: engine.RetryLinear, MaxAttempts: 100, Delay: time.Second}})
		start(t, e)
		for range 400 {
			publish(t, e, s.callback.ID)
		}
		time.Sleep(55 * time.Millisecond) // many are under way at a time by now
		mu.Lock()
		silent = true
		if now < 10 {
			t.Errorf("only %d at a time while it answers", now)
		}
		mu.Unlock()
		time.Sleep(6 * time.Second) // they have run into their timeout
		mu.Lock()
		most = 0
		mu.Unlock()
		time.Sleep(30 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		if most != 1 {
			t.Errorf("%d at a time", most)
		}
	})
}

// A 410 from where a destination was does not end it where it is now; the notification goes
// there, if it has an attempt left.
func TestGoneFromTheOldURLDoesNotEndTheNewOne(t *testing.T) {
	t.Parallel()
	for attempts, status := range map[int]string{1: "failed", 5: "delivered"} {
		t.Run(status, func(t *testing.T) {
			t.Parallel()
			entered, release := make(chan struct{}), make(chan struct{})
			old := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
				close(entered)
				<-release
				w.WriteHeader(http.StatusGone)
			})
			moved := newReceiver(t, nil)
			e := open(t, engine.Options{Providers: []engine.Provider{(&source{}).provider()}})
			s := attach(t, e, "source", engine.DestinationSettings{URL: old.URL, Retry: engine.Retry{MaxAttempts: attempts}})
			start(t, e)
			publish(t, e, s.callback.ID)
			<-entered
			must(e.UpdateDestination(t.Context(), s.destination.ID, engine.UpdateDestination{URL: &moved.URL}))(t)
			close(release)
			eventually(t, "it is "+status, func() bool { return only(t, e, s.callback.ID).Status == status })
			if n := only(t, e, s.callback.ID); n.AttemptCount != min(2, attempts) {
				t.Errorf("%d attempts", n.AttemptCount)
			}
			if d := must(e.Destination(t.Context(), s.destination.ID))(t); d.Status != "active" {
				t.Errorf("the destination is %s", d.Status)
			}
		})
	}
}

func TestLargeInputIsMappedAgain(t *testing.T) {
	t.Parallel()
	large := json.RawMessage(`"` + strings.Repeat("x", 2<<20) + `"`)
	tries := 0
	p := engine.Provider{Key: "p", Triggers: []engine.Trigger{{Key: "t", Interval: time.Hour,
		Poll: func(context.Context, engine.PollRequest) (engine.PollResult, error) {
			return engine.PollResult{Inputs: []json.RawMessage{large}}, nil
		},
		Map: func(_ context.Context, r engine.MapRequest) (engine.Mapped, error) {
			if tries++; tries == 1 {
				return engine.Mapped{}, errors.New("not yet")
			}
			return engine.Mapped{Type: "t", SourceID: fmt.Sprint(len(r.Input))}, nil
		}}}}
	inVirtualTime(t, engine.Options{Providers: []engine.Provider{p}}, nil, func(t *testing.T, e *engine.Engine) {
		s := attach(t, e, "p", engine.DestinationSettings{URL: "http://receiver.test", EventTypes: []string{"none"}})
		start(t, e)
		time.Sleep(time.Minute)
		ev := must(e.ListEvents(t.Context(), s.callback.ID, engine.EventFilter{}, engine.Page{}))(t).Items[0]
		if ev.Status != "succeeded" || ev.SourceID != fmt.Sprint(len(large)) {
			t.Errorf("%s, %s, %+v", ev.Status, ev.SourceID, ev.Error)
		}
	})
}

// What could not be mapped is mapped again as soon as its config is mended, however long ago
// it was given up.
func TestMendedConfigMapsAgain(t *testing.T) {
	t.Parallel()
	p := engine.Provider{Key: "p", Triggers: []engine.Trigger{{Key: "t", Interval: 10 * time.Minute,
		Poll: func(_ context.Context, r engine.PollRequest) (engine.PollResult, error) {
			if r.State != nil {
				return engine.PollResult{}, nil // a source with a cursor says it once
			}
			return engine.PollResult{Inputs: []json.RawMessage{json.RawMessage(`1`), json.RawMessage(`2`)}, State: json.RawMessage(`1`)}, nil
		},
		Map: func(_ context.Context, r engine.MapRequest) (engine.Mapped, error) {
			if string(r.Config) == `{}` {
				return engine.Mapped{}, errors.New("the config is wrong")
			}
			return engine.Mapped{Type: "t", SourceID: string(r.Input)}, nil
		}}}}
	for _, wait := range []time.Duration{5 * time.Second, time.Hour} {
		t.Run(wait.String(), func(t *testing.T) {
			t.Parallel()
			inVirtualTime(t, engine.Options{Providers: []engine.Provider{p}}, nil, func(t *testing.T, e *engine.Engine) {
				s := attach(t, e, "p", engine.DestinationSettings{URL: "http://receiver.test", EventTypes: []string{"none"}})
				start(t, e)
				time.Sleep(wait)
				override := 10 * time.Second
				must(e.UpdateCallback(t.Context(), s.callback.ID, engine.UpdateCallback{PollIntervalOverride: &override}))(t)
				time.Sleep(30 * time.Second) // polls that find nothing new
				if tr := must(e.Instance(t.Context(), s.callback.ID, s.instance.ID))(t).Triggers[0]; wait < time.Minute && (tr.LastError == nil || tr.LastError.Code != "mapping_failed") {
					t.Errorf("while inputs cannot be mapped, the trigger says %+v", tr.LastError)
				}
				config := must(e.Instance(t.Context(), s.callback.ID, s.instance.ID))(t).Config.ID
				must(e.UpdateConfig(t.Context(), config, engine.UpdateConfig{Value: json.RawMessage(`{"right":true}`)}))(t)
				time.Sleep(2 * time.Second)
				l := must(e.ListEvents(t.Context(), s.callback.ID, engine.EventFilter{Statuses: []string{"succeeded"}}, engine.Page{}))(t)
				if len(l.Items) != 2 {
					t.Errorf("%d are mapped, want 2", len(l.Items))
				}
				time.Sleep(15 * time.Second)
				if tr := must(e.Instance(t.Context(), s.callback.ID, s.instance.ID))(t).Triggers[0]; tr.LastError != nil {
					t.Errorf("once they are mapped, the trigger says %+v", tr.LastError)
				}
			})
		})
	}
}

func TestChangedIntervalHoldsAtOnce(t *testing.T) {
	t.Parallel()
	src := &source{}
	inVirtualTime(t, engine.Options{Providers: []engine.Provider{src.provider()}}, nil, func(t *testing.T, e *engine.Engine) {
		s := attach(t, e, "source", engine.DestinationSettings{URL: "http://receiver.test"})
		override := func(d time.Duration) {
			t.Helper()
			must(e.UpdateCallback(t.Context(), s.callback.ID, engine.UpdateCallback{PollIntervalOverride: &d}))(t)
			time.Sleep(10 * time.Second)
		}
		override(24 * time.Hour)
		start(t, e)
		time.Sleep(10 * time.Second)
		if src.count() != 1 {
			t.Errorf("%d polls at first, want 1", src.count())
		}
		if override(5 * time.Second); src.count() < 2 || src.count() > 4 {
			t.Errorf("%d polls with a shorter interval", src.count())
		}
		before := src.count()
		override(24 * time.Hour)
		if override(0); src.count() < before+8 { // the trigger's own, 1 s
			t.Errorf("%d polls after the override was cleared", src.count()-before)
		}
	})
}

func TestPollThatRunsOnIsShown(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	p := engine.Provider{Key: "p", Triggers: []engine.Trigger{{Key: "t", Interval: time.Second, Poll: func(context.Context, engine.PollRequest) (engine.PollResult, error) {
		<-release
		return engine.PollResult{}, nil
	}}}}
	inVirtualTime(t, engine.Options{Providers: []engine.Provider{p}}, nil, func(t *testing.T, e *engine.Engine) {
		release = make(chan struct{})
		s := attach(t, e, "p", engine.DestinationSettings{URL: "http://receiver.test"})
		trigger := func() engine.InstanceTrigger {
			return must(e.Instance(t.Context(), s.callback.ID, s.instance.ID))(t).Triggers[0]
		}
		start(t, e)
		time.Sleep(time.Minute)
		if tr := trigger(); tr.Status != "failing" || tr.LastError == nil {
			t.Errorf("%s, %+v", tr.Status, tr.LastError)
		}
		close(release)
		time.Sleep(3 * time.Second)
		if tr := trigger(); tr.Status != "active" || tr.LastError != nil {
			t.Errorf("once it has ended: %s, %+v", tr.Status, tr.LastError)
		}
	})
}
