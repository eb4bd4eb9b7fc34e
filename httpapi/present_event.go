package httpapi

import (
	"encoding/json"

	"github.com/callbackd/callbackd/engine"
)

type eventBody struct {
	Object         string          `json:"object"`
	ID             string          `json:"id"`
	Type           string          `json:"type"`
	SourceID       string          `json:"source_id"`
	TriggerKey     string          `json:"trigger_key"`
	Input          json.RawMessage `json:"input"`
	Output         json.RawMessage `json:"output"`
	Status         string          `json:"status"`
	Error          *failureBody    `json:"error"`
	DeliveryStatus string          `json:"delivery_status"`
	CallbackID     string          `json:"callback_id"`
	InstanceID     *string         `json:"callback_instance_id"`
	CreatedAt      timestamp       `json:"created_at"`
}

// presentEvents shows events as a list of which there is no more.
func presentEvents(events []engine.Event) pageBody[eventBody] {
	return pageBody[eventBody]{Items: presentAll(events, presentEvent)}
}

func presentEvent(e engine.Event) eventBody {
	return eventBody{Object: "callback.event", ID: e.ID, Type: e.Type, SourceID: e.SourceID, TriggerKey: e.TriggerKey, Input: object(e.Input), Output: e.Output,
		Status: e.Status, Error: presentFailure(e.Error), DeliveryStatus: e.DeliveryStatus, CallbackID: e.CallbackID, InstanceID: orNull(e.InstanceID),
		CreatedAt: timestamp(e.CreatedAt)}
}

// object is an input as clients expect it: an object, or null. A source's inputs may be
// anything.
func object(input json.RawMessage) json.RawMessage {
	if len(input) == 0 || input[0] == '{' || string(input) == "null" {
		return input
	}
	return json.RawMessage(`{"value":` + string(input) + `}`)
}

type notificationBody struct {
	Object        string                      `json:"object"`
	ID            string                      `json:"id"`
	Status        string                      `json:"status"`
	Error         *failureBody                `json:"error"`
	AttemptCount  int                         `json:"attempt_count"`
	Event         notificationEventBody       `json:"event"`
	Destination   notificationDestinationBody `json:"destination"`
	CreatedAt     timestamp                   `json:"created_at"`
	UpdatedAt     timestamp                   `json:"updated_at"`
	LastAttemptAt timestamp                   `json:"last_attempt_at"`
	NextAttemptAt timestamp                   `json:"next_attempt_at"`
}

// notificationDetailBody is a notification alone, rather than in a list.
type notificationDetailBody struct {
	notificationBody
	Attempts []attemptBody `json:"attempts"`
}

func presentNotification(n engine.Notification) notificationBody {
	return notificationBody{Object: "callback.notification", ID: n.ID, Status: n.Status, Error: presentFailure(n.Error), AttemptCount: n.AttemptCount,
		Event: presentNotificationEvent(n.Event), Destination: presentNotificationDestination(n.Destination),
		CreatedAt: timestamp(n.CreatedAt), UpdatedAt: timestamp(n.UpdatedAt), LastAttemptAt: timestamp(n.LastAttemptAt), NextAttemptAt: timestamp(n.NextAttemptAt)}
}

type notificationEventBody struct {
	Object           string       `json:"object"`
	ID               string       `json:"id"`
	Type             string       `json:"type"`
	Topics           []string     `json:"topics"`
	Status           string       `json:"status"`
	DestinationCount int          `json:"destination_count"`
	SuccessCount     int          `json:"success_count"`
	FailureCount     int          `json:"failure_count"`
	Request          *requestBody `json:"request"`
	CreatedAt        timestamp    `json:"created_at"`
	UpdatedAt        timestamp    `json:"updated_at"`
}

type requestBody struct {
	Body    string       `json:"body"`
	Headers []headerBody `json:"headers"`
}

func presentNotificationEvent(e engine.NotificationEvent) notificationEventBody {
	status := e.DeliveryStatus
	if status != "pending" && status != "failed" {
		status = "delivered"
	}
	return notificationEventBody{Object: "callback.notification.event", ID: e.ID, Type: e.Type, Topics: []string{e.Type}, Status: status,
		DestinationCount: e.DestinationCount, SuccessCount: e.SuccessCount, FailureCount: e.FailureCount,
		CreatedAt: timestamp(e.CreatedAt), UpdatedAt: timestamp(e.UpdatedAt)}
}

type notificationDestinationBody struct {
	Object      string       `json:"object"`
	ID          string       `json:"id"`
	Name        string       `json:"name"`
	Description *string      `json:"description"`
	Type        string       `json:"type"`
	EventTypes  []string     `json:"event_types"`
	Retry       retryBody    `json:"retry"`
	Webhook     *webhookBody `json:"webhook"`
	CreatedAt   timestamp    `json:"created_at"`
	UpdatedAt   timestamp    `json:"updated_at"`
}

type webhookBody struct {
	ID        string    `json:"id"`
	URL       string    `json:"url"`
	Method    string    `json:"method"`
	CreatedAt timestamp `json:"created_at"`
}

func presentNotificationDestination(d engine.Destination) notificationDestinationBody {
	body := notificationDestinationBody{Object: "callback.notification.destination", ID: d.ID, Name: d.Name, Description: orNull(d.Description), Type: "http_endpoint",
		EventTypes: orEmpty(d.EventTypes), Retry: presentRetry(d.Retry), CreatedAt: timestamp(d.CreatedAt), UpdatedAt: timestamp(d.UpdatedAt)}
	if !isFunction(d) {
		body.Webhook = &webhookBody{ID: d.WebhookID, URL: d.URL, Method: d.Method, CreatedAt: timestamp(d.CreatedAt)}
	}
	return body
}

type attemptBody struct {
	Object      string        `json:"object"`
	ID          string        `json:"id"`
	Status      string        `json:"status"`
	Number      int           `json:"attempt_number"`
	DurationMS  int64         `json:"duration_ms"`
	Error       *failureBody  `json:"error"`
	Response    *responseBody `json:"response"`
	CreatedAt   timestamp     `json:"created_at"`
	StartedAt   timestamp     `json:"started_at"`
	CompletedAt timestamp     `json:"completed_at"`
}

type responseBody struct {
	StatusCode int          `json:"status_code"`
	Headers    []headerBody `json:"headers"`
	Body       string       `json:"body"`
}

type headerBody struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

func presentHeader(h engine.Header) headerBody { return headerBody(h) }

func presentAttempt(a engine.Attempt) attemptBody {
	body := attemptBody{Object: "callback.notification.attempt", ID: a.ID, Status: "succeeded", Number: a.Number, DurationMS: a.Duration.Milliseconds(),
		Error: presentFailure(a.Failure), CreatedAt: timestamp(a.StartedAt), StartedAt: timestamp(a.StartedAt), CompletedAt: timestamp(a.StartedAt.Add(a.Duration))}
	if a.Failure != nil {
		body.Status = "failed"
	}
	if r := a.Response; r != nil {
		body.Response = &responseBody{StatusCode: r.StatusCode, Headers: presentAll(r.Headers, presentHeader), Body: string(r.Body)}
	}
	return body
}
