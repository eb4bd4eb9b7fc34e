package engine

import (
	"context"
	"sync"
	"time"
)

// alarm wakes a loop at the earliest of the times that it was set to since the loop last began a
// round, but leaves it a pause after that, however soon the next thing is due.
type alarm struct {
	wake  func() // never blocks
	pause time.Duration

	mu    sync.Mutex
	begun time.Time // the loop's last round
	at    time.Time // zero: it is not set
	timer *time.Timer
}

// begin is called when the loop begins a round, and forgets what it was woken for.
func (a *alarm) begin() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.begun, a.at = time.Now(), time.Time{}
	if a.timer != nil {
		a.timer.Stop()
	}
}

// set has the loop woken after some time, if it is not to be woken sooner.
func (a *alarm) set(in time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	at := latest(now.Add(in), a.begun.Add(a.pause))
	if !a.at.IsZero() && !at.Before(a.at) {
		return
	}
	a.at = at
	if a.timer == nil {
		a.timer = time.AfterFunc(at.Sub(now), a.wake)
	} else {
		a.timer.Reset(at.Sub(now))
	}
}

// planPoll has the loop look when a poll is due, if that is before it looks anyway. Due times are
// whole milliseconds; one more is for a clock that runs a hair slower than timers do.
func (p *poller) planPoll(at time.Time) {
	if in := at.Sub(p.e.now()); in < time.Second {
		p.alarm.set(max(in, 0) + time.Millisecond)
	}
}

// planNext is planPoll for the first that is due after now, of which what has become due meanwhile is a
// part. If it cannot be read, the next second comes all the same.
func (p *poller) planNext(loop context.Context, now time.Time) {
	if next, err := p.e.store.NextPoll(loop, now, now.Add(time.Second)); err == nil && !next.IsZero() {
		p.planPoll(next)
	}
}
