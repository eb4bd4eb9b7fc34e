package store

import (
	"slices"
	"strings"
)

// bulk gathers new rows of one table, so that one statement stores several: the rows of a
// group commit are alike, and each statement costs as much as a row.
type bulk struct {
	width  int               // columns
	values []any             // of the rows that wait
	texts  [bulkSizes]string // of the statements
}

// A statement stores 1, 2, 4, 8 or 16 rows.
const (
	bulkSizes = 5
	bulkRows  = 1 << (bulkSizes - 1)
)

func newBulk(table, columns string) *bulk {
	b := &bulk{width: strings.Count(columns, ",") + 1}
	row := "(" + strings.Repeat("?, ", b.width-1) + "?)"
	for i := range b.texts {
		b.texts[i] = "INSERT INTO " + table + " (" + columns + ") VALUES " + row + strings.Repeat(", "+row, 1<<i-1)
	}
	return b
}

// rows are the tables that grow with each event, in the order in which they refer to each other.
type rows struct{ events, payloads, notifications, attempts *bulk }

func newRows() *rows {
	return &rows{
		events: newBulk("event", "seq, id, callback_seq, type_seq, instance_trigger_seq, source_id, status, delivery_status, error_code, error_message, "+
			"first_notification_seq, destination_count, success_count, failure_count, map_attempts, next_map_at, created_at, updated_at"),
		payloads: newBulk("event_payload", "event_seq, input, output"),
		notifications: newBulk("notification", "seq, id, callback_seq, event_seq, destination_seq, status, attempt_count, next_attempt_at, "+
			"created_at, updated_at"),
		attempts: newBulk("attempt", "notification_seq, attempt_number, id, status, error_code, error_message, status_code, response_headers, response_body, "+
			"started_at, duration_ms"),
	}
}

func (r *rows) all() []*bulk { return []*bulk{r.events, r.payloads, r.notifications, r.attempts} }

// add has a row stored by the next flush, if not before. Its values are in the order of the
// columns, and of types that the driver takes.
func (t *tx) add(b *bulk, values ...any) error {
	b.values = append(b.values, values...)
	if len(b.values) < bulkRows*b.width {
		return nil
	}
	return t.flush() // all of them: rows refer to others
}

// flush stores the rows that wait.
func (t *tx) flush() error {
	for _, b := range t.w.rows.all() {
		for i := bulkSizes - 1; i >= 0 && len(b.values) > 0; i-- {
			n := b.width << i
			for len(b.values) >= n {
				if _, err := t.w.prepared.ExecContext(t.ctx, b.texts[i], b.values[:n]...); err != nil {
					return err
				}
				b.values = slices.Delete(b.values, 0, n) // which lets go of the payloads, too
			}
		}
	}
	return nil
}

// drop forgets the rows that wait.
func (r *rows) drop() {
	for _, b := range r.all() {
		clear(b.values)
		b.values = b.values[:0]
	}
}

// orNull is a value that may be missing.
func orNull[T any](p *T) any {
	if p == nil {
		return nil
	}
	return *p
}
