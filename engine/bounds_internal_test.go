package engine

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/callbackd/callbackd/internal/jsontext"
)

// nested is an object of so many levels.
func nested(levels int) string {
	return strings.Repeat(`{"a":`, levels-1) + "{}" + strings.Repeat("}", levels-1)
}

// What a provider finds is taken at each bound, and past it is an event that says why it is
// not, at once and for good: to try again would not help.
func TestInputsAreBounded(t *testing.T) {
	t.Parallel()
	e := &Engine{clock: newClock(time.Now), options: Options{}.withDefaults()}
	text := func(n int) string { return strings.Repeat("é", n) }
	event := func(kind, sourceID, output string) string {
		return `{"type":"` + kind + `","source_id":"` + sourceID + `","output":` + output + `}`
	}
	for name, tt := range map[string]struct {
		input func(n int) string
		bound int
	}{
		"Type":     {func(n int) string { return event(text(n), "1", "{}") }, maxType},
		"SourceID": {func(n int) string { return event("a", text(n), "{}") }, maxSourceID},
		"Output":   {func(n int) string { return event("a", "1", `"`+strings.Repeat("x", n-2)+`"`) }, maxOutput},
		"Nesting":  {func(n int) string { return event("a", "1", nested(n-1)) }, maxNesting},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mapped := func(n int) (failed, again bool) {
				item := e.mapOne(t.Context(), slog.New(slog.DiscardHandler), &Trigger{}, Source{}, json.RawMessage(tt.input(n)), 1)
				if len(item.Input) > maxOutput || jsontext.Look(item.Input).Levels > maxNesting {
					t.Errorf("an input of %d bytes and %d levels is kept", len(item.Input), jsontext.Look(item.Input).Levels)
				}
				return item.Failure != nil, !item.NextMapAt.IsZero()
			}
			if failed, _ := mapped(tt.bound); failed {
				t.Error("it fails at the bound")
			}
			if failed, again := mapped(tt.bound + 1); !failed || again {
				t.Errorf("past the bound: failed %v, again %v", failed, again)
			}
		})
	}
}

// The bounds hold for whoever uses the library, too, behind no limit of a request's body.
func TestInputsOfTheLibraryAreBounded(t *testing.T) {
	t.Parallel()
	e, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "x.db"), NoSync: true, Providers: []Provider{{Key: "p", Triggers: []Trigger{{Key: "t", Poll: findNothing}}, AuthMethods: []AuthMethod{{Key: "m"}}}}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	ctx := t.Context()
	value := func(n int) json.RawMessage { return json.RawMessage(`{"a":"` + strings.Repeat("x", n-8) + `"}`) }
	deployment, err := e.CreateDeployment(ctx, NewDeployment{Provider: "p"})
	if err != nil {
		t.Fatal(err)
	}
	callback, err := e.CreateCallback(ctx, NewCallback{Details: Details{Name: "c"}, DeploymentID: deployment.ID})
	if err != nil {
		t.Fatal(err)
	}
	for name, give := range map[string]func(json.RawMessage) error{
		"Output": func(v json.RawMessage) error {
			return e.Publish(ctx, callback.ID, NewEvent{Type: "a", Output: v})
		},
		"Input": func(v json.RawMessage) error {
			return e.Publish(ctx, callback.ID, NewEvent{Type: "a", Output: json.RawMessage(`{}`), Input: v})
		},
		"Config": func(v json.RawMessage) error {
			_, err := e.CreateConfig(ctx, NewConfig{Provider: "p", Value: v})
			return err
		},
		"AuthConfig": func(v json.RawMessage) error {
			_, err := e.CreateAuthConfig(ctx, NewAuthConfig{Method: "m", Value: v})
			return err
		},
	} {
		if err := give(value(maxOutput)); err != nil {
			t.Errorf("%s: 1 MiB: %v", name, err)
		}
		err := give(value(maxOutput + 1))
		if refused, ok := errors.AsType[*Error](err); !ok || refused.Code != CodeInvalid || refused.Fields[0].Code != "max_length" {
			t.Errorf("%s: a byte more: %v", name, err)
		}
	}
}

func TestSchemasAreBounded(t *testing.T) {
	t.Parallel()
	schema := func(n int) json.RawMessage {
		return json.RawMessage(`{"title":"` + strings.Repeat("x", n-12) + `"}`)
	}
	if _, err := compileSchema(schema(maxSchema)); err != nil {
		t.Errorf("1 MiB: %v", err)
	}
	if _, err := compileSchema(schema(maxSchema + 1)); err == nil {
		t.Error("a byte more is no error")
	}
}

func findNothing(context.Context, PollRequest) (PollResult, error) { return PollResult{}, nil }
