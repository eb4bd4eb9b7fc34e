package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
)

// rowReader is what both a reader pool and the writer's connection are.
type rowReader interface {
	QueryContext(context.Context, string, ...any) (*sql.Rows, error)
	QueryRowContext(context.Context, string, ...any) *sql.Row
}

// selection picks rows of one table, called t in its conditions. Tables, columns and
// conditions are constants of this package; only arguments come from outside.
//
// A list is always in the order of row numbers, and every index ends with them, so an index
// whose columns are all given with one value each has its rows in the list's order: a page
// costs a look-up and its rows, wherever it begins. A column that is given with several
// values makes several such walks, which SQLite merges.
type selection struct {
	table   string
	index   string // the one to go by; "": SQLite chooses
	where   []condition
	choices []choice
	from    int64 // rows from this number on
	to      int64 // and up to this one
}

// condition is SQL that is true or not of a row t.
type condition struct {
	text string
	args []any
}

// choice is a column with the values that it may have, one condition for each.
type choice struct {
	column string
	anyOf  []condition
}

func selectFrom(table string) *selection { return &selection{table: table, to: math.MaxInt64} }

func (s *selection) and(text string, args ...any) *selection {
	s.where = append(s.where, condition{text, args})
	return s
}

// maxWalks is how many walks are merged for one page. With more, one walk through all rows
// leaves out what was not asked for: so many values are no rare ones.
const maxWalks = 32

// choose adds a choice, or otherwise, which says the same in one condition, if there would
// be too many walks.
func (s *selection) choose(c choice, otherwise condition) *selection {
	walks := len(c.anyOf)
	for _, other := range s.choices {
		walks *= len(other.anyOf)
	}
	if walks > maxWalks {
		s.where = append(s.where, otherwise)
	} else {
		s.choices = append(s.choices, c)
	}
	return s
}

// chosen tells whether every walk has one value of a column.
func (s *selection) chosen(column string) bool {
	return slices.ContainsFunc(s.choices, func(c choice) bool { return c.column == column })
}

// in keeps rows whose column is one of values; no values: all rows.
func in[T int64 | string](s *selection, column string, values []T) *selection {
	if len(values) == 0 {
		return s
	}
	return among(s, column, values)
}

// among keeps rows whose column is one of values; no values: no row.
func among[T int64 | string](s *selection, column string, values []T) *selection {
	if len(values) == 0 {
		return s.and("FALSE")
	}
	values = slices.Compact(slices.Sorted(slices.Values(values)))
	c := choice{column: column}
	for _, v := range values {
		c.anyOf = append(c.anyOf, condition{"t." + column + " = ?", []any{v}})
	}
	list, _ := json.Marshal(values) // strings and numbers always marshal
	// The plus keeps SQLite from an index, whose rows it would have to sort.
	return s.choose(c, condition{"+t." + column + " IN (SELECT value FROM json_each(?))", []any{string(list)}})
}

// refer keeps rows whose column refers to a row of table with one of these ids; no ids:
// all rows.
func (s *selection) refer(column, table string, ids []string) *selection {
	if len(ids) == 0 {
		return s
	}
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	c := choice{column: column}
	for _, id := range ids {
		c.anyOf = append(c.anyOf, condition{"t." + column + " = (SELECT r.seq FROM " + table + " AS r WHERE r.id = ?)", []any{id}})
	}
	return s.choose(c, condition{"+t." + column + " IN (SELECT r.seq FROM " + table + " AS r WHERE r.id IN (SELECT value FROM json_each(?)))", []any{jsonText(ids)}})
}

// ids keeps rows with one of these ids; none: all rows. It goes by row number, which every
// index ends with, so that few ids are found at once among many rows.
func (s *selection) ids(ids []string) *selection {
	switch len(ids) {
	case 0:
		return s
	case 1:
		return s.and("t.seq = (SELECT r.seq FROM "+s.table+" AS r WHERE r.id = ?)", ids[0])
	}
	return s.and("t.seq IN (SELECT r.seq FROM "+s.table+" AS r WHERE r.id IN (SELECT value FROM json_each(?)))", jsonText(ids))
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
	if len(given) == 0 {
		given = usual
	}
	return in(s, "status", given)
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
	// Backwards is the same walk in the other direction, turned round at the end.
	descending := p.Desc != backwards
	from, to := s.from, s.to
	if cursor != "" {
		seq, err := seqOf(ctx, r, s.table, cursor)
		if errors.Is(err, sql.ErrNoRows) {
			return nil, false, false, nil
		}
		if err != nil {
			return nil, false, false, err
		}
		if descending {
			to = min(to, seq-1)
		} else {
			from = max(from, seq+1)
		}
	}
	text, args := s.query(from, to, descending)
	seqs, err = queryInts(ctx, r, text, append(args, limit+1)...)
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

// all finds every row.
func (s *selection) all(ctx context.Context, r rowReader) ([]int64, error) {
	text, args := s.query(s.from, s.to, false)
	return queryInts(ctx, r, text, append(args, -1)...)
}

// query is one walk for every way to choose one of each choice, merged by row number. It
// lacks the limit's argument.
func (s *selection) query(from, to int64, descending bool) (text string, args []any) {
	always := s.where
	if from > 0 {
		always = append(slices.Clip(always), condition{"t.seq >= ?", []any{from}})
	}
	if to < math.MaxInt64 {
		always = append(slices.Clip(always), condition{"t.seq <= ?", []any{to}})
	}
	walks := [][]condition{always}
	for _, choice := range s.choices {
		var more [][]condition
		for _, walk := range walks {
			for _, c := range choice.anyOf {
				more = append(more, append(slices.Clip(walk), c))
			}
		}
		walks = more
	}
	var q strings.Builder
	for i, walk := range walks {
		if i > 0 {
			q.WriteString(" UNION ALL ")
		}
		q.WriteString("SELECT t.seq AS seq FROM " + s.table + " AS t")
		if s.index != "" {
			q.WriteString(" INDEXED BY " + s.index)
		}
		for j, c := range walk {
			q.WriteString([]string{" WHERE ", " AND "}[min(j, 1)] + c.text)
			args = append(args, c.args...)
		}
	}
	q.WriteString(" ORDER BY seq")
	if descending {
		q.WriteString(" DESC")
	}
	q.WriteString(" LIMIT ?")
	return q.String(), args
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

// jsonText is strings as an argument for json_each.
func jsonText(values []string) string {
	b, _ := json.Marshal(values) // strings always marshal
	return string(b)
}
