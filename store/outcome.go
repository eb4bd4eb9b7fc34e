package store

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"time"

	"github.com/callbackd/callbackd/store/internal/db"
)

// Outcome is an attempt that was made, and what follows from it.
type Outcome struct {
	Seq           int64 // of the [Delivery]
	EventSeq      int64
	Attempt       Attempt   // without its ID
	NextAttemptAt time.Time // zero: no further attempt
}

// RecordOutcomes stores attempts, the notifications' states and their events' counts, in
// one transaction. An outcome of a notification that has ended meanwhile, or of an attempt
// that is recorded already, is dropped.
func (s *Store) RecordOutcomes(ctx context.Context, now time.Time, outcomes []Outcome) error {
	rows := make([][]driver.Value, len(outcomes)) // made here, where no other write waits for it
	for i, o := range outcomes {
		var err error
		if rows[i], err = o.row(); err != nil {
			return err
		}
	}
	return s.add(ctx, func(tx *tx) error {
		recorded := make(map[int]bool, len(outcomes))
		for from := 0; from < len(outcomes); {
			to := beforeRepeat(outcomes, from)
			if err := tx.recordOutcomes(ms(now), outcomes[from:to], func(i int) { recorded[from+i] = true }); err != nil {
				return err
			}
			from = to
		}
		ended := make(map[int64]tally)
		for i, o := range outcomes {
			if !recorded[i] {
				continue
			}
			rows[i][2] = tx.id(prefixAttempt)
			if err := tx.add(tx.w.rows.attempts, rows[i]...); err != nil {
				return err
			}
			switch t := ended[o.EventSeq]; {
			case o.Attempt.Failure == nil:
				ended[o.EventSeq] = tally{t.successes + 1, t.failures}
			case o.NextAttemptAt.IsZero():
				ended[o.EventSeq] = tally{t.successes, t.failures + 1}
			}
		}
		return tx.count(ms(now), ended)
	})
}

// row is an attempt as it is stored, but for its id, the third value.
func (o Outcome) row() ([]driver.Value, error) {
	code, message := o.Attempt.Failure.columns()
	status := "succeeded"
	if o.Attempt.Failure != nil {
		status = "failed"
	}
	row := []driver.Value{o.Seq, int64(o.Attempt.Number), nil, status, orNull(code), orNull(message), nil, nil, nil, ms(o.Attempt.StartedAt), o.Attempt.Duration.Milliseconds()}
	if r := o.Attempt.Response; r != nil {
		headers, err := json.Marshal(r.Headers)
		if err != nil {
			return nil, err
		}
		row[6], row[7], row[8] = int64(r.StatusCode), headers, r.Body
	}
	return row, nil
}

// beforeRepeat is the end of the outcomes from one on that are of different notifications:
// those of one notification count in their order.
func beforeRepeat(outcomes []Outcome, from int) int {
	seen := make(map[int64]bool, len(outcomes)-from)
	for i, o := range outcomes[from:] {
		if seen[o.Seq] {
			return from + i
		}
		seen[o.Seq] = true
	}
	return len(outcomes)
}

// recordOutcomes sets the states of different notifications, and tells which outcomes hold.
// Nearly all are deliveries at the same attempt, the first, for which one statement does.
func (tx *tx) recordOutcomes(now int64, outcomes []Outcome, holds func(i int)) error {
	at := make(map[int64]int, len(outcomes)) // outcomes by notification
	delivered := make(map[int][]int64)       // notifications by attempt number
	for i, o := range outcomes {
		at[o.Seq] = i
		if o.Attempt.Failure == nil {
			delivered[o.Attempt.Number] = append(delivered[o.Attempt.Number], o.Seq)
			continue
		}
		p := db.RecordFailureParams{Seq: o.Seq, Status: "failed", AttemptCount: int64(o.Attempt.Number), NextAttemptAt: msPtr(o.NextAttemptAt), Now: now}
		if p.NextAttemptAt != nil {
			p.Status = "retrying"
		}
		p.ErrorCode, p.ErrorMessage = o.Attempt.Failure.columns()
		n, err := tx.q.RecordFailure(tx.ctx, p)
		if err != nil {
			return err
		}
		if n > 0 {
			holds(i)
		}
	}
	for number, seqs := range delivered {
		rows, err := tx.q.RecordDeliveries(tx.ctx, db.RecordDeliveriesParams{Seqs: seqsJSON(seqs), AttemptCount: int64(number), Now: now})
		if err != nil {
			return err
		}
		for _, seq := range rows {
			holds(at[seq])
		}
	}
	return nil
}

// tally is how many notifications of an event have ended, and how.
type tally struct{ successes, failures int64 }

// count adds to what events know of their notifications, with a statement for all that get the same:
// nearly all have one notification, delivered, or as many of them as every other event.
func (tx *tx) count(now int64, ended map[int64]tally) error {
	alike := make(map[tally][]int64)
	for seq, t := range ended {
		alike[t] = append(alike[t], seq)
	}
	for t, seqs := range alike {
		if err := tx.q.CountOutcomes(tx.ctx, db.CountOutcomesParams{Seqs: seqsJSON(seqs), Successes: t.successes, Failures: t.failures, Now: now}); err != nil {
			return err
		}
	}
	return nil
}
