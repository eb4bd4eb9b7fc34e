package enginetest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"path/filepath"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"sync/atomic"
	"time"

	"github.com/callbackd/callbackd/engine"
)

const (
	defaultPatience = 3 * time.Second  // for what should happen at once
	deadline        = 30 * time.Second // for what may take a while
)

// suite tests one provider.
type suite struct {
	provider engine.Provider
	cases    []Case
	engine   *engine.Engine // knows the provider's schemas
	label    string         // of goroutines that the provider has started
	patience time.Duration  // for what should happen at once
}

var labels atomic.Int64

// labelKey names the suite that a goroutine belongs to.
const labelKey = "callbackd.enginetest"

// rule is one thing that must be so of a trigger.
type rule struct {
	name    string
	applies func(*trial) bool
	check   func(*trial)
}

func always(*trial) bool       { return true }
func polls(r *trial) bool      { return r.trigger.Poll != nil }
func handles(r *trial) bool    { return r.trigger.Handle != nil }
func registers(r *trial) bool  { return r.trigger.Register != nil }
func asksSource(r *trial) bool { return r.Source != nil && (polls(r) || registers(r)) }
func verifies(r *trial) bool   { return handles(r) && !r.AnyRequest }

var rules = []rule{
	{"ValidatePanicsAtNothing", always, checkValidate},
	{"AuthIsPrepared", func(r *trial) bool { return r.method.Prepare != nil }, checkPrepare},
	{"PollsFindEvents", polls, checkPolls},
	{"OddStatesAreNoPanic", always, checkStates},
	{"WorkEndsWithItsContext", always, checkCancel},
	{"TroubleAtTheSourceIsClassified", asksSource, checkTrouble},
	{"RequestsBringEvents", handles, checkRequests},
	{"ForgedRequestsAreRefused", verifies, checkForged},
	{"OddRequestsAreRefused", handles, checkOdd},
	{"RegisteringIsRepeatable", registers, checkRegister},
}

// run yields each rule with what is wrong; nothing: it holds.
func (s *suite) run(ctx context.Context, dir string) iter.Seq2[string, []string] {
	s.label, s.patience = fmt.Sprint(labels.Add(1)), cmp.Or(s.patience, defaultPatience)
	return func(yield func(string, []string) bool) {
		problems := s.declare(ctx, dir)
		if !yield("DeclaresItself", problems) || len(problems) > 0 {
			return
		}
		for i, c := range s.cases {
			r := s.trial(ctx, c)
			for _, rule := range rules {
				if !rule.applies(r) {
					continue
				}
				r.problems = nil
				r.reset()
				rule.check(r)
				if !yield(fmt.Sprintf("%s/%d/%s", r.trigger.Key, i, rule.name), r.problems) {
					return
				}
			}
			r.client.CloseIdleConnections()
		}
		yield("NothingRunsOnAfterClose", s.close())
	}
}

func (s *suite) release() {
	if s.engine != nil {
		_ = s.engine.Close() // it did nothing
	}
}

// declare has an engine look at the provider, its schemas and the cases.
func (s *suite) declare(ctx context.Context, dir string) (problems []string) {
	fail := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	p := s.provider
	p.Close = nil // that is for later
	declared := []engine.Provider{p}
	for _, t := range p.Triggers {
		for kind, schema := range map[string]json.RawMessage{"InputSchema": t.InputSchema, "OutputSchema": t.OutputSchema} {
			if schema != nil { // the engine compiles schemas of configs
				declared = append(declared, engine.Provider{Key: schemaKey(t.Key, kind), ConfigSchema: schema, Triggers: []engine.Trigger{{Key: "t", Poll: p.Triggers[0].Poll, Handle: p.Triggers[0].Handle}}})
			}
		}
		if s.of(t.Key) == nil {
			fail("trigger %s has no case", t.Key)
		}
	}
	for i := range s.cases {
		switch c := &s.cases[i]; {
		case c.Trigger == "" && len(p.Triggers) == 1:
			c.Trigger = p.Triggers[0].Key
		case s.declared(c.Trigger) == nil:
			fail("case %d: the provider has no trigger %q", i, c.Trigger)
		}
	}
	if len(problems) > 0 {
		return problems
	}
	var err error
	if s.engine, err = engine.Open(ctx, engine.Options{Path: filepath.Join(dir, "provider.db"), NoSync: true, Providers: declared}); err != nil {
		return []string{err.Error()}
	}
	for i, c := range s.cases {
		if err := s.valid(ctx, p.Key, withSource(json.RawMessage(cmp.Or(c.Config, "{}")))); err != nil {
			fail("case %d: the config: %v", i, err)
		}
		if c.Auth != nil {
			n := engine.NewAuthConfig{Details: engine.Details{Name: "case"}, Method: c.Auth.Method, Value: withSource(c.Auth.Value)}
			if _, err := s.engine.CreateAuthConfig(ctx, n); err != nil {
				fail("case %d: the auth: %v", i, err)
			}
		}
		if t := s.declared(c.Trigger); t.Handle != nil && c.Request == nil {
			fail("case %d: trigger %s receives requests, so there must be a Request", i, t.Key)
		}
	}
	return problems
}

func schemaKey(trigger, kind string) string {
	if len(trigger) > 40 {
		trigger = trigger[:40]
	}
	return trigger + "." + kind
}

func (s *suite) declared(trigger string) *engine.Trigger {
	for i := range s.provider.Triggers {
		if s.provider.Triggers[i].Key == trigger {
			return &s.provider.Triggers[i]
		}
	}
	return nil
}

// of is a trigger's first case.
func (s *suite) of(trigger string) *Case {
	for i, c := range s.cases {
		if c.Trigger == trigger || c.Trigger == "" && len(s.provider.Triggers) == 1 {
			return &s.cases[i]
		}
	}
	return nil
}

// valid tells whether a provider's config schema allows a value.
func (s *suite) valid(ctx context.Context, provider string, value json.RawMessage) (err error) {
	panicked := recovered(func() { err = s.create(ctx, provider, value) })
	if panicked != "" {
		return unwell("Validate panicked: " + panicked)
	}
	return err
}

func (s *suite) create(ctx context.Context, provider string, value json.RawMessage) error {
	_, err := s.engine.CreateConfig(ctx, engine.NewConfig{Details: engine.Details{Name: "case"}, Provider: provider, Value: value})
	return err
}

// close closes the provider and looks for goroutines that it has left.
func (s *suite) close() []string {
	if s.provider.Close != nil {
		var err error
		if what := recovered(func() { err = s.provider.Close() }); what != "" {
			return []string{"Close panics: " + what}
		}
		if err != nil {
			return []string{fmt.Sprintf("Close: %v", err)}
		}
	}
	for began := time.Now(); ; {
		left := s.left()
		if left == "" {
			return nil
		}
		if time.Since(began) > s.patience {
			return []string{"goroutines of the provider run on after Close:\n" + left}
		}
		<-time.After(10 * time.Millisecond)
	}
}

// left are the goroutines of the provider that run.
func (s *suite) left() string {
	var all bytes.Buffer
	_ = pprof.Lookup("goroutine").WriteTo(&all, 1) // a buffer takes everything
	var out []string
	for part := range strings.SplitSeq(all.String(), "\n\n") {
		if strings.Contains(part, fmt.Sprintf("%q:%q", labelKey, s.label)) {
			out = append(out, part)
		}
	}
	return strings.Join(out, "\n\n")
}

// recovered runs fn and tells what it panicked with.
func recovered(fn func()) (what string) {
	defer func() {
		if r := recover(); r != nil {
			what = fmt.Sprintf("%v\n%s", r, debug.Stack())
		}
	}()
	fn()
	return ""
}

// trial is one case under test.
type trial struct {
	Case
	suite    *suite
	ctx      context.Context
	trigger  engine.Trigger
	method   engine.AuthMethod // of Auth
	source   *source
	client   *http.Client
	now      time.Time
	prepared json.RawMessage
	problems []string
}

func (s *suite) trial(ctx context.Context, c Case) *trial {
	r := &trial{Case: c, suite: s, ctx: ctx, trigger: *s.declared(c.Trigger), source: &source{handler: c.Source}}
	r.Config = string(withSource(json.RawMessage(cmp.Or(c.Config, "{}"))))
	if c.Auth != nil {
		r.Auth = &engine.Auth{Method: c.Auth.Method, Value: withSource(c.Auth.Value), Prepared: c.Auth.Prepared}
		for _, m := range s.provider.AuthMethods {
			if m.Key == c.Auth.Method {
				r.method = m
			}
		}
	}
	r.client = &http.Client{Transport: r.source, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if c.Source == nil {
		r.client.Transport = http.DefaultTransport.(*http.Transport).Clone()
	}
	return r
}

// reset begins a rule: the source is well, and it is now.
func (r *trial) reset() {
	r.source.be(well)
	r.now = time.Now().UTC().Truncate(time.Second)
}

func (r *trial) fail(format string, args ...any) {
	r.problems = append(r.problems, fmt.Sprintf(format, args...))
}

// given is what the provider's functions are given.
func (r *trial) given() engine.Source {
	s := engine.Source{Config: bytes.Clone([]byte(r.Config)), Now: r.now, HTTP: r.client, Log: slog.New(slog.DiscardHandler)}
	if r.Auth != nil {
		s.Auth = &engine.Auth{Method: r.Auth.Method, Value: bytes.Clone(r.Auth.Value), Prepared: bytes.Clone(r.prepared)}
		if s.Auth.Prepared == nil {
			s.Auth.Prepared = r.Auth.Prepared
		}
	}
	return s
}

// call runs a function of the provider's, with a deadline. A panic and one that runs on beyond
// the deadline are problems, and the error is then one of errUnwell.
func call[T any](r *trial, ctx context.Context, what string, limit time.Duration, fn func(context.Context) (T, error)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	done := make(chan outcome, 1)
	go pprof.Do(ctx, pprof.Labels(labelKey, r.suite.label), func(ctx context.Context) {
		var o outcome
		if panicked := recovered(func() { o.value, o.err = fn(ctx) }); panicked != "" {
			o.err = unwell("it panicked: " + panicked)
		}
		done <- o
	})
	var o outcome
	select {
	case o = <-done:
	case <-time.After(limit):
		o.err = unwell(fmt.Sprintf("it still ran after %s", limit))
	}
	if u, ok := o.err.(unwell); ok {
		r.fail("%s: %s", what, u)
	}
	return o.value, o.err
}

// unwell is what no provider may do.
type unwell string

func (u unwell) Error() string { return string(u) }

func (r *trial) poll(ctx context.Context, what string, state json.RawMessage, limit time.Duration) (engine.PollResult, error) {
	req := engine.PollRequest{Source: r.given(), State: bytes.Clone(state)}
	return call(r, ctx, what, limit, func(ctx context.Context) (engine.PollResult, error) { return r.trigger.Poll(ctx, req) })
}
