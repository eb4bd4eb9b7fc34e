package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Page says which part of a list is wanted. The zero value is the first page, oldest
// first, as on the wire.
type Page struct {
	Limit  int    // at most so many items; 0: 20
	Desc   bool   // newest first
	After  string // the id of the item before the page's first; "" for none
	Before string // the id of the item behind the page's last; After wins over it
}

// List is one page of a list.
type List[T any] struct {
	Items         []T
	HasMoreBefore bool
	HasMoreAfter  bool
}

// Range is a span of time, both ends excluded; a zero end is open.
type Range struct{ After, Before time.Time }

// rowReader is what both a reader pool and the writer's connection are.
type rowReader interface {
	QueryContext(context.Context, string, ...any) (*sql.Rows, error)
	QueryRowContext(context.Context, string, ...any) *sql.Row
}

// selection picks rows of one table, called t in its conditions. Tables, columns and
// conditions are constants of this package; only arguments come from outside.
type selection struct {
	table string
	where []string
	args  []any
}

func selectFrom(table string) *selection { return &selection{table: table} }

func (s *selection) and(condition string, args ...any) *selection {
	s.where = append(s.where, condition)
	s.args = append(s.args, args...)
	return s
}

// in keeps rows whose column is one of values; no values: all rows.
func (s *selection) in(column string, values []string) *selection {
	if len(values) == 0 {
		return s
	}
	if len(values) == 1 {
		return s.and("t."+column+" = ?", values[0])
	}
	return s.and("t."+column+" IN (SELECT value FROM json_each(?))", jsonText(values))
}

// ids keeps rows with one of these ids; none: all rows. It goes by row number, which every
// index ends with, so that few ids are found at once among many rows.
func (s *selection) ids(ids []string) *selection { return s.refer("seq", s.table, ids) }

// refer keeps rows whose column refers to a row of table with one of these ids; no ids:
// all rows. For one id it is an equality, which lets an index on the column give the order.
func (s *selection) refer(column, table string, ids []string) *selection {
	switch len(ids) {
	case 0:
		return s
	case 1:
		return s.and("t."+column+" = (SELECT r.seq FROM "+table+" AS r WHERE r.id = ?)", ids[0])
	}
	return s.and("t."+column+" IN (SELECT r.seq FROM "+table+" AS r WHERE r.id IN (SELECT value FROM json_each(?)))", jsonText(ids))
}

// findBy is refer for a column that is the way to few rows among many: they are found by the
// column's index, and then by row number in the order of the list.
func (s *selection) findBy(column, table string, ids []string) *selection {
	if len(ids) == 0 {
		return s
	}
	return s.and("t.seq IN (SELECT x.seq FROM "+s.table+" AS x WHERE x."+column+
		" IN (SELECT r.seq FROM "+table+" AS r WHERE r.id IN (SELECT value FROM json_each(?))))", jsonText(ids))
}

// during keeps rows whose column lies in a range.
func (s *selection) during(column string, r Range) *selection {
	if !r.After.IsZero() {
		s.and("t."+column+" > ?", ms(r.After))
	}
	if !r.Before.IsZero() {
		s.and("t."+column+" < ?", ms(r.Before))
	}
	return s
}

// statuses keeps rows with one of the given statuses, else those of the usual ones.
func (s *selection) statuses(given []string, usual ...string) *selection {
	if len(given) > 0 {
		return s.in("status", given)
	}
	return s.in("status", usual)
}

// page finds the rows of one page, in the page's order. It reads one row more than the
// page has, to know whether there are others behind it, and skips none, however deep the page.
func (s *selection) page(ctx context.Context, r rowReader, p Page) (seqs []int64, before, after bool, err error) {
	limit := p.Limit
	if limit <= 0 {
		limit = 20
	}
	cursor, backwards := p.After, false
	if cursor == "" && p.Before != "" {
		cursor, backwards = p.Before, true
	}
	where, args := s.where, s.args
	// Backwards is the same walk in the other direction, turned round at the end.
	descending := p.Desc != backwards
	if cursor != "" {
		seq, err := seqOf(ctx, r, s.table, cursor)
		if errors.Is(err, sql.ErrNoRows) {
			return nil, false, false, nil
		}
		if err != nil {
			return nil, false, false, err
		}
		comparison := "t.seq > ?"
		if descending {
			comparison = "t.seq < ?"
		}
		where, args = append(slices.Clip(where), comparison), append(slices.Clip(args), seq)
	}
	var q strings.Builder
	q.WriteString("SELECT t.seq FROM " + s.table + " AS t")
	for i, condition := range where {
		q.WriteString([]string{" WHERE ", " AND "}[min(i, 1)] + condition)
	}
	q.WriteString(" ORDER BY t.seq")
	if descending {
		q.WriteString(" DESC")
	}
	q.WriteString(" LIMIT ?")
	seqs, err = queryInts(ctx, r, q.String(), append(slices.Clip(args), limit+1)...)
	if err != nil {
		return nil, false, false, err
	}
	more := len(seqs) > limit
	seqs = seqs[:min(len(seqs), limit)]
	if backwards {
		slices.Reverse(seqs)
		return seqs, more, true, nil
	}
	return seqs, cursor != "", more, nil
}

// list finds one page and loads its rows.
func list[T any](ctx context.Context, s *Store, sel *selection, p Page, load func(context.Context, []int64) ([]T, error)) (List[T], error) {
	seqs, before, after, err := sel.page(ctx, s.readers, p)
	if err != nil {
		return List[T]{}, err
	}
	items, err := load(ctx, seqs)
	if err != nil {
		return List[T]{}, err
	}
	return List[T]{Items: items, HasMoreBefore: before, HasMoreAfter: after}, nil
}

// get loads one row by its id.
func get[T any](ctx context.Context, s *Store, sel *selection, entity, id string, load func(context.Context, []int64) ([]T, error)) (item T, err error) {
	seqs, _, _, err := sel.and("t.id = ?", id).page(ctx, s.readers, Page{Limit: 1})
	if err != nil {
		return item, err
	}
	return loadOne(ctx, seqs, entity, id, load)
}

// loadOne loads the one row of seqs.
func loadOne[T any](ctx context.Context, seqs []int64, entity, id string, load func(context.Context, []int64) ([]T, error)) (item T, err error) {
	items, err := load(ctx, seqs)
	if err != nil {
		return item, err
	}
	if len(items) == 0 {
		return item, &NotFoundError{Entity: entity, ID: id}
	}
	return items[0], nil
}

// seqOf is the row number of an id, or sql.ErrNoRows.
func seqOf(ctx context.Context, r rowReader, table, id string) (seq int64, err error) {
	err = r.QueryRowContext(ctx, "SELECT seq FROM "+table+" WHERE id = ?", id).Scan(&seq)
	return seq, err
}

func queryInts(ctx context.Context, r rowReader, query string, args ...any) ([]int64, error) {
	rows, err := r.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []int64
	for rows.Next() {
		var v int64
		if err := rows.Scan(&v); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

// inOrder puts loaded rows, which come in any order, into the order of seqs.
func inOrder[R, T any](seqs []int64, rows []R, seq func(*R) int64, convert func(*R) (T, error)) ([]T, error) {
	at := make(map[int64]*R, len(rows))
	for i := range rows {
		at[seq(&rows[i])] = &rows[i]
	}
	out := make([]T, 0, len(rows))
	for _, s := range seqs {
		row, ok := at[s]
		if !ok {
			continue // removed since the page was found
		}
		item, err := convert(row)
		if err != nil {
			return nil, err
		}
		out = append(out, item)
	}
	return out, nil
}

// seqsJSON is a list of row numbers as an argument for json_each.
func seqsJSON(seqs []int64) string {
	b := make([]byte, 0, 2+8*len(seqs))
	b = append(b, '[')
	for i, seq := range seqs {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, seq, 10)
	}
	return string(append(b, ']'))
}

// jsonText is strings as an argument for json_each.
func jsonText(values []string) string {
	b, _ := json.Marshal(values) // strings always marshal
	return string(b)
}
