package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/callbackd/callbackd/store/internal/db"
)

// WebhookFailed is the code of what a request to a webhook ended with, if not well.
const WebhookFailed = "webhook_failed"

// Openness is whether a webhook takes requests.
type Openness int

const (
	WebhookClosed Openness = iota // what it belongs to is detached or archived, or its callback no longer names it
	WebhookPaused                 // it may take them again: only the trigger itself is paused
	WebhookOpen
)

// WebhookTarget loads the trigger that has a webhook under an id, and tells whether it takes
// requests. There is none of a trigger that is polled.
func (s *Store) WebhookTarget(ctx context.Context, id string) (PollTarget, Openness, error) {
	row, err := s.read.WebhookTrigger(ctx, id)
	if err != nil {
		return PollTarget{}, WebhookClosed, notFound(err, "callback.instance.trigger", id)
	}
	t, err := s.PollTarget(ctx, row.Seq)
	switch {
	case err != nil:
		return PollTarget{}, WebhookClosed, err
	case !t.DueAt.IsZero():
		return t, WebhookOpen, nil
	case row.Paused == 1:
		return t, WebhookPaused, nil
	}
	return t, WebhookClosed, nil
}

// Webhook is a request to a webhook that was handled.
type Webhook struct {
	At         time.Time // when it came
	RecordedAt time.Time // of its events
	Duration   time.Duration
	State      json.RawMessage // nil: as before
	Items      []Item
	Problem    *Failure // what was wrong although it was handled; nil: nothing
}

// RecordWebhook stores what a request brought, as [Store.RecordPoll] does: items that were seen
// before change nothing. With another trigger than t by now nothing is stored, and Dropped is
// true: it takes no requests any longer, has another config, or, if there is a State, another one
// than that which this one was made from.
func (s *Store) RecordWebhook(ctx context.Context, t PollTarget, w Webhook) (out PollRecord, err error) {
	items, err := s.unseen(ctx, t, w.Items)
	if err != nil {
		return out, err
	}
	err = s.write(ctx, func(tx *tx) error {
		out = PollRecord{}
		problem, err := tx.problem(t, w.Problem)
		if err != nil {
			return err
		}
		code, message := problem.columns()
		n, err := tx.q.RecordWebhook(tx.ctx, db.RecordWebhookParams{Seq: t.Seq, Revision: t.revision, State: w.State, AnyState: flag(w.State == nil), FromState: t.State,
			LastReceivedAt: msPtr(w.At), LastDurationMs: new(w.Duration.Milliseconds()), LastItems: new(int64(len(w.Items))), ErrorCode: code, ErrorMessage: message})
		if err != nil {
			return err
		}
		if n == 0 {
			out.Dropped = true
			return nil
		}
		out.Events, out.Deliveries, err = tx.insertItems(t, w.RecordedAt, items)
		return err
	})
	return out, err
}

// RecordWebhookFailure stores that a request, which came at a time, could not be handled. The
// state stays as it was, and so does an error of the registration.
func (s *Store) RecordWebhookFailure(ctx context.Context, t PollTarget, at time.Time, took time.Duration, message string) error {
	return s.write(ctx, func(tx *tx) error {
		return tx.q.RecordWebhookFailure(tx.ctx, db.RecordWebhookFailureParams{Seq: t.Seq, Revision: t.revision, LastReceivedAt: msPtr(at),
			LastDurationMs: new(took.Milliseconds()), ErrorMessage: &message})
	})
}
