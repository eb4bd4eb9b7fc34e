package demo_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/engine/provider/demo"
)

var now = time.Date(2026, 1, 10, 14, 45, 0, 5e6, time.FixedZone("", 3600))

var trigger = demo.New().Triggers[0]

func poll(t *testing.T, config string, state json.RawMessage) engine.PollResult {
	t.Helper()
	r, err := trigger.Poll(t.Context(), engine.PollRequest{
		Source: engine.Source{Config: json.RawMessage(config), Now: now}, State: state,
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestMessagesAreNumberedOn(t *testing.T) {
	t.Parallel()
	var state json.RawMessage
	n := 0
	for _, c := range []struct {
		config string
		count  int
	}{{`{}`, 1}, {`{"per_poll": 3}`, 3}, {`{"per_poll": 100}`, 100}, {`{"per_poll": 1000}`, 100}, {`{"per_poll": -1}`, 1}} {
		r := poll(t, c.config, state)
		if len(r.Inputs) != c.count {
			t.Errorf("%s: got %d messages", c.config, len(r.Inputs))
		}
		for _, input := range r.Inputs {
			n++
			var m engine.Mapped
			if err := json.Unmarshal(input, &m); err != nil {
				t.Fatal(err)
			}
			if want := fmt.Sprintf("msg_%d", n); m.SourceID != want || m.Type != "message.created" {
				t.Errorf("got %s %s, want %s", m.Type, m.SourceID, want)
			}
		}
		state = r.State
	}
}

func TestAMessageIsWholeAndTheSameEachTime(t *testing.T) {
	t.Parallel()
	const want = `{"type":"message.created","source_id":"msg_1","output":{"id":"msg_1","channel":"general","author":"Ada",` +
		`"text":"Good morning! The deploy went out without a hitch.","created_at":"2026-01-10T13:45:00.005Z"}}`
	for range 2 {
		if got := string(poll(t, `{}`, nil).Inputs[0]); got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
	}
}

func TestWhatIsNotUnderstoodIsAnError(t *testing.T) {
	t.Parallel()
	for _, req := range []engine.PollRequest{
		{Source: engine.Source{Config: json.RawMessage(`[]`)}},
		{Source: engine.Source{Config: json.RawMessage(`{}`)}, State: json.RawMessage(`{"count":-1}`)},
	} {
		if _, err := trigger.Poll(t.Context(), req); err == nil {
			t.Errorf("%s %s: no error", req.Config, req.State)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := trigger.Poll(ctx, engine.PollRequest{Source: engine.Source{Config: json.RawMessage(`{}`)}}); err == nil {
		t.Error("a cancelled poll gave messages")
	}
}

func TestSchemasAreJSON(t *testing.T) {
	t.Parallel()
	if !json.Valid(demo.New().ConfigSchema) || !json.Valid(trigger.OutputSchema) {
		t.Error("a schema is not JSON")
	}
}
