package store

import (
	"context"
	"database/sql/driver"
	"slices"
	"strings"
)

// bulk gathers new rows of one table, so that one statement stores several: the rows of a
// group commit are alike, and each statement costs as much as a row. Its statements are the
// driver's own: database/sql would look at each value once more, and copy it.
type bulk struct {
	width  int                 // parameters of a row
	values []driver.NamedValue // of the rows that wait
	texts  [bulkSizes]string   // of the statements
	stmts  [bulkSizes]driver.Stmt
}

// A statement stores 1, 2, 4, 8 or 16 rows.
const (
	bulkSizes = 5
	bulkRows  = 1 << (bulkSizes - 1)
)

// newBulk is one for a table. The values of columns that are the same in all new rows stand behind
// their names.
func newBulk(table, columns string) *bulk {
	b := &bulk{}
	var names, values []string
	for column := range strings.SplitSeq(columns, ", ") {
		name, value, same := strings.Cut(column, "=")
		if !same {
			value = "?"
			b.width++
		}
		names, values = append(names, name), append(values, value)
	}
	row := "(" + strings.Join(values, ", ") + ")"
	for i := range b.texts {
		b.texts[i] = "INSERT INTO " + table + " (" + strings.Join(names, ", ") + ") VALUES " + row + strings.Repeat(", "+row, 1<<i-1)
	}
	return b
}

// insert stores the rows that wait.
func (b *bulk) insert(ctx context.Context, c driver.Conn) error {
	for i := bulkSizes - 1; i >= 0 && len(b.values) > 0; i-- {
		for n := b.width << i; len(b.values) >= n; {
			if b.stmts[i] == nil {
				stmt, err := c.(driver.ConnPrepareContext).PrepareContext(ctx, b.texts[i])
				if err != nil {
					return err
				}
				b.stmts[i] = stmt
			}
			if _, err := b.stmts[i].(driver.StmtExecContext).ExecContext(ctx, b.values[:n]); err != nil {
				return err
			}
			b.values = slices.Delete(b.values, 0, n) // which lets go of the payloads, too
			b.number()
		}
	}
	return nil
}

// number gives values their places in the next statement.
func (b *bulk) number() {
	for i := range b.values {
		b.values[i].Ordinal = i + 1
	}
}

// rows are the tables that grow with each event, in the order in which they refer to each other.
type rows struct{ events, payloads, notifications, attempts *bulk }

func newRows() *rows {
	return &rows{
		events: newBulk("event", "seq, id, callback_seq, type_seq, instance_trigger_seq, source_id, status, delivery_status, error_code, error_message, "+
			"first_notification_seq, destination_count, success_count=0, failure_count=0, map_attempts, next_map_at, created_at, updated_at"),
		payloads: newBulk("event_payload", "event_seq, input, output"),
		notifications: newBulk("notification", "seq, id, callback_seq, event_seq, destination_seq, status='pending', attempt_count=0, next_attempt_at, "+
			"created_at, updated_at"),
		attempts: newBulk("attempt", "notification_seq, attempt_number, id, status, error_code, error_message, status_code, response_headers, response_body, "+
			"started_at, duration_ms"),
	}
}

func (r *rows) all() []*bulk { return []*bulk{r.events, r.payloads, r.notifications, r.attempts} }

// add has a row stored by the next flush, if not before. Its values are in the order of the
// columns, and of types that the driver takes as they are.
func (t *tx) add(b *bulk, values ...driver.Value) error {
	for _, v := range values {
		b.values = append(b.values, driver.NamedValue{Ordinal: len(b.values) + 1, Value: v})
	}
	if len(b.values) < bulkRows*b.width {
		return nil
	}
	return t.flush() // all of them: rows refer to others
}

// flush stores the rows that wait.
func (t *tx) flush() error {
	if t.w.rows.empty() {
		return nil
	}
	return t.conn.Raw(func(c any) error {
		for _, b := range t.w.rows.all() {
			if err := b.insert(t.ctx, c.(driver.Conn)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (r *rows) empty() bool {
	return len(r.events.values)+len(r.payloads.values)+len(r.notifications.values)+len(r.attempts.values) == 0
}

// close closes the statements, before their connection is.
func (r *rows) close() {
	for _, b := range r.all() {
		for _, stmt := range b.stmts {
			if stmt != nil {
				_ = stmt.Close()
			}
		}
	}
}

// drop forgets the rows that wait.
func (r *rows) drop() {
	for _, b := range r.all() {
		clear(b.values)
		b.values = b.values[:0]
	}
}

// orNull is a value that may be missing.
func orNull[T int64 | string](p *T) driver.Value {
	if p == nil {
		return nil
	}
	return *p
}
