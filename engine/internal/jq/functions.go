package jq

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/itchyny/gojq"
)

// functions are what rewritten programs and the prelude call. The first argument of each is
// the run's meter.
func functions() []gojq.CompilerOption {
	return []gojq.CompilerOption{
		gojq.WithFunction("_meter", 2, 5, func(v any, args []any) any {
			if err := costs[args[1].(string)](args[0].(*meter), v, args[2:]); err != nil {
				return err
			}
			return v
		}),
		gojq.WithFunction("_now", 1, 1, func(_ any, args []any) any {
			return float64(args[0].(*meter).now.UnixNano()) / 1e9
		}),
		gojq.WithFunction("_fromjson", 1, 1, func(v any, args []any) any {
			s, ok := v.(string)
			if !ok {
				return fmt.Errorf("fromjson cannot be applied to: %s", gojq.TypeOf(v))
			}
			if err := args[0].(*meter).pieces(v); err != nil {
				return err
			}
			w, err := Decode([]byte(s))
			if err != nil {
				return fmt.Errorf("fromjson: %w", err)
			}
			return w
		}),
		gojq.WithFunction("_regex", 4, 4, func(v any, args []any) any {
			w, err := match(args[0].(*meter), v, args[1], args[2], args[3] == true)
			if err != nil {
				return err
			}
			return w
		}),
	}
}

// pattern is a regular expression, compiled to be looked for at the start of a text
// and, with one character of context before it, further on.
type pattern struct {
	first, next *regexp.Regexp // group 1 is the match
	names       []string
	size        int // instructions: matching takes at most about size times the text's length
}

const maxPatterns = 256

var patterns = struct {
	sync.Mutex
	known map[string]*pattern
}{known: map[string]*pattern{}}

func compilePattern(re, flags string) (*pattern, error) {
	prefix := ""
	for _, f := range flags {
		switch f {
		case 'g':
		case 'i':
			prefix += "(?i)"
		case 'm':
			prefix += "(?s)"
		default:
			return nil, fmt.Errorf("unsupported flag %q of a regular expression", f)
		}
	}
	re = prefix + re
	patterns.Lock()
	p := patterns.known[re]
	patterns.Unlock()
	if p != nil {
		return p, nil
	}
	if len(re) > maxNumber {
		return nil, fmt.Errorf("a regular expression is longer than %d bytes", maxNumber)
	}
	tree, err := syntax.Parse(re, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("regular expression %q: %w", re, err)
	}
	prog, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return nil, fmt.Errorf("regular expression %q: %w", re, err)
	}
	p = &pattern{size: len(prog.Inst)}
	if p.first, err = regexp.Compile("(" + re + ")"); err != nil {
		return nil, fmt.Errorf("regular expression %q: %w", re, err)
	}
	if p.next, err = regexp.Compile(`\A(?s:.)(?s:.*?)(` + re + `)`); err != nil {
		return nil, fmt.Errorf("regular expression %q: %w", re, err)
	}
	p.names = p.first.SubexpNames()
	patterns.Lock()
	defer patterns.Unlock()
	if len(patterns.known) >= maxPatterns {
		clear(patterns.known)
	}
	patterns.known[re] = p
	return p, nil
}

// match is jq's match and test. gojq's own keeps every pattern that it ever saw, and
// takes a time that grows with the square of the text's length and cannot be stopped;
// this one looks for one match at a time and asks the meter between them.
func match(m *meter, v, re, flags any, test bool) (any, error) {
	s, ok := v.(string)
	if !ok {
		return nil, fmt.Errorf("match cannot be applied to: %s", gojq.TypeOf(v))
	}
	expr, ok := re.(string)
	if !ok {
		return nil, fmt.Errorf("a regular expression must be a string, not: %s", gojq.TypeOf(re))
	}
	options, ok := flags.(string)
	if !ok && flags != nil {
		return nil, fmt.Errorf("the flags of a regular expression must be a string, not: %s", gojq.TypeOf(flags))
	}
	p, err := compilePattern(expr, options)
	if err != nil {
		return nil, err
	}
	if times(int64(p.size), int64(len(s))) > budget/8 {
		return nil, m.fail(errBudget) // one match could take seconds
	}
	global := strings.Contains(options, "g")
	matches := []any{}
	runes, counted := 0, 0 // runes are in s[:counted]
	offset := func(at int) int {
		if at < counted {
			return runes - utf8.RuneCountInString(s[at:counted])
		}
		runes += utf8.RuneCountInString(s[counted:at])
		counted = at
		return runes
	}
	for from := 0; from <= len(s); {
		if m.Context.Err() != nil {
			return nil, m.Context.Err()
		}
		at, expr := 0, p.first
		if from > 0 {
			_, width := utf8.DecodeLastRuneInString(s[:from])
			at, expr = from-width, p.next
		}
		found := expr.FindStringSubmatchIndex(s[at:])
		if test {
			return found != nil, m.charge(int64(len(s)))
		}
		if found == nil {
			break
		}
		if err := m.charge(int64(len(found))*8*nodeCost + 2*int64(p.size)*int64(found[1]-(from-at))); err != nil {
			return nil, err
		}
		group := func(i int) map[string]any {
			start, end := found[2*i], found[2*i+1]
			if start < 0 {
				return map[string]any{"offset": -1, "length": 0, "string": nil}
			}
			text := s[at+start : at+end]
			return map[string]any{"offset": offset(at + start), "length": utf8.RuneCountInString(text), "string": text}
		}
		whole := group(1)
		captures := make([]any, 0, len(found)/2-2)
		for i := 2; i < len(found)/2; i++ {
			c := group(i)
			c["name"] = nil
			if p.names[i] != "" {
				c["name"] = p.names[i]
			}
			captures = append(captures, c)
		}
		whole["captures"] = captures
		matches = append(matches, whole)
		if !global {
			break
		}
		start, end := at+found[2], at+found[3]
		if from = end; start == end {
			_, width := utf8.DecodeRuneInString(s[end:])
			from += max(width, 1)
		}
	}
	return matches, nil
}
