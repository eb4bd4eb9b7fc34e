package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// paged is a source of numbers, of which a poll returns two at a time.
func paged(last *int) engine.Provider {
	return engine.Provider{Key: "paged", Triggers: []engine.Trigger{{Key: "number", Interval: time.Hour, Baseline: engine.BaselineSkip,
		Poll: func(_ context.Context, req engine.PollRequest) (engine.PollResult, error) {
			after, _ := strconv.Atoi(string(req.State))
			var r engine.PollResult
			for after < *last && len(r.Inputs) < 2 {
				after++
				r.Inputs = append(r.Inputs, json.RawMessage(fmt.Sprintf(`{"type":"number","source_id":"%d"}`, after)))
			}
			r.State, r.More = json.RawMessage(strconv.Itoa(after)), true // at the end, nothing comes of it
			return r, nil
		}}}}
}

// A source that has more is polled again at once, and what was there at the start is skipped whole.
func TestPollAgainWhileThereIsMore(t *testing.T) {
	t.Parallel()
	last := 7
	deliver := roundTrip(func(*http.Request) (*http.Response, error) { return answer(200, nil, ""), nil })
	inVirtualTime(t, engine.Options{Providers: []engine.Provider{paged(&last)}}, deliver, func(t *testing.T, e *engine.Engine) {
		s := attach(t, e, "paged", engine.DestinationSettings{URL: "http://127.0.0.1:1"})
		start(t, e)
		state := func() string {
			return string(must(e.InstanceTrigger(t.Context(), s.callback.ID, s.instance.ID, "number"))(t).State)
		}
		time.Sleep(3 * time.Second)
		if got := state(); got != "7" {
			t.Errorf("after the first polls, the state is %s", got)
		}
		events := must(e.ListEvents(t.Context(), s.callback.ID, engine.EventFilter{}, engine.Page{}))(t).Items
		if len(events) != 0 {
			t.Errorf("%d events of what was there", len(events))
		}
		last = 12
		time.Sleep(time.Hour + 3*time.Second)
		events = must(e.ListEvents(t.Context(), s.callback.ID, engine.EventFilter{}, engine.Page{}))(t).Items
		if len(events) != 5 || state() != "12" {
			t.Errorf("%d events, state %s", len(events), state())
		}
	})
}
