package jq

import (
	"context"
	"encoding/json"
	"math/big"
	"reflect"
	"time"
)

const (
	stepCost  = 32      // what a step may leave on the interpreter's stacks
	nodeCost  = 32      // an element of an array or a member of an object, without its text
	slotCost  = 64      // a variable of a function's frame
	maxBig    = 8 << 10 // bytes of a product of two integers
	maxNumber = 1000    // digits
	maxFormat = 1000    // bytes of strftime's format, and its kin's
)

// meter is what is left of a run's budget. It is the context that the interpreter
// runs in, because that is what gojq looks at before each step.
type meter struct {
	context.Context
	left     int64
	now      time.Time           // the start of the run
	why      error               // what ended the run, when the meter did
	chain    []uintptr           // the containers of the last path that was checked
	patterns map[string]*pattern // that the run has used
}

var closed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// Done is called before each step.
func (m *meter) Done() <-chan struct{} {
	if m.charge(stepCost) != nil {
		return closed
	}
	return m.Context.Done()
}

// Err is why Done is closed.
func (m *meter) Err() error {
	if m.why != nil {
		return m.why
	}
	return m.Context.Err()
}

// charge takes n from the budget. After its first error all that follows is an
// error too, so that no program can catch it.
func (m *meter) charge(n int64) error {
	if m.left -= min(n, budget+1); m.left < 0 {
		return m.fail(errBudget)
	}
	return nil
}

func (m *meter) fail(err error) error {
	m.left = -1
	if m.why == nil {
		m.why = err
	}
	return m.why
}

// tree charges factor times the size of v written out as a tree: a value
// may hold the same part many times.
func (m *meter) tree(v any, factor int64) error { return m.subtree(v, factor, 0) }

func (m *meter) subtree(v any, factor int64, depth int) error {
	if depth > maxDepth {
		return m.fail(errDepth)
	}
	before := m.left
	if err := m.charge(factor * flat(v)); err != nil {
		return err
	}
	if m.Context != nil && before>>20 != m.left>>20 && m.Context.Err() != nil {
		return m.Context.Err() // a walk of the whole budget takes long, so look at the time each MiB
	}
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			if err := m.subtree(e, factor, depth+1); err != nil {
				return err
			}
		}
	case map[string]any:
		for k, e := range v {
			if err := m.charge(factor * int64(len(k))); err != nil {
				return err
			}
			if err := m.subtree(e, factor, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// flat is the size of v itself, without what its elements refer to.
func flat(v any) int64 {
	switch v := v.(type) {
	case string:
		return int64(len(v))
	case json.Number:
		return int64(len(v))
	case *big.Int:
		return int64(v.BitLen()/8) + 8
	case []any:
		return nodeCost * int64(len(v)+1)
	case map[string]any:
		return 2 * nodeCost * int64(len(v)+1)
	}
	return 8
}

// path charges what setting path in v copies and adds. The containers of the
// path before are free, because one assignment copies each once.
func (m *meter) path(v any, path []any) error {
	for depth, p := range path {
		switch p.(type) {
		case []any:
			return errArrayIndex
		case map[string]any:
			return errSlice
		}
		at := uintptr(0)
		if isContainer(v) {
			at = reflect.ValueOf(v).Pointer()
		}
		if depth >= len(m.chain) || at == 0 || m.chain[depth] != at {
			m.chain = append(m.chain[:depth], at)
			if err := m.charge(flat(v)); err != nil {
				return err
			}
		}
		var next any
		switch v := v.(type) {
		case map[string]any:
			if k, ok := p.(string); ok {
				next = v[k]
			}
		default:
			elements, _ := v.([]any)
			i := integer(p)
			if i >= len(elements) {
				// twice: the interpreter doubles an array that it grows in place
				if err := m.charge(2 * nodeCost * min(int64(i), budget)); err != nil {
					return err
				}
			} else if i < 0 {
				i += len(elements)
			}
			if 0 <= i && i < len(elements) {
				next = elements[i]
			}
		}
		v = next
	}
	return nil
}
