// Package jq runs the jq programs that users put into configs: [gojq], compiled
// once, and fenced in.
//
// # Safety
//
// A program is text from a user, so nothing it says may hang or kill the
// process. It has no access to the environment ($ENV is empty), to
// files, modules or further inputs. A run ends with an error when it takes
// longer than [TimeLimit], when it gives too many or too large outputs, or when
// it used up its budget: roughly, the bytes it may allocate, with
// every step of the interpreter counted in, so that endless recursion ends too.
// gojq itself checks only the time, and only between steps, while one step can
// double a string, build an array of half a billion elements or walk a value
// that is small in memory but endless as a tree. So a program is rewritten before
// it is compiled: what is not small and constant asks the run's meter first (see
// costs in cost.go). The budget counts what was allocated, not what is still
// in use, so it is the most that one run may hold, apart from its input, within a
// factor of two (measured: 0.6 GiB in the worst case).
//
// Differences from jq, which follow from this: indexing an array by an array
// and assigning to a slice are errors; now is the same through a whole run; a
// number, a regular expression or a program can be too long. What a config has no
// use for is not defined: input, debug, env, halt, modules, SQL's JOIN, tostream and
// its kin, combinations, and the rarer functions of C's math library.
//
// # Numbers
//
// [Decode] keeps each number as the text it came as, and gojq carries that text
// along: 12345678901234567890, 1.0 and 1e400 pass through a program
// that only moves them, and through tostring, unchanged. Arithmetic makes them
// int, big.Int or float64, so 1.0 + 0 is 1 and 1e400 + 0 is the largest
// float64. Comparison, sorting and unique compare as those types too.
//
// [gojq]: https://github.com/itchyny/gojq
package jq

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/itchyny/gojq"
)

// Limits of one program and one run.
const (
	// MaxSource is the longest program, in bytes.
	MaxSource = 16 << 10
	// TimeLimit is the longest run; an earlier deadline of the context counts too.
	TimeLimit = time.Second
	// MaxOutputs is the highest number of outputs of a run.
	MaxOutputs = 100_000
	// MaxOutput is the largest size of all outputs of a run together, in bytes of JSON, about.
	MaxOutput = 64 << 20

	maxDepth    = 10_000    // of nesting, as in encoding/json
	budget      = 512 << 20 // bytes, about
	maxPrograms = 1024      // that are kept compiled
)

// Program is a compiled program. It may be run from many goroutines at once.
type Program struct {
	source string
	code   *gojq.Code
	simple simple
}

type programKey struct{ source, vars string }

var cache = struct {
	sync.Mutex
	programs map[programKey]*Program
}{programs: map[programKey]*Program{}}

// Compile returns the program of src, in which each of vars (such as "$cursor")
// may be used. The same program is compiled once and kept, within bounds, so
// callers need not keep it themselves. The error says what is wrong, at which line
// and column.
func Compile(src string, vars ...string) (*Program, error) {
	key := programKey{src, strings.Join(vars, " ")}
	cache.Lock()
	p := cache.programs[key]
	cache.Unlock()
	if p != nil {
		return p, nil
	}
	p, err := compile(src, vars)
	if err != nil {
		return nil, err
	}
	cache.Lock()
	defer cache.Unlock()
	if len(cache.programs) >= maxPrograms {
		for k := range cache.programs { // whichever comes first: compiling again is cheap
			delete(cache.programs, k)
			break
		}
	}
	cache.programs[key] = p
	return p, nil
}

func compile(src string, vars []string) (p *Program, err error) {
	if len(src) > MaxSource {
		return nil, fmt.Errorf("the program is longer than %d bytes", MaxSource)
	}
	if strings.TrimSpace(src) == "" {
		return nil, errors.New(`the program is empty; "." is the program that gives its input`)
	}
	defer func() { // of gojq: a program's text must not end the process
		if r := recover(); r != nil {
			p, err = nil, fmt.Errorf("the program is not understood: %v", r)
		}
	}()
	query, err := gojq.Parse(src)
	if err != nil {
		return nil, parseError(src, err)
	}
	easy := simplify(query)
	if query, err = metered(query); err != nil {
		return nil, compileError(src, err)
	}
	code, err := gojq.Compile(query, append(functions(),
		gojq.WithVariables(append([]string{meterVar}, vars...)))...)
	if err != nil {
		return nil, compileError(src, err)
	}
	return &Program{source: src, code: code, simple: easy}, nil
}

// One runs the program and returns its only output. No output is nil, like an
// output of null; more than one is an error. The input and vars, in the
// order of [Compile]'s, are values as from [Decode] and are not changed. Errors
// begin with the program.
func (p *Program) One(ctx context.Context, input any, vars ...any) (any, error) {
	if v, ok := p.simple.of(input); ok {
		return v, nil
	}
	outputs, err := p.run(ctx, 1, input, vars)
	if err != nil || len(outputs) == 0 {
		return nil, err
	}
	return outputs[0], nil
}

// All is [Program.One] for any number of outputs up to [MaxOutputs].
func (p *Program) All(ctx context.Context, input any, vars ...any) ([]any, error) {
	return p.run(ctx, MaxOutputs, input, vars)
}

func (p *Program) run(ctx context.Context, most int, input any, vars []any) (outputs []any, err error) {
	ctx, cancel := context.WithTimeout(ctx, TimeLimit)
	defer cancel()
	m := &meter{Context: ctx, left: budget, now: time.Now()}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the interpreter broke down: %v", r)
		}
		if err != nil {
			outputs, err = nil, fmt.Errorf("jq %s: %w", quoted(p.source), err)
		}
	}()
	size := meter{left: MaxOutput}
	iter := p.code.RunWithContext(m, input, append([]any{m}, vars...)...)
	for {
		v, ok := iter.Next()
		if !ok {
			return outputs, nil
		}
		if e, isErr := v.(error); isErr {
			return nil, m.explain(e)
		}
		if len(outputs) == most {
			if most == 1 {
				return nil, errors.New("it gave more than one output; one is wanted (wrap it in [...] or first(...))")
			}
			return nil, fmt.Errorf("it gave more than %d outputs", most)
		}
		if err := size.tree(v, 1); err != nil {
			if errors.Is(err, errDepth) {
				return nil, err
			}
			return nil, fmt.Errorf("its outputs are larger than %d MiB", MaxOutput>>20)
		}
		outputs = append(outputs, v)
	}
}
