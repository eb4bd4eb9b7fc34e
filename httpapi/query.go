package httpapi

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// Bounds of a page.
const (
	defaultLimit = 20
	maxLimit     = 100
)

// maxQuery is how many bytes a query string may have: more than two thousand ids.
const maxQuery = 64 << 10

// query reads the query string of a list, in each of the forms that the clients write.
// Errors are collected, each with the name of its parameter. An empty value is the same as
// none, and parameters that nobody asks for are ignored.
type query struct {
	given map[string]parameter
	errs  []engine.FieldError
}

// parameter is what a name is given, by the forms in which it can be.
type parameter struct {
	plain  []string            // name=value
	many   []string            // name[]=value and name[0]=value
	sub    map[string][]string // name[key]=value
	broken bool                // other brackets
}

// parseList reads a list's filter and page.
func parseList[F any](raw string, filter func(*query) F) (f F, p engine.Page, err error) {
	q, err := parseQuery(raw)
	if err != nil {
		return f, p, err
	}
	f, p = filter(q), q.page()
	return f, p, q.err()
}

func parseQuery(raw string) (*query, error) {
	if len(raw) > maxQuery {
		return nil, badRequest("invalid_query_string", "the query string has more than 64 KiB", nil)
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, badRequest("invalid_query_string", "the query string is not well-formed: "+err.Error(), nil)
	}
	q := &query{given: make(map[string]parameter)}
	for _, name := range slices.Sorted(maps.Keys(values)) { // so that errors come in the same order each time
		given := slices.DeleteFunc(values[name], func(value string) bool { return value == "" })
		if len(given) == 0 {
			continue
		}
		base, key, bracketed := strings.Cut(name, "[")
		key, closed := strings.CutSuffix(key, "]")
		p := q.given[base]
		switch {
		case !bracketed:
			p.plain = given
		case !closed || strings.ContainsAny(key, "[]"):
			p.broken = true
		case strings.Trim(key, "0123456789") == "":
			p.many = append(p.many, given...)
		default:
			if p.sub == nil {
				p.sub = make(map[string][]string)
			}
			p.sub[key] = given
		}
		q.given[base] = p
	}
	return q, nil
}

func (q *query) err() error { return invalid("the query is not valid", q.errs) }

func (q *query) add(code, message, expected, received string, path ...string) {
	if len(q.errs) == maxErrors {
		return
	}
	q.errs = append(q.errs, engine.FieldError{Code: code, Message: message, Path: path, Expected: expected, Received: shorten(received)})
}

// one is the value of a parameter that can be given once; "" if it is not.
func (q *query) one(name string) string {
	p := q.given[name]
	if p.many != nil || p.sub != nil || p.broken {
		q.add("invalid_type", "must be given as "+name+"=VALUE", "string", "", name)
		return ""
	}
	if len(p.plain) == 0 || !q.once(p.plain, name) {
		return ""
	}
	return p.plain[0]
}

func (q *query) once(given []string, path ...string) bool {
	if len(given) > 1 {
		q.add("invalid_type", "is given more than once", "string", "array", path...)
	}
	return len(given) == 1
}

// all is every value of a filter. A single value in brackets is the list that Go's client
// writes; name[]=value takes one that only looks like it.
func (q *query) all(name string) []string {
	p := q.given[name]
	if p.sub != nil || p.broken {
		q.add("invalid_type", "must be given as "+name+"=VALUE or "+name+"[]=VALUE", "array", "", name)
	}
	values := p.plain
	if len(values) == 1 {
		if list, ok := between(values[0], "[", "]"); ok {
			values = strings.Fields(list)
		}
	}
	return slices.Concat(values, p.many)
}

// anyOf is every value of a filter that knows only some.
func (q *query) anyOf(name string, known ...string) []string {
	values := q.all(name)
	for _, value := range values {
		if !slices.Contains(known, value) {
			q.add("invalid_enum", "must be one of "+strings.Join(known, ", "), strings.Join(known, "|"), value, name)
		}
	}
	return values
}

// during is a range of time, with both ends excluded.
func (q *query) during(name string) (r engine.Range) {
	p := q.given[name]
	ends := p.sub
	list, fromGo := "", false
	if len(p.plain) == 1 {
		list, fromGo = between(p.plain[0], "map[", "]")
	}
	if p.many != nil || p.broken || p.plain != nil && (!fromGo || ends != nil) {
		q.add("invalid_type", "must be a range: "+name+"[gt] and "+name+"[lt]", "object", "", name)
		return r
	}
	if fromGo {
		ends = make(map[string][]string)
		for _, end := range strings.Fields(list) {
			key, at, _ := strings.Cut(end, ":")
			ends[key] = append(ends[key], at)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(ends)) {
		at := q.time(ends[key], name, key)
		switch key {
		case "gt":
			r.After = at
		case "lt":
			r.Before = at
		default:
			q.add("unrecognized_key", "is not an end of a range", "gt|lt", key, name, key)
		}
	}
	return r
}

func (q *query) time(given []string, path ...string) time.Time {
	if !q.once(given, path...) {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339, given[0])
	if err != nil {
		q.add("invalid_type", "must be a time such as 2026-01-10T14:45:00Z", "date", given[0], path...)
	} else if at.IsZero() {
		at = at.Add(1) // the zero time would be an open end
	}
	return at
}

// page is the part of the list that is asked for.
func (q *query) page() engine.Page {
	p := engine.Page{Limit: defaultLimit, After: q.one("after"), Before: q.one("before")}
	if text := q.one("limit"); text != "" {
		n, err := strconv.Atoi(text)
		switch {
		case err != nil:
			q.add("invalid_type", "must be a whole number", "integer", text, "limit")
		case n < 1:
			q.add("invalid_min", "must be at least 1", "1", text, "limit")
		case n > maxLimit:
			q.add("invalid_max", "must be at most 100", "100", text, "limit")
		default:
			p.Limit = n
		}
	}
	switch order := q.one("order"); order {
	case "", "asc":
	case "desc":
		p.Desc = true
	default:
		q.add("invalid_enum", "must be one of asc, desc", "asc|desc", order, "order")
	}
	if p.After != "" && p.Before != "" {
		q.add("invalid_literal", "cannot be given together with after", "", "", "before")
	}
	if text := q.one("cursor"); text != "" {
		direction, id, ok := decodeCursor(text)
		switch {
		case !ok:
			q.add("invalid_literal", "is not a cursor", "", text, "cursor")
		case p.After != "" || p.Before != "": // they say it more plainly, and win
		case direction == "after":
			p.After = id
		default:
			p.Before = id
		}
	}
	return p
}

// between is what stands between a prefix and a suffix, if both are there.
func between(s, prefix, suffix string) (inner string, ok bool) {
	if inner, ok = strings.CutPrefix(s, prefix); ok {
		inner, ok = strings.CutSuffix(inner, suffix)
	}
	return inner, ok
}
