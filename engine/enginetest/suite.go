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
	"net/http/httptest"
	"path/filepath"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
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
func prepares(r *trial) bool   { return r.method.Prepare != nil }
func asksSource(r *trial) bool { return r.Source != nil && (polls(r) || registers(r)) }
func verifies(r *trial) bool   { return handles(r) && !r.AnyRequest }

var rules = []rule{
	{"ValidatePanicsAtNothing", always, checkValidate},
	{"AuthIsPrepared", prepares, checkPrepare},
	{"RegisteringIsRepeatable", registers, checkRegister},
	{"PollsFindEvents", polls, checkPolls},
	{"ABacklogIsReadToItsEnd", func(r *trial) bool { return polls(r) && r.Next != nil }, checkBacklog},
	{"OddStatesAreNoPanic", always, checkStates},
	{"WorkEndsWithItsContext", always, checkCancel},
	{"TroubleAtTheSourceIsClassified", asksSource, checkTrouble},
	{"TroubleWithSigningInIsClassified", func(r *trial) bool { return r.Source != nil && prepares(r) }, checkPrepareTrouble},
	{"WhatIsNotAcceptedIsPreparedAnew", func(r *trial) bool { return asksSource(r) && prepares(r) }, checkForgotten},
	{"RequestsBringEvents", handles, checkRequests},
	{"ForgedRequestsAreRefused", verifies, checkForged},
	{"OldRequestsAreRefused", func(r *trial) bool { return verifies(r) && !r.AnyBody && !r.AnyAge }, checkOld},
	{"OddRequestsAreRefused", handles, checkOdd},
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
				r.reset()
				rule.check(r)
				if !yield(fmt.Sprintf("%s/%d/%s", r.trigger.Key, i, rule.name), r.found()) {
					r.end()
					return
				}
				if r.stuck {
					break
				}
			}
			r.end()
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
	hooks    *httptest.Server // where the source sends webhooks; nil: the trigger polls
	url      string           // the trigger's, there
	other    string           // that of another trigger
	stuck    bool             // nothing more can be tested

	mu       sync.Mutex // a source may send while it is asked
	problems []string
	said     map[string]bool // causes of problems
}

func (s *suite) trial(ctx context.Context, c Case) *trial {
	r := &trial{Case: c, suite: s, ctx: ctx, trigger: *s.declared(c.Trigger), source: newSource(c.Source, c.Hosts), said: make(map[string]bool)}
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
	if handles(r) {
		r.serve()
	}
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

// fail notes a problem, unless the case has another of the same format, or it has come of a call that
// was unwell, which [call] has told: one cause is said once.
func (r *trial) fail(format string, args ...any) { r.failFor(format, format, args...) }

func (r *trial) failFor(cause, format string, args ...any) {
	if slices.ContainsFunc(args, func(arg any) bool { _, ok := arg.(unwell); return ok }) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.said[cause] {
		r.said[cause] = true
		r.problems = append(r.problems, fmt.Sprintf(format, args...))
	}
}

// found are the problems that a rule has come upon.
func (r *trial) found() []string {
	for _, host := range r.source.strangers() {
		r.failFor("host "+host, "the provider asks the host %q, which is not that of $SOURCE: name it in the case's Hosts if it is meant", host)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.problems
	r.problems = nil
	return out
}

// end ends what goes on beside the trial.
func (r *trial) end() {
	r.source.be(well)
	r.client.CloseIdleConnections()
	if r.hooks != nil {
		r.hooks.Close()
	}
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
		cause, _, _ := strings.Cut(string(u), "\n")
		r.failFor(cause, "%s: %s", what, string(u))
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
