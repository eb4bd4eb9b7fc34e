package engine_test

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/callbackd/callbackd/engine"
)

func TestPollsAreMadeWhenTheyAreDue(t *testing.T) {
	t.Parallel()
	for _, phase := range []time.Duration{0, 300 * time.Millisecond, 900 * time.Millisecond} {
		for _, takes := range []time.Duration{0, 200 * time.Millisecond, 800 * time.Millisecond, 940 * time.Millisecond} {
			t.Run(phase.String()+"/"+takes.String(), func(t *testing.T) {
				t.Parallel()
				var mu sync.Mutex
				var polls []time.Time
				p := engine.Provider{Key: "p", Triggers: []engine.Trigger{{Key: "t", Interval: time.Second, Poll: func(context.Context, engine.PollRequest) (engine.PollResult, error) {
					mu.Lock()
					polls = append(polls, time.Now())
					mu.Unlock()
					time.Sleep(takes)
					return engine.PollResult{}, nil
				}}}}
				inVirtualTime(t, engine.Options{Providers: []engine.Provider{p}}, nil, func(t *testing.T, e *engine.Engine) {
					start(t, e)
					time.Sleep(phase)
					attached := time.Now()
					attach(t, e, "p", engine.DestinationSettings{URL: "http://receiver.test"})
					time.Sleep(time.Minute + 500*time.Millisecond)
					mu.Lock()
					defer mu.Unlock()
					if len(polls) != 61 {
						t.Errorf("%d polls in a good minute, want 61", len(polls))
					}
					for i, at := range polls {
						if late := at.Sub(attached) - time.Duration(i)*time.Second; late < 0 || late > 50*time.Millisecond {
							t.Errorf("poll %d was %s late", i+1, late)
						}
					}
				})
			})
		}
	}
}

// A source with times of its own is polled at each of them, every second too, however late one poll was.
func TestPollsAreMadeWhenTheirProviderAsks(t *testing.T) {
	t.Parallel()
	for _, takes := range []time.Duration{3 * time.Millisecond, 450 * time.Millisecond} {
		t.Run(takes.String(), func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			var polls []time.Time
			p := engine.Provider{Key: "p", Triggers: []engine.Trigger{{Key: "t", Interval: time.Hour, Poll: func(_ context.Context, r engine.PollRequest) (engine.PollResult, error) {
				mu.Lock()
				polls = append(polls, time.Now())
				mu.Unlock()
				time.Sleep(takes)
				return engine.PollResult{NextPollAt: r.Now.Truncate(time.Second).Add(time.Second)}, nil
			}}}}
			inVirtualTime(t, engine.Options{Providers: []engine.Provider{p}}, nil, func(t *testing.T, e *engine.Engine) {
				start(t, e)
				time.Sleep(637 * time.Millisecond)
				attach(t, e, "p", engine.DestinationSettings{URL: "http://receiver.test"})
				time.Sleep(10 * time.Minute)
				mu.Lock()
				defer mu.Unlock()
				if len(polls) != 601 {
					t.Errorf("%d polls in ten minutes, want 601", len(polls))
				}
				for i, at := range polls[2:] {
					if late := at.Sub(at.Truncate(time.Second)); late > 50*time.Millisecond {
						t.Errorf("poll %d was %s late", i+3, late)
						break
					}
				}
			})
		})
	}
}

// What becomes due while others wait for their turn is read when they have had it, and not at the next
// second.
func TestManyThatAreDueWaitForNoSecond(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var last time.Time
	polls := 0
	triggers := make([]engine.Trigger, 3)
	for i := range triggers {
		triggers[i] = engine.Trigger{Key: strconv.Itoa(i), Interval: time.Hour, Poll: func(context.Context, engine.PollRequest) (engine.PollResult, error) {
			time.Sleep(100 * time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			last = time.Now()
			polls++
			return engine.PollResult{}, nil
		}}
	}
	inVirtualTime(t, engine.Options{MaxPolls: 1, Providers: []engine.Provider{{Key: "p", Triggers: triggers}}}, nil, func(t *testing.T, e *engine.Engine) {
		start(t, e)
		began := time.Now()
		attach(t, e, "p", engine.DestinationSettings{URL: "http://receiver.test"})
		time.Sleep(50 * time.Millisecond)
		attach(t, e, "p", engine.DestinationSettings{URL: "http://receiver.test"})
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if took := last.Sub(began); polls != 6 || took > 700*time.Millisecond {
			t.Errorf("%d polls in %s", polls, took)
		}
	})
}
