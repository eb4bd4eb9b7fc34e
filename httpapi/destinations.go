package httpapi

import (
	"fmt"

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
		Timeout:     value(f.seconds("timeout_seconds", nullable, "invalid_min")),
		MaxInFlight: value(f.positive("max_in_flight", nullable, "invalid_min")),
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
		Timeout:       f.seconds("timeout_seconds", nullable, "invalid_min"),
		MaxInFlight:   f.positive("max_in_flight", nullable, "invalid_min"),
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
		MaxAttempts: value(inner.positive("maxAttempts", nullable, "invalid_min")),
		Delay:       value(inner.seconds("delaySeconds", nullable, "invalid_min")),
	}
}

func destinationFilter(q *query) engine.DestinationFilter {
	return engine.DestinationFilter{IDs: q.all("id"), Callbacks: q.all("callback_id"), Statuses: q.anyOf("status", "active", "disabled", "archived", "deleted"),
		Created: q.during("created_at"), Updated: q.during("updated_at")}
}

// maxLinks is how many callbacks a destination of the older form can be made with.
const maxLinks = 100

func newOlderDestination(f *fields) engine.NewDestination {
	n := engine.NewDestination{DestinationSettings: engine.DestinationSettings{
		Name:        value(f.text("name", required)),
		Description: value(f.text("description", 0)),
		URL:         value(f.text("url", required)),
	}}
	callbacks, _ := f.nested("callbacks", required)
	if callbacks == nil {
		return n
	}
	switch kind := callbacks.text("type", required); value(kind) {
	case engine.ScopeAll:
		n.Scope = engine.ScopeAll
	case engine.ScopeSelected:
		name := "callback_ids"
		if !callbacks.has(name) && callbacks.has("callback_id") { // as the documentation has it
			name = "callback_id"
		}
		n.Scope, n.CallbackIDs = engine.ScopeSelected, value(callbacks.texts(name, required))
		if len(n.CallbackIDs) > maxLinks {
			callbacks.add(name, "max_length", fmt.Sprintf("must have at most %d entries", maxLinks), fmt.Sprint(maxLinks), fmt.Sprint(len(n.CallbackIDs)))
		}
	default:
		if kind != nil {
			callbacks.add("type", "invalid_enum", "must be one of all, selected", "all|selected", shorten(*kind))
		}
	}
	return n
}

func updateOlderDestination(f *fields) engine.UpdateDestination {
	return engine.UpdateDestination{UpdateDetails: engine.UpdateDetails{Name: f.text("name", 0), Description: f.text("description", nullable)}}
}

func olderDestinationFilter(q *query) engine.DestinationFilter {
	return engine.DestinationFilter{Callbacks: q.all("callback_id")}
}
