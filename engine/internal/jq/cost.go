package jq

import (
	"errors"
	"fmt"
	"strings"

	"github.com/itchyny/gojq"
)

var (
	errArrayIndex = errors.New("indexing by an array is not supported here; use indices(...)")
	errSlice      = errors.New("assigning to a slice is not supported here; build the array with +")
	errNumber     = fmt.Errorf("a number is longer than %d digits", maxNumber)
	errFormat     = fmt.Errorf("the format of a time is longer than %d bytes", maxFormat)
)

// cost charges what a call with this input and these arguments may take, before
// it is made. An error that is not the meter's is an ordinary one of the program.
type cost func(m *meter, v any, args []any) error

// costs holds the operators, and the functions that gojq has in Go, of which a call
// may take much; the others are in cheap. The words without an arity stand for
// other things that the rewriter meters.
var costs = map[string]cost{
	"+":  func(m *meter, _ any, args []any) error { return m.charge(flat(args[0]) + flat(args[1])) },
	"-":  func(m *meter, _ any, args []any) error { return m.product(args[0], args[1]) },
	"*":  multiplyCost,
	"/":  func(m *meter, _ any, args []any) error { return m.pieces(args[0]) },
	"==": compareCost, "!=": compareCost,
	"<": compareCost, "<=": compareCost, ">": compareCost, ">=": compareCost,

	"each":   flatCost, // .[]
	"index":  indexCost,
	"text":   textCost, // "\(...)", @json
	"enter":  func(m *meter, _ any, args []any) error { return m.charge(slotCost * int64(integer(args[0]))) },
	"update": func(m *meter, _ any, _ []any) error { m.chain = m.chain[:0]; return nil },
	"path":   pathCost,

	"tojson/0": textCost, "tostring/0": textCost, "format/1": textCost,
	"ascii_downcase/0": flatCost, "ascii_upcase/0": flatCost,
	"implode/0": flatCost, "reverse/0": flatCost, "keys/0": flatCost,
	"explode/0": piecesCost, "split/1": piecesCost,
	"add/0":  func(m *meter, v any, _ []any) error { return m.sum(v, nil) },
	"join/1": func(m *meter, v any, args []any) error { return m.sum(v, args[0]) },
	"sort/0": treeCost, "_sort_by/1": treeCost, "_group_by/1": treeCost,
	"unique/0": treeCost, "_unique_by/1": treeCost,
	"min/0": treeCost, "_min_by/1": treeCost, "max/0": treeCost, "_max_by/1": treeCost,
	"flatten/0": treeCost, "flatten/1": treeCost, "bsearch/1": treeCost, "delpaths/1": treeCost,
	"contains/1": productCost, "inside/1": productCost,
	"indices/1": searchCost, "index/1": searchCost, "rindex/1": searchCost,
	"transpose/0": transposeCost,
	"getpath/1":   getpathCost,
	"setpath/2": func(m *meter, v any, args []any) error {
		m.chain = m.chain[:0]
		return pathCost(m, v, args)
	},
	"tonumber/0": numberCost,
	"strftime/1": formatCost, "strflocaltime/1": formatCost, "strptime/1": formatCost,
}

// cheap are the other functions of gojq in Go that a program may call: those that take a
// constant time, or one pass over a string with little allocated. What is neither in
// here nor in costs nor in the prelude does not exist for a program.
var cheap = func() map[string]bool {
	names := map[string]bool{}
	for _, name := range strings.Fields(`
		empty/0 error/0 error/1 path/1 type/0 length/0 utf8bytelength/0 has/1 toboolean/0
		startswith/1 endswith/1 ltrimstr/1 rtrimstr/1 trimstr/1 ltrim/0 rtrim/0 trim/0
		floor/0 ceil/0 round/0 trunc/0 fabs/0 sqrt/0 cbrt/0 pow/2 exp/0 exp2/0 exp10/0 log/0 log2/0 log10/0
		fmin/2 fmax/2 fmod/2 hypot/2 sin/0 cos/0 tan/0 asin/0 acos/0 atan/0 atan2/2
		infinite/0 isfinite/0 isinfinite/0 nan/0 isnan/0 isnormal/0
		gmtime/0 localtime/0 mktime/0`) {
		names[name] = true
	}
	return names
}()

func flatCost(m *meter, v any, _ []any) error { return m.charge(flat(v)) }

func treeCost(m *meter, v any, args []any) error {
	for _, v := range append([]any{v}, args...) {
		if err := m.tree(v, 1); err != nil {
			return err
		}
	}
	return nil
}

// textCost is for JSON and the formats, which make up to six bytes of one.
func textCost(m *meter, v any, _ []any) error { return m.tree(v, 6) }

func piecesCost(m *meter, v any, _ []any) error { return m.pieces(v) }

func productCost(m *meter, v any, args []any) error { return m.product(v, args[0]) }

// pieces is for a string that is taken apart into an array.
func (m *meter) pieces(v any) error {
	if s, ok := v.(string); ok {
		return m.charge(nodeCost * int64(len(s)))
	}
	return nil
}

// product is for what compares every part of l with every part of r.
func (m *meter) product(l, r any) error {
	if !isContainer(l) || !isContainer(r) {
		return nil
	}
	before := m.left
	if err := m.tree(l, 1); err != nil {
		return err
	}
	between := m.left
	if err := m.tree(r, 1); err != nil {
		return err
	}
	return m.charge(times((before-between)/nodeCost, (between-m.left)/nodeCost))
}

// sum is for adding up the elements of v, with sep between them.
func (m *meter) sum(v, sep any) error {
	add := func(e any) error { return m.charge(flat(e) + flat(sep)) }
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			if err := add(e); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, e := range v {
			if err := add(e); err != nil {
				return err
			}
		}
	}
	return nil
}

func compareCost(m *meter, _ any, args []any) error {
	if !isContainer(args[0]) || !isContainer(args[1]) || isArray(args[0]) != isArray(args[1]) {
		return nil // different types are not looked into
	}
	return treeCost(m, args[0], args[1:])
}

func multiplyCost(m *meter, _ any, args []any) error {
	l, r := args[0], args[1]
	if _, ok := r.(string); ok {
		l, r = r, l
	}
	if s, ok := l.(string); ok {
		if n, ok := gojq.ToFloat64(r); ok && n > 0 {
			return m.charge(times(int64(len(s)), int64(min(n, budget))))
		}
		return nil
	}
	if isContainer(l) && isContainer(r) {
		return treeCost(m, l, []any{r})
	}
	if flat(l)+flat(r) > maxBig {
		return m.fail(errBudget)
	}
	return nil
}

// searchCost is for looking for args[0] at every place of v.
func searchCost(m *meter, v any, args []any) error {
	if isArray(v) {
		if !isArray(args[0]) {
			args = []any{[]any{args[0]}}
		}
		return m.product(v, args[0])
	}
	s, _ := v.(string)
	x, _ := args[0].(string)
	if err := m.charge(nodeCost * int64(len(s)+len(x))); err != nil {
		return err
	}
	return m.charge(times(int64(len(s)), int64(len(x))))
}

func transposeCost(m *meter, v any, _ []any) error {
	rows, _ := v.([]any)
	longest := 0
	for _, row := range rows {
		if row, ok := row.([]any); ok {
			longest = max(longest, len(row))
		}
	}
	return m.charge(nodeCost * times(int64(len(rows)), int64(longest)))
}

// indexCost is for the e of .[e].
func indexCost(_ *meter, v any, _ []any) error {
	if isArray(v) {
		return errArrayIndex
	}
	return nil
}

func getpathCost(m *meter, _ any, args []any) error {
	path, _ := args[0].([]any)
	for _, p := range path {
		if err := indexCost(m, p, nil); err != nil {
			return err
		}
	}
	return nil
}

// pathCost is for assigning to the path args[0] in v.
func pathCost(m *meter, v any, args []any) error {
	path, _ := args[0].([]any)
	return m.path(v, path)
}

func numberCost(_ *meter, v any, _ []any) error {
	if s, ok := v.(string); ok && len(s) > maxNumber {
		return errNumber
	}
	return nil
}

// formatCost is for what writes a dozen bytes for each two of its format, in one step.
func formatCost(_ *meter, _ any, args []any) error {
	if s, ok := args[0].(string); ok && len(s) > maxFormat {
		return errFormat
	}
	return nil
}

func isArray(v any) bool { _, ok := v.([]any); return ok }

func isContainer(v any) bool {
	_, ok := v.(map[string]any)
	return ok || isArray(v)
}

func integer(v any) int {
	n, _ := gojq.ToInt(v)
	return n
}

// times multiplies two sizes that are not negative, without overflow.
func times(a, b int64) int64 {
	if a != 0 && b > budget/a {
		return budget + 1
	}
	return a * b
}
