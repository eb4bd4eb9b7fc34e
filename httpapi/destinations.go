package httpapi

import (
	"errors"

	"github.com/callbackd/callbackd/engine"
)

// What destinations are made of and listed by, in both forms.

func newDestination(f *fields) engine.NewDestination {
	return engine.NewDestination{DestinationSettings: engine.DestinationSettings{
		Name:        value(f.text("name", required)),
		Description: value(f.text("description", nullable)),
		Metadata:    value(f.object("metadata", nullable)),
		URL:         value(f.text("url", required)),
		Method:      value(f.word("method", nullable)),
		Headers:     value(f.textMap("headers", nullable)),
		EventTypes:  value(f.texts("event_types", nullable)),
		Retry:       value(retry(f)),
		Timeout:     value(f.seconds("timeout_seconds", nullable)),
		MaxInFlight: value(f.positive("max_in_flight", nullable)),
	}}
}

// updateDestination takes null, for a setting that has a default, as that default.
func updateDestination(f *fields) engine.UpdateDestination {
	u := engine.UpdateDestination{
		UpdateDetails: engine.UpdateDetails{Name: f.text("name", 0), Description: f.text("description", nullable), Metadata: f.object("metadata", nullable)},
		URL:           f.text("url", 0),
		Method:        f.word("method", nullable),
		Headers:       f.textMap("headers", nullable),
		EventTypes:    f.texts("event_types", nullable),
		Retry:         retry(f),
		Timeout:       f.seconds("timeout_seconds", nullable),
		MaxInFlight:   f.positive("max_in_flight", nullable),
	}
	if status := f.text("status", 0); status != nil {
		if u.Active = *status == "active"; !u.Active {
			f.add("status", "invalid_literal", "can only be set to active; use DELETE to archive", "active", shorten(*status))
		}
	}
	return u
}

// retry reads settings of which those that are missing, or null, have their defaults.
func retry(f *fields) *engine.Retry {
	inner, ok := f.nested("retry", nullable)
	if !ok || inner == nil {
		return zeroIf[engine.Retry](ok)
	}
	return &engine.Retry{
		Type:        value(inner.word("type", nullable)),
		MaxAttempts: value(inner.positive("maxAttempts", nullable)),
		Delay:       value(inner.seconds("delaySeconds", nullable)),
	}
}

func destinationFilter(q *query) engine.DestinationFilter {
	return engine.DestinationFilter{IDs: q.all("id"), Callbacks: q.all("callback_id"), Statuses: q.anyOf("status", "active", "disabled", "archived", "deleted"),
		Created: q.during("created_at"), Updated: q.during("updated_at")}
}

// createOlderDestination has errors name the list of callbacks as the body does.
func createOlderDestination(r *request) (any, error) {
	list := ""
	decode := func(f *fields) (n engine.NewDestination) {
		n, list = newOlderDestination(f)
		return n
	}
	v, err := create((*engine.Engine).CreateDestination, decode, presentOlderDestination)(r)
	if e, ok := errors.AsType[*engine.Error](err); ok {
		for _, f := range e.Fields {
			if len(f.Path) > 1 && f.Path[1] == "callback_ids" {
				f.Path[1] = list
			}
		}
	}
	return v, err
}

// newOlderDestination also returns how the body calls the list of callbacks, which is
// read, and has its errors, as callback_ids.
func newOlderDestination(f *fields) (n engine.NewDestination, list string) {
	n = engine.NewDestination{DestinationSettings: engine.DestinationSettings{
		Name:        value(f.text("name", required)),
		Description: value(f.text("description", 0)),
		URL:         value(f.text("url", required)),
	}}
	list = "callback_ids"
	callbacks, _ := f.nested("callbacks", required)
	if callbacks == nil {
		return n, list
	}
	if ids, ok := callbacks.values["callback_id"]; ok && !callbacks.has(list) { // as the documentation has it
		callbacks.values[list] = ids
		list = "callback_id"
	}
	switch kind := callbacks.text("type", required); value(kind) {
	case engine.ScopeAll:
		n.Scope = engine.ScopeAll
	case engine.ScopeSelected:
		n.Scope, n.CallbackIDs = engine.ScopeSelected, value(callbacks.texts("callback_ids", required))
	default:
		if kind != nil {
			callbacks.add("type", "invalid_enum", "must be one of all, selected", "all|selected", shorten(*kind))
		}
	}
	return n, list
}

func updateOlderDestination(f *fields) engine.UpdateDestination {
	return engine.UpdateDestination{UpdateDetails: engine.UpdateDetails{Name: f.text("name", 0), Description: f.text("description", nullable)}}
}

func olderDestinationFilter(q *query) engine.DestinationFilter {
	return engine.DestinationFilter{Callbacks: q.all("callback_id")}
}
