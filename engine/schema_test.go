package engine_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// TestPollSeesDefaults is about what a schema has a default for and a user left out.
func TestPollSeesDefaults(t *testing.T) {
	t.Parallel()
	type seen struct{ config, auth string }
	polls := make(chan seen, 100)
	p := engine.Provider{Key: "p", ConfigSchema: json.RawMessage(`{"type":"object","properties":{"page":{"type":"integer","default":50},"url":{"type":"string"}}}`),
		AuthMethods: []engine.AuthMethod{{Key: "token", InputSchema: json.RawMessage(`{"type":"object","properties":{"scheme":{"default":"Bearer"}}}`)}},
		Triggers: []engine.Trigger{{Key: "t", Interval: time.Second, Poll: func(_ context.Context, req engine.PollRequest) (engine.PollResult, error) {
			polls <- seen{string(req.Config), string(req.Auth.Value)}
			return engine.PollResult{}, nil
		}}}}
	e := open(t, engine.Options{Providers: []engine.Provider{p}})
	ctx := t.Context()
	d := must(e.CreateDeployment(ctx, engine.NewDeployment{Provider: "p", Config: &engine.NewConfigValue{Value: json.RawMessage(`{"url": "inline"}`)}}))(t)
	auth := must(e.CreateAuthConfig(ctx, engine.NewAuthConfig{Method: "token", Value: json.RawMessage(`{}`)}))(t)
	own := must(e.CreateConfig(ctx, engine.NewConfig{Provider: "p", Value: json.RawMessage(`{"url": "own", "page": 12345678901234567890}`)}))(t)
	start(t, e)
	attach := func(config string) {
		c := must(e.CreateCallback(ctx, engine.NewCallback{Details: engine.Details{Name: "c"}, DeploymentID: d.ID}))(t)
		must(e.AttachInstance(ctx, c.ID, engine.NewInstance{ConfigID: config, AuthConfigID: auth.ID}))(t)
	}
	wait := func(want seen) {
		t.Helper()
		deadline := time.After(10 * time.Second)
		for {
			select {
			case got := <-polls:
				if got == want {
					return
				}
			case <-deadline:
				t.Fatalf("no poll saw %v", want)
			}
		}
	}
	attach(d.DefaultConfig.ID)
	wait(seen{`{"page":50,"url":"inline"}`, `{"scheme":"Bearer"}`})
	attach(own.ID)
	wait(seen{`{"url":"own","page":12345678901234567890}`, `{"scheme":"Bearer"}`})
	must(e.UpdateConfig(ctx, own.ID, engine.UpdateConfig{Value: json.RawMessage(`{"url": "new"}`)}))(t)
	wait(seen{`{"page":50,"url":"new"}`, `{"scheme":"Bearer"}`})
	must(e.UpdateAuthConfig(ctx, auth.ID, engine.UpdateConfig{Value: json.RawMessage(`{"token": "a"}`)}))(t)
	wait(seen{`{"page":50,"url":"new"}`, `{"scheme":"Bearer","token":"a"}`})
}

// A provider that did not write its schemas itself can tell beforehand which the engine takes.
func TestCheckSchema(t *testing.T) {
	t.Parallel()
	for schema, ok := range map[string]bool{
		`{"type":"object"}`: true, `true`: true, `{"type":"string","format":"unheard-of"}`: true,
		``: false, `{`: false, `{"type":"thing"}`: false, `{"pattern":"(?!x)"}`: false, `{"$ref":"https://elsewhere.example/x"}`: false,
	} {
		p := engine.Provider{Key: "p", ConfigSchema: json.RawMessage(schema), Triggers: []engine.Trigger{{Key: "t", Poll: func(context.Context, engine.PollRequest) (engine.PollResult, error) { return engine.PollResult{}, nil }}}}
		eng, err := engine.Open(t.Context(), engine.Options{Path: t.TempDir() + "/x.db", Providers: []engine.Provider{p}})
		if err == nil {
			_ = eng.Close()
		}
		if checked := engine.CheckSchema(json.RawMessage(schema)); (checked == nil) != ok || (err == nil) != ok {
			t.Errorf("%s: %v, and the engine says %v; want one that is taken: %t", schema, checked, err, ok)
		}
	}
}
