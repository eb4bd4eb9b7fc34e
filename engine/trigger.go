package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/callbackd/callbackd/internal/jsontext"
	"github.com/callbackd/callbackd/store"
)

// InstanceTrigger finds one of an instance's triggers, with its state. trigger is its id, or the
// id or key of the provider's trigger. A trigger that the callback no longer names is not found.
func (e *Engine) InstanceTrigger(ctx context.Context, callbackID, instanceID, trigger string) (InstanceTrigger, error) {
	t, err := e.store.InstanceTrigger(ctx, callbackID, instanceID, trigger)
	return e.shownTrigger(t, err)
}

// UpdateInstanceTrigger is what is to become of an instance's trigger; the zero value changes
// nothing.
type UpdateInstanceTrigger struct {
	Faults

	// Status is "paused" or "active"; nil: stays. A paused trigger is polled no longer, and keeps its
	// state; a webhook stays registered. It stays paused over restarts, and whatever becomes of its
	// config, auth config and callback, until it is made active, or its instance is detached and
	// attached again. A trigger that becomes active, from a pause of either kind or from failing, is
	// polled at once, and its error is forgotten.
	Status *string

	// State is what the next poll is given, any JSON of at most 1 MiB and 500 levels; a pointer to
	// nil, or to null: none, as before the first poll; nil: stays. A trigger that is not paused is
	// polled with it at once. Events that are there already are not made again, because their source
	// ids are remembered, and so are those that a baseline has skipped. With a state, there is no
	// first poll that is only remembered.
	State *json.RawMessage
}

func (u UpdateInstanceTrigger) check() *checker {
	c := u.Faults.check()
	if u.Status != nil {
		c.oneOf(*u.Status, []string{"active", "paused"}, "status")
	}
	if u.State != nil && *u.State != nil {
		c.json(*u.State, "state")
	}
	return c
}

// json takes any JSON of at most 1 MiB that is not nested too deeply.
func (c *checker) json(value json.RawMessage, path ...string) {
	found := jsontext.Look(value)
	switch {
	case len(value) > maxOutput:
		c.add("max_length", "must have at most 1 MiB", path...)
	case !found.Valid:
		c.add("invalid_type", "must be JSON", path...)
	case found.Levels > maxNesting:
		c.add("invalid_max", fmt.Sprintf("must be nested at most %d levels deep", maxNesting), path...)
	}
}

// UpdateInstanceTrigger pauses or resumes a trigger, and rewinds its state, both or neither, and
// returns it as it is then. What a poll finds that is just being made is dropped, and found again
// by the next one. It is a CodeConflict if the callback is archived, and for a status, while the
// instance is detached; for "active" also while something that the trigger needs is archived.
// trigger is as for [Engine.InstanceTrigger].
func (e *Engine) UpdateInstanceTrigger(ctx context.Context, callbackID, instanceID, trigger string, u UpdateInstanceTrigger) (InstanceTrigger, error) {
	if err := u.check().err(); err != nil {
		return InstanceTrigger{}, err
	}
	var c store.TriggerChange
	set(&c.Status, u.Status)
	if u.State != nil {
		c.State = new(nullable(*u.State))
	}
	seq, t, err := e.store.UpdateInstanceTrigger(ctx, e.now(), callbackID, instanceID, trigger, c)
	if err != nil {
		return InstanceTrigger{}, wrap(err)
	}
	if c.Status == "paused" {
		e.stuck.end(seq, "a trigger that was stuck is paused")
	}
	if c.Status != "" || c.State != nil {
		e.log.InfoContext(ctx, "a trigger was changed", keyTrigger, t.ID, keyInstance, instanceID, keyCallback, callbackID, "status", t.Status, "set_state", c.State != nil)
		e.poller.wake()
	}
	return e.shownTrigger(t, nil)
}

// shownTrigger is a trigger as it is.
func (e *Engine) shownTrigger(t InstanceTrigger, err error) (InstanceTrigger, error) {
	e.show(&t)
	return t, wrap(err)
}

// show puts into a trigger what is not in the file.
func (e *Engine) show(t *InstanceTrigger) {
	e.stuck.show(t)
	if t.Trigger.Source == "webhook" {
		t.WebhookURL, t.LastRefused = e.WebhookURL(t.ID), e.inbound.lastRefused(t.ID)
	}
	if t.Lag == nil || t.NextPollAt.IsZero() || e.poller.polls(t.ID) {
		return
	}
	if overdue := e.now().Sub(t.NextPollAt); overdue > *t.Lag {
		t.Lag = new(overdue.Truncate(time.Millisecond))
	}
}

// shownInstance is an instance with its triggers as they are.
func (e *Engine) shownInstance(i Instance, err error) (Instance, error) {
	for k := range i.Triggers {
		e.show(&i.Triggers[k])
	}
	return i, wrap(err)
}
