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

	// Close gives back what the provider holds, such as a process. [Engine.Close] calls it once,
	// when nothing of the provider runs any longer, and so does an [Open] that fails. nil:
	// nothing to give back.
	Close func() error
}

// AuthMethod is one way to sign in to a provider.
type AuthMethod struct {
	Key         string          // required, unique in its provider
	Type        string          // "token", "oauth" or "custom"; default "custom"
	Name        string          // default: Key
	Description string          // default: none
	InputSchema json.RawMessage // JSON Schema of an auth config's value; nil: any object

	OutputSchema json.RawMessage // JSON Schema of what Prepare makes of it, for documentation; may be nil

	// Prepare makes of what the user gave what the provider signs in with, such as a token of a
	// password, and renews it. What it made is kept, encrypted, for all who sign in with the auth
	// config, and made anew only when it says so, or when the user's value changed. It is never
	// called twice at a time for one auth config. Its error is that of the poll, mapping, request or
	// registration that needed it, with whose deadline it is called, and of those that wait for it. It
	// must return soon after ctx is done; a panic is an error. nil: the user's value is used as it is.
	Prepare func(ctx context.Context, req PrepareRequest) (Prepared, error)
}

// PrepareRequest asks for what a provider signs in with. Its Source has no Auth.
type PrepareRequest struct {
	Source
	Value    json.RawMessage // as the user gave it
	Prepared json.RawMessage // what the last call made, to be renewed; nil: there is none
}

// Prepared is what a provider signs in with.
type Prepared struct {
	Value   json.RawMessage // any JSON; required
	RenewAt time.Time       // when it is to be made anew, before it ends, in 10 s at the soonest; zero: never
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
	MinInterval  time.Duration   // polls are never closer together, whatever a callback says; 0: 1 s
	Baseline     Baseline        // default BaselineEmit; whoever attaches an instance may choose otherwise

	// Poll asks the source what is new. A trigger has either Poll or Handle. Poll is called with the state of its last
	// success, never twice at a time for one instance trigger, with no
	// transaction open, and must return soon after ctx is done (a deadline is
	// set). A panic is an error of that poll.
	Poll func(ctx context.Context, req PollRequest) (PollResult, error)

	// Handle reads a request that reached the trigger's URL. First of all it makes sure that the
	// source has sent it, over the raw body and in constant time, or it returns [Refuse]. It may be
	// called many times at once. When it returns a State, and another request has changed the state
	// meanwhile, it is called again for the same request, with the state as it is by then. It must
	// return soon after ctx is done (a deadline is set). A panic is an error of that request.
	Handle func(ctx context.Context, req WebhookRequest) (WebhookResult, error)

	// Register tells the source the trigger's URL, when an instance is attached, and again when the
	// config or the URL changed or the registration is about to expire; Registration is then what the
	// last call returned, so that it can be renewed and not doubled. It is tried again, with
	// back-off (1 min, doubled up to 1 h, or as [RetryAfter] says), until it succeeds or its error is
	// [Permanent]; then it is tried again with another config, auth config or URL, or when somebody makes the
	// trigger active. Requests are received all the while. A call that succeeded is made again with the same URL, and
	// without what it returned, when the process ended before that was on the disk: the source should
	// have one registration then, not two. A deadline is set, as for Poll; a panic is an error. nil: a
	// person tells the source.
	Register func(ctx context.Context, req RegisterRequest) (Registration, error)

	// Unregister takes back what Register did, when the instance is detached, its callback, config, auth
	// config or deployment archived, or the trigger left out of its callback; and before Register is
	// called with another URL or config, where its failure does not matter. It is given the config that
	// the webhook was registered with, and the auth config as it is by now, and is tried again as Register is, for about a day or until its
	// error is [Permanent]; then it is given up, which the trigger says. Never at the same time as
	// Register. It must succeed when there is nothing to be taken back. nil: a registration is left to
	// expire.
	Unregister func(ctx context.Context, req RegisterRequest) error

	// Map turns one input into an event. It is called once an input, in the order of
	// the inputs, and again later (5 tries) when it fails. nil: the input is the
	// JSON of a [Mapped] itself.
	Map func(ctx context.Context, req MapRequest) (Mapped, error)
}

// Auth is what an auth config holds.
type Auth struct {
	Method string          // the auth method's key
	Value  json.RawMessage // as the user gave it, valid for the method's schema

	Prepared json.RawMessage // what [AuthMethod.Prepare] made of it; nil without one

	config string // the auth config's id
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

	// More says that the source has more than this poll returned: it is polled again at once, unless
	// neither inputs nor a new state came of this poll. With [BaselineSkip], what those polls find is
	// remembered and not emitted, too, until one has no more.
	More bool

	// NextPollAt is when to poll next, by the wall clock, for a source that has times of its own. It is
	// kept to the millisecond, rounded up, without jitter, a tenth of a second from now at least, and stays
	// where it is when the clock is set. zero: after the interval.
	NextPollAt time.Time
}

// WebhookRequest is a request that reached a trigger's URL.
type WebhookRequest struct {
	Source
	Method       string
	URL          string          // as the source sees it, with what follows the trigger's own URL; without a known public URL, only path and query
	Header       http.Header     // not to be changed
	Body         []byte          // as it came, at most 1 MiB; not to be changed
	State        json.RawMessage // nil: none yet
	Registration json.RawMessage // what [Registration.Details] were; nil: not registered
}

// WebhookResult is what a request brought. It is answered once that is on the disk.
type WebhookResult struct {
	Inputs   []json.RawMessage // oldest first; an input that was seen before changes nothing
	State    json.RawMessage   // any JSON; nil keeps the old one
	Response *WebhookResponse  // nil: 200 with a small JSON body
}

// WebhookResponse is the answer to a request. One of 400 to 499, without inputs and state, refuses
// the request: as with [Refuse], nothing is stored.
type WebhookResponse struct {
	Status int         // 200 to 599; 0: 200
	Header http.Header // Content-Type and the like; what describes the connection is left out
	Body   []byte
}

// RegisterRequest asks a source to send, or no longer to send, a trigger's webhooks.
type RegisterRequest struct {
	Source
	URL          string          // where they are to be sent; for Unregister: where they were
	State        json.RawMessage // nil: none yet
	Registration json.RawMessage // what the last Register returned as Details; nil: there was none
}

// Registration is what a source said.
type Registration struct {
	Details   json.RawMessage // any JSON, such as the source's id of it and a secret; kept encrypted
	State     json.RawMessage // the trigger's state from now on, any JSON; nil keeps the old one
	ExpiresAt time.Time       // it is renewed when a tenth to a fifth of its life is left, a minute later at the soonest; zero: never
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
