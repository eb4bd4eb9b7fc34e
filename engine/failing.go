package engine

import (
	"log/slog"
	"sync"
)

const (
	// failingAfter is how many attempts in a row have to fail for their destination to count as
	// failing.
	failingAfter = 5
	// maxFailing bounds the destinations whose failures are counted.
	maxFailing = 100_000
)

// failing counts, by destination id, the attempts that failed since the last that did not. It
// is in memory alone: a write for each attempt would cost more than it tells.
type failing struct {
	log *slog.Logger

	mu   sync.Mutex
	runs map[string]run
	many int // runs of failingAfter or more
}

// run is an unbroken row of failed attempts.
type run struct {
	attempts int
	last     Failure
}

func newFailing(log *slog.Logger) *failing { return &failing{log: log, runs: make(map[string]run)} }

// attempted takes note of an attempt; failure nil: it succeeded.
func (f *failing) attempted(destination string, failure *Failure) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r, known := f.runs[destination]
	switch {
	case failure == nil:
		if f.drop(destination) {
			f.log.Info("a destination takes deliveries again", keyDestination, destination, "failed_attempts", r.attempts)
		}
		return
	case !known && len(f.runs) >= maxFailing:
		return
	}
	r.attempts++
	r.last = *failure
	f.runs[destination] = r
	if r.attempts == failingAfter {
		f.many++
		f.log.Warn("a destination is failing: none of its last attempts succeeded", keyDestination, destination, "attempts", r.attempts, keyErrorCode, failure.Code, keyError, failure.Message)
	}
}

// forget ends the row of a destination that is another one now, or none.
func (f *failing) forget(destination string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drop(destination)
}

// drop tells whether the destination was failing. f.mu is held.
func (f *failing) drop(destination string) bool {
	was := f.runs[destination].attempts >= failingAfter
	if was {
		f.many--
	}
	delete(f.runs, destination)
	return was
}

func (f *failing) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.many
}

// show puts into a destination how its attempts go.
func (f *failing) show(d *Destination) {
	switch d.Status {
	case "disabled":
		d.LastError = new(d.EndedFailure())
		return
	case "archived":
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if r := f.runs[d.ID]; r.attempts > 0 {
		d.ConsecutiveFailures, d.LastError = r.attempts, &r.last
	}
}

func (f *failing) showAll(list []Destination) {
	for i := range list {
		f.show(&list[i])
	}
}

// shown is a callback with its destinations as they are.
func (e *Engine) shown(c Callback, err error) (Callback, error) {
	e.failing.showAll(c.Destinations)
	return c, wrap(err)
}
