package engine

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/callbackd/callbackd/store"
)

const (
	// clockTolerance is by how much the wall clock may differ from the time that has really passed,
	// since they were last compared, and be believed.
	clockTolerance = 3 * time.Second
	// clockEvery is how often they are compared.
	clockEvery = time.Second
	// dueMoveBatch is how many due times are moved in one transaction, while nobody else may
	// write one.
	dueMoveBatch = 1000
)

// clock is the engine's time: that of the wall clock, but steady. Between two comparisons it
// follows the wall clock only as far as that agrees with the monotonic one. A wall clock that
// was set, by a person or after a sleep of the machine, during which the monotonic one stands
// still, is believed once everything that is planned moves along with it.
type clock struct {
	wall func() time.Time
	last atomic.Pointer[reading]

	// planning is held for reading from when a due time is computed until it is in the file and
	// in memory; for writing when due times move.
	planning sync.RWMutex
	moving   atomic.Bool // due times in the file are just being moved: nobody must act on them
	mu       sync.Mutex
	written  map[store.DueRow]bool // due times that came into the file since the move began
}

// reading is when the two clocks were compared last.
type reading struct {
	wall   time.Time     // without its monotonic part
	real   time.Time     // of which only the monotonic part counts
	moved  time.Duration // by how much the clock was set, in all
	steady bool          // somebody compares them every clockEvery
}

func newClock(wall func() time.Time) *clock {
	c := &clock{wall: wall}
	r := c.sample()
	c.last.Store(&r)
	return c
}

// sample reads both clocks at the same time: what passes between the two readings, when the
// process is stopped there, would be taken for a clock that was set.
func (c *clock) sample() reading {
	for {
		r := reading{real: time.Now(), wall: c.wall().Round(0)}
		if time.Since(r.real) < time.Second {
			return r
		}
	}
}

// now is the engine's time. Without somebody who compares the clocks it is the wall clock's.
func (c *clock) now() time.Time {
	now, _ := c.read()
	return now
}

// read is now, and by how much the clock was set until now, in all: what was computed before
// it was set is as much too early.
func (c *clock) read() (now time.Time, moved time.Duration) {
	last := c.last.Load()
	wall, steady := c.wall().Round(0), last.wall.Add(time.Since(last.real))
	if off := wall.Sub(steady); last.steady && (off > clockTolerance || off < -clockTolerance) {
		return steady, last.moved
	}
	return wall, last.moved
}

// off is by how much the wall clock was set since the last comparison; 0: it was not.
func (c *clock) off() time.Duration {
	last, now := c.last.Load(), c.sample()
	off := now.wall.Sub(last.wall.Add(now.real.Sub(last.real)))
	if off > clockTolerance || off < -clockTolerance {
		return off
	}
	return 0
}

// agree has the wall clock believed, and reckons that it was set by that much; that it was set
// once more since, the next comparison tells.
func (c *clock) agree(by time.Duration, steady bool) {
	last, now := c.last.Load(), c.sample()
	if by != 0 {
		now.wall = last.wall.Add(now.real.Sub(last.real) + by)
	}
	now.moved, now.steady = last.moved+by, steady
	c.last.Store(&now)
}

// plan lets fn compute due times and write them: no clock is set meanwhile. fn must not wait
// for anything but the store.
func (c *clock) plan(fn func()) {
	c.planning.RLock()
	defer c.planning.RUnlock()
	fn()
}

// wrote notes, within plan, that a due time has come into the file, which must not be moved if
// others are just being moved.
func (c *clock) wrote(table string, seq int64) {
	if !c.moving.Load() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.written[store.DueRow{Table: table, Seq: seq}] = true
}

// follow compares the clocks until ctx ends.
func (e *Engine) follow(ctx context.Context) {
	ticker := time.NewTicker(clockEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			e.clock.agree(0, false)
			return
		case <-ticker.C:
		}
		if e.clock.off() == 0 {
			e.clock.agree(0, true)
			continue
		}
		e.setClock(ctx)
	}
}

// setClock has the wall clock believed, and everything that is planned move along with it.
// While the store cannot write, the engine's time goes on as if nobody had set the clock.
func (e *Engine) setClock(ctx context.Context) {
	var m *store.DueMove
	for m == nil {
		var err error
		if m, err = e.beginSetClock(ctx); m == nil && !e.pause(ctx, err, "the clock was set, but that cannot be noted yet") {
			return
		}
	}
	for done := false; !done; {
		e.clock.planning.Lock()
		var err error
		done, err = e.store.MoveDue(ctx, m, e.now(), dueMoveBatch, func(r store.DueRow) bool { return e.clock.written[r] })
		if done {
			e.clock.moving.Store(false)
			e.clock.written = nil
		}
		e.clock.planning.Unlock()
		if err != nil && !e.pause(ctx, err, "due times cannot be moved yet") {
			return // the next Open goes on with it
		}
	}
	e.log.WarnContext(ctx, "the clock was set, or the machine slept: what is planned has moved along", "by", m.By.Round(time.Second).String(), "moved", m.Moved)
	e.poller.wake()
	e.deliverer.wake()
}

// beginSetClock sets the engine's time, and what is planned in memory. It returns nil if the
// clock is right after all, or if the store cannot write.
func (e *Engine) beginSetClock(ctx context.Context) (*store.DueMove, error) {
	e.clock.planning.Lock()
	defer e.clock.planning.Unlock()
	by := e.clock.off()
	if by == 0 {
		return nil, nil
	}
	m, err := e.store.BeginDueMove(ctx, e.clock.wall(), by)
	if err != nil {
		return nil, err
	}
	e.clock.written = make(map[store.DueRow]bool)
	e.clock.moving.Store(true)
	e.deliverer.mu.Lock()
	defer e.deliverer.mu.Unlock()
	e.poller.mu.Lock()
	defer e.poller.mu.Unlock()
	e.clock.agree(by, true)
	e.deliverer.shift(by)
	e.poller.shift(by)
	e.stuck.shift(by)
	return m, nil
}

// pause waits until the store may be able to write again. It tells whether to try again.
func (e *Engine) pause(ctx context.Context, err error, text string) bool {
	if err == nil || ctx.Err() != nil {
		return false
	}
	e.log.ErrorContext(ctx, text, keyError, err)
	select {
	case <-ctx.Done():
		return false
	case <-time.After(storeRetry):
		return true
	}
}

// openClock, before anything is due, ends a move of due times that was cut short, and begins
// one if the clock was set back while nobody ran: nothing that is planned would be done for
// as long. A clock that was set forwards cannot be told from time that has passed.
func (e *Engine) openClock(ctx context.Context) error {
	m, err := e.store.UnfinishedDueMove(ctx)
	if err == nil && m == nil {
		var back time.Duration
		if back, err = e.store.ClockSetBack(ctx, e.now()); err == nil && back > clockTolerance {
			m, err = e.store.BeginDueMove(ctx, e.now(), -back)
		}
	}
	if err != nil || m == nil {
		return err
	}
	for done := false; !done && err == nil; {
		done, err = e.store.MoveDue(ctx, m, e.now(), dueMoveBatch, nil)
	}
	if err == nil {
		e.log.WarnContext(ctx, "the clock was set while this file was not in use, or when it was used last: what is planned has moved along", "by", m.By.Round(time.Second).String(), "moved", m.Moved)
	}
	return err
}
