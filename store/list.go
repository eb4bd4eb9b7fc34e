package store

import (
	"context"
	"strconv"
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

// list finds one page and loads its rows. When retention removes all of them in between, it looks
// again: an empty page would have no item to go on behind.
func list[T any](ctx context.Context, s *Store, sel *selection, p Page, load func(context.Context, []int64) ([]T, error)) (List[T], error) {
	for {
		seqs, before, after, err := sel.page(ctx, s.prepared, p)
		if err != nil {
			return List[T]{}, err
		}
		items, err := load(ctx, seqs)
		if err != nil {
			return List[T]{}, err
		}
		if len(items) > 0 || len(seqs) == 0 {
			return List[T]{Items: items, HasMoreBefore: before, HasMoreAfter: after}, nil
		}
	}
}

// get loads one row by its id.
func get[T any](ctx context.Context, s *Store, sel *selection, entity, id string, load func(context.Context, []int64) ([]T, error)) (item T, err error) {
	seqs, _, _, err := sel.ids([]string{id}).page(ctx, s.prepared, Page{Limit: 1})
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
