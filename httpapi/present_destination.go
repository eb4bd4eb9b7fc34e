package httpapi

import (
	"encoding/json"
	"strings"

	"github.com/callbackd/callbackd/engine"
)

type destinationBody struct {
	Object         string            `json:"object"`
	ID             string            `json:"id"`
	Status         string            `json:"status"`
	Name           string            `json:"name"`
	Description    *string           `json:"description"`
	Metadata       json.RawMessage   `json:"metadata"`
	URL            string            `json:"url"`
	Method         string            `json:"method"`
	SigningSecret  string            `json:"signing_secret"`
	Headers        map[string]string `json:"headers"`
	EventTypes     []string          `json:"event_types"`
	Retry          retryBody         `json:"retry"`
	TimeoutSeconds int64             `json:"timeout_seconds"`
	MaxInFlight    int               `json:"max_in_flight"`
	Failures       int               `json:"consecutive_failures"`
	LastError      *failureBody      `json:"last_error"`
	CreatedAt      timestamp         `json:"created_at"`
	UpdatedAt      timestamp         `json:"updated_at"`
}

func presentDestination(d engine.Destination) destinationBody {
	headers := d.Headers
	if headers == nil {
		headers = map[string]string{}
	}
	return destinationBody{Object: "callback.destination", ID: d.ID, Status: d.Status, Name: d.Name, Description: orNull(d.Description), Metadata: d.Metadata,
		URL: d.URL, Method: d.Method, SigningSecret: d.SigningSecret, Headers: headers, EventTypes: orEmpty(d.EventTypes), Retry: presentRetry(d.Retry),
		TimeoutSeconds: seconds(d.Timeout), MaxInFlight: d.MaxInFlight, Failures: d.ConsecutiveFailures, LastError: presentFailure(d.LastError), CreatedAt: timestamp(d.CreatedAt), UpdatedAt: timestamp(d.UpdatedAt)}
}

// isFunction tells a destination that is a function of the program, "func:NAME", from one
// that is sent requests.
func isFunction(d engine.Destination) bool { return strings.HasPrefix(d.URL, "func:") }

// retryBody is in camel case, unlike everything else.
type retryBody struct {
	Type         string `json:"type"`
	MaxAttempts  int    `json:"maxAttempts"`
	DelaySeconds int64  `json:"delaySeconds"`
}

func presentRetry(r engine.Retry) retryBody {
	return retryBody{Type: r.Type, MaxAttempts: r.MaxAttempts, DelaySeconds: seconds(r.Delay)}
}

type olderDestinationBody struct {
	Object             string                  `json:"object"`
	ID                 string                  `json:"id"`
	Type               string                  `json:"type"`
	Name               string                  `json:"name"`
	Description        string                  `json:"description"`
	WebhookDestination *webhookDestinationBody `json:"webhook_destination"`
	Callbacks          linkedCallbacksBody     `json:"callbacks"`
	CreatedAt          timestamp               `json:"created_at"`
}

type webhookDestinationBody struct {
	URL           string `json:"url"`
	SigningSecret string `json:"signing_secret"`
}

// linkedCallbacksBody has no ids when the type is "all".
type linkedCallbacksBody struct {
	Type        string    `json:"type"`
	CallbackIDs *[]string `json:"callback_ids,omitempty"`
}

func presentOlderDestination(d engine.Destination) olderDestinationBody {
	body := olderDestinationBody{Object: "callback.destination", ID: d.ID, Type: "webhook", Name: d.Name, Description: d.Description,
		Callbacks: linkedCallbacksBody{Type: d.Scope}, CreatedAt: timestamp(d.CreatedAt)}
	if !isFunction(d) {
		body.WebhookDestination = &webhookDestinationBody{URL: d.URL, SigningSecret: d.SigningSecret}
	}
	if d.Scope == engine.ScopeSelected {
		body.Callbacks.CallbackIDs = new(orEmpty(d.CallbackIDs))
	}
	return body
}
