package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// pollWatcher is a provider that finds nothing and notes when it was called. The state says
// when a trigger is due, which a provider is not told otherwise.
type pollWatcher struct {
	ahead atomic.Int64 // how far the engine's clock is, in nanoseconds

	mu      sync.Mutex
	polls   []watchedPoll
	running int
	most    int // that ran at once
}

// now is the engine's clock.
func (w *pollWatcher) now() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) }

func (w *pollWatcher) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.polls, w.most = nil, 0
}

type watchedPoll struct{ due, at time.Time }

type dueState struct {
	Due int64 `json:"due"`
}

func (w *pollWatcher) poll(_ context.Context, req engine.PollRequest) (engine.PollResult, error) {
	at := w.now()
	w.mu.Lock()
	w.running++
	w.most = max(w.most, w.running)
	w.mu.Unlock()
	var state dueState
	err := json.Unmarshal(req.State, &state)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running--
	if err != nil {
		return engine.PollResult{}, err
	}
	w.polls = append(w.polls, watchedPoll{time.UnixMilli(state.Due), at})
	// Where the next one is due, jitter decides: it is not looked at.
	return engine.PollResult{State: fmt.Appendf(nil, `{"due":%d}`, state.Due)}, nil
}

// lagsUntil are how late polls were that were made until then.
func (w *pollWatcher) lagsUntil(end time.Time) []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	var lags []time.Duration
	for _, p := range w.polls {
		if !p.at.After(end) {
			lags = append(lags, p.at.Sub(p.due))
		}
	}
	return lags
}

// polledOf counts the polls that were due before then.
func (w *pollWatcher) polledOf(before time.Time) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.polls {
		if p.due.Before(before) {
			n++
		}
	}
	return n
}

// until returns after n polls, or some time.
func (w *pollWatcher) until(ctx context.Context, n int, at time.Duration) error {
	for deadline := time.Now().Add(at); time.Now().Before(deadline); {
		if polled, _ := w.progress(); polled >= n {
			return nil
		}
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// progress is how many polls there were, from the first to the last.
func (w *pollWatcher) progress() (polled int, took time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.polls) == 0 {
		return 0, 0
	}
	return len(w.polls), w.polls[len(w.polls)-1].at.Sub(w.polls[0].at)
}

// peak is how many polls there were in the busiest second.
func (w *pollWatcher) peak() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	seconds := make(map[int64]int)
	for _, p := range w.polls {
		seconds[p.at.Unix()]++
	}
	most := 0
	for _, n := range seconds {
		most = max(most, n)
	}
	return most
}
