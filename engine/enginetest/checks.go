package enginetest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
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
			req, ok := r.genuine()
			if !ok {
				return
			}
			req.State, req.Registration = json.RawMessage(odd), json.RawMessage(odd)
			_, _ = r.handle(r.ctx, fmt.Sprintf("a request with the state and registration %.100s", odd), req)
		}
	}
}

// checkCancel is for work that has begun while the source hangs, and for work that never should. Who
// knows no contexts takes long, so that the first such work is enough.
func checkCancel(r *trial) {
	type work struct {
		what string
		do   func(ctx context.Context, what string, limit time.Duration) error
	}
	var works []work
	if prepares(r) {
		works = append(works, work{"Prepare", func(ctx context.Context, what string, limit time.Duration) error {
			_, err := r.prepare(ctx, what, nil, limit)
			return err
		}})
	}
	if polls(r) {
		works = append(works, work{"a poll", func(ctx context.Context, what string, limit time.Duration) error {
			_, err := r.poll(ctx, what, nil, limit)
			return err
		}})
	}
	if handles(r) {
		genuine, ok := r.genuine()
		if !ok {
			return
		}
		works = append(works, work{"a request", func(ctx context.Context, what string, limit time.Duration) error {
			_, err := r.handleFor(ctx, what, genuine, limit)
			return err
		}})
	}
	if registers(r) {
		works = append(works, work{"a registration", func(ctx context.Context, what string, limit time.Duration) error {
			_, err := r.register(ctx, what, r.url, nil, limit)
			return err
		}})
	}
	r.source.be(hangs)
	for _, w := range works {
		for kind, after := range map[string]time.Duration{"with a context that has ended": 0, "with a context that ends": 50 * time.Millisecond} {
			ctx, cancel := context.WithTimeout(r.ctx, after)
			err := w.do(ctx, w.what+" "+kind, after+r.suite.patience)
			cancel()
			if _, ok := err.(unwell); ok {
				return
			}
		}
	}
}
