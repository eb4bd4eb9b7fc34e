package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// held is a provider whose polls a test holds up, and of which it sees the states that they were
// given.
type held struct {
	mu     sync.Mutex
	states []string
	hold   chan struct{} // nil: polls are not held up; made in the test's bubble
	err    error
}

func (h *held) provider() engine.Provider {
	return engine.Provider{Key: "held", Triggers: []engine.Trigger{{Key: "polled", Interval: time.Hour, Poll: func(ctx context.Context, r engine.PollRequest) (engine.PollResult, error) {
		h.mu.Lock()
		h.states = append(h.states, string(r.State))
		n, hold, err := len(h.states), h.hold, h.err
		h.mu.Unlock()
		if hold != nil {
			select {
			case <-hold:
			case <-ctx.Done():
				return engine.PollResult{}, ctx.Err()
			}
		}
		if err != nil {
			return engine.PollResult{}, err
		}
		item := fmt.Sprintf(`{"type":"x","source_id":"%d"}`, n)
		return engine.PollResult{Inputs: []json.RawMessage{json.RawMessage(item), json.RawMessage(`{"type":"x","source_id":"same"}`)}, State: json.RawMessage(fmt.Sprint(n))}, nil
	}}, {Key: "received", Handle: func(context.Context, engine.WebhookRequest) (engine.WebhookResult, error) {
		return engine.WebhookResult{}, nil
	}}}}
}

func (h *held) set(hold chan struct{}, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hold, h.err = hold, err
}

// seen are the states that polls were given.
func (h *held) seen() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.states)
}

// watched is the trigger of a held provider in an engine that a test steers.
type watched struct {
	*held
	setup
	e *engine.Engine
}

func (w watched) pollNow(ctx context.Context) (engine.InstanceTrigger, error) {
	return w.e.PollNow(ctx, w.callback.ID, w.instance.ID, "polled")
}

func (w watched) update(u engine.UpdateInstanceTrigger) (engine.InstanceTrigger, error) {
	return w.e.UpdateInstanceTrigger(context.Background(), w.callback.ID, w.instance.ID, "polled", u)
}

func (w watched) trigger(t *testing.T) engine.InstanceTrigger {
	t.Helper()
	return must(w.e.InstanceTrigger(t.Context(), w.callback.ID, w.instance.ID, "polled"))(t)
}

func delivered(*http.Request) (*http.Response, error) { return answer(200, nil, ""), nil }

// watch runs a test in virtual time, ten minutes after the first poll.
func watch(t *testing.T, o engine.Options, test func(t *testing.T, w watched)) {
	t.Helper()
	h := new(held)
	o.Providers = []engine.Provider{h.provider()}
	inVirtualTime(t, o, delivered, func(t *testing.T, e *engine.Engine) {
		w := watched{h, attach(t, e, "held", engine.DestinationSettings{URL: "http://receiver.test"}), e}
		start(t, e)
		time.Sleep(10 * time.Minute)
		if n := len(h.seen()); n != 1 {
			t.Fatalf("%d polls", n)
		}
		test(t, w)
	})
}

// answered is what PollNow returned, later.
type answered struct {
	engine.InstanceTrigger
	err error
}

func (w watched) later(n int) []chan answered {
	answers := make([]chan answered, n)
	for i := range answers {
		answers[i] = make(chan answered, 1)
		go func() { // ends with its answer, which every test waits for
			t, err := w.pollNow(context.Background())
			answers[i] <- answered{t, err}
		}()
	}
	synctest.Wait()
	return answers
}

func TestPollNow(t *testing.T) {
	t.Parallel()

	t.Run("AnswersWithTheTriggerAfterThatPoll", func(t *testing.T) {
		t.Parallel()
		watch(t, engine.Options{}, func(t *testing.T, w watched) {
			before := time.Now()
			got := must(w.pollNow(t.Context()))(t)
			if string(got.State) != "2" || *got.LastItems != 2 || *got.Lag != 0 || got.LastPolledAt.Sub(before).Abs() > time.Millisecond || time.Since(before) > time.Second {
				t.Errorf("after %s: %+v", time.Since(before), got)
			}
			if next := got.NextPollAt.Sub(before).Round(time.Second); next != time.Hour {
				t.Errorf("the next poll is in %s", next)
			}
			if n := len(must(w.e.ListEvents(t.Context(), w.callback.ID, engine.EventFilter{}, engine.Page{}))(t).Items); n != 3 {
				t.Errorf("%d events", n)
			}
			time.Sleep(59*time.Minute + 59*time.Second)
			if n := len(w.seen()); n != 2 {
				t.Errorf("%d polls before an hour had passed", n)
			}
			time.Sleep(2 * time.Second)
			if n := len(w.seen()); n != 3 {
				t.Errorf("%d polls after an hour", n)
			}
		})
	})

	t.Run("AnOlderPollDoesNotCountAndManyShareTheNext", func(t *testing.T) {
		t.Parallel()
		watch(t, engine.Options{PollTimeout: time.Hour}, func(t *testing.T, w watched) {
			first, second := make(chan struct{}), make(chan struct{})
			w.set(first, nil)
			early := w.later(1)[0] // of which the poll is in flight
			w.set(second, nil)
			answers := w.later(10)
			close(first)
			if got := <-early; got.err != nil || string(got.State) != "2" {
				t.Errorf("the first: %+v", got)
			}
			synctest.Wait()
			for _, a := range answers {
				select {
				case got := <-a:
					t.Errorf("it was answered with an older poll: %+v", got)
				default:
				}
			}
			close(second)
			for _, a := range answers {
				if got := <-a; got.err != nil || string(got.State) != "3" {
					t.Errorf("a later one: %+v", got)
				}
			}
			if n := len(w.seen()); n != 3 {
				t.Errorf("%d polls", n)
			}
		})
	})

	t.Run("PollsWhatBacksOff", func(t *testing.T) {
		t.Parallel()
		watch(t, engine.Options{}, func(t *testing.T, w watched) {
			w.set(nil, engine.RetryAfter(20*time.Hour, errors.New("too often")))
			for failures := 1; failures <= 2; failures++ {
				got := must(w.pollNow(t.Context()))(t)
				if got.Status != "failing" || got.ConsecutiveFailures != failures || got.LastError.Code != "rate_limited" || *got.LastItems != 0 || time.Until(got.NextPollAt).Round(time.Hour) != 20*time.Hour {
					t.Errorf("%+v", got)
				}
			}
			w.set(nil, nil)
			if got := must(w.pollNow(t.Context()))(t); got.Status != "active" || got.LastError != nil || got.ConsecutiveFailures != 0 {
				t.Errorf("%+v", got)
			}
			w.set(nil, engine.Permanent(errors.New("no such account")))
			if got := must(w.pollNow(t.Context()))(t); got.Status != "paused" || got.LastError.Code != "permanent" {
				t.Errorf("%+v", got)
			}
		})
	})

	t.Run("GoesOnWithoutItsClient", func(t *testing.T) {
		t.Parallel()
		watch(t, engine.Options{}, func(t *testing.T, w watched) {
			hold := make(chan struct{})
			w.set(hold, nil)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := w.pollNow(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v", err)
			}
			close(hold)
			synctest.Wait()
			if got := w.trigger(t); string(got.State) != "2" {
				t.Errorf("%+v", got)
			}
		})
	})

	t.Run("PollsOnceMoreWhenTheTriggerChangedMeanwhile", func(t *testing.T) {
		t.Parallel()
		watch(t, engine.Options{PollTimeout: time.Hour}, func(t *testing.T, w watched) {
			for _, failure := range []error{nil, errors.New("because")} {
				hold, before := make(chan struct{}), len(w.seen())
				w.set(hold, failure)
				a := w.later(1)[0]
				must(w.update(engine.UpdateInstanceTrigger{State: new(json.RawMessage(`"mine"`))}))(t)
				w.set(nil, nil)
				close(hold)
				got, states := <-a, w.seen()
				if len(states) < before+2 || states[before+1] != `"mine"` { // one more, if it was found to be due just then
					t.Fatalf("polls with %q", states)
				}
				if got.err != nil || got.Status != "active" || string(got.State) != fmt.Sprint(len(states)) {
					t.Errorf("%+v", got)
				}
			}
		})
	})

	t.Run("IsRefusedWhileNothingIsPolled", func(t *testing.T) {
		t.Parallel()
		watch(t, engine.Options{PollTimeout: time.Hour}, func(t *testing.T, w watched) {
			code := func(want engine.Code, err error) {
				t.Helper()
				if engine.CodeOf(err) != want {
					t.Errorf("%q: %v", engine.CodeOf(err), err)
				}
			}
			_, err := w.e.PollNow(t.Context(), w.callback.ID, w.instance.ID, "received")
			code(engine.CodeBadRequest, err)
			hold := make(chan struct{})
			w.set(hold, nil)
			a := w.later(1)[0]
			must(w.update(engine.UpdateInstanceTrigger{Status: new("paused")}))(t)
			close(hold)
			code(engine.CodeConflict, (<-a).err) // while it was waited for
			_, err = w.pollNow(t.Context())
			code(engine.CodeConflict, err)
			must(w.update(engine.UpdateInstanceTrigger{Status: new("active")}))(t)
			time.Sleep(2 * time.Second)
			w.set(make(chan struct{}), nil)
			a = w.later(1)[0]
			stopping, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := w.e.Stop(stopping); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("stop: %v", err)
			}
			code(engine.CodeUnavailable, (<-a).err) // while it was being stopped
			_, err = w.pollNow(t.Context())
			code(engine.CodeUnavailable, err)
		})
		e := open(t, engine.Options{Providers: []engine.Provider{new(held).provider()}})
		s := attach(t, e, "held", engine.DestinationSettings{URL: "http://receiver.test"})
		if _, err := e.PollNow(t.Context(), s.callback.ID, s.instance.ID, "polled"); engine.CodeOf(err) != engine.CodeUnavailable {
			t.Errorf("not started: %v", err)
		}
	})
}

func TestUpdateInstanceTrigger(t *testing.T) {
	t.Parallel()

	// A barrier: the state is set while a poll with the old one is in flight.
	t.Run("APollWithTheOldStateDoesNotOverwriteTheNewOne", func(t *testing.T) {
		t.Parallel()
		watch(t, engine.Options{PollTimeout: time.Hour}, func(t *testing.T, w watched) {
			time.Sleep(time.Hour - 11*time.Minute)
			hold := make(chan struct{})
			w.set(hold, nil)
			time.Sleep(2 * time.Minute)
			for _, state := range []string{`{"a":1}`, `{"a":2}`} {
				must(w.update(engine.UpdateInstanceTrigger{State: new(json.RawMessage(state))}))(t)
			}
			w.set(nil, nil)
			close(hold)
			time.Sleep(2 * time.Second)
			if states := w.seen(); !slices.Equal(states, []string{"", "1", `{"a":2}`}) {
				t.Errorf("polls with %q", states)
			}
			events := must(w.e.ListEvents(t.Context(), w.callback.ID, engine.EventFilter{SourceIDs: []string{"1", "2", "3", "same"}}, engine.Page{}))(t)
			if n := len(events.Items); n != 3 { // what the second poll found is dropped
				t.Errorf("%d events", n)
			}
		})
	})

	t.Run("WhatAPausedTriggerFoundIsFoundAgain", func(t *testing.T) {
		t.Parallel()
		watch(t, engine.Options{PollTimeout: 24 * time.Hour}, func(t *testing.T, w watched) {
			time.Sleep(time.Hour - 11*time.Minute)
			hold := make(chan struct{})
			w.set(hold, nil)
			time.Sleep(2 * time.Minute)
			must(w.update(engine.UpdateInstanceTrigger{Status: new("paused")}))(t)
			w.set(nil, nil)
			close(hold)
			time.Sleep(2 * time.Hour)
			got := w.trigger(t)
			if got.Status != "paused" || string(got.State) != "1" || !got.NextPollAt.IsZero() || len(w.seen()) != 2 {
				t.Errorf("%+v after %d polls", got, len(w.seen()))
			}
			must(w.update(engine.UpdateInstanceTrigger{Status: new("active")}))(t)
			time.Sleep(2 * time.Second)
			if states := w.seen(); !slices.Equal(states, []string{"", "1", "1"}) {
				t.Errorf("polls with %q", states)
			}
		})
	})

	t.Run("NamesEveryWrongField", func(t *testing.T) {
		t.Parallel()
		e := open(t, engine.Options{Providers: []engine.Provider{new(held).provider()}})
		s := attach(t, e, "held", engine.DestinationSettings{URL: "http://receiver.test"})
		for state, code := range map[string]string{"{": "invalid_type", strings.Repeat("[", 501) + strings.Repeat("]", 501): "invalid_max", `"` + strings.Repeat("a", 1<<20) + `"`: "max_length", "": "invalid_type"} {
			_, err := e.UpdateInstanceTrigger(t.Context(), s.callback.ID, s.instance.ID, "polled", engine.UpdateInstanceTrigger{Status: new("off"), State: new(json.RawMessage(state))})
			refused, ok := errors.AsType[*engine.Error](err)
			if !ok || len(refused.Fields) != 2 || refused.Fields[0].Code != "invalid_enum" || refused.Fields[1].Code != code {
				t.Errorf("%.10q: %v", state, err)
			}
		}
	})
}

// A pause is no trouble: whoever paused a trigger that was stuck is not told of it any longer.
func TestPausedTriggerIsNotStuck(t *testing.T) {
	t.Parallel()
	h := new(held)
	withLog(t, engine.Options{Providers: []engine.Provider{h.provider()}}, delivered, func(t *testing.T, e *engine.Engine, l *logged) {
		h.set(nil, errors.New("because"))
		w := watched{h, attach(t, e, "held", engine.DestinationSettings{URL: "http://receiver.test"}), e}
		must(e.UpdateCallback(t.Context(), w.callback.ID, engine.UpdateCallback{PollIntervalOverride: new(10 * time.Second)}))(t)
		start(t, e)
		time.Sleep(5*time.Minute + 3*time.Second) // between two polls
		if n := e.Health().StuckTriggers; n != 1 {
			t.Fatalf("%d are stuck", n)
		}
		must(w.update(engine.UpdateInstanceTrigger{Status: new("paused")}))(t)
		if n := e.Health().StuckTriggers; n != 0 || l.count("INFO", "is paused") != 1 || l.count("INFO", "a trigger was changed") != 1 {
			t.Errorf("%d are stuck after a pause", n)
		}
		time.Sleep(10 * time.Minute)
		if n := e.Health().StuckTriggers; n != 0 || l.count("WARN", "is stuck") != 1 {
			t.Errorf("%d are stuck after a long pause", n)
		}
		h.set(nil, nil)
		must(w.update(engine.UpdateInstanceTrigger{Status: new("active")}))(t)
		time.Sleep(time.Minute)
		if got := w.trigger(t); got.Status != "active" || got.LastError != nil || *got.Lag > time.Second || e.Health().StuckTriggers != 0 {
			t.Errorf("%+v, lag %s", got, got.Lag)
		}
	})
}

// How late polls are is told of the last one, or of the next one if that is worse; a poll that is
// just being made is not late.
func TestLagIsThatOfTheLastPollOrOfTheNext(t *testing.T) {
	t.Parallel()
	watch(t, engine.Options{PollTimeout: 24 * time.Hour}, func(t *testing.T, w watched) {
		lag := func(what string, want time.Duration) {
			t.Helper()
			for _, got := range []engine.InstanceTrigger{w.trigger(t), must(w.e.Instance(t.Context(), w.callback.ID, w.instance.ID))(t).Triggers[0],
				must(w.e.ListInstances(t.Context(), w.callback.ID, engine.InstanceFilter{}, engine.Page{}))(t).Items[0].Triggers[0]} {
				if (*got.Lag - want).Abs() > time.Second {
					t.Errorf("%s: %s, not %s", what, got.Lag, want)
				}
			}
		}
		lag("on time", 0)
		hold := make(chan struct{})
		w.set(hold, nil)
		time.Sleep(2 * time.Hour)
		lag("while it is polled", 0)
		close(hold)
		if err := w.e.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Hour)
		lag("overdue", 4*time.Hour+10*time.Minute)
	})
}

func TestStateThatIsNotJSONFailsThePoll(t *testing.T) {
	t.Parallel()
	p := engine.Provider{Key: "p", Triggers: []engine.Trigger{{Key: "polled", Poll: func(context.Context, engine.PollRequest) (engine.PollResult, error) {
		return engine.PollResult{State: json.RawMessage("{")}, nil
	}}}}
	inVirtualTime(t, engine.Options{Providers: []engine.Provider{p}}, delivered, func(t *testing.T, e *engine.Engine) {
		s := attach(t, e, "p", engine.DestinationSettings{URL: "http://receiver.test"})
		start(t, e)
		got := must(e.PollNow(t.Context(), s.callback.ID, s.instance.ID, "polled"))(t)
		if got.Status != "failing" || got.State != nil || !strings.Contains(got.LastError.Message, "not JSON") {
			t.Errorf("%+v", got)
		}
	})
}
