package engine

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/callbackd/callbackd/store"
)

const (
	// recordBatch is how many outcomes go into one write.
	recordBatch = 128
	// maxUnrecorded is how many outcomes wait in memory to be recorded, besides those of the
	// attempts that wait with them. Each may have a response of 24 KiB.
	maxUnrecorded = 1024
)

// recorder writes outcomes, as many at a time as there are. A notification stays in hand
// until its outcome is in the table. While the store cannot write, outcomes wait, and once
// they fill the recorder's room, attempts wait with them.
type recorder struct {
	e        *Engine
	d        *deliverer
	outcomes chan recorded
	wg       sync.WaitGroup
}

// recorded is an outcome to be recorded.
type recorded struct {
	delivery store.Delivery
	outcome  store.Outcome
	gone     *endpoint     // the destination, as it was, if it answered 410
	moved    time.Duration // by how much the clock was set when the outcome's next attempt was planned
}

func newRecorder(e *Engine, d *deliverer) *recorder {
	return &recorder{e: e, d: d, outcomes: make(chan recorded, maxUnrecorded)}
}

// start begins to record. work is only a hint that we are stopping: outcomes are recorded
// all the same.
func (r *recorder) start(work context.Context) { r.wg.Go(func() { r.loop(work) }) }

// stop records what is left. No more outcomes may come.
func (r *recorder) stop() {
	close(r.outcomes)
	r.wg.Wait()
}

func (r *recorder) record(o recorded) { r.outcomes <- o }

func (r *recorder) loop(work context.Context) {
	batch := make([]recorded, 0, recordBatch)
	for first := range r.outcomes {
		batch = append(batch[:0], first)
	fill:
		for len(batch) < recordBatch {
			select {
			case next, ok := <-r.outcomes:
				if !ok {
					break fill
				}
				batch = append(batch, next)
			default:
				break fill
			}
		}
		r.write(work, batch)
		clear(batch)
	}
}

// write stores a batch and lets its notifications go.
func (r *recorder) write(work context.Context, batch []recorded) {
	ctx := context.WithoutCancel(work)
	for i := range batch {
		if batch[i].gone != nil {
			r.disable(work, &batch[i])
		}
	}
	if r.retry(work, func() error { return r.commit(ctx, batch) }) {
		return
	}
	for i := range batch { // should one of them be what the store refuses, the others need not suffer
		if work.Err() != nil && r.e.store.WriteError() != nil { // but each would only wait for the disk
			r.d.postpone(batch[i].delivery)
			continue
		}
		one := batch[i : i+1]
		if !r.retry(work, func() error { return r.commit(ctx, one) }) {
			r.d.postpone(one[0].delivery)
		}
	}
}

// commit stores outcomes and, once they are stored, lets their notifications go.
func (r *recorder) commit(ctx context.Context, batch []recorded) (err error) {
	r.e.clock.plan(func() {
		now, moved := r.e.clock.read()
		outcomes := make([]store.Outcome, len(batch))
		for i := range batch {
			if b := &batch[i]; b.moved != moved { // the clock was set since
				if !b.outcome.NextAttemptAt.IsZero() {
					b.outcome.NextAttemptAt = b.outcome.NextAttemptAt.Add(moved - b.moved)
				}
				b.moved = moved
			}
			outcomes[i] = batch[i].outcome
		}
		if err = r.e.store.RecordOutcomes(ctx, now, outcomes); err != nil {
			return
		}
		for i := range batch {
			o := &outcomes[i]
			if !o.NextAttemptAt.IsZero() {
				r.e.clock.wrote("notification", o.Seq)
			}
			r.d.settle(batch[i].delivery.DestinationSeq, o.Seq, o.NextAttemptAt)
		}
	})
	return err
}

// disable ends a destination that answered 410. If its URL was changed meanwhile, it was
// another one that answered so, and the notification goes on to the new one, as far as its
// attempts reach.
func (r *recorder) disable(work context.Context, b *recorded) {
	ctx := context.WithoutCancel(work)
	var now store.Destination
	done := r.retry(work, func() (err error) {
		now, err = r.e.store.EndDestination(ctx, r.e.now(), b.gone.ID, "disabled", b.gone.URL)
		return err
	})
	switch {
	case !done: // whoever asks it next is told the same
	case now.Status == "active":
		if b.outcome.Attempt.Number < b.gone.Retry.MaxAttempts {
			var at time.Time
			at, b.moved = r.e.clock.read()
			b.outcome.NextAttemptAt = at.Add(minRetryDelay)
		}
	default:
		if now.Status == "disabled" {
			r.e.log.WarnContext(work, "a destination answered 410 Gone and is disabled: what waits for it fails", keyDestination, b.gone.ID)
		}
		r.e.failing.forget(b.gone.ID)
		r.d.endLane(b.delivery.DestinationSeq)
	}
	r.e.logAttempt(work, b.delivery, b.gone, b.outcome)
}

// retry runs a write until it succeeds, as long as the fault is the store's and we are not
// being stopped.
func (r *recorder) retry(work context.Context, write func() error) bool {
	for {
		err := write()
		if err == nil {
			return true
		}
		if !errors.Is(err, store.ErrUnavailable) {
			r.e.log.ErrorContext(work, "outcomes could not be recorded", keyError, err)
			return false
		}
		r.e.log.DebugContext(work, "outcomes wait until the store can write", keyError, err) // which the store tells
		select {
		case <-work.Done():
			return false
		case <-time.After(storeRetry):
		}
	}
}

// logAttempt is the one record of an attempt. A destination's failure is an expected outcome,
// and no error of ours.
func (e *Engine) logAttempt(ctx context.Context, n store.Delivery, p *endpoint, o store.Outcome) {
	level, text := slog.LevelDebug, "delivered"
	if o.Attempt.Failure != nil {
		level, text = slog.LevelWarn, "delivery failed, will be tried again"
		if o.NextAttemptAt.IsZero() {
			text = "delivery failed for good"
		}
	}
	if !e.log.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{slog.String(keyNotification, n.NotificationID), slog.String(keyEvent, n.EventID), slog.String("type", n.Type),
		slog.String(keyDestination, p.ID), slog.Int(keyAttempt, o.Attempt.Number), slog.Duration(keyDuration, o.Attempt.Duration)}
	if o.Attempt.Response != nil {
		attrs = append(attrs, slog.Int("status", o.Attempt.Response.StatusCode))
	}
	if f := o.Attempt.Failure; f != nil {
		attrs = append(attrs, slog.String(keyErrorCode, f.Code), slog.String(keyError, f.Message))
	}
	if !o.NextAttemptAt.IsZero() {
		attrs = append(attrs, slog.Time(keyNext, o.NextAttemptAt))
	}
	e.log.LogAttrs(ctx, level, text, attrs...)
}
