package engine_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/callbackd/callbackd/engine"
)

func TestPublishMany(t *testing.T) {
	t.Parallel()
	e := open(t, engine.Options{Providers: []engine.Provider{(&source{}).provider()}})
	s := attach(t, e, "source", engine.DestinationSettings{URL: "http://127.0.0.1:1/"})
	event := func(id string) engine.NewEvent {
		return engine.NewEvent{Type: "x", SourceID: id, Output: json.RawMessage(`{}`)}
	}
	stored := func() (ids []string) {
		l, err := e.ListEvents(t.Context(), s.callback.ID, engine.EventFilter{}, engine.Page{Limit: 200})
		if err != nil {
			t.Fatal(err)
		}
		for _, stored := range l.Items {
			ids = append(ids, stored.SourceID)
		}
		return ids
	}

	bad := event("c")
	bad.Type, bad.Output = "", json.RawMessage(`[]`)
	err := e.Publish(t.Context(), s.callback.ID, event("a"), bad, event(strings.Repeat("x", 1001)))
	refusal, ok := errors.AsType[*engine.Error](err)
	var paths []string
	if ok {
		for _, f := range refusal.Fields {
			paths = append(paths, strings.Join(f.Path, "."))
		}
	}
	if want := []string{"events.1.type", "events.1.output", "events.2.source_id"}; !slices.Equal(paths, want) {
		t.Errorf("%v names %q, want %q", err, paths, want)
	}
	many := make([]engine.NewEvent, 101)
	for i := range many {
		many[i] = event(fmt.Sprint(i))
	}
	if err := e.Publish(t.Context(), s.callback.ID, many...); err == nil {
		t.Error("101 events are no error")
	}
	if got := stored(); len(got) != 0 {
		t.Errorf("%q are stored", got)
	}

	if err := e.Publish(t.Context(), s.callback.ID, many[:100]...); err != nil {
		t.Fatal(err)
	}
	again, err := e.PublishEvents(t.Context(), s.callback.ID, engine.NewEvents{Events: []engine.NewEvent{event("new"), event("7"), event("new")}})
	if err != nil || len(again) != 3 || again[1].SourceID != "7" || again[0].ID != again[2].ID {
		t.Errorf("again: %v, %v", again, err)
	}
	if got := stored(); len(got) != 101 || got[7] != "7" || got[100] != "new" {
		t.Errorf("%q are stored", got)
	}
}
