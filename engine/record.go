package engine

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/callbackd/callbackd/store"
)

// recordBatch is how many outcomes go into one write.
const recordBatch = 128

// recorder writes outcomes, as many at a time as there are. A notification stays in hand
// until its outcome is in the table. While the store cannot write, outcomes wait, and once
// they fill the recorder's room, attempts wait with them.
type recorder struct {
	e        *Engine
	d        *deliverer
	outcomes chan recorded
	wg       sync.WaitGroup
}

// recorded is an outcome, or word that a destination is gone.
type recorded struct {
	destination int64
	outcome     store.Outcome
	gone        string // the id of a destination that answered 410
}

func newRecorder(e *Engine, d *deliverer) *recorder {
	return &recorder{e: e, d: d, outcomes: make(chan recorded, 2*recordBatch)}
}

// start begins to record. work is only a hint that we are stopping: outcomes are recorded
// all the same.
func (r *recorder) start(work context.Context) { r.wg.Go(func() { r.loop(work) }) }

// stop records what is left. No more outcomes may come.
func (r *recorder) stop() {
	close(r.outcomes)
	r.wg.Wait()
}

func (r *recorder) record(destination int64, o store.Outcome) {
	r.outcomes <- recorded{destination: destination, outcome: o}
}

func (r *recorder) gone(id string, destination int64) {
	r.outcomes <- recorded{destination: destination, gone: id}
}

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
	outcomes := make([]store.Outcome, 0, len(batch))
	for _, b := range batch {
		if b.gone == "" {
			outcomes = append(outcomes, b.outcome)
			continue
		}
		r.retry(work, func() error {
			_, err := r.e.store.EndDestination(ctx, r.e.now(), b.gone, "disabled")
			return err
		})
		r.e.log.WarnContext(work, "a destination answered 410 Gone and is disabled: what waits for it fails", keyDestination, b.gone)
		r.d.endLane(b.destination, Destination{Status: "disabled"}.EndedFailure())
	}
	stored := r.retry(work, func() error { return r.e.store.RecordOutcomes(ctx, r.e.now(), outcomes) })
	for _, b := range batch {
		if b.gone != "" {
			continue
		}
		next := b.outcome.NextAttemptAt
		// Should one of them be what the store refuses, the others need not suffer.
		if !stored && !r.retry(work, func() error { return r.e.store.RecordOutcomes(ctx, r.e.now(), []store.Outcome{b.outcome}) }) {
			next = r.e.now().Add(storeRetry)
		}
		r.d.settle(b.destination, b.outcome.Seq, next)
	}
}

// retry runs a write until it succeeds, as long as the fault is the store's and we are not
// being stopped.
func (r *recorder) retry(work context.Context, write func() error) bool {
	for {
		err := write()
		if err == nil {
			return true
		}
		r.e.log.ErrorContext(work, "outcomes could not be recorded", keyError, err)
		if !errors.Is(err, store.ErrUnavailable) {
			return false
		}
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
	level, text := slog.LevelInfo, "delivered"
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
