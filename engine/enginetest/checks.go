package enginetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// oddValues are JSON that nobody expects.
var oddValues = []string{`null`, `{}`, `[]`, `""`, `"text"`, `0`, `-1`, `1.5`, `1e300`, `true`, `[null]`, `[[]]`, `{"": null}`, `{"state": {"cursor": []}}`,
	`"\u0000"`, `"` + strings.Repeat("x", 10_000) + `"`, strings.Repeat("[", 400) + strings.Repeat("]", 400)}

func checkValidate(r *trial) {
	if r.suite.provider.Validate == nil {
		return
	}
	validate := func(value string) []engine.FieldError {
		wrong, _ := call(r, r.ctx, fmt.Sprintf("Validate(%.200s)", value), deadline, func(context.Context) ([]engine.FieldError, error) {
			return r.suite.provider.Validate(json.RawMessage(value)), nil
		})
		for _, f := range wrong {
			if f.Code == "" || f.Message == "" {
				r.fail("Validate(%.200s): a field error without a Code or a Message: %+v", value, f)
			}
		}
		return wrong
	}
	for _, value := range oddValues {
		validate(value)
	}
	var config map[string]json.RawMessage
	if json.Unmarshal([]byte(r.Config), &config) != nil {
		return
	}
	for name := range config {
		for _, odd := range append(oddValues, "") {
			other := maps.Clone(config)
			if other[name] = json.RawMessage(odd); odd == "" {
				delete(other, name)
			}
			value, err := json.Marshal(other)
			if err != nil {
				r.fail("%v", err)
			}
			validate(string(value))
		}
	}
}

func checkPrepare(r *trial) {
	for _, what := range []string{"Prepare", "Prepare again"} {
		req := engine.PrepareRequest{Source: r.given(), Value: bytes.Clone(r.Auth.Value), Prepared: bytes.Clone(r.prepared)}
		req.Auth = nil
		p, err := call(r, r.ctx, what, deadline, func(ctx context.Context) (engine.Prepared, error) { return r.method.Prepare(ctx, req) })
		switch {
		case err != nil:
			r.fail("%s: %v", what, err)
			return
		case !json.Valid(p.Value):
			r.fail("%s: what it made is not JSON: %.200q", what, p.Value)
			return
		}
		r.prepared = p.Value
	}
}

// found is what a poll or a request brought, by source id.
type found map[string]engine.Mapped

// mapAll maps inputs, each twice.
func (r *trial) mapAll(what string, inputs []json.RawMessage) found {
	out := make(found)
	for _, input := range inputs {
		if !json.Valid(input) {
			r.fail("%s: an input is not JSON: %.200q", what, input)
			continue
		}
		first, err := r.mapOne(input)
		if err != nil {
			r.fail("%s: map %.200s: %v", what, input, err)
			continue
		}
		again, err := r.mapOne(input)
		if err != nil || !same(first, again) {
			r.fail("%s: the input %.200s is mapped to %+v first, and to %+v again (%v)", what, input, first, again, err)
		}
		if first.Type == "" || first.SourceID == "" {
			r.fail("%s: the input %.200s is mapped to an event with the type %q and the source id %q; both are required", what, input, first.Type, first.SourceID)
		}
		if len(first.Output) > 0 && !json.Valid(first.Output) {
			r.fail("%s: the input %.200s is mapped to an output that is not JSON: %.200q", what, input, first.Output)
		} else if r.trigger.OutputSchema != nil {
			if err := r.suite.valid(r.ctx, schemaKey(r.trigger.Key, "OutputSchema"), asObject(first.Output)); err != nil {
				r.fail("%s: the output of %s is not what OutputSchema says: %v", what, first.SourceID, err)
			}
		}
		if other, ok := out[first.SourceID]; ok && !same(other, first) {
			r.fail("%s: two different items have the source id %q: %s and %s", what, first.SourceID, other.Output, first.Output)
		}
		out[first.SourceID] = first
	}
	return out
}

// asObject is an output as the engine stores it.
func asObject(output json.RawMessage) json.RawMessage {
	switch output = bytes.TrimSpace(output); {
	case len(output) == 0:
		return json.RawMessage(`{}`)
	case output[0] == '{':
		return output
	}
	return slices.Concat([]byte(`{"value":`), output, []byte(`}`))
}

func same(a, b engine.Mapped) bool {
	return a.Type == b.Type && a.SourceID == b.SourceID && bytes.Equal(a.Output, b.Output)
}

func (r *trial) mapOne(input json.RawMessage) (m engine.Mapped, err error) {
	if r.trigger.Map == nil {
		return m, json.Unmarshal(input, &m)
	}
	given := bytes.Clone(input)
	req := engine.MapRequest{Source: r.given(), Input: given}
	m, err = call(r, r.ctx, "Map", deadline, func(ctx context.Context) (engine.Mapped, error) { return r.trigger.Map(ctx, req) })
	m.Output = bytes.Clone(m.Output) // which may be the input
	if !bytes.Equal(given, input) {
		r.fail("Map changes its input %.200s", input)
	}
	return m, err
}

// chainPolls is how many polls follow each other.
const chainPolls = 4

func checkPolls(r *trial) {
	all, began := make(found), r.now
	times, states := []time.Time{}, []json.RawMessage{}
	var state json.RawMessage
	for i := range chainPolls {
		if r.Next != nil {
			r.Next()
		}
		what := fmt.Sprintf("poll %d", i+1)
		result, err := r.poll(r.ctx, what, state, deadline)
		if err != nil {
			r.fail("%s: %v", what, err)
			return
		}
		again, err := r.poll(r.ctx, what, state, deadline)
		if err != nil {
			r.fail("%s, made again from the same state: %v", what, err)
			return
		}
		items, repeated := r.mapAll(what, result.Inputs), r.mapAll(what+", made again", again.Inputs)
		if a, b := slices.Sorted(maps.Keys(items)), slices.Sorted(maps.Keys(repeated)); !slices.Equal(a, b) {
			r.fail("%s finds the source ids %q, and made again from the same state %q: after a crash, an item would be lost or another one", what, a, b)
		}
		for id, m := range items {
			if other, ok := repeated[id]; ok && !same(m, other) {
				r.fail("%s finds %s as %s, and made again from the same state as %s", what, id, m.Output, other.Output)
			}
			if other, ok := all[id]; ok && !same(m, other) {
				r.fail("two different items have the source id %q: %s and %s", id, other.Output, m.Output)
			}
			all[id] = m
		}
		times, states = append(times, r.now), append(states, state)
		if result.State != nil {
			if !json.Valid(result.State) {
				r.fail("%s: the state is not JSON: %.200q", what, result.State)
				return
			}
			state = result.State
		}
		r.now = r.now.Add(max(r.trigger.Interval, time.Minute))
		if result.NextPollAt.After(r.now) {
			r.now = result.NextPollAt
		}
	}
	if len(all) == 0 {
		r.fail("%d polls found nothing, so nothing was tested: give the case a Source or a Next with something new", chainPolls)
	}
	for i, old := range states {
		r.now = times[i]
		if _, err := r.poll(r.ctx, "poll", old, deadline); err != nil {
			r.fail("a poll from the old state %.200s: %v", old, err)
		}
	}
	r.now = began
	if _, err := r.poll(r.ctx, "a poll from the state null", json.RawMessage("null"), deadline); err != nil {
		r.fail("a poll from the state null: %v", err)
	}
}

func checkStates(r *trial) {
	for _, odd := range oddValues {
		if polls(r) {
			_, _ = r.poll(r.ctx, fmt.Sprintf("a poll from the state %.100s", odd), json.RawMessage(odd), deadline)
		}
		if r.trigger.Map != nil {
			req := engine.MapRequest{Source: r.given(), Input: json.RawMessage(odd)}
			_, _ = call(r, r.ctx, fmt.Sprintf("Map of the input %.100s", odd), deadline, func(ctx context.Context) (engine.Mapped, error) { return r.trigger.Map(ctx, req) })
		}
		if handles(r) {
			req := r.genuine()
			req.State, req.Registration = json.RawMessage(odd), json.RawMessage(odd)
			_, _ = r.handle(r.ctx, fmt.Sprintf("a request with the state and registration %.100s", odd), req)
		}
	}
}

// checkCancel is for work that has begun while the source hangs, and for work that never should.
func checkCancel(r *trial) {
	r.source.be(hangs)
	works := make(map[string]func(ctx context.Context, what string) error)
	if polls(r) {
		works["a poll"] = func(ctx context.Context, what string) error { _, err := r.poll(ctx, what, nil, deadline); return err }
	}
	if handles(r) {
		genuine := r.genuine()
		works["a request"] = func(ctx context.Context, what string) error { _, err := r.handle(ctx, what, genuine); return err }
	}
	if registers(r) {
		works["a registration"] = func(ctx context.Context, what string) error { _, err := r.register(ctx, what, nil); return err }
	}
	for what, work := range works {
		for kind, after := range map[string]time.Duration{"with a context that has ended": 0, "with a context that ends": 50 * time.Millisecond} {
			ctx, cancel := context.WithTimeout(r.ctx, after)
			began := time.Now()
			_ = work(ctx, what+" "+kind)
			cancel()
			if took := time.Since(began); took > r.suite.patience {
				r.fail("%s %s takes %s more", what, kind, took.Round(time.Second))
			}
		}
	}
}

func checkTrouble(r *trial) {
	work := func() error {
		if polls(r) {
			_, err := r.poll(r.ctx, "a poll", nil, deadline)
			return err
		}
		_, err := r.register(r.ctx, "a registration", nil)
		return err
	}
	for _, c := range []struct {
		what    string
		trouble trouble
		check   func(error) string
	}{
		{"is down", down, isPlain},
		{"answers 500", answers(500, `{"error": "out of order"}`), isPlain},
		{"answers 429 with Retry-After: 120", answers(429, `{}`, "Retry-After", "120"), func(err error) string {
			if after, ok := engine.RetryAfterOf(err); !ok || after < 119*time.Second || after > 24*time.Hour {
				return "must be engine.RetryAfter with at least that"
			}
			return ""
		}},
		{"answers 401", answers(401, `{}`), func(err error) string {
			if err == nil {
				return "must be an error"
			}
			return ""
		}},
		{"answers rubbish", answers(200, "<\x00not JSON"), func(error) string { return "" }},
		{"answers odd JSON", answers(200, `{"a": [null, {"id": {}}]}`), func(error) string { return "" }},
	} {
		r.source.be(c.trouble)
		err := work()
		if !r.source.wasAsked() {
			r.fail("the source was not asked: use the HTTP client of the request, which refuses private addresses, or leave Source out of the case")
			return
		}
		if _, ok := err.(unwell); ok {
			continue
		}
		if problem := c.check(err); problem != "" {
			r.fail("the source %s: got the error %v; it %s", c.what, err, problem)
		}
	}
}

func isPlain(err error) string {
	switch _, limited := engine.RetryAfterOf(err); {
	case err == nil:
		return "must be an error"
	case engine.IsPermanent(err):
		return "must not be engine.Permanent: the source may be back in a minute"
	case limited:
		return "must not be engine.RetryAfter: the source has not asked for it"
	case errors.Is(err, context.Canceled):
		return "must not look as if the poll had been cancelled"
	}
	return ""
}
