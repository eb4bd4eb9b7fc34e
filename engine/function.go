package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/callbackd/callbackd/engine/signature"
	"github.com/callbackd/callbackd/store"
)

// Function is a destination inside this program, with the durability and the retries of
// any other. Callbacks name it by "func:NAME".
type Function struct {
	Name        string // required: 1 to 64 letters, digits, '.', '_' or '-'
	Description string
	EventTypes  []string      // empty: all
	Retry       Retry         // zero: the default schedule
	Timeout     time.Duration // in whole seconds; 0: 15 s
	MaxInFlight int           // calls at a time; 0: 32

	// Handle is given each event at least once: again when it fails, and again when the
	// process ends before its success is on the disk. Its ctx is done after Timeout and
	// when the engine is being stopped for good. An error is retried, one from
	// [Permanent] is not, one from [RetryAfter] not before its time; a panic is an error.
	Handle func(ctx context.Context, m Message) error
}

// Message is an event on its way to a [Function].
type Message struct {
	NotificationID string // the same at every attempt: what to drop repeats by
	Attempt        int    // from 1
	EventID        string
	CallbackID     string
	InstanceID     string // "" for a published event
	TriggerKey     string
	Type           string
	SourceID       string
	Data           json.RawMessage // the event's output
	CreatedAt      time.Time       // of the event
}

const codeFunctionError = "function_error"

func isFunction(url string) bool { return strings.HasPrefix(url, store.FunctionScheme) }

// declareFunctions checks functions and makes the rows' form of them.
func declareFunctions(functions []Function) (map[string]Function, []store.NewDestination, error) {
	byURL := make(map[string]Function, len(functions))
	rows := make([]store.NewDestination, 0, len(functions))
	for _, f := range functions {
		url := store.FunctionScheme + f.Name
		if _, twice := byURL[url]; twice || !keyRE.MatchString(f.Name) {
			return nil, nil, fmt.Errorf("engine: function %q: Name must be a name of its own", f.Name)
		}
		if f.Handle == nil {
			return nil, nil, fmt.Errorf("engine: function %q has no Handle", f.Name)
		}
		s := DestinationSettings{Name: f.Name, Description: f.Description, URL: "http://function", EventTypes: f.EventTypes,
			Retry: f.Retry, Timeout: f.Timeout, MaxInFlight: f.MaxInFlight}
		fillDestination(&s)
		if err := invalid(checkDestination(s)); err != nil {
			return nil, nil, fmt.Errorf("engine: function %q: %w", f.Name, err)
		}
		s.URL = url
		byURL[url] = f
		rows = append(rows, store.NewDestination{DestinationSettings: s, SigningSecret: signature.NewSecret()})
	}
	return byURL, rows, nil
}

// call makes one attempt at a function.
func (e *Engine) call(ctx context.Context, url string, d store.Delivery, attempt int) (r result) {
	f, ok := e.functions[url]
	if !ok {
		r.failure = &Failure{Code: "function_missing", Message: "this program has no " + url}
		return r
	}
	_, err := guard(ctx, e.log.With(keyDestination, url), func() (struct{}, error) {
		return struct{}{}, f.Handle(ctx, Message{NotificationID: d.NotificationID, Attempt: attempt, EventID: d.EventID, CallbackID: d.CallbackID, InstanceID: d.InstanceID,
			TriggerKey: d.TriggerKey, Type: d.Type, SourceID: d.SourceID, Data: d.Output, CreatedAt: d.CreatedAt})
	})
	if err == nil {
		return r
	}
	r.failure = &Failure{Code: codeFunctionError, Message: shorten(err.Error())}
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
		r.failure.Code = "timeout"
	}
	r.permanent = IsPermanent(err)
	r.retryAfter, _ = RetryAfterOf(err)
	return r
}
