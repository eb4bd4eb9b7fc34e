package enginetest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/callbackd/callbackd/engine"
)

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

const (
	chainPolls = 4    // how many polls follow each other
	backlog    = 250  // how many things happen before a first poll; pages have fewer items as a rule
	maxPages   = 1000 // how often a poll may say More
)

func checkPolls(r *trial) {
	all, began := make(found), r.now
	times, states := []time.Time{}, []json.RawMessage{}
	var state json.RawMessage
	for i := range chainPolls {
		if r.Next != nil {
			r.Next()
		}
		what, news := fmt.Sprintf("poll %d", i+1), 0
		result, ok := r.readOn(what, state, func(result engine.PollResult, state json.RawMessage) bool {
			items, ok := r.repeatable(what, result, state)
			for id, m := range items {
				other, known := all[id]
				if known && !same(m, other) {
					r.fail("two different items have the source id %q: %s and %s", id, other.Output, m.Output)
				} else if !known {
					news++
				}
				all[id] = m
			}
			times, states = append(times, r.now), append(states, state)
			return ok
		})
		if !ok {
			return
		}
		if i > 0 && news == 0 && r.Next != nil && !r.Late {
			r.fail("%s finds nothing new, although Next has made something happen: either its state is too far ahead and an item is lost, or the case's Next makes nothing that its config wants (or needs Late)", what)
		}
		state = result.State
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
	whole, _ := r.readAll(nil) // at the time of the last poll
	for id := range whole {
		if _, ok := all[id]; !ok {
			r.fail("a poll without a state finds %q, and the polls before it, each with the state of the one before, did not: it is lost", id)
		}
	}
	r.now = began
	if _, err := r.poll(r.ctx, "a poll from the state null", json.RawMessage("null"), deadline); err != nil {
		r.fail("a poll from the state null: %v", err)
	}
}

// readOn polls until there is no more, and gives each result and the state that it came from to
// each. It returns the last result with the state to go on with.
func (r *trial) readOn(what string, state json.RawMessage, each func(engine.PollResult, json.RawMessage) bool) (engine.PollResult, bool) {
	for range maxPages {
		result, err := r.poll(r.ctx, what, state, deadline)
		if err != nil {
			r.fail("%s: %v", what, err)
			return result, false
		}
		if result.State != nil && !json.Valid(result.State) {
			r.fail("%s: the state is not JSON: %.200q", what, result.State)
			return result, false
		}
		if !each(result, state) {
			return result, false
		}
		if result.State == nil {
			result.State = state
		}
		if !result.More {
			return result, true
		}
		if bytes.Equal(result.State, state) {
			r.fail("%s says More and keeps its state, so that it would find the same again", what)
			return result, false
		}
		state = result.State
	}
	r.fail("%s says More %d times: is there an end?", what, maxPages)
	return engine.PollResult{}, false
}

// repeatable is what a poll found, if that is what it finds when it is made again.
func (r *trial) repeatable(what string, result engine.PollResult, state json.RawMessage) (found, bool) {
	again, err := r.poll(r.ctx, what, state, deadline)
	if err != nil {
		r.fail("%s, made again from the same state: %v", what, err)
		return nil, false
	}
	items, repeated := r.mapAll(what, result.Inputs), r.mapAll(what+", made again", again.Inputs)
	if a, b := slices.Sorted(maps.Keys(items)), slices.Sorted(maps.Keys(repeated)); !slices.Equal(a, b) {
		r.fail("%s finds the source ids %q, and made again from the same state %q: after a crash, an item would be lost or another one", what, a, b)
	}
	for id, m := range items {
		if other, ok := repeated[id]; ok && !same(m, other) {
			r.fail("%s finds %s as %s, and made again from the same state as %s", what, id, m.Output, other.Output)
		}
	}
	return items, true
}

// readAll is all that polls from a state find until there is no more, and the state after them. What
// is wrong with the items is told elsewhere.
func (r *trial) readAll(state json.RawMessage) (found, json.RawMessage) {
	all := make(found)
	result, _ := r.readOn("a poll without a state, and those that follow it", state, func(result engine.PollResult, _ json.RawMessage) bool {
		for _, input := range result.Inputs {
			if m, err := r.mapOne(input); err == nil {
				all[m.SourceID] = m
			}
		}
		return true
	})
	return all, result.State
}

// checkBacklog is for what was there before the trigger: whoever does not want it must not be told of
// its second page either.
func checkBacklog(r *trial) {
	for range backlog {
		r.Next()
	}
	all, state := r.readAll(nil)
	later, _ := r.readAll(state) // at the same time
	for id := range later {
		if _, ok := all[id]; !ok {
			r.fail("a first poll finds %d of a backlog and does not say More, and the poll after it finds others, such as %q: with BaselineSkip, they would be sent as if they were new", len(all), id)
			return
		}
	}
}
