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
	lookup  bool   // the rows are few, and found by their numbers
	none    bool   // nothing can be found
	weights string // a query for row numbers, of those in a JSON list, and how many bytes each row has; "": few
	where   []condition
	choices [][]condition // one of each
	from    int64         // rows from this number on
	to      int64         // and up to this one
}

// condition is SQL that is true or not of a row t.
type condition struct {
	text string
	args []any
}

func selectFrom(table string) *selection { return &selection{table: table, to: math.MaxInt64} }

func (s *selection) and(text string, args ...any) *selection {
	s.where = append(s.where, condition{text, args})
	return s
}

// maxWalks is how many walks are merged for one page. A filter with more values leaves out
// what it does not name on one walk through all rows: so many values are no rare ones.
const maxWalks = 32

// walks tells whether a choice of so many values can be added.
func (s *selection) walks(values int) bool {
	for _, c := range s.choices {
		values *= len(c)
	}
	return values <= maxWalks
}

// choose makes a walk of its own for each value of a column, of which there may be as many
// as walks allows. The columns that are chosen, or equal to something, should begin an index.
func choose[T int64 | string](s *selection, column string, values []T) *selection {
	var choice []condition
	for _, v := range distinct(values) {
		choice = append(choice, condition{"t." + column + " = ?", []any{v}})
	}
	return s.choice(choice)
}

func (s *selection) choice(anyOf []condition) *selection {
	if len(anyOf) == 1 {
		s.where = append(s.where, anyOf[0])
	} else {
		s.choices = append(s.choices, anyOf)
	}
	return s
}

// in keeps rows whose column is one of values, on whatever walk; no values: all rows.
func in[T int64 | string](s *selection, column string, values []T) *selection {
	if len(values) == 0 {
		return s
	}
	list, _ := json.Marshal(distinct(values)) // strings and numbers always marshal
	// The plus keeps SQLite from an index, whose rows it would have to sort.
	return s.and("+t."+column+" IN (SELECT value FROM json_each(?))", string(list))
}

func distinct[T int64 | string](values []T) []T {
	return slices.Compact(slices.Sorted(slices.Values(values)))
}

// refer keeps rows whose column refers to a row of table with one of these ids; no ids:
// all rows.
func (s *selection) refer(column, table string, ids []string) *selection {
	if len(ids) == 0 || !s.walks(len(ids)) {
		return s.within(column, table, ids)
	}
	var choice []condition
	for _, id := range distinct(ids) {
		choice = append(choice, condition{"t." + column + " = (SELECT r.seq FROM " + table + " AS r WHERE r.id = ?)", []any{id}})
	}
	return s.choice(choice)
}

// within is refer on whatever walk.
func (s *selection) within(column, table string, ids []string) *selection {
	if len(ids) == 0 {
		return s
	}
	return s.and("+t."+column+" IN ("+seqsByID(table)+")", jsonText(ids))
}

// ids keeps rows with one of these ids; none: all rows. It goes by row number, which every
// index ends with, so that few ids are found at once among many rows.
func (s *selection) ids(ids []string) *selection {
	if len(ids) == 0 {
		return s
	}
	return s.find(seqsByID(s.table), jsonText(ids))
}

// find keeps the rows whose numbers a query gives: few among many.
func (s *selection) find(query string, args ...any) *selection {
	s.lookup = true
	return s.and("t.seq IN ("+query+")", args...)
}

// findBy is refer for a column that is the way to few rows among many: they are found by the
// column's index, and then by row number in the order of the list.
func (s *selection) findBy(column, table string, ids []string) *selection {
	if len(ids) == 0 {
		return s
	}
	return s.find("SELECT x.seq FROM "+s.table+" AS x WHERE x."+column+" IN ("+seqsByID(table)+")", jsonText(ids))
}

// during keeps rows whose column lies in a range.
func (s *selection) during(column string, r Range) *selection {
	if !r.After.IsZero() {
		s.and("t."+column+" > ?", ms(r.After))
	}
	if !r.Before.IsZero() {
		s.and("t."+column+" < ?", msUp(r.Before))
	}
	return s
}

// statuses keeps rows with one of the given statuses, else those of the usual ones.
func (s *selection) statuses(given []string, usual ...string) *selection {
	if len(given) == 0 {
		given = usual
	}
	if !s.walks(len(given)) {
		return in(s, "status", given)
	}
	return choose(s, "status", given)
}

// page finds the rows of one page, in the page's order. It reads one row more than the
// page has, to know whether there are others behind it, and skips none, however deep the page.
func (s *selection) page(ctx context.Context, r rowReader, p Page) (seqs []int64, before, after bool, err error) {
	if s.none {
		return nil, false, false, nil
	}
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
		before, behind, err := around(ctx, r, s.table, cursor)
		if errors.Is(err, sql.ErrNoRows) {
			return nil, false, false, nil
		}
		if err != nil {
			return nil, false, false, err
		}
		if descending {
			to = min(to, before)
		} else {
			from = max(from, behind)
		}
	}
	text, args := s.query(from, to, descending)
	seqs, err = queryInts(ctx, r, text, append(args, limit+1)...)
	if err != nil {
		return nil, false, false, err
	}
	more := len(seqs) > limit
	seqs = seqs[:min(len(seqs), limit)]
	if fitting, err := s.fitting(ctx, r, seqs); err != nil {
		return nil, false, false, err
	} else if fitting < len(seqs) {
		seqs, more = seqs[:fitting], true
	}
	if backwards {
		slices.Reverse(seqs)
		return seqs, more, true, nil
	}
	return seqs, cursor != "", more, nil
}

// maxPageBytes is how much the rows of a page may have together, unless the first alone has more:
// a hundred of the largest events would take more memory than a request should.
const maxPageBytes = 4 << 20

// fitting is how many of the rows fit into a page.
func (s *selection) fitting(ctx context.Context, r rowReader, seqs []int64) (int, error) {
	if s.weights == "" || len(seqs) < 2 {
		return len(seqs), nil
	}
	rows, err := r.QueryContext(ctx, s.weights, seqsJSON(seqs))
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	weights := make(map[int64]int64, len(seqs))
	for rows.Next() {
		var seq, bytes int64
		if err := rows.Scan(&seq, &bytes); err != nil {
			return 0, err
		}
		weights[seq] = bytes
	}
	if err := rows.Err(); err != nil {
		return 0, err
	}
	total := int64(0)
	for i, seq := range seqs {
		if total += weights[seq]; total > maxPageBytes && i > 0 {
			return i, nil
		}
	}
	return len(seqs), nil
}

// query is one walk for every way to choose one of each choice, merged by row number: a row
// that two walks find, by two names of the same, is there once. It lacks the limit's argument.
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
			for _, c := range choice {
				more = append(more, append(slices.Clip(walk), c))
			}
		}
		walks = more
	}
	var q strings.Builder
	for i, walk := range walks {
		if i > 0 {
			q.WriteString(" UNION ")
		}
		q.WriteString("SELECT t.seq AS seq FROM " + s.table + " AS t")
		switch {
		case s.lookup:
			q.WriteString(" NOT INDEXED") // but by row number
		case s.index != "":
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
