package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Due times are wall-clock times. When the clock is set, what is planned has to move along: a
// poll in ten minutes stays a poll in ten minutes. That is done in batches, in the order of
// the indexes by due time and against the direction in which rows move, so that none comes
// twice. How far it has come is in the file, so that a crash does not leave it half done.

const (
	// dueMoveKey is where a move that is under way is kept.
	dueMoveKey = "due_move"
	// clockAheadKey is where the newest time is kept that the file knew when the clock turned out
	// to have been set back: rows up to it do not say that it was set back once more.
	clockAheadKey = "clock_ahead"
)

// dueTable is a table with due times, and the index by them, which ends with the due time and
// the row number.
type dueTable struct {
	name, index string
	keys        []string
	fixed       string // whether a row's due time is of the wall clock
}

var dueTables = []dueTable{
	{"notification", "notification_due", []string{"destination_seq", "next_attempt_at", "seq"}, "false"},
	{"event", "event_unmapped", []string{"next_map_at", "seq"}, "false"},
	{"instance_trigger", "instance_trigger_due", []string{"next_poll_at", "seq"}, "next_poll_fixed = 1"},
	{"instance_trigger", "instance_trigger_unwanted", []string{"unregister_at", "seq"}, "false"},
}

func (t dueTable) column() string { return t.keys[len(t.keys)-2] }

// following is a query for the rows that come after a place in the index, backwards if rows
// move forwards.
func (t dueTable) following(forwards bool) string {
	than, order := ">", " ASC"
	if forwards {
		than, order = "<", " DESC"
	}
	keys := strings.Join(t.keys, ", ")
	return "SELECT " + keys + ", updated_at FROM " + t.name + " INDEXED BY " + t.index + " WHERE " + t.column() + " IS NOT NULL AND (" + keys + ") " + than +
		" (?" + strings.Repeat(", ?", len(t.keys)-1) + ") ORDER BY " + strings.Join(t.keys, order+", ") + order + " LIMIT ?"
}

// DueRow is a row with a due time.
type DueRow struct {
	Table string // "notification", "event" or "instance_trigger"
	Seq   int64
}

// DueMove moves every due time by the same amount. [Store.BeginDueMove] makes one.
type DueMove struct {
	By    time.Duration
	Moved int // rows, so far

	From          int64 // when it began, by the clock as it is set now
	Events        int64 // the newest event then: later ones are right
	Notifications int64 // the newest notification
	Table         int   // which of dueTables is being gone through
	After         []int64
}

// BeginDueMove notes that all due times are to be moved by an amount; now is by the clock as
// it is set now. It moves nothing yet.
func (s *Store) BeginDueMove(ctx context.Context, now time.Time, by time.Duration) (*DueMove, error) {
	m := &DueMove{By: by, From: ms(now)}
	err := s.write(ctx, func(tx *tx) error {
		m.Events, m.Notifications = tx.newest.event, tx.newest.notification
		if by < 0 {
			newest, err := newestTime(tx.ctx, tx.conn)
			if err != nil {
				return err
			}
			if err := tx.q.SetMeta(tx.ctx, clockAheadKey, fmt.Append(nil, newest)); err != nil {
				return err
			}
		}
		return tx.saveDueMove(m)
	})
	return m, err
}

// UnfinishedDueMove is a move that a crash has cut short; nil: there is none.
func (s *Store) UnfinishedDueMove(ctx context.Context) (*DueMove, error) {
	text, err := s.read.Meta(ctx, dueMoveKey)
	if errors.Is(err, sql.ErrNoRows) || err == nil && len(text) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m := new(DueMove)
	return m, json.Unmarshal(text, m)
}

func (tx *tx) saveDueMove(m *DueMove) error {
	text := []byte{} // there is none
	if m.Table < len(dueTables) {
		var err error
		if text, err = json.Marshal(m); err != nil {
			return err
		}
	}
	return tx.q.SetMeta(tx.ctx, dueMoveKey, text)
}

// MoveDue moves at most limit rows, in one transaction, and tells whether those were the last.
// rewritten tells of rows whose due time was written anew since the move began; nil: nobody
// knows, and if the clock was set forwards, those that were changed since are taken for such.
// If it was set back, times do not tell, and what moves twice is done too early and not too late.
func (s *Store) MoveDue(ctx context.Context, m *DueMove, now time.Time, limit int, rewritten func(DueRow) bool) (done bool, err error) {
	var next DueMove
	err = s.write(ctx, func(tx *tx) error {
		next = *m
		t := dueTables[m.Table]
		rows, err := tx.following(t, m, limit)
		if err != nil {
			return err
		}
		var seqs []int64
		for _, r := range rows {
			next.After = r[:len(t.keys)]
			at, seq, updated := r[len(t.keys)-2], r[len(t.keys)-1], r[len(t.keys)]
			anew := m.By > 0 && updated >= m.From
			if rewritten != nil {
				anew = rewritten(DueRow{t.name, seq})
			}
			if !anew && !m.right(t.name, seq, at, updated, ms(now)) {
				seqs = append(seqs, seq)
			}
		}
		if len(seqs) > 0 {
			text := fmt.Sprintf("UPDATE %s SET %s = %[2]s + ? WHERE seq IN (SELECT value FROM json_each(?)) AND %[2]s IS NOT NULL AND NOT (%s)", t.name, t.column(), t.fixed)
			if _, err := tx.conn.ExecContext(tx.ctx, text, m.By.Milliseconds(), seqsJSON(seqs)); err != nil {
				return err
			}
			if m.By < 0 {
				// What is planned by the wall clock stays, but it was planned by one that was ahead.
				text := fmt.Sprintf("UPDATE %s SET %s = ? WHERE seq IN (SELECT value FROM json_each(?)) AND %[2]s > ? AND %[2]s < ? AND (%s)", t.name, t.column(), t.fixed)
				if _, err := tx.conn.ExecContext(tx.ctx, text, ms(now), seqsJSON(seqs), ms(now), ms(Never)); err != nil {
					return err
				}
			}
		}
		next.Moved += len(seqs)
		if len(rows) < limit {
			next.Table, next.After = m.Table+1, nil
		}
		return tx.saveDueMove(&next)
	})
	if err != nil {
		return false, err
	}
	*m = next
	return m.Table == len(dueTables), nil
}

// right tells of a row that its due time is by the clock as it is set now: it is newer than the
// move, or somebody has just asked for it to be done at once.
func (m *DueMove) right(table string, seq, at, updated, now int64) bool {
	atOnce := at == updated && at >= m.From && at <= now
	switch table {
	case "notification":
		return seq > m.Notifications
	case "event":
		return seq > m.Events || atOnce
	}
	return atOnce
}

// following are the next rows of a table that a move comes to: their keys, and updated_at.
func (tx *tx) following(t dueTable, m *DueMove, limit int) (found [][]int64, err error) {
	forwards, after := m.By > 0, m.After
	if after == nil {
		after = slices.Repeat([]int64{math.MinInt64}, len(t.keys))
		if forwards {
			after = slices.Repeat([]int64{math.MaxInt64}, len(t.keys))
		}
	}
	var args []any
	for _, key := range after {
		args = append(args, key)
	}
	rows, err := tx.conn.QueryContext(tx.ctx, t.following(forwards), append(args, limit)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		row, to := make([]int64, len(t.keys)+1), make([]any, len(t.keys)+1)
		for i := range row {
			to[i] = &row[i]
		}
		if err := rows.Scan(to...); err != nil {
			return nil, err
		}
		found = append(found, row)
	}
	return found, rows.Err()
}

// ClockSetBack is how far now is behind what the file knows to have happened; 0: it is not, or
// that is known already, from when it was set back.
func (s *Store) ClockSetBack(ctx context.Context, now time.Time) (time.Duration, error) {
	newest, err := newestTime(ctx, s.prepared)
	if err != nil {
		return 0, err
	}
	known := int64(0)
	text, err := s.read.Meta(ctx, clockAheadKey)
	if err == nil {
		err = json.Unmarshal(text, &known)
	}
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, err
	}
	if newest <= known || newest <= ms(now) {
		return 0, nil
	}
	return time.Duration(newest-ms(now)) * time.Millisecond, nil
}

// newestTime is close to the newest time in the file, without going through it: the newest of
// the last event and notification, and of the last polls of the triggers that are due first
// and last.
func newestTime(ctx context.Context, q interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}) (newest int64, err error) {
	const polled = "(SELECT max(last_polled_at) FROM (SELECT last_polled_at FROM instance_trigger INDEXED BY instance_trigger_due WHERE next_poll_at IS NOT NULL ORDER BY next_poll_at %s LIMIT 100))"
	err = q.QueryRowContext(ctx, "SELECT max("+
		"coalesce((SELECT created_at FROM event ORDER BY seq DESC LIMIT 1), 0), "+
		"coalesce((SELECT created_at FROM notification ORDER BY seq DESC LIMIT 1), 0), "+
		"coalesce("+fmt.Sprintf(polled, "ASC")+", 0), coalesce("+fmt.Sprintf(polled, "DESC")+", 0))").Scan(&newest)
	return newest, err
}
