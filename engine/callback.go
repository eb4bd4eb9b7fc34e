package engine

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/callbackd/callbackd/store"
)

// NewCallback is a callback to be made.
type NewCallback struct {
	Details
	Faults
	DeploymentID         string           // required
	PollIntervalOverride time.Duration    // whole seconds, for all its triggers; 0: each trigger's own
	Retention            time.Duration    // how long its events are kept, in whole seconds; 0: [Options.Retention]; negative: for ever
	DestinationIDs       []string         // ids, or "func:NAME"; at most 100
	Triggers             *[]TriggerChoice // at most 100; nil: all of the deployment's
}

func (n NewCallback) check() *checker {
	c := n.Faults.check()
	c.required(n.DeploymentID, "provider_deployment_id")
	c.required(n.Name, "name")
	c.details(n.Details)
	c.pollInterval(n.PollIntervalOverride)
	c.retention(n.Retention)
	c.sets(store.CallbackSets{DestinationIDs: &n.DestinationIDs, Triggers: n.Triggers})
	return c
}

func (c *checker) pollInterval(d time.Duration) {
	if d < 0 || !wholeSeconds(d) || d > 365*24*time.Hour {
		c.add("invalid_poll_interval", "must be a whole number of seconds from 1 to 31536000", "poll_interval_seconds_override")
	}
}

func (c *checker) retention(d time.Duration) {
	if d > 0 && (!wholeSeconds(d) || d > maxRetention) {
		c.add("invalid_max", "must be a whole number of seconds, at most 2147483647, or -1 for ever", "retention_seconds")
	}
}

// maxRetention is 68 years: longer is for ever.
const maxRetention = math.MaxInt32 * time.Second

func (c *checker) sets(s store.CallbackSets) {
	if s.DestinationIDs != nil {
		c.ids(*s.DestinationIDs, "callback_destination_limit_exceeded", "destination_ids")
	}
	if s.Triggers != nil {
		c.triggers(*s.Triggers)
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
	c := n.check()
	sets := store.CallbackSets{DestinationIDs: &n.DestinationIDs, Triggers: n.Triggers}
	if c.failed() {
		d, _ := e.store.Deployment(ctx, n.DeploymentID) // without one, triggers are not looked for
		return Callback{}, e.refuseCallback(ctx, c, d.ProviderID, sets)
	}
	n.Metadata = nullable(n.Metadata)
	created, err := e.store.CreateCallback(ctx, e.now(), n.DeploymentID, store.CallbackSettings{Details: n.Details, PollIntervalOverride: n.PollIntervalOverride, Retention: n.Retention}, sets)
	return e.shown(created, err)
}

// refuseCallback is the error of an input with fields that are wrong. What its sets refer
// to is looked for, without a change, to name all that is wrong at once.
func (e *Engine) refuseCallback(ctx context.Context, c *checker, providerID string, sets store.CallbackSets) error {
	if c.knows("destination_ids") {
		sets.DestinationIDs = nil
	}
	if c.knows("triggers") {
		sets.Triggers = nil
	}
	c.references(e.store.CheckSets(ctx, providerID, sets))
	return c.err()
}

// UpdateCallback changes a callback. A nil field stays; a pointer to a zero value clears;
// a set replaces the whole set.
type UpdateCallback struct {
	UpdateDetails
	PollIntervalOverride *time.Duration
	Retention            *time.Duration
	DestinationIDs       *[]string
	Triggers             *[]TriggerChoice
}

func (u UpdateCallback) check() *checker {
	c := u.UpdateDetails.check()
	if u.Name != nil {
		c.required(*u.Name, "name")
	}
	if u.PollIntervalOverride != nil {
		c.pollInterval(*u.PollIntervalOverride)
	}
	if u.Retention != nil {
		c.retention(*u.Retention)
	}
	c.sets(store.CallbackSets{DestinationIDs: u.DestinationIDs, Triggers: u.Triggers})
	return c
}

// UpdateCallback changes an active callback. No trigger that stays, or comes back, loses
// its poll state.
func (e *Engine) UpdateCallback(ctx context.Context, id string, u UpdateCallback) (Callback, error) {
	c := u.check()
	sets := store.CallbackSets{DestinationIDs: u.DestinationIDs, Triggers: u.Triggers}
	if c.failed() {
		old, _ := e.store.Callback(ctx, id) // without one, triggers are not looked for
		return Callback{}, e.refuseCallback(ctx, c, old.Deployment.ProviderID, sets)
	}
	changed, err := e.store.UpdateCallback(ctx, e.now(), id, sets, func(s *store.CallbackSettings) {
		u.UpdateDetails.apply(&s.Details)
		set(&s.PollIntervalOverride, u.PollIntervalOverride)
		set(&s.Retention, u.Retention)
	})
	e.poller.wake() // webhooks of triggers that were left out are to be taken back
	return e.shown(changed, err)
}

// ArchiveCallback ends a callback: it is polled no longer and takes no events, and its webhooks are
// taken back from their source. What it has accepted is still delivered.
func (e *Engine) ArchiveCallback(ctx context.Context, id string) (Callback, error) {
	c, err := e.store.ArchiveCallback(ctx, e.now(), id)
	e.poller.wake()
	return e.shown(c, err)
}

// ListCallbacks lists callbacks.
func (e *Engine) ListCallbacks(ctx context.Context, f CallbackFilter, p Page) (List[Callback], error) {
	l, err := e.store.ListCallbacks(ctx, f, p)
	for i := range l.Items {
		e.failing.showAll(l.Items[i].Destinations)
	}
	return l, wrap(err)
}

// Callback finds a callback, archived or not.
func (e *Engine) Callback(ctx context.Context, id string) (Callback, error) {
	c, err := e.store.Callback(ctx, id)
	return e.shown(c, err)
}

// NewInstance is an instance to be attached.
type NewInstance struct {
	Faults
	ConfigID     string   // required; of the callback's deployment
	AuthConfigID string   // "": none
	Baseline     Baseline // "": each trigger's own
}

func (n NewInstance) check() *checker {
	c := n.Faults.check()
	c.required(n.ConfigID, "provider_config_id")
	c.text(n.AuthConfigID, maxText, "provider_auth_config_id")
	if n.Baseline != "" {
		c.oneOf(string(n.Baseline), []string{string(BaselineEmit), string(BaselineSkip)}, "baseline")
	}
	return c
}

// AttachInstance puts a callback to work with a config, and perhaps an auth config. Its
// triggers are polled from now on.
func (e *Engine) AttachInstance(ctx context.Context, callbackID string, n NewInstance) (Instance, error) {
	if err := n.check().err(); err != nil {
		return Instance{}, err
	}
	i, err := e.store.AttachInstance(ctx, e.now(), store.NewInstance{CallbackID: callbackID, ConfigID: n.ConfigID, AuthConfigID: n.AuthConfigID, Baseline: string(n.Baseline)})
	if err == nil {
		e.poller.wake()
	}
	return e.shownInstance(i, err)
}

// DetachInstance stops an instance. Webhooks that are registered are taken back from their source.
// Attaching the same pair again revives it with its poll state.
func (e *Engine) DetachInstance(ctx context.Context, callbackID, id string) (Instance, error) {
	i, err := e.store.DetachInstance(ctx, e.now(), callbackID, id)
	e.poller.wake()
	return e.shownInstance(i, err)
}

// ListInstances lists a callback's instances.
func (e *Engine) ListInstances(ctx context.Context, callbackID string, f InstanceFilter, p Page) (List[Instance], error) {
	l, err := e.store.ListInstances(ctx, callbackID, f, p)
	for i, item := range l.Items {
		l.Items[i], _ = e.shownInstance(item, nil)
	}
	return l, wrap(err)
}

// Instance finds one of a callback's instances, attached or not.
func (e *Engine) Instance(ctx context.Context, callbackID, id string) (Instance, error) {
	i, err := e.store.Instance(ctx, callbackID, id)
	return e.shownInstance(i, err)
}
