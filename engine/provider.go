package engine

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"
)

// Provider is a source of events: what it is, as data, and what it does, as
// functions. The data becomes rows (a provider, its version, specification,
// triggers and auth methods) when the engine opens; when the data differs from
// what the file holds, a new version is made and the old rows stay.
type Provider struct {
	Key          string          // the identifier that users type: 1 to 64 letters, digits, '.', '_' or '-', the first a letter or digit; required, and unique in one engine
	Name         string          // default: Key
	Description  string          // default: none
	ConfigSchema json.RawMessage // JSON Schema of a config's value; nil: any object

	// Validate checks what a schema cannot say, such as whether a program in a config's value
	// compiles. The value is valid for ConfigSchema, but may lack fields that were not, even
	// required ones. It returns every offending field, with paths inside the value. nil:
	// nothing more to check.
	Validate func(config json.RawMessage) []FieldError

	AuthMethods []AuthMethod // ways to sign in; none: auth configs are not possible
	Triggers    []Trigger    // at least one
}

// AuthMethod is one way to sign in to a provider.
type AuthMethod struct {
	Key         string          // required, unique in its provider
	Type        string          // "token", "oauth" or "custom"; default "custom"
	Name        string          // default: Key
	Description string          // default: none
	InputSchema json.RawMessage // JSON Schema of an auth config's value; nil: any object
}

// Baseline says what a trigger's first poll means.
type Baseline string

const (
	// BaselineEmit makes events of what the first poll finds.
	BaselineEmit Baseline = "emit"
	// BaselineSkip remembers what the first poll finds as seen, and makes no events of it.
	BaselineSkip Baseline = "skip"
)

// Trigger is one thing of a provider that can be watched.
type Trigger struct {
	Key          string          // required, unique in its provider
	Name         string          // default: Key
	Description  string          // default: none
	InputSchema  json.RawMessage // JSON Schema of an input, for documentation; may be nil
	OutputSchema json.RawMessage // JSON Schema of an event's output, for documentation; may be nil
	Interval     time.Duration   // between polls; default 60 s, at least 1 s; a callback may override it
	Baseline     Baseline        // default BaselineEmit; whoever attaches an instance may choose otherwise

	// Poll asks the source what is new. It is called with the state of its last
	// success, never twice at a time for one instance trigger, with no
	// transaction open, and must return soon after ctx is done (a deadline is
	// set). A panic is an error of that poll.
	Poll func(ctx context.Context, req PollRequest) (PollResult, error)

	// Map turns one input into an event. It is called once an input, in the order of
	// the inputs, and again later (5 tries) when it fails. nil: the input is the
	// JSON of a [Mapped] itself.
	Map func(ctx context.Context, req MapRequest) (Mapped, error)
}

// Auth is what an auth config holds.
type Auth struct {
	Method string          // the auth method's key
	Value  json.RawMessage // as the user gave it, valid for the method's schema
}

// Source is what a provider's functions are given each time.
type Source struct {
	Config json.RawMessage // the config's value, valid for the provider's schema
	Auth   *Auth           // nil when the instance has no auth config
	Now    time.Time       // by the engine's clock, UTC
	// HTTP is the client to reach the source with. It refuses private addresses when
	// the engine does, follows no redirect, and uses no proxy.
	HTTP *http.Client
	// Log already says which trigger it speaks of. Never nil.
	Log *slog.Logger
}

// PollRequest is one poll.
type PollRequest struct {
	Source
	State json.RawMessage // of the last success; nil at first
}

// PollResult is what a poll found. It is recorded in one transaction: either every input is
// kept and the state advances, or neither. Neither, if the trigger was detached, or got
// another config or interval, while it was polled: then it is polled again with the old
// state, so a provider must not keep a state of its own beside.
type PollResult struct {
	Inputs []json.RawMessage // oldest first; an input that was seen before changes nothing
	State  json.RawMessage   // for the next poll, any JSON; nil keeps the old one
}

// MapRequest is one input to be mapped.
type MapRequest struct {
	Source
	Input json.RawMessage
}

// Mapped is an input as an event.
type Mapped struct {
	Type     string          `json:"type"`      // such as "invoice.paid"; required
	SourceID string          `json:"source_id"` // the source's own id of it; required, an instance trigger makes one event of each
	Output   json.RawMessage `json:"output"`    // a JSON object of at most 1 MiB; another value becomes {"value": ...}, nil {}
}
