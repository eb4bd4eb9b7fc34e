package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// wallClock is a clock that can be set.
type wallClock struct{ ahead atomic.Int64 }

func (c *wallClock) now() time.Time       { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *wallClock) set(by time.Duration) { c.ahead.Add(int64(by)) }

var jumps = []time.Duration{time.Hour, -time.Hour, 24 * time.Hour, -24 * time.Hour}

// Whenever and however the clock is set, triggers are polled once per interval.
func TestClock_PollsKeepTheirInterval(t *testing.T) {
	t.Parallel()
	for _, by := range jumps {
		t.Run(by.String(), func(t *testing.T) {
			t.Parallel()
			var wall wallClock
			var polls attempts
			p := engine.Provider{Key: "p", Triggers: []engine.Trigger{{Key: "t", Interval: 10 * time.Minute, Poll: func(context.Context, engine.PollRequest) (engine.PollResult, error) {
				polls.add()
				return engine.PollResult{}, nil
			}}}}
			inVirtualTime(t, engine.Options{Now: wall.now, Providers: []engine.Provider{p}}, nil, func(t *testing.T, e *engine.Engine) {
				s := attach(t, e, "p", engine.DestinationSettings{URL: "http://receiver.test"})
				polls.start = time.Now()
				start(t, e)
				time.Sleep(15 * time.Minute)
				wall.set(by)
				time.Sleep(10 * time.Minute)
				tr := must(e.Instance(t.Context(), s.callback.ID, s.instance.ID))(t).Triggers[0]
				if in := tr.NextPollAt.Sub(wall.now()); in < 4*time.Minute || in > 6*time.Minute {
					t.Errorf("the next poll is in %s", in)
				}
				if ago := wall.now().Sub(tr.LastPolledAt); ago < 4*time.Minute || ago > 6*time.Minute {
					t.Errorf("the last poll was %s ago", ago)
				}
				time.Sleep(20 * time.Minute)
				for i, at := range polls.times() {
					if late := at - time.Duration(i)*10*time.Minute; late < -time.Second || late > 2*time.Second {
						t.Errorf("poll %d was %s late", i+1, late)
					}
				}
				if n := len(polls.times()); n != 5 {
					t.Errorf("%d polls in 45 minutes", n)
				}
			})
		})
	}
}

// Retries are made when they would have been made, those in memory and those in the table.
func TestClock_RetriesKeepTheirDelays(t *testing.T) {
	t.Parallel()
	for _, by := range jumps {
		t.Run(by.String(), func(t *testing.T) {
			t.Parallel()
			var wall wallClock
			var a attempts
			down := func(*http.Request) (*http.Response, error) { a.add(); return answer(502, nil, "down"), nil }
			inVirtualTime(t, engine.Options{Now: wall.now, Providers: []engine.Provider{(&source{}).provider()}}, down, func(t *testing.T, e *engine.Engine) {
				s := attach(t, e, "source", engine.DestinationSettings{URL: "http://receiver.test", Retry: engine.Retry{Type: engine.RetryExponential, MaxAttempts: 6, Delay: 20 * time.Second}})
				a.start = time.Now()
				start(t, e)
				publish(t, e, s.callback.ID)
				time.Sleep(30 * time.Second)
				wall.set(by)
				time.Sleep(100 * time.Second)
				wall.set(-by)
				time.Sleep(30 * time.Minute)
				want := []time.Duration{0, 20 * time.Second, time.Minute, 140 * time.Second, 300 * time.Second, 620 * time.Second}
				got := a.times()
				if len(got) != len(want) {
					t.Fatalf("attempts at %v, want %v", got, want)
				}
				for i := range want {
					if late := got[i] - want[i]; late < -time.Second || late > 2*time.Second {
						t.Errorf("attempts at %v, want %v", got, want)
					}
				}
			})
		})
	}
}

func TestClock_MappingsKeepTheirDelays(t *testing.T) {
	t.Parallel()
	for _, by := range jumps {
		t.Run(by.String(), func(t *testing.T) {
			t.Parallel()
			var wall wallClock
			var tries attempts
			p := engine.Provider{Key: "p", Triggers: []engine.Trigger{{Key: "t", Interval: 24 * time.Hour,
				Poll: func(context.Context, engine.PollRequest) (engine.PollResult, error) {
					return engine.PollResult{Inputs: []json.RawMessage{json.RawMessage(`{}`)}}, nil
				},
				Map: func(context.Context, engine.MapRequest) (engine.Mapped, error) {
					tries.add()
					return engine.Mapped{}, errors.New("not yet")
				}}}}
			inVirtualTime(t, engine.Options{Now: wall.now, Providers: []engine.Provider{p}}, nil, func(t *testing.T, e *engine.Engine) {
				attach(t, e, "p", engine.DestinationSettings{URL: "http://receiver.test"})
				tries.start = time.Now()
				start(t, e)
				for range 8 {
					time.Sleep(30 * time.Second)
					wall.set(by)
				}
				time.Sleep(time.Hour)
				want := []time.Duration{0, 10 * time.Second, 70 * time.Second, 370 * time.Second, 2170 * time.Second}
				got := tries.times()
				if len(got) != len(want) {
					t.Fatalf("mapped at %v, want %v", got, want)
				}
				for i := range want {
					if late := got[i] - want[i]; late < 0 || late > 5*time.Second {
						t.Errorf("mapped at %v, want %v", got, want)
					}
				}
			})
		})
	}
}

// Set again and again under load, the clock makes no attempt early, late or twice, and loses
// none.
func TestClock_UnderLoad(t *testing.T) {
	t.Parallel()
	var wall wallClock
	var mu sync.Mutex
	made := make(map[string]time.Time) // by notification and attempt
	polls := 0
	var wrong []string
	f := engine.Function{Name: "f", Retry: engine.Retry{Type: engine.RetryLinear, Delay: 5 * time.Second, MaxAttempts: 5}, Handle: func(_ context.Context, m engine.Message) error {
		mu.Lock()
		defer mu.Unlock()
		key := fmt.Sprint(m.NotificationID, " attempt ", m.Attempt)
		if !made[key].IsZero() {
			wrong = append(wrong, key+" was made twice")
		}
		made[key] = time.Now()
		if m.Attempt > 1 {
			after := time.Since(made[fmt.Sprint(m.NotificationID, " attempt ", m.Attempt-1)])
			if want := time.Duration(m.Attempt-1) * 5 * time.Second; after < want-100*time.Millisecond || after > want+5*time.Second {
				wrong = append(wrong, fmt.Sprint(key, " was made after ", after))
			}
		}
		if m.Attempt < 3 && strings.HasSuffix(m.SourceID, "7") {
			return errors.New("try again")
		}
		delete(made, "open "+m.SourceID)
		return nil
	}}
	n := 0
	var triggers []engine.Trigger
	for i := range 4 {
		triggers = append(triggers, engine.Trigger{Key: fmt.Sprint("t", i), Interval: time.Second, Poll: func(context.Context, engine.PollRequest) (engine.PollResult, error) {
			mu.Lock()
			defer mu.Unlock()
			polls++
			var r engine.PollResult
			for range 8 {
				n++
				made[fmt.Sprint("open ", n)] = time.Now()
				text, err := json.Marshal(engine.Mapped{Type: "x", SourceID: fmt.Sprint(n)})
				if err != nil {
					return r, err
				}
				r.Inputs = append(r.Inputs, text)
			}
			return r, nil
		}})
	}
	inVirtualTime(t, engine.Options{Now: wall.now, Providers: []engine.Provider{{Key: "p", Triggers: triggers}}, Functions: []engine.Function{f}}, nil, func(t *testing.T, e *engine.Engine) {
		c := functionCallback(t, e, "p", "f")
		start(t, e)
		for i := range 8 {
			time.Sleep(4*time.Second + 300*time.Millisecond)
			wall.set(jumps[i%len(jumps)] + time.Duration(i)*time.Minute)
		}
		l := must(e.ListInstances(t.Context(), c.ID, engine.InstanceFilter{}, engine.Page{}))(t)
		must(e.DetachInstance(t.Context(), c.ID, l.Items[0].ID))(t)
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		for _, text := range wrong[:min(10, len(wrong))] {
			t.Error(text)
		}
		for key := range made {
			if strings.HasPrefix(key, "open ") {
				t.Errorf("%s was never delivered", key)
			}
		}
		if polls < 4*30 || polls > 4*38 {
			t.Errorf("%d polls of 4 triggers in 35 s", polls)
		}
	})
}

// A clock that was set back while nobody ran stalls nothing, and is set right once.
func TestClock_SetBackBetweenRuns(t *testing.T) {
	t.Parallel()
	for _, by := range []time.Duration{-time.Hour, -24 * time.Hour} {
		t.Run(by.String(), func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "x.db")
			synctest.Test(t, func(t *testing.T) {
				var wall wallClock
				var a, polls attempts
				p := engine.Provider{Key: "p", Triggers: []engine.Trigger{{Key: "t", Interval: 10 * time.Minute, Poll: func(context.Context, engine.PollRequest) (engine.PollResult, error) {
					polls.add()
					return engine.PollResult{}, nil
				}}}}
				down := roundTrip(func(*http.Request) (*http.Response, error) { a.add(); return answer(502, nil, "down"), nil })
				open := func() *engine.Engine {
					return must(engine.Open(t.Context(), engine.Options{Path: path, NoSync: true, Now: wall.now, Random: func() float64 { return 0.5 }, Providers: []engine.Provider{p},
						HTTPClient: &http.Client{Transport: down}, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}))(t)
				}
				e := open()
				s := attach(t, e, "p", engine.DestinationSettings{URL: "http://receiver.test", Retry: engine.Retry{Type: engine.RetryLinear, MaxAttempts: 5, Delay: 5 * time.Minute}})
				a.start, polls.start = time.Now(), time.Now()
				start(t, e)
				publish(t, e, s.callback.ID)
				for i := range 3 {
					time.Sleep(time.Minute)
					if err := e.Close(); err != nil {
						t.Fatal(err)
					}
					if i == 0 {
						wall.set(by)
					}
					e = open()
					start(t, e)
				}
				time.Sleep(time.Hour)
				// From the file it is known only that the clock is behind the last event: a minute is lost.
				want := []time.Duration{0, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute, 50 * time.Minute}
				got := a.times()
				if !slices.EqualFunc(got, want, func(a, b time.Duration) bool { return a-b >= -time.Second && a-b <= time.Minute+2*time.Second }) {
					t.Errorf("attempts at %v, want %v", got, want)
				}
				if n := len(polls.times()); n < 6 || n > 7 {
					t.Errorf("polls at %v", polls.times())
				}
				if err := e.Close(); err != nil {
					t.Error(err)
				}
				synctest.Wait()
			})
		})
	}
}

// Many triggers that were all late, because the process stood still with its clocks running or
// was not there, come back one poll each, and as spread out as they were.
func TestClock_LateTriggersStaySpreadOut(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	synctest.Test(t, func(t *testing.T) {
		var polls attempts
		p := engine.Provider{Key: "p", Triggers: []engine.Trigger{{Key: "t", Interval: 10 * time.Minute, Poll: func(context.Context, engine.PollRequest) (engine.PollResult, error) {
			polls.add()
			return engine.PollResult{}, nil
		}}}}
		open := func() *engine.Engine {
			return must(engine.Open(t.Context(), engine.Options{Path: path, NoSync: true, Random: func() float64 { return 0.5 }, Providers: []engine.Provider{p}}))(t)
		}
		e := open()
		start(t, e)
		d := must(e.CreateDeployment(t.Context(), engine.NewDeployment{Provider: "p"}))(t)
		c := must(e.CreateCallback(t.Context(), engine.NewCallback{Details: engine.Details{Name: "c"}, DeploymentID: d.ID}))(t)
		for range 20 {
			config := must(e.CreateConfig(t.Context(), engine.NewConfig{Provider: "p", Value: json.RawMessage(`{}`)}))(t)
			must(e.AttachInstance(t.Context(), c.ID, engine.NewInstance{ConfigID: config.ID}))(t)
			time.Sleep(30 * time.Second)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(24*time.Hour + 7*time.Second)
		polls.start, polls.at = time.Now(), nil
		e = open()
		start(t, e)
		time.Sleep(9*time.Minute + 50*time.Second)
		got := polls.times()
		if late := len(got) - 20; late < 17 || late > 20 {
			t.Errorf("%d polls", len(got))
		}
		for i := 21; i < len(got); i++ {
			if apart := got[i] - got[i-1]; apart < 28*time.Second || apart > 32*time.Second {
				t.Errorf("polls %s apart, want 30 s: %v", apart, got)
				break
			}
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
	})
}
