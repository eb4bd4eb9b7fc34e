package jq

import (
	"encoding/json"

	"github.com/itchyny/gojq"
)

// simple is a program that most are: a text, or the way to a member, as .a.b is. Neither needs
// the interpreter. The zero value is any other program.
type simple struct {
	text *string
	path []string
}

func simplify(q *gojq.Query) (s simple) {
	if q.Meta != nil || len(q.Imports)+len(q.FuncDefs)+len(q.Patterns) > 0 || q.Op != 0 || q.Left != nil || q.Term == nil {
		return s
	}
	switch t := q.Term; {
	case t.Type == gojq.TermTypeString && len(t.SuffixList) == 0 && t.Str.Queries == nil:
		s.text = &t.Str.Str
	case t.Type == gojq.TermTypeIndex && t.Index.Name != "":
		path := []string{t.Index.Name}
		for _, suffix := range t.SuffixList {
			if suffix.Index == nil || suffix.Index.Name == "" {
				return s
			}
			path = append(path, suffix.Index.Name)
		}
		s.path = path
	}
	return s
}

// of is the output for an input. ok is false for another kind of program, for what is an error,
// and for an output that is more than one text or number: the interpreter says how large it may be.
func (s simple) of(input any) (v any, ok bool) {
	if s.text != nil {
		return *s.text, true
	}
	for _, name := range s.path {
		object, ok := input.(map[string]any)
		if !ok {
			return nil, false
		}
		input = object[name]
	}
	switch v := input.(type) {
	case string:
		ok = len(v) < MaxOutput
	case json.Number:
		ok = true
	}
	return input, ok && s.path != nil
}
