package store

import (
	"context"
	"time"

	"github.com/callbackd/callbackd/store/internal/db"
)

// Expiry says which events of a callback have been kept for long enough.
type Expiry struct {
	callback  int64
	beforeSeq int64 // newer rows are not even looked at
	before    int64 // when nothing has happened to an event since then
}

// Expiries are those of all callbacks whose events are not kept for ever. keep is for callbacks
// that have no setting of their own; negative: for ever.
func (s *Store) Expiries(ctx context.Context, now time.Time, keep time.Duration) ([]Expiry, error) {
	rows, err := s.read.Retentions(ctx)
	if err != nil {
		return nil, err
	}
	d, err := readDisorder(ctx, s.read, "event")
	if err != nil {
		return nil, err
	}
	seqs := make(map[time.Duration]int64) // by how long events are kept: few values, many callbacks
	var out []Expiry
	for _, r := range rows {
		age := time.Duration(r.RetentionSeconds) * time.Second
		if age == 0 {
			age = keep
		}
		if age < 0 {
			continue
		}
		before := ms(now.Add(-age))
		seq, ok := seqs[age]
		if !ok {
			if seq, err = s.firstFrom(ctx, "event", d.upTo, before); err != nil {
				return nil, err
			}
			seqs[age] = seq
		}
		out = append(out, Expiry{callback: r.Seq, beforeSeq: seq, before: before})
	}
	return out, nil
}

// RemoveEvents removes at most limit events that have expired, with their payloads, notifications
// and attempts, in one transaction, and returns how many rows that were. Events that are being
// delivered or mapped stay, and so do all dedup keys.
func (s *Store) RemoveEvents(ctx context.Context, x Expiry, limit int) (removed int64, err error) {
	if events, err := expired(ctx, s.read, x, 1, 1<<62); err != nil || len(events) == 0 {
		return 0, err
	}
	err = s.write(ctx, func(tx *tx) error {
		// The newest rows stay: the numbers and ids of those to come go on from theirs.
		x.beforeSeq = min(x.beforeSeq, tx.newest.event)
		events, err := expired(tx.ctx, tx.q, x, limit, tx.newest.notification)
		if err != nil {
			return err
		}
		var seqs, notifications []int64
		for _, e := range events {
			seqs = append(seqs, e.Seq)
			for i := range e.DestinationCount {
				notifications = append(notifications, *e.FirstNotificationSeq+i)
			}
		}
		if err := tx.q.DeleteAttempts(tx.ctx, seqsJSON(notifications)); err != nil {
			return err
		}
		n, err := tx.q.DeleteNotifications(tx.ctx, seqsJSON(notifications))
		if err != nil {
			return err
		}
		if err := tx.q.DeletePayloads(tx.ctx, seqsJSON(seqs)); err != nil {
			return err
		}
		removed, err = tx.q.DeleteEvents(tx.ctx, seqsJSON(seqs))
		removed += n
		return err
	})
	return removed, err
}

// expired finds at most limit events of an expiry. No other states than these are ever left as
// they are: the others are on their way.
func expired(ctx context.Context, q *db.Queries, x Expiry, limit int, lastNotification int64) (out []db.ExpiredEventsRow, err error) {
	for _, state := range eventStates {
		if state[1] == "pending" {
			continue
		}
		rows, err := q.ExpiredEvents(ctx, db.ExpiredEventsParams{CallbackSeq: x.callback, Status: state[0], DeliveryStatus: state[1], BeforeSeq: x.beforeSeq,
			UpdatedBefore: x.before, LastNotification: lastNotification, MaxRows: int64(limit - len(out))})
		if err != nil {
			return nil, err
		}
		if out = append(out, rows...); len(out) >= limit {
			return out, nil
		}
	}
	return out, nil
}

// retentionSeconds is how a callback's setting is stored.
func retentionSeconds(d time.Duration) int64 {
	if d < 0 {
		return -1
	}
	return seconds(d)
}
