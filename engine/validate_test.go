package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// offending are the paths of an error's fields, with their codes.
func offending(err error) map[string]string {
	out := make(map[string]string)
	if e, ok := errors.AsType[*engine.Error](err); ok {
		for _, f := range e.Fields {
			out[strings.Join(f.Path, ".")] = f.Code
		}
	}
	return out
}

func TestBadInputNamesEveryField(t *testing.T) {
	t.Parallel()
	p := (&source{}).provider()
	p.ConfigSchema = json.RawMessage(`{"type":"object","required":["url"],"additionalProperties":false,
		"properties":{"url":{"type":"string","minLength":1},"kind":{"enum":["a","b"]},"limits":{"type":"object","properties":{"n":{"type":"integer","minimum":1}}}}}`)
	p.AuthMethods = []engine.AuthMethod{{Key: "token", InputSchema: json.RawMessage(`{"type":"object","required":["token"]}`)}}
	e := open(t, engine.Options{Providers: []engine.Provider{p}})
	ctx := t.Context()
	d := must(e.CreateDeployment(ctx, engine.NewDeployment{Provider: "source"}))(t)
	config := must(e.CreateConfig(ctx, engine.NewConfig{Provider: "source", Value: json.RawMessage(`{"url":"x"}`)}))(t)
	auth := must(e.CreateAuthConfig(ctx, engine.NewAuthConfig{Method: "token", Value: json.RawMessage(`{"token":"x"}`)}))(t)
	list := json.RawMessage(`[]`)
	tests := []struct {
		name string
		call func() error
		want map[string]string
	}{
		{"Destination", func() error {
			_, err := e.CreateDestination(ctx, engine.NewDestination{DestinationSettings: engine.DestinationSettings{URL: "ftp://x", Method: "GET", Timeout: time.Hour, MaxInFlight: -1,
				EventTypes: []string{""}, Headers: map[string]string{"webhook-id": "x", "a b": "c", "x": "line\nbreak"}, Retry: engine.Retry{Type: "never", MaxAttempts: 1000, Delay: -1}}})
			return err
		}, map[string]string{"name": "required", "url": "invalid_callback_destination_url", "method": "invalid_enum", "timeout_seconds": "invalid_max", "max_in_flight": "invalid_min",
			"event_types.0": "required", "headers.webhook-id": "invalid_literal", "headers.a b": "invalid_type", "headers.x": "invalid_type",
			"retry.type": "invalid_enum", "retry.maxAttempts": "invalid_max", "retry.delaySeconds": "invalid_min"}},
		{"Callback", func() error {
			_, err := e.CreateCallback(ctx, engine.NewCallback{PollIntervalOverride: -time.Second, DestinationIDs: make([]string, 101), Triggers: &[]engine.TriggerChoice{{}}})
			return err
		}, map[string]string{"provider_deployment_id": "required", "name": "required", "poll_interval_seconds_override": "invalid_poll_interval",
			"destination_ids": "callback_destination_limit_exceeded", "triggers.0.trigger_id": "required"}},
		{"UnknownTrigger", func() error {
			_, err := e.CreateCallback(ctx, engine.NewCallback{Details: engine.Details{Name: "x"}, DeploymentID: d.ID, Triggers: &[]engine.TriggerChoice{{Trigger: "items"}, {Trigger: "nope"}}})
			return err
		}, map[string]string{"triggers.1.trigger_id": "invalid_callback_trigger"}},
		{"UnknownDestination", func() error {
			_, err := e.CreateCallback(ctx, engine.NewCallback{Details: engine.Details{Name: "x"}, DeploymentID: d.ID, DestinationIDs: []string{"dest_nope"}})
			return err
		}, map[string]string{"destination_ids.0": "invalid_callback_destination"}},
		{"ConfigAgainstItsSchema", func() error {
			_, err := e.CreateConfig(ctx, engine.NewConfig{Provider: "source", Value: json.RawMessage(`{"kind":"c","limits":{"n":0},"more":1}`)})
			return err
		}, map[string]string{"value.url": "required", "value.kind": "invalid_enum", "value.limits.n": "invalid_min", "value.more": "unrecognized_key"}},
		{"AuthConfigAgainstItsSchema", func() error {
			_, err := e.CreateAuthConfig(ctx, engine.NewAuthConfig{Method: "token", Value: json.RawMessage(`{}`)})
			return err
		}, map[string]string{"value.token": "required"}},
		{"ConfigInEveryLayer", func() error {
			n := engine.NewConfig{Details: engine.Details{Name: strings.Repeat("x", 100_001)}, Provider: "source", DeploymentID: strings.Repeat("x", 100_001), Value: json.RawMessage(`{"kind":"c"}`)}
			n.AddFaults(engine.FieldError{Code: "invalid_type", Path: []string{"metadata"}})
			_, err := e.CreateConfig(ctx, n)
			return err
		}, map[string]string{"name": "max_length", "provider_deployment_id": "max_length", "metadata": "invalid_type", "value.url": "required", "value.kind": "invalid_enum"}},
		{"ConfigOfAFaultyValue", func() error {
			n := engine.NewConfig{Provider: "source", Value: json.RawMessage(`5`)}
			_, err := e.CreateConfig(ctx, n)
			return err
		}, map[string]string{"value": "invalid_type"}},
		{"ConfigChangeInEveryLayer", func() error {
			_, err := e.UpdateConfig(ctx, config.ID, engine.UpdateConfig{UpdateDetails: engine.UpdateDetails{Metadata: &list}, Value: json.RawMessage(`{}`)})
			return err
		}, map[string]string{"metadata": "invalid_type", "value.url": "required"}},
		{"AuthConfigChangeInEveryLayer", func() error {
			_, err := e.UpdateAuthConfig(ctx, auth.ID, engine.UpdateConfig{UpdateDetails: engine.UpdateDetails{Metadata: &list}, Value: json.RawMessage(`{}`)})
			return err
		}, map[string]string{"metadata": "invalid_type", "value.token": "required"}},
		{"DeploymentInEveryLayer", func() error {
			_, err := e.CreateDeployment(ctx, engine.NewDeployment{Details: engine.Details{Metadata: list}, Provider: "source", Config: &engine.NewConfigValue{Value: json.RawMessage(`{}`)}})
			return err
		}, map[string]string{"metadata": "invalid_type", "provider_config.value.url": "required"}},
		{"CallbackInEveryLayer", func() error {
			_, err := e.CreateCallback(ctx, engine.NewCallback{DeploymentID: d.ID, PollIntervalOverride: -1, DestinationIDs: []string{"x"}, Triggers: &[]engine.TriggerChoice{{Trigger: "items"}, {Trigger: "items"}}})
			return err
		}, map[string]string{"name": "required", "poll_interval_seconds_override": "invalid_poll_interval", "destination_ids.0": "invalid_callback_destination", "triggers.1.trigger_id": "invalid_callback_trigger"}},
		{"DestinationInEveryLayer", func() error {
			_, err := e.CreateDestination(ctx, engine.NewDestination{DestinationSettings: engine.DestinationSettings{Name: "x", URL: "x", Scope: "some"}, CallbackIDs: []string{"x"}})
			return err
		}, map[string]string{"url": "invalid_callback_destination_url", "callbacks.type": "invalid_enum", "callbacks.callback_ids.0": "invalid_callback"}},
		{"Event", func() error {
			return e.Publish(ctx, "clb_x", engine.NewEvent{SourceID: strings.Repeat("x", 1001), Output: json.RawMessage(`[]`), Input: json.RawMessage(`1`)})
		}, map[string]string{"type": "required", "source_id": "max_length", "output": "invalid_type", "input": "invalid_type"}},
		{"Instance", func() error {
			_, err := e.AttachInstance(ctx, "clb_x", engine.NewInstance{Baseline: "maybe"})
			return err
		}, map[string]string{"provider_config_id": "required", "baseline": "invalid_enum"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := tt.call()
			if got := offending(err); !maps.Equal(got, tt.want) || engine.CodeOf(err) != engine.CodeInvalid {
				t.Errorf("got  %v\nwant %v\n(%v)", got, tt.want, err)
			}
		})
	}
	t.Cleanup(func() {
		if l := must(e.ListCallbacks(context.Background(), engine.CallbackFilter{}, engine.Page{}))(t); len(l.Items) != 0 {
			t.Errorf("a refused input made %d callbacks", len(l.Items))
		}
	})
}

func TestSecretsStayOutOfErrors(t *testing.T) {
	t.Parallel()
	p := (&source{}).provider()
	p.ConfigSchema = json.RawMessage(`{"type":"object","properties":{"token":{"type":"string","pattern":"^tok_","maxLength":5},"mode":{"enum":["a"]},"n":{"const":1}}}`)
	e := open(t, engine.Options{Providers: []engine.Provider{p}})
	_, err := e.CreateConfig(t.Context(), engine.NewConfig{Provider: "source", Value: json.RawMessage(`{"token":"hunter2","mode":"hunter2","n":"hunter2"}`)})
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v", err)
	}
	if got := len(offending(err)); got != 3 {
		t.Errorf("%d fields, want 3: %v", got, err)
	}
}

func TestDeclarationsAreChecked(t *testing.T) {
	t.Parallel()
	poll := func(context.Context, engine.PollRequest) (engine.PollResult, error) { return engine.PollResult{}, nil }
	trigger := engine.Trigger{Key: "t", Poll: poll}
	handle := func(context.Context, engine.Message) error { return nil }
	tests := map[string]struct {
		options engine.Options
		want    string
	}{
		"NoKey":            {engine.Options{Providers: []engine.Provider{{Triggers: []engine.Trigger{trigger}}}}, "Key must be"},
		"NoTriggers":       {engine.Options{Providers: []engine.Provider{{Key: "p"}}}, "no Triggers"},
		"AuthType":         {engine.Options{Providers: []engine.Provider{{Key: "p", AuthMethods: []engine.AuthMethod{{Key: "m", Type: "basic"}}, Triggers: []engine.Trigger{{Key: "t"}}}}}, "Type must be token, oauth or custom"},
		"NoPoll":           {engine.Options{Providers: []engine.Provider{{Key: "p", Triggers: []engine.Trigger{{Key: "t"}}}}}, "either Poll or Handle"},
		"ShortInterval":    {engine.Options{Providers: []engine.Provider{{Key: "p", Triggers: []engine.Trigger{{Key: "t", Poll: poll, Interval: time.Millisecond}}}}}, "whole seconds"},
		"TwoTriggers":      {engine.Options{Providers: []engine.Provider{{Key: "p", Triggers: []engine.Trigger{trigger, trigger}}}}, "name of its own"},
		"TwoProviders":     {engine.Options{Providers: []engine.Provider{{Key: "p", Triggers: []engine.Trigger{trigger}}, {Key: "p", Triggers: []engine.Trigger{trigger}}}}, "two providers"},
		"BadSchema":        {engine.Options{Providers: []engine.Provider{{Key: "p", ConfigSchema: json.RawMessage(`{"type":"nope"}`), Triggers: []engine.Trigger{trigger}}}}, "ConfigSchema"},
		"SchemaElsewhere":  {engine.Options{Providers: []engine.Provider{{Key: "p", ConfigSchema: json.RawMessage(`{"$ref":"file:///etc/passwd"}`), Triggers: []engine.Trigger{trigger}}}}, "refer only to itself"},
		"FunctionNoHandle": {engine.Options{Functions: []engine.Function{{Name: "f"}}}, "no Handle"},
		"FunctionNoName":   {engine.Options{Functions: []engine.Function{{Handle: handle}}}, "name of its own"},
		"FunctionTimeout":  {engine.Options{Functions: []engine.Function{{Name: "f", Handle: handle, Timeout: time.Hour}}}, "timeout_seconds"},
		"NegativeMax":      {engine.Options{MaxPolls: -1}, "MaxPolls"},
	}
	for _, name := range slices.Sorted(maps.Keys(tests)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt := tests[name]
			tt.options.Path = filepath.Join(t.TempDir(), "x.db")
			e, err := engine.Open(t.Context(), tt.options)
			if err == nil {
				_ = e.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want one with %q", err, tt.want)
			}
		})
	}
	if _, err := engine.Open(t.Context(), engine.Options{}); err == nil || !strings.Contains(err.Error(), "Path") {
		t.Errorf("no path: %v", err)
	}
}

func TestLifeCycle(t *testing.T) {
	t.Parallel()
	e := open(t, engine.Options{Providers: []engine.Provider{(&source{}).provider()}})
	if err := e.Stop(t.Context()); err != nil {
		t.Errorf("Stop before Start: %v", err)
	}
	start(t, e)
	if err := e.Start(t.Context()); err == nil {
		t.Error("a second Start succeeded")
	}
	for range 2 {
		if err := e.Stop(t.Context()); err != nil {
			t.Errorf("Stop: %v", err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range 50 {
		if err := e.Stop(ended); err != nil {
			t.Fatalf("Stop of a stopped engine: %v", err)
		}
	}
	if err := e.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	err := e.Publish(t.Context(), "clb_x", engine.NewEvent{Type: "x", Output: json.RawMessage(`{}`)})
	if engine.CodeOf(err) != engine.CodeUnavailable {
		t.Errorf("Publish after Close: %v", err)
	}
}
