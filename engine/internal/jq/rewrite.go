package jq

import (
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/itchyny/gojq"
)

const (
	meterVar  = "$__meter" // holds the run's meter; a program cannot say it
	ownPrefix = "__"       // before a function that a program defines, so that it hides nothing that the rewriter calls
	bigBody   = 32         // nodes; the frame of a larger function is metered
)

//go:embed prelude.jq
var preludeSource string

// prelude is preludeSource by name/arity, rewritten, with what each needs.
var prelude = func() map[string]*preludeDef {
	query, err := gojq.Parse(preludeSource + ".")
	if err != nil {
		panic(err) // it is part of the binary
	}
	defs := make(map[string]*preludeDef, len(query.FuncDefs))
	for _, def := range query.FuncDefs {
		r := rewriter{uses: map[string]bool{}}
		r.definition(def)
		defs[signature(def.Name, len(def.Args))] = &preludeDef{def, r.uses}
	}
	return defs
}()

type preludeDef struct {
	def  *gojq.FuncDef
	uses map[string]bool
}

func signature(name string, arity int) string { return name + "/" + strconv.Itoa(arity) }

// metered rewrites a user's program in place so that it asks the meter, and puts
// those functions of the prelude before it that it uses.
func metered(query *gojq.Query) (*gojq.Query, error) {
	if query.Meta != nil || len(query.Imports) > 0 {
		return nil, &nameError{"import", "import and other modules are not available"}
	}
	r := rewriter{library: prelude, uses: map[string]bool{}}
	query = r.query(query)
	if r.err != nil {
		return nil, r.err
	}
	var defs []*gojq.FuncDef
	added := map[string]bool{}
	var add func(uses map[string]bool)
	add = func(uses map[string]bool) {
		for name := range uses {
			if p := prelude[name]; p != nil && !added[name] {
				added[name] = true
				add(p.uses) // before it, because jq looks backwards
				defs = append(defs, p.def)
			}
		}
	}
	add(r.uses)
	return &gojq.Query{FuncDefs: defs, Term: paren(query)}, nil
}

// rewriter walks a program. After it, each node that may take much is preceded by
// a call of _meter, which gives its input back or an error. Arguments
// are bound to variables so that they are evaluated once:
//
//	contains(f)   becomes   f as $__0 | _meter($__meter; "contains/1"; $__0) | contains($__0)
//	f + g         becomes   g as $__1 | f as $__0 | _meter($__meter; "+"; $__0; $__1) | $__0 + $__1
type rewriter struct {
	library map[string]*preludeDef // what a user's program may call; nil for the prelude itself
	scope   []string               // the functions that the program defined, as far as they can be called here
	uses    map[string]bool        // the functions that are called, apart from those
	nodes   int
	err     error // the first
}

func (r *rewriter) fail(name, text string) {
	if r.err == nil {
		r.err = &nameError{name, text}
	}
}

func (r *rewriter) variable(name string) {
	if r.library != nil && strings.HasPrefix(name, "$__") && name != "$__loc__" {
		r.fail(name, name+" is not available: names that begin with $__ are reserved")
	}
}

func (r *rewriter) query(q *gojq.Query) *gojq.Query {
	if q == nil {
		return nil
	}
	r.nodes++
	outside := len(r.scope)
	defer func() { r.scope = r.scope[:outside] }()
	for _, def := range q.FuncDefs {
		r.scope = append(r.scope, signature(def.Name, len(def.Args)))
		def.Name = ownPrefix + def.Name
		r.definition(def)
	}
	if q.Term != nil {
		if t := r.term(q.Term); t != nil {
			q.Term = t
		}
		return q
	}
	q.Left = r.query(q.Left)
	r.patterns(q.Patterns)
	q.Right = r.query(q.Right)
	switch q.Op {
	case gojq.OpAssign, gojq.OpModify:
		return within(q.FuncDefs, r.update(q.Left, q.Op, q.Right))
	case gojq.OpUpdateAdd, gojq.OpUpdateSub, gojq.OpUpdateMul, gojq.OpUpdateDiv, gojq.OpUpdateMod:
		op := q.Op - gojq.OpUpdateAdd + gojq.OpAdd
		value := r.operation(identity(), op, call("$__2"))
		return within(q.FuncDefs, bind(q.Right, "$__2", r.update(q.Left, gojq.OpModify, value)))
	case gojq.OpUpdateAlt:
		value := &gojq.Query{Left: identity(), Op: gojq.OpAlt, Right: call("$__2")}
		return within(q.FuncDefs, bind(q.Right, "$__2", r.update(q.Left, gojq.OpModify, value)))
	}
	return within(q.FuncDefs, r.operation(q.Left, q.Op, q.Right, q.Patterns...))
}

// operation is left op right.
func (r *rewriter) operation(left *gojq.Query, op gojq.Operator, right *gojq.Query, patterns ...*gojq.Pattern) *gojq.Query {
	if op == 0 || costs[op.String()] == nil {
		return &gojq.Query{Left: left, Op: op, Right: right, Patterns: patterns}
	}
	return bind(right, "$__1", bind(left, "$__0", pipe(
		meterCall(op.String(), call("$__0"), call("$__1")),
		&gojq.Query{Left: call("$__0"), Op: op, Right: call("$__1")},
	)))
}

// update is an assignment, after a look at each path that it is going to set.
func (r *rewriter) update(left *gojq.Query, op gojq.Operator, right *gojq.Query) *gojq.Query {
	check := &gojq.Query{Term: &gojq.Term{Type: gojq.TermTypeReduce, Reduce: &gojq.Reduce{
		Query:    call("path", left),
		Patterns: []*gojq.Pattern{{Name: "$__0"}},
		Start:    identity(),
		Update:   meterCall("path", call("$__0")),
	}}}
	return pipe(meterCall("update"), pipe(check, &gojq.Query{Left: left, Op: op, Right: right}))
}

// definition rewrites one, apart from its name. A parameter $a is what jq says it is
// short for: a parameter a, with its value bound to $a.
func (r *rewriter) definition(def *gojq.FuncDef) {
	outside := len(r.scope)
	var values []string
	for i, arg := range def.Args {
		r.variable(arg)
		name, isValue := strings.CutPrefix(arg, "$")
		if isValue {
			values = append(values, name)
		}
		r.scope = append(r.scope, signature(name, 0))
		def.Args[i] = ownPrefix + name
	}
	def.Body = r.body(def.Body)
	for _, name := range slices.Backward(values) {
		def.Body = bind(call(ownPrefix+name), "$"+name, def.Body)
	}
	r.scope = r.scope[:outside]
}

// body is the body of a function, or an argument that is one.
func (r *rewriter) body(q *gojq.Query) *gojq.Query {
	before := r.nodes
	q = r.query(q)
	if n := r.nodes - before; n > bigBody {
		return pipe(meterCall("enter", number(n)), q)
	}
	return q
}

func (r *rewriter) patterns(patterns []*gojq.Pattern) {
	for _, p := range patterns {
		r.variable(p.Name)
		r.patterns(p.Array)
		for _, o := range p.Object {
			r.variable(o.Key)
			r.str(o.KeyString)
			o.KeyQuery = r.query(o.KeyQuery)
			if o.Val != nil {
				r.patterns([]*gojq.Pattern{o.Val})
			}
		}
	}
}

// str rewrites what is interpolated. Each piece has to stay a term.
func (r *rewriter) str(s *gojq.String) {
	if s == nil {
		return
	}
	for i, q := range s.Queries {
		if q.Term != nil && q.Term.Str != nil && q.Term.Str.Queries == nil && len(q.Term.SuffixList) == 0 {
			continue // the text between
		}
		s.Queries[i] = &gojq.Query{Term: paren(pipe(r.query(q), meterCall("text")))}
	}
}

func (r *rewriter) index(x *gojq.Index) {
	if x == nil {
		return
	}
	r.str(x.Str)
	x.Start = r.query(x.Start)
	x.End = r.query(x.End)
	if x.Start != nil && !x.IsSlice && !literal(x.Start) {
		x.Start = pipe(x.Start, meterCall("index"))
	}
}

// term rewrites t with its suffixes, of which each wraps what is before it.
func (r *rewriter) term(t *gojq.Term) *gojq.Term {
	r.nodes++
	suffixes := t.SuffixList
	t.SuffixList = nil
	t = r.bare(t)
	for _, s := range suffixes {
		r.nodes++
		r.index(s.Index)
		if s.Iter {
			t = paren(pipe(&gojq.Query{Term: t}, meterCall("each")))
		}
		t.SuffixList = append(t.SuffixList, s)
	}
	return t
}

func (r *rewriter) bare(t *gojq.Term) *gojq.Term {
	switch t.Type {
	case gojq.TermTypeRecurse:
		r.uses["recurse/0"] = true
		return call("recurse").Term
	case gojq.TermTypeIndex:
		r.index(t.Index)
	case gojq.TermTypeFunc:
		return r.function(t.Func)
	case gojq.TermTypeObject:
		for _, kv := range t.Object.KeyVals {
			r.nodes++
			r.variable(kv.Key)
			r.str(kv.KeyString)
			kv.KeyQuery = r.query(kv.KeyQuery)
			kv.Val = r.query(kv.Val)
		}
	case gojq.TermTypeArray:
		t.Array.Query = r.query(t.Array.Query)
	case gojq.TermTypeUnary:
		t.Unary.Term = r.term(t.Unary.Term)
	case gojq.TermTypeFormat:
		if t.Str == nil {
			return paren(pipe(meterCall("text"), &gojq.Query{Term: t}))
		}
		r.str(t.Str)
	case gojq.TermTypeString:
		r.str(t.Str)
	case gojq.TermTypeIf:
		t.If.Cond, t.If.Then, t.If.Else = r.query(t.If.Cond), r.query(t.If.Then), r.query(t.If.Else)
		for _, e := range t.If.Elif {
			e.Cond, e.Then = r.query(e.Cond), r.query(e.Then)
		}
	case gojq.TermTypeTry:
		t.Try.Body, t.Try.Catch = r.query(t.Try.Body), r.query(t.Try.Catch)
	case gojq.TermTypeReduce:
		f := t.Reduce
		r.patterns(f.Patterns)
		f.Query, f.Start, f.Update = r.query(f.Query), r.query(f.Start), r.query(f.Update)
	case gojq.TermTypeForeach:
		f := t.Foreach
		r.patterns(f.Patterns)
		f.Query, f.Start, f.Update, f.Extract = r.query(f.Query), r.query(f.Start), r.query(f.Update), r.query(f.Extract)
	case gojq.TermTypeLabel:
		t.Label.Body = r.query(t.Label.Body)
	case gojq.TermTypeQuery:
		t.Query = r.query(t.Query)
	}
	return t
}

func (r *rewriter) function(f *gojq.Func) *gojq.Term {
	name := signature(f.Name, len(f.Args))
	isOwn := slices.Contains(r.scope, name)
	switch {
	case strings.HasPrefix(f.Name, "$"):
		r.variable(f.Name)
	case isOwn:
		f.Name = ownPrefix + f.Name
	case r.library != nil && (strings.HasPrefix(f.Name, "_") || costs[name] == nil && !cheap[name] && r.library[name] == nil):
		r.fail(f.Name, "function not defined: "+name)
	default:
		r.uses[name] = true
	}
	if isOwn || costs[name] == nil {
		for i, arg := range f.Args {
			f.Args[i] = r.body(arg)
		}
		return &gojq.Term{Type: gojq.TermTypeFunc, Func: f}
	}
	args := make([]*gojq.Query, len(f.Args))
	copies := make([]*gojq.Query, len(f.Args))
	for i := range f.Args {
		args[i], copies[i] = call(fmt.Sprint("$__", i)), call(fmt.Sprint("$__", i))
	}
	q := pipe(meterCall(name, args...), call(f.Name, copies...))
	for i, arg := range f.Args {
		q = bind(r.query(arg), fmt.Sprint("$__", i), q)
	}
	return paren(q)
}

// The small pieces that rewritten programs are made of.

func call(name string, args ...*gojq.Query) *gojq.Query {
	return &gojq.Query{Term: &gojq.Term{Type: gojq.TermTypeFunc, Func: &gojq.Func{Name: name, Args: args}}}
}

func meterCall(what string, args ...*gojq.Query) *gojq.Query {
	text := &gojq.Query{Term: &gojq.Term{Type: gojq.TermTypeString, Str: &gojq.String{Str: what}}}
	return call("_meter", append([]*gojq.Query{call(meterVar), text}, args...)...)
}

func number(n int) *gojq.Query {
	return &gojq.Query{Term: &gojq.Term{Type: gojq.TermTypeNumber, Number: strconv.Itoa(n)}}
}

func identity() *gojq.Query { return &gojq.Query{Term: &gojq.Term{Type: gojq.TermTypeIdentity}} }

func pipe(l, r *gojq.Query) *gojq.Query { return &gojq.Query{Left: l, Op: gojq.OpPipe, Right: r} }

func bind(value *gojq.Query, name string, body *gojq.Query) *gojq.Query {
	return &gojq.Query{Left: value, Op: gojq.OpPipe, Right: body, Patterns: []*gojq.Pattern{{Name: name}}}
}

func paren(q *gojq.Query) *gojq.Term { return &gojq.Term{Type: gojq.TermTypeQuery, Query: q} }

// within puts the definitions before q, which has none.
func within(defs []*gojq.FuncDef, q *gojq.Query) *gojq.Query {
	q.FuncDefs = defs
	return q
}

func literal(q *gojq.Query) bool {
	return q.Term != nil && len(q.Term.SuffixList) == 0 &&
		(q.Term.Type == gojq.TermTypeNumber || q.Term.Type == gojq.TermTypeString && q.Term.Str.Queries == nil)
}
