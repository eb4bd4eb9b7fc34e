package slates

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/callbackd/callbackd/engine"
)

// protocolVersion is what slates/hello says that we speak.
const protocolVersion = "slates@2026-01-01"

// The methods that are requested.
const (
	methodIdentify          = "slates/provider.identify"
	methodActions           = "slates/actions.list"
	methodConfigSchema      = "slates/config.schema.get"
	methodAuthMethods       = "slates/auth.methods.list"
	methodAuthOutput        = "slates/auth.output.get"
	methodTokenRefresh      = "slates/auth.token_refresh.handle"
	methodPollEvents        = "slates/action.trigger.poll_events"
	methodMapEvent          = "slates/action.trigger.map_event"
	methodWebhookHandle     = "slates/action.trigger.webhook_handle"
	methodWebhookRegister   = "slates/action.trigger.webhook_register"
	methodWebhookUnregister = "slates/action.trigger.webhook_unregister"
)

const (
	maxAnswer     = 32 << 20         // bytes of an answer
	maxText       = 500              // characters of foreign text in an error or a log record
	maxRetryAfter = 24 * time.Hour   // of what an integration may ask for
	expiryMargin  = 5 * time.Minute  // before a token's end, it is renewed
	shortestRenew = 10 * time.Second // between two renewals
)

// message is a JSON-RPC 2.0 request, or a notification when it has no ID.
type message struct {
	Version string `json:"jsonrpc"` // "2.0"
	ID      string `json:"id,omitzero"`
	Method  string `json:"method"`
	Params  any    `json:"params"`
}

type batch struct {
	Messages []message `json:"messages"`
}

// answer is a message of an answer: a result, or an error.
type answer struct {
	ID     json.RawMessage `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  *Error          `json:"error"`
}

// Error is what an integration says went wrong. The errors of a provider's functions wrap it.
type Error struct {
	Code      string // such as "upstream.rate_limited"; a number's digits, if it was one
	Kind      string // may be ""
	Message   string // may be ""
	Status    int    // of the answer that the integration got from its source; 0: not said
	Retryable *bool  // nil: not said

	after time.Duration // to be left alone; 0: not said
}

func (e *Error) Error() string {
	text := excerpt(e.Message)
	switch {
	case text == "" && e.Status != 0:
		text = fmt.Sprintf("it gives no reason, status %d", e.Status)
	case text == "":
		text = "it gives no reason"
	case e.Status != 0:
		text = fmt.Sprintf("%s (status %d)", text, e.Status)
	}
	if e.credentials() {
		text += " (are the credentials of the auth config right?)"
	}
	return "the integration failed with " + excerpt(e.Code) + ": " + text
}

// UnmarshalJSON takes what is not as the protocol has it, too: an error that cannot be read would
// hide what went wrong.
func (e *Error) UnmarshalJSON(text []byte) error {
	var raw struct {
		Code, Kind, Message, Retryable, Status json.RawMessage

		RetryAfter        json.RawMessage `json:"retryAfter"`
		RetryAfterSeconds json.RawMessage `json:"retryAfterSeconds"`
		RetryAfterMs      json.RawMessage `json:"retryAfterMs"`
		Data              json.RawMessage
	}
	if json.Unmarshal(text, &raw) != nil {
		*e = Error{Code: "unknown", Message: plain(text)}
		return nil
	}
	*e = Error{Code: plain(raw.Code), Kind: plain(raw.Kind), Message: plain(raw.Message)}
	if e.Code == "" {
		e.Code = "unknown"
	}
	var retryable bool
	if len(raw.Retryable) > 0 && string(raw.Retryable) != "null" && json.Unmarshal(raw.Retryable, &retryable) == nil {
		e.Retryable = &retryable
	}
	_ = json.Unmarshal(raw.Status, &e.Status) // 0 if it is none
	if e.after = retryAfter(raw.RetryAfterMs, raw.RetryAfterSeconds, raw.RetryAfter); e.after == 0 {
		var data struct{ RetryAfterMs, RetryAfterSeconds, RetryAfter json.RawMessage }
		if len(raw.Data) > 0 && json.Unmarshal(raw.Data, &data) == nil {
			e.after = retryAfter(data.RetryAfterMs, data.RetryAfterSeconds, data.RetryAfter)
		}
	}
	return nil
}

// retryAfter is the first of some times that is one.
func retryAfter(milliseconds json.RawMessage, seconds ...json.RawMessage) time.Duration {
	for i, text := range append([]json.RawMessage{milliseconds}, seconds...) {
		unit := time.Second
		if i == 0 {
			unit = time.Millisecond
		}
		var n float64
		if json.Unmarshal(text, &n) == nil && n > 0 {
			return time.Duration(min(n, float64(maxRetryAfter/unit)) * float64(unit))
		}
	}
	return 0
}

// plain is a JSON string's text, and another value's JSON; "" of null.
func plain(value json.RawMessage) string {
	var text string
	if json.Unmarshal(value, &text) == nil {
		return text
	}
	return string(value)
}

var retryableCodes = []string{
	"request.rate_limited", "upstream.rate_limited", "upstream.timeout", "upstream.network_error",
	"upstream.unavailable", "upstream.error", "transport.invoke_failed", "internal.timeout",
}

// retryable tells whether the same request may succeed later, with nobody doing anything.
func (e *Error) retryable() bool {
	if e.Retryable != nil {
		return *e.Retryable
	}
	return slices.Contains(retryableCodes, e.Code)
}

// credentials tells whether it was the credentials that were refused.
func (e *Error) credentials() bool {
	return strings.HasPrefix(e.Code, "auth.") || strings.Contains(e.Code, "unauthorized") || e.Status == 401
}

// gone tells whether it was the source that does not know what it was asked for.
func (e *Error) gone() bool {
	return e.Status == http.StatusNotFound || e.Status == http.StatusGone || e.Code == "upstream.not_found"
}

// classified is the error as the engine understands it: with the time to be left alone, if it gives one.
func classified(err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		return engine.RetryAfter(e.after, err)
	}
	return err
}

// errBadAnswer is of an answer that is not the protocol's.
var errBadAnswer = errors.New("the answer is not one of a Slates integration")

// outcome is what one request of a batch brought.
type outcome struct {
	result json.RawMessage
	err    error // nil, an *Error, or one that wraps errUnanswered, and perhaps an *Error that answers no request
}

var errUnanswered = errors.New("the integration did not answer the request")

// readAnswer finds the outcomes of the requests ids in an answer, in their order. An error
// that answers no request is that of all that have no answer. The error says that nothing can be
// read.
func readAnswer(text []byte, ids []string) ([]outcome, error) {
	var doc struct {
		Messages []json.RawMessage `json:"messages"`
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("%w: it is not {\"messages\": [...]}: %s", errBadAnswer, excerpt(string(text[:min(len(text), 4*maxText)])))
	}
	if doc.Messages == nil {
		// A server that cannot even read a batch may answer with a single error.
		var single answer
		if json.Unmarshal(text, &single) == nil && single.Error != nil {
			return nil, single.Error
		}
		return nil, fmt.Errorf("%w: it has no \"messages\": %s", errBadAnswer, excerpt(string(text[:min(len(text), 4*maxText)])))
	}
	found := make(map[string]outcome, len(ids))
	var stray error // of an error without one of our ids
	for _, raw := range doc.Messages {
		var a answer
		if json.Unmarshal(raw, &a) != nil {
			continue // not for us: what is missing is told below
		}
		id := plain(a.ID)
		if !slices.Contains(ids, id) {
			if a.Error != nil && stray == nil {
				stray = a.Error
			}
			continue
		}
		if _, twice := found[id]; twice {
			continue // the first counts
		}
		if a.Error != nil {
			found[id] = outcome{err: a.Error}
		} else {
			found[id] = outcome{result: a.Result}
		}
	}
	outcomes := make([]outcome, len(ids))
	for i, id := range ids {
		o, ok := found[id]
		switch {
		case ok:
			outcomes[i] = o
		case stray != nil:
			outcomes[i].err = fmt.Errorf("%w %s: %w", errUnanswered, id, stray)
		default:
			outcomes[i].err = fmt.Errorf("%w %s", errUnanswered, id)
		}
	}
	return outcomes, nil
}

// foreign tells whether an answer answers other requests than ids, and none of them: one that
// came late, or that nobody asked for.
func foreign(text []byte, ids []string) bool {
	var doc struct {
		Messages []struct {
			ID json.RawMessage `json:"id"`
		} `json:"messages"`
	}
	if json.Unmarshal(text, &doc) != nil {
		return false // which is told elsewhere
	}
	others := 0
	for _, m := range doc.Messages {
		if id := plain(m.ID); slices.Contains(ids, id) {
			return false
		} else if id != "" {
			others++
		}
	}
	return others > 0
}

// excerpt is foreign text on one line, and not much of it.
func excerpt(text string) string {
	text = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return ' '
		}
		return r
	}, text))
	if utf8.RuneCountInString(text) > maxText {
		text = string([]rune(text)[:maxText]) + "..."
	}
	return text
}
