package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/callbackd/callbackd/store/internal/db"
)

// Events and notifications are stored in the order of their times, so that a span of time is
// a span of row numbers, found by halving: the columns need no index. The writer sees to it,
// which alone gives them their times. Where it cannot, because the clock was set back or
// because an older version wrote the file, it notes up to which row order is not to be
// relied on.

// maxStep is how far the clock may be set back and have new rows wait for it: they get the
// time of the row before them. Beyond it rows get the true time, and those that are there
// count as out of order.
const maxStep = time.Minute

// created is the time of a row that is stored now.
func (tx *tx) created(now int64) (int64, error) {
	if now < tx.newest.created-maxStep.Milliseconds() {
		for table, last := range map[string]int64{"event": tx.newest.event, "notification": tx.newest.notification} {
			d, err := readDisorder(tx.ctx, tx.q, table)
			if err != nil {
				return 0, err
			}
			d.upTo = last
			d.newest = max(d.newest, tx.newest.created)
			if err := tx.q.SetMeta(tx.ctx, disorderKey(table), fmt.Appendf(nil, "[%d,%d]", d.upTo, d.newest)); err != nil {
				return 0, err
			}
		}
		tx.newest.created = now
	}
	tx.newest.created = max(tx.newest.created, now)
	return tx.newest.created, nil
}

// disorder says that the rows up to a number may be out of order, none of which is newer than a
// time. The zero value says that all are in order.
type disorder struct{ upTo, newest int64 }

func disorderKey(table string) string { return table + "_disorder" }

func readDisorder(ctx context.Context, q *db.Queries, table string) (d disorder, err error) {
	noted, err := q.Meta(ctx, disorderKey(table))
	if errors.Is(err, sql.ErrNoRows) {
		return d, nil
	}
	if err != nil {
		return d, err
	}
	return d, json.Unmarshal(noted, &[2]*int64{&d.upTo, &d.newest})
}

// created keeps rows of a table whose time lies in a range.
func (s *Store) created(ctx context.Context, sel *selection, r Range) error {
	sel.during("created_at", r)
	if r.After.IsZero() && r.Before.IsZero() {
		return nil
	}
	d, err := readDisorder(ctx, s.read, sel.table)
	if err != nil {
		return err
	}
	// Of the rows that are out of order, all or none are looked at.
	if !r.After.IsZero() && (d.upTo == 0 || ms(r.After) >= d.newest) {
		if sel.from, err = s.firstFrom(ctx, sel.table, d.upTo, ms(r.After)+1); err != nil {
			return err
		}
	}
	if !r.Before.IsZero() {
		first, err := s.firstFrom(ctx, sel.table, d.upTo, msUp(r.Before))
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
	if err := s.prepared.QueryRowContext(ctx, "SELECT coalesce(max(seq), 0) + 1 FROM "+table).Scan(&to); err != nil {
		return 0, err
	}
	for from < to {
		middle := from + (to-from)/2
		var seq, created int64
		err := s.prepared.QueryRowContext(ctx, "SELECT seq, created_at FROM "+table+" WHERE seq >= ? ORDER BY seq LIMIT 1", middle).Scan(&seq, &created)
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
