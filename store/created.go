package store

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"strconv"
	"time"
)

// Events and notifications are stored in the order of their times, so that a span of time is
// a span of row numbers, found by halving: the columns need no index. The writer sees to it,
// which alone gives them their times.

// maxStep is how far the clock may be set back and have new rows wait for it: they get the
// time of the row before them. Beyond it rows get the true time, and those that are there
// count as out of order.
const maxStep = time.Minute

// created is the time of a row that is stored now.
func (tx *tx) created(now int64) (int64, error) {
	if now < tx.lastCreated-maxStep.Milliseconds() {
		for table, last := range map[string]func(context.Context) (int64, error){"event": tx.q.LastEvent, "notification": tx.q.LastNotification} {
			seq, err := last(tx.ctx)
			if err != nil {
				return 0, err
			}
			if err := tx.q.SetMeta(tx.ctx, disorder(table), strconv.AppendInt(nil, seq, 10)); err != nil {
				return 0, err
			}
		}
		tx.lastCreated = now
	}
	tx.lastCreated = max(tx.lastCreated, now)
	return tx.lastCreated, nil
}

// disorder is where a file notes up to which row a table's times may be out of order.
func disorder(table string) string { return table + "_disorder" }

// created keeps rows of a table whose time lies in a range.
func (s *Store) created(ctx context.Context, sel *selection, r Range) error {
	sel.during("created_at", r)
	if r.After.IsZero() && r.Before.IsZero() {
		return nil
	}
	var disordered int64
	noted, err := s.read.Meta(ctx, disorder(sel.table))
	if err == nil {
		disordered, err = strconv.ParseInt(string(noted), 10, 64)
	}
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if !r.After.IsZero() && disordered == 0 {
		if sel.from, err = s.firstFrom(ctx, sel.table, 0, ms(r.After)+1); err != nil {
			return err
		}
	}
	if !r.Before.IsZero() {
		first, err := s.firstFrom(ctx, sel.table, disordered, ms(r.Before))
		if err != nil {
			return err
		}
		sel.to = first - 1
	}
	return nil
}

// firstFrom finds by halving the row number, above the given one, from which on rows are
// not older than a time.
func (s *Store) firstFrom(ctx context.Context, table string, above, at int64) (int64, error) {
	from, to := above+1, int64(math.MaxInt64)
	if err := s.readers.QueryRowContext(ctx, "SELECT coalesce(max(seq), 0) + 1 FROM "+table).Scan(&to); err != nil {
		return 0, err
	}
	for from < to {
		middle := from + (to-from)/2
		var seq, created int64
		err := s.readers.QueryRowContext(ctx, "SELECT seq, created_at FROM "+table+" WHERE seq >= ? ORDER BY seq LIMIT 1", middle).Scan(&seq, &created)
		switch {
		case errors.Is(err, sql.ErrNoRows) || err == nil && created >= at:
			to = middle
		case err != nil:
			return 0, err
		default:
			from = seq + 1
		}
	}
	return from, nil
}
