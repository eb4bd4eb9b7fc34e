package store

import (
	"context"
	"database/sql"
	"strings"
)

// bulk gathers new rows of one table, so that one statement stores several: the rows of a
// group commit are alike, and each statement costs as much as a row.
type bulk struct {
	table   string
	columns string
	width   int   // columns
	values  []any // of the rows that wait
	stmts   [bulkSizes]*sql.Stmt
}

// A statement stores 1, 2, 4, 8 or 16 rows.
const (
	bulkSizes = 5
	bulkRows  = 1 << (bulkSizes - 1)
)

func newBulk(table, columns string) *bulk {
	width := strings.Count(columns, ",") + 1
	return &bulk{table: table, columns: columns, width: width, values: make([]any, 0, bulkRows*width)}
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

func (b *bulk) prepare(ctx context.Context, conn *sql.Conn) (err error) {
	row := "(" + strings.Repeat("?, ", b.width-1) + "?)"
	for i := range b.stmts {
		text := "INSERT INTO " + b.table + " (" + b.columns + ") VALUES " + row + strings.Repeat(", "+row, 1<<i-1)
		if b.stmts[i], err = conn.PrepareContext(ctx, text); err != nil {
			return err
		}
	}
	return nil
}

func (b *bulk) close() {
	for _, stmt := range b.stmts {
		if stmt != nil {
			_ = stmt.Close()
		}
	}
}

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
				if _, err := b.stmts[i].ExecContext(t.ctx, b.values[:n]...); err != nil {
					return err
				}
				b.values = append(b.values[:0], b.values[n:]...)
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
