package slates

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// transport carries one batch to the integration, and its answer back. It may be called from many
// goroutines.
type transport interface {
	send(ctx context.Context, p parcel) (answer []byte, err error)
	close() error
}

// parcel is a batch on its way.
type parcel struct {
	batch   []byte
	ids     []string // of its messages
	secrets []string // in it, as JSON has them
	urgent  bool     // a source waits for it
}

// client speaks to one integration.
type client struct {
	transport transport
	timeout   time.Duration // of a batch
	log       *slog.Logger
	hubID     string // who we are, in this run
	last      atomic.Uint64

	// What the integration has shown not to understand.
	asRequests atomic.Bool // it wants an id on what goes in front of the request
	oneByOne   atomic.Bool // it answers one request a batch
}

// setting is what a batch carries in front of its requests.
type setting struct {
	config     json.RawMessage // nil: {}
	authMethod string          // its id; "": nobody signs in
	authOutput json.RawMessage
	log        *slog.Logger // nil: the client's
	secrets    []string     // not to be logged
	urgent     bool         // a source waits for the answer
}

type request struct {
	method string
	params any
}

func newClient(t transport, timeout time.Duration, log *slog.Logger) *client {
	return &client{transport: t, timeout: timeout, log: log, hubID: "callbackd-" + rand.Text()}
}

// call makes one request, and reads its result into result.
func (c *client) call(ctx context.Context, s setting, method string, params, result any) error {
	outcomes, err := c.calls(ctx, s, []request{{method, params}})
	if err == nil {
		err = outcomes[0].read(result)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", method, classified(err))
	}
	return nil
}

// read decodes a result. null, and one that is missing, leave result as it is.
func (o outcome) read(result any) error {
	if o.err != nil || len(o.result) == 0 {
		return o.err
	}
	if err := json.Unmarshal(o.result, result); err != nil {
		return fmt.Errorf("%w: %s", errBadAnswer, mismatch(err))
	}
	return nil
}

// mismatch says what of a result is not as the protocol has it, in words of the protocol.
func mismatch(err error) string {
	e, ok := errors.AsType[*json.UnmarshalTypeError](err)
	if !ok {
		return "the result is not what the protocol says: " + err.Error()
	}
	kind := "an object"
	switch e.Type.Kind() {
	case reflect.Slice:
		kind = "a list"
	case reflect.String:
		kind = "a text"
	case reflect.Bool:
		kind = "true or false"
	case reflect.Int, reflect.Float64:
		kind = "a number"
	}
	return fmt.Sprintf("%s must be %s, not %s", cmp.Or(e.Field, "the result"), kind, e.Value)
}

// calls makes requests in one batch. The error is of the batch as a whole.
func (c *client) calls(ctx context.Context, s setting, requests []request) ([]outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	messages, ids := c.compose(s, requests)
	text, err := encode(batch{messages})
	if err != nil {
		return nil, fmt.Errorf("write the batch: %w", err)
	}
	var sent []string // what may be answered, if only by what is wrong with the state
	for _, m := range messages {
		if m.ID != "" {
			sent = append(sent, m.ID)
		}
	}
	body, err := c.transport.send(ctx, parcel{text, sent, s.secrets, s.urgent})
	if err != nil {
		if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
			err = &lateError{err.Error(), ctx.Err()}
		}
		return nil, err
	}
	outcomes, err := readAnswer(body, ids)
	for i, o := range outcomes {
		c.trace(ctx, s, requests[i].method, o.result)
	}
	return outcomes, err
}

// lateError is of what took too long. That ctx ended is not repeated in the text.
type lateError struct {
	text  string
	cause error
}

func (e *lateError) Error() string { return e.text }
func (e *lateError) Unwrap() error { return e.cause }

// late says that there was no answer before ctx ended.
func late(who string, began time.Time, ctx context.Context) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("%s gave no answer: %w", who, ctx.Err())
	}
	deadline, _ := ctx.Deadline() // which there is
	return &lateError{fmt.Sprintf("%s gave no answer within %s", who, deadline.Sub(began).Round(100*time.Millisecond)), ctx.Err()}
}

// compose is a batch: the whole state, and the requests, with their ids.
func (c *client) compose(s setting, requests []request) (messages []message, ids []string) {
	state := []request{
		{"slates/hello", map[string]any{"protocol": protocolVersion}},
		{"slates/participant.set", map[string]any{"participants": []any{map[string]string{"type": "hub", "id": c.hubID, "name": "callbackd"}}}},
		{"slates/config.set", map[string]any{"config": orEmpty(s.config)}},
	}
	if s.authMethod != "" {
		state = append(state, request{"slates/auth.set", map[string]any{"authenticationMethodId": s.authMethod, "output": orEmpty(s.authOutput)}})
	}
	state = append(state, request{"slates/session.start", map[string]any{"sessionId": c.hubID, "state": map[string]any{}}})
	for _, r := range state {
		m := message{Version: "2.0", Method: r.method, Params: r.params}
		if c.asRequests.Load() {
			m.ID = c.newID()
		}
		messages = append(messages, m)
	}
	for _, r := range requests {
		m := message{Version: "2.0", ID: c.newID(), Method: r.method, Params: r.params}
		messages, ids = append(messages, m), append(ids, m.ID)
	}
	return messages, ids
}

// newID is unique in this run, so that an answer that comes too late is no other's.
func (c *client) newID() string { return strconv.FormatUint(c.last.Add(1), 10) }

func orEmpty(value json.RawMessage) json.RawMessage {
	if len(value) == 0 {
		return json.RawMessage("{}")
	}
	return value
}

// orNull is a state that there may not be yet.
func orNull(value json.RawMessage) json.RawMessage {
	if len(value) == 0 {
		return json.RawMessage("null")
	}
	return value
}

// encode writes JSON on one line, also for what takes more than a line feed for its end, and without
// escapes that only HTML needs.
func encode(v any) ([]byte, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return []byte(separators.Replace(b.String())), err // with its newline
}

// separators are in texts only, and end a line of JavaScript.
var separators = strings.NewReplacer("\u2028", `\u2028`, "\u2029", `\u2029`)

// trace logs, at debug, the requests that the integration says it made.
func (c *client) trace(ctx context.Context, s setting, method string, result json.RawMessage) {
	log := s.log
	if log == nil {
		log = c.log
	}
	if !log.Enabled(ctx, slog.LevelDebug) {
		return
	}
	var traced struct {
		RequestTraces       json.RawMessage `json:"requestTraces"`
		Output              json.RawMessage `json:"output"`
		RegistrationDetails json.RawMessage `json:"registrationDetails"`
	}
	if json.Unmarshal(result, &traced) != nil || len(traced.RequestTraces) == 0 || string(traced.RequestTraces) == "null" {
		return
	}
	s.secrets = slices.Concat(s.secrets, secretsOf(traced.RegistrationDetails))
	if method == methodAuthOutput || method == methodTokenRefresh { // whose traces have the new token, too
		s.secrets = append(s.secrets, secretsOf(traced.Output)...)
	}
	text := s.redact(string(traced.RequestTraces))
	log.DebugContext(ctx, "requests of the integration", "method", method, "requests", text[:min(len(text), maxTrace)])
}

const (
	maxTrace       = 8 << 10 // bytes of traces in a log record
	shortestSecret = 6       // bytes of a text that is left out of the log
)

// settingOf is what a source's functions are given, as a batch carries it.
func (i *integration) settingOf(s engine.Source) (setting, error) {
	set := setting{config: s.Config, log: s.Log}
	if s.Auth == nil && len(i.methods) > 0 && !i.anonymous {
		return set, fmt.Errorf("no auth config is attached, and the integration is signed in to with the auth method %s: attach one", strings.Join(slices.Sorted(maps.Keys(i.methods)), " or "))
	}
	if s.Auth == nil {
		return set, nil
	}
	id, ok := i.methods[s.Auth.Method]
	if !ok {
		return set, fmt.Errorf("the integration no longer has the auth method %s: make an auth config of one that it has", s.Auth.Method)
	}
	p, err := readPrepared(s.Auth.Prepared)
	if err != nil {
		return set, err
	}
	set.authMethod, set.authOutput = id, p.Output
	set.secrets = secretsOf(s.Auth.Value, s.Auth.Prepared)
	return set, nil
}

// redact leaves the secrets out of a text.
func (s setting) redact(text string) string {
	secrets := slices.SortedFunc(slices.Values(s.secrets), func(a, b string) int { return len(b) - len(a) }) // one may be part of another
	pairs := make([]string, 0, 2*len(secrets))
	for _, secret := range secrets {
		pairs = append(pairs, secret, "[secret]")
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// secretsOf are the texts of some JSON values, as JSON has them.
func secretsOf(values ...json.RawMessage) (secrets []string) {
	var collect func(v any)
	collect = func(v any) {
		switch v := v.(type) {
		case string:
			if text, err := encode(v); err == nil && len(v) >= shortestSecret { // what is shorter is in many texts by chance
				secrets = append(secrets, string(text[1:len(text)-2]))
			}
		case []any:
			for _, e := range v {
				collect(e)
			}
		case map[string]any:
			for _, e := range v {
				collect(e)
			}
		}
	}
	for _, text := range values {
		var v any
		if len(text) > 0 && json.Unmarshal(text, &v) == nil {
			collect(v)
		}
	}
	return secrets
}
