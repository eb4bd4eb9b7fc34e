package engine

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/callbackd/callbackd/store"
)

const (
	// tendEvery is how often the file is looked after.
	tendEvery = time.Second
	// probeEvery is how often a file that could not be written is tried again.
	probeEvery = 2 * time.Second
	// stillAfter is for how long polls, or deliveries, may not have looked for what is due.
	stillAfter = 30 * time.Second
)

// Health is how an engine is.
type Health struct {
	// Reasons are why it is not ready, in words that give nothing away: it does not run, cannot
	// write, or does not poll or deliver. None: it is ready.
	Reasons []string
	// StuckTriggers is how many triggers have had no successful poll for three of their intervals,
	// and FailingDestinations how many active destinations failed at each of their last five
	// attempts, since the engine was started. Those are others' failures: they do not keep it
	// from being ready.
	StuckTriggers       int
	FailingDestinations int
}

// Ready tells whether events are accepted, polls made and deliveries attempted.
func (h Health) Ready() bool { return len(h.Reasons) == 0 }

// Health tells how the engine is, from memory: it neither reads nor writes the file, and may
// be asked as often as one likes.
func (e *Engine) Health() Health {
	h := Health{StuckTriggers: e.stuck.total(), FailingDestinations: e.failing.count()}
	state := e.state.Load()
	switch state {
	case lifeNew:
		h.Reasons = append(h.Reasons, "the engine was not started")
	case lifeStopped:
		h.Reasons = append(h.Reasons, "the engine is stopping, or has stopped")
	}
	if err := e.store.WriteError(); err != nil {
		h.Reasons = append(h.Reasons, "the database cannot be written: "+store.Trouble(err))
	}
	if state == lifeRunning {
		if d := e.poller.looked.ago(); d > stillAfter {
			h.Reasons = append(h.Reasons, fmt.Sprintf("polls stand still: what is due could not be read for %s", d.Round(time.Second)))
		}
		if d := e.poller.blocked(); d > 0 {
			h.Reasons = append(h.Reasons, fmt.Sprintf("polls stand still: all that may run at a time have been running for %s, past their deadlines", d.Round(time.Second)))
		}
		if d := e.deliverer.looked.ago(); d > stillAfter {
			h.Reasons = append(h.Reasons, fmt.Sprintf("deliveries stand still: what is due could not be read for %s", d.Round(time.Second)))
		}
	}
	return h
}

// heartbeat is when something was seen to work last, by the monotonic clock.
type heartbeat struct{ at atomic.Pointer[time.Time] }

func (b *heartbeat) beat() {
	now := time.Now()
	b.at.Store(&now)
}

// ago is how long ago that was; 0: it has not begun.
func (b *heartbeat) ago() time.Duration {
	if at := b.at.Load(); at != nil {
		return time.Since(*at)
	}
	return 0
}

// tend looks after the file until ctx ends: whether it is still there, and whether it can be
// written again when it could not.
func (e *Engine) tend(ctx context.Context) {
	ticker := time.NewTicker(tendEvery)
	defer ticker.Stop()
	probed := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		e.store.CheckFile()
		if e.store.WriteError() == nil || time.Since(probed) < probeEvery {
			continue
		}
		probed = time.Now()
		if e.store.ProbeWrite(ctx) == nil {
			e.poller.wake()
		}
	}
}
