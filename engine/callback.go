package engine

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/callbackd/callbackd/store"
)

// NewCallback is a callback to be made.
type NewCallback struct {
	Details
	DeploymentID         string           // required
	PollIntervalOverride time.Duration    // whole seconds, for all its triggers; 0: each trigger's own
	DestinationIDs       []string         // ids, or "func:NAME"; at most 100
	Triggers             *[]TriggerChoice // at most 100; nil: all of the deployment's
}

// Validate returns every offending field that can be told without the deployment.
func (n NewCallback) Validate() []FieldError {
	var c checker
	c.required(n.DeploymentID, "provider_deployment_id")
	c.required(n.Name, "name")
	c.text(n.Description, maxText, "description")
	c.metadata(n.Metadata)
	c.pollInterval(n.PollIntervalOverride)
	c.destinationIDs(n.DestinationIDs)
	if n.Triggers != nil {
		c.triggers(*n.Triggers)
	}
	return c.fields
}

func (c *checker) pollInterval(d time.Duration) {
	if d < 0 || !wholeSeconds(d) || d > 365*24*time.Hour {
		c.add("invalid_poll_interval", "must be a whole number of seconds from 1 to 31536000", "poll_interval_seconds_override")
	}
}

func (c *checker) destinationIDs(ids []string) {
	if len(ids) > maxList {
		c.add("callback_destination_limit_exceeded", fmt.Sprintf("must have at most %d entries", maxList), "destination_ids")
	}
}

func (c *checker) triggers(triggers []TriggerChoice) {
	if len(triggers) > maxList {
		c.add("callback_trigger_limit_exceeded", fmt.Sprintf("must have at most %d entries", maxList), "triggers")
		return
	}
	for i, t := range triggers {
		c.required(t.Trigger, "triggers", strconv.Itoa(i), "trigger_id")
		c.eventTypes(t.EventTypes, "triggers", strconv.Itoa(i), "event_types")
	}
}

// CreateCallback makes a callback. It does nothing until an instance is attached to it,
// or an event is published to it.
func (e *Engine) CreateCallback(ctx context.Context, n NewCallback) (Callback, error) {
	if err := invalid(n.Validate()); err != nil {
		return Callback{}, err
	}
	n.Metadata = nullable(n.Metadata)
	c, err := e.store.CreateCallback(ctx, e.now(), n.DeploymentID, store.CallbackSettings{Details: n.Details, PollIntervalOverride: n.PollIntervalOverride},
		store.CallbackSets{DestinationIDs: &n.DestinationIDs, Triggers: n.Triggers})
	return c, wrap(err)
}

// UpdateCallback changes a callback. A nil field stays; a pointer to a zero value clears;
// a set replaces the whole set.
type UpdateCallback struct {
	UpdateDetails
	PollIntervalOverride *time.Duration
	DestinationIDs       *[]string
	Triggers             *[]TriggerChoice
}

// Validate returns every offending field.
func (u UpdateCallback) Validate() []FieldError {
	c := checker{fields: u.UpdateDetails.Validate()}
	if u.Name != nil {
		c.required(*u.Name, "name")
	}
	if u.PollIntervalOverride != nil {
		c.pollInterval(*u.PollIntervalOverride)
	}
	if u.DestinationIDs != nil {
		c.destinationIDs(*u.DestinationIDs)
	}
	if u.Triggers != nil {
		c.triggers(*u.Triggers)
	}
	return c.fields
}

// UpdateCallback changes an active callback. No trigger that stays, or comes back, loses
// its poll state.
func (e *Engine) UpdateCallback(ctx context.Context, id string, u UpdateCallback) (Callback, error) {
	if err := invalid(u.Validate()); err != nil {
		return Callback{}, err
	}
	c, err := e.store.UpdateCallback(ctx, e.now(), id, store.CallbackSets{DestinationIDs: u.DestinationIDs, Triggers: u.Triggers}, func(s *store.CallbackSettings) {
		u.UpdateDetails.apply(&s.Details)
		set(&s.PollIntervalOverride, u.PollIntervalOverride)
	})
	return c, wrap(err)
}

// ArchiveCallback ends a callback: it is polled no longer and takes no events. What it has
// accepted is still delivered.
func (e *Engine) ArchiveCallback(ctx context.Context, id string) (Callback, error) {
	c, err := e.store.ArchiveCallback(ctx, e.now(), id)
	return c, wrap(err)
}

// ListCallbacks lists callbacks.
func (e *Engine) ListCallbacks(ctx context.Context, f CallbackFilter, p Page) (List[Callback], error) {
	l, err := e.store.ListCallbacks(ctx, f, p)
	return l, wrap(err)
}

// Callback finds a callback, archived or not.
func (e *Engine) Callback(ctx context.Context, id string) (Callback, error) {
	c, err := e.store.Callback(ctx, id)
	return c, wrap(err)
}

// NewInstance is an instance to be attached.
type NewInstance struct {
	ConfigID     string   // required; of the callback's deployment
	AuthConfigID string   // "": none
	Baseline     Baseline // "": each trigger's own
}

// Validate returns every offending field.
func (n NewInstance) Validate() []FieldError {
	var c checker
	c.required(n.ConfigID, "provider_config_id")
	if n.Baseline != "" {
		c.oneOf(string(n.Baseline), []string{string(BaselineEmit), string(BaselineSkip)}, "baseline")
	}
	return c.fields
}

// AttachInstance puts a callback to work with a config, and perhaps an auth config. Its
// triggers are polled from now on.
func (e *Engine) AttachInstance(ctx context.Context, callbackID string, n NewInstance) (Instance, error) {
	if err := invalid(n.Validate()); err != nil {
		return Instance{}, err
	}
	i, err := e.store.AttachInstance(ctx, e.now(), store.NewInstance{CallbackID: callbackID, ConfigID: n.ConfigID, AuthConfigID: n.AuthConfigID, Baseline: string(n.Baseline)})
	if err == nil {
		e.poller.wake()
	}
	return i, wrap(err)
}

// DetachInstance stops an instance. Attaching the same pair again revives it with its poll
// state.
func (e *Engine) DetachInstance(ctx context.Context, callbackID, id string) (Instance, error) {
	i, err := e.store.DetachInstance(ctx, e.now(), callbackID, id)
	return i, wrap(err)
}

// ListInstances lists a callback's instances.
func (e *Engine) ListInstances(ctx context.Context, callbackID string, f InstanceFilter, p Page) (List[Instance], error) {
	l, err := e.store.ListInstances(ctx, callbackID, f, p)
	return l, wrap(err)
}

// Instance finds one of a callback's instances, attached or not.
func (e *Engine) Instance(ctx context.Context, callbackID, id string) (Instance, error) {
	i, err := e.store.Instance(ctx, callbackID, id)
	return i, wrap(err)
}
