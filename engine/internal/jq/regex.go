package jq

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"unicode/utf8"

	"github.com/itchyny/gojq"
)

const (
	maxPattern      = 1000   // bytes of a regular expression
	maxInstructions = 20_000 // that it may become: x{1000} is that many times x
	instructionCost = 512    // what one takes in the two compiled forms together, about
)

// pattern is a regular expression, compiled to be looked for at the start of a text
// and, with one character of context before it, further on.
type pattern struct {
	first, next *regexp.Regexp // group 1 is the match
	size        int64          // instructions: matching takes at most about size times the text's length
}

// compile keeps a pattern for the rest of the run only, because patterns may come from the data.
func (m *meter) compile(re string) (*pattern, error) {
	if p := m.patterns[re]; p != nil {
		return p, nil
	}
	if len(re) > maxPattern {
		return nil, fmt.Errorf("a regular expression is longer than %d bytes", maxPattern)
	}
	tree, err := syntax.Parse(re, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("regular expression %q: %w", re, err)
	}
	p := &pattern{size: instructions(tree)}
	if p.size > maxInstructions {
		return nil, errors.New("a regular expression repeats too much")
	}
	if err := m.charge(instructionCost * p.size); err != nil {
		return nil, err
	}
	if p.first, err = regexp.Compile("(" + re + ")"); err != nil {
		return nil, fmt.Errorf("regular expression %q: %w", re, err)
	}
	if p.next, err = regexp.Compile(`\A(?s:.)(?s:.*?)(` + re + `)`); err != nil {
		return nil, fmt.Errorf("regular expression %q: %w", re, err)
	}
	if m.patterns == nil {
		m.patterns = map[string]*pattern{}
	}
	m.patterns[re] = p
	return p, nil
}

// instructions is about how many instructions a regular expression is compiled to.
func instructions(tree *syntax.Regexp) int64 {
	n := int64(1)
	if tree.Op == syntax.OpLiteral {
		n = int64(len(tree.Rune))
	}
	for _, sub := range tree.Sub {
		n += instructions(sub)
	}
	if tree.Op == syntax.OpRepeat {
		n = times(n, int64(max(tree.Min, tree.Max, 1)))
	}
	return n
}

// match gives what jq's match does, as an array. gojq's own keeps every pattern that
// it ever saw, and takes a time that grows with the square of the text's length and
// cannot be stopped; this one looks for one match at a time and asks the meter between.
func (m *meter) match(v, re, flags any) (any, error) {
	s, ok := v.(string)
	if !ok {
		return nil, fmt.Errorf("match cannot be applied to: %s", gojq.TypeOf(v))
	}
	source, ok := re.(string)
	if !ok {
		return nil, fmt.Errorf("a regular expression must be a string, not: %s", gojq.TypeOf(re))
	}
	options, ok := flags.(string)
	if !ok && flags != nil {
		return nil, fmt.Errorf("the flags of a regular expression must be a string, not: %s", gojq.TypeOf(flags))
	}
	global := false
	for _, f := range options {
		switch f {
		case 'g':
			global = true
		case 'i':
			source = "(?i)" + source
		case 'm':
			source = "(?s)" + source
		default:
			return nil, fmt.Errorf("unsupported flag %q of a regular expression", f)
		}
	}
	p, err := m.compile(source)
	if err != nil {
		return nil, err
	}
	if times(p.size, int64(len(s))) > budget/8 {
		return nil, m.fail(errBudget) // one match could take seconds
	}
	matches := []any{}
	at, offset, expr := 0, 0, p.first // where the rest of s begins, in bytes and in characters
	for {
		if err := m.Context.Err(); err != nil {
			return nil, err
		}
		found := expr.FindStringSubmatchIndex(s[at:])
		if found == nil {
			return matches, m.charge(int64(len(s) - at))
		}
		start, end := at+found[2], at+found[3]
		if err := m.charge(int64(len(found))*8*nodeCost + 2*p.size*int64(end-at)); err != nil {
			return nil, err
		}
		matches = append(matches, matchObject(s[at:], offset, found[2:], p.first.SubexpNames()[1:]))
		if !global || start == end && end == len(s) {
			return matches, nil
		}
		from := end
		if start == end {
			_, width := utf8.DecodeRuneInString(s[end:])
			from += width
		}
		_, width := utf8.DecodeLastRuneInString(s[:from])
		offset += utf8.RuneCountInString(s[at : from-width])
		at, expr = from-width, p.next
	}
}

// matchObject is one output of jq's match. The first of groups, which are pairs of places
// in s, is the match itself; offset is that of s.
func matchObject(s string, offset int, groups []int, names []string) map[string]any {
	objects := make([]any, len(names))
	for i, name := range names {
		object := map[string]any{"name": nil, "offset": -1, "length": 0, "string": nil}
		if name != "" {
			object["name"] = name
		}
		if start, end := groups[2*i], groups[2*i+1]; start >= 0 {
			object["offset"] = offset + utf8.RuneCountInString(s[:start])
			object["length"] = utf8.RuneCountInString(s[start:end])
			object["string"] = s[start:end]
		}
		objects[i] = object
	}
	match := objects[0].(map[string]any)
	delete(match, "name")
	match["captures"] = objects[1:]
	return match
}
