package engine

import (
	"context"
	"maps"
	"math"
	"net/http"
	"slices"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/callbackd/callbackd/engine/signature"
	"github.com/callbackd/callbackd/store"
)

// What a destination is given when its maker does not say.
const (
	DefaultMethod      = http.MethodPost
	DefaultTimeout     = 15 * time.Second // over a whole exchange, body included
	DefaultMaxInFlight = 32               // attempts at a time
)

// NewDestination is a destination to be made. Zero settings mean their defaults:
// ScopeSelected, POST, all event types, the default retry schedule, 15 s, 32 in flight.
type NewDestination struct {
	DestinationSettings
	Faults
	CallbackIDs []string // callbacks that it is linked to at once; at most 100
}

// CreateDestination makes a destination with a signing secret of its own.
func (e *Engine) CreateDestination(ctx context.Context, n NewDestination) (Destination, error) {
	fillDestination(&n.DestinationSettings)
	c := n.Faults.check()
	c.put(checkDestination(n.DestinationSettings)...)
	c.ids(n.CallbackIDs, "max_length", "callbacks", "callback_ids")
	if c.failed() { // the callbacks are looked for all the same, to name all that is wrong at once
		if !c.knows("callbacks", "callback_ids") {
			c.references(e.store.CheckCallbacks(ctx, n.CallbackIDs))
		}
		return Destination{}, c.err()
	}
	d, err := e.store.CreateDestination(ctx, e.now(), store.NewDestination{DestinationSettings: n.DestinationSettings, CallbackIDs: n.CallbackIDs, SigningSecret: signature.NewSecret()})
	return d, wrap(err)
}

// fillDestination puts defaults where a setting is zero.
func fillDestination(s *DestinationSettings) {
	s.Metadata = nullable(s.Metadata)
	if s.Scope == "" {
		s.Scope = ScopeSelected
	}
	if s.Method == "" {
		s.Method = DefaultMethod
	}
	if s.Timeout == 0 {
		s.Timeout = DefaultTimeout
	}
	if s.MaxInFlight == 0 {
		s.MaxInFlight = DefaultMaxInFlight
	}
	fillRetry(&s.Retry)
}

func checkDestination(s DestinationSettings) []FieldError {
	var c checker
	c.required(s.Name, "name")
	c.text(s.Description, maxText, "description")
	c.metadata(s.Metadata)
	c.url(s.URL, "url")
	c.oneOf(s.Method, []string{http.MethodPost, http.MethodPut, http.MethodPatch}, "method")
	c.oneOf(s.Scope, []string{ScopeAll, ScopeSelected}, "callbacks", "type")
	c.eventTypes(s.EventTypes, "event_types")
	c.retry(s.Retry, "retry")
	c.between(clampSeconds(s.Timeout), 1, 60, "timeout_seconds")
	c.between(s.MaxInFlight, 1, 1000, "max_in_flight")
	if len(s.Headers) > 50 {
		c.add("max_length", "must have at most 50 headers", "headers")
		return c.fields
	}
	for _, name := range slices.Sorted(maps.Keys(s.Headers)) {
		value := s.Headers[name]
		switch {
		case !httpguts.ValidHeaderFieldName(name):
			c.add("invalid_type", "is not a header name", "headers", name)
		case !httpguts.ValidHeaderFieldValue(value) || len(value) > 8192:
			c.add("invalid_type", "must be a header value of at most 8192 bytes, without line breaks", "headers", name)
		case ownHeader(name):
			c.add("invalid_literal", "is set by callbackd itself", "headers", name)
		}
	}
	return c.fields
}

// clampSeconds is d in seconds, rounded up so that a fraction does not become nothing.
func clampSeconds(d time.Duration) int {
	return int(min(math.Ceil(d.Seconds()), math.MaxInt32))
}

// UpdateDestination changes a destination. A nil field stays; a pointer to a zero value
// means the default.
type UpdateDestination struct {
	UpdateDetails
	URL         *string
	Method      *string
	Headers     *map[string]string
	EventTypes  *[]string
	Retry       *Retry
	Timeout     *time.Duration
	MaxInFlight *int
	Active      bool // revives a destination that was disabled; a changed URL does so too
}

func (u UpdateDestination) check() *checker {
	s := DestinationSettings{Name: "x", URL: "http://x"} // stand-ins for what stays
	u.apply(&s)
	c := u.Faults.check()
	c.put(checkDestination(s)...)
	return c
}

func (u UpdateDestination) apply(s *DestinationSettings) {
	d := Details{Name: s.Name, Description: s.Description, Metadata: s.Metadata}
	u.UpdateDetails.apply(&d)
	s.Name, s.Description, s.Metadata = d.Name, d.Description, d.Metadata
	set(&s.URL, u.URL)
	set(&s.Method, u.Method)
	set(&s.Headers, u.Headers)
	set(&s.EventTypes, u.EventTypes)
	set(&s.Retry, u.Retry)
	set(&s.Timeout, u.Timeout)
	set(&s.MaxInFlight, u.MaxInFlight)
	fillDestination(s)
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

// UpdateDestination changes a destination that is not archived; the next attempt goes by
// the new settings. Of a function's, only the code changes the settings.
func (e *Engine) UpdateDestination(ctx context.Context, id string, u UpdateDestination) (Destination, error) {
	if err := u.check().err(); err != nil {
		return Destination{}, err
	}
	moved := false // another receiver has failures of its own
	d, err := e.store.UpdateDestination(ctx, e.now(), id, func(s *DestinationSettings, status *string) error {
		if isFunction(s.URL) {
			return &Error{Code: CodeConflict, Message: "this destination is a function of the program: its settings are in the code"}
		}
		url := s.URL
		u.apply(s)
		moved = s.URL != url
		if u.Active || s.URL != url {
			*status = "active"
		}
		return nil
	})
	if err == nil {
		e.deliverer.refresh()
		if moved {
			e.failing.forget(d.ID)
		}
		e.failing.show(&d)
	}
	return d, wrap(err)
}

// ArchiveDestination ends a destination: what waits for it ends as failed, saying so.
func (e *Engine) ArchiveDestination(ctx context.Context, id string) (Destination, error) {
	d, err := e.store.EndDestination(ctx, e.now(), id, "archived", "")
	if err == nil {
		e.failing.forget(d.ID)
		e.deliverer.refresh()
	}
	return d, wrap(err)
}

// ListDestinations lists destinations.
func (e *Engine) ListDestinations(ctx context.Context, f DestinationFilter, p Page) (List[Destination], error) {
	l, err := e.store.ListDestinations(ctx, f, p)
	e.failing.showAll(l.Items)
	return l, wrap(err)
}

// Destination finds a destination, archived or not, by its id, or a function's by
// "func:NAME".
func (e *Engine) Destination(ctx context.Context, id string) (Destination, error) {
	d, err := e.store.Destination(ctx, id)
	e.failing.show(&d)
	return d, wrap(err)
}
