package httpapi

import (
	"encoding/json"
	"time"

	"github.com/callbackd/callbackd/engine"
)

type callbackBody struct {
	Object               string                `json:"object"`
	ID                   string                `json:"id"`
	Status               string                `json:"status"`
	Name                 string                `json:"name"`
	Description          *string               `json:"description"`
	Metadata             json.RawMessage       `json:"metadata"`
	PollIntervalOverride *int64                `json:"poll_interval_seconds_override"`
	Retention            *int64                `json:"retention_seconds"`
	Deployment           previewBody           `json:"provider_deployment"`
	Destinations         []destinationBody     `json:"destinations"`
	Triggers             []callbackTriggerBody `json:"provider_triggers"`
	CreatedAt            timestamp             `json:"created_at"`
	UpdatedAt            timestamp             `json:"updated_at"`
}

func presentCallback(c engine.Callback) callbackBody {
	return callbackBody{Object: "callback", ID: c.ID, Status: c.Status, Name: c.Name, Description: orNull(c.Description), Metadata: c.Metadata,
		PollIntervalOverride: secondsOrNull(c.PollIntervalOverride), Retention: secondsOrNull(c.Retention), Deployment: presentPreview("provider.deployment", c.Deployment),
		Destinations: presentAll(c.Destinations, presentDestination), Triggers: presentAll(c.Triggers, presentCallbackTrigger),
		CreatedAt: timestamp(c.CreatedAt), UpdatedAt: timestamp(c.UpdatedAt)}
}

func secondsOrNull(d time.Duration) *int64 {
	if d == 0 {
		return nil
	}
	return new(seconds(d))
}

type callbackTriggerBody struct {
	Object     string             `json:"object"`
	ID         string             `json:"id"`
	Trigger    triggerPreviewBody `json:"provider_trigger"`
	EventTypes []string           `json:"event_types"`
	CreatedAt  timestamp          `json:"created_at"`
}

type triggerPreviewBody struct {
	Object string `json:"object"`
	ID     string `json:"id"`
	Key    string `json:"key"`
	Name   string `json:"name"`
}

func presentCallbackTrigger(t engine.CallbackTrigger) callbackTriggerBody {
	return callbackTriggerBody{Object: "callback.provider_trigger", ID: t.ID,
		Trigger:    triggerPreviewBody{Object: "provider.trigger#preview", ID: t.TriggerID, Key: t.TriggerKey, Name: t.TriggerName},
		EventTypes: orEmpty(t.EventTypes), CreatedAt: timestamp(t.CreatedAt)}
}

type instanceBody struct {
	Object     string                `json:"object"`
	ID         string                `json:"id"`
	Status     string                `json:"status"`
	Deployment previewBody           `json:"deployment"`
	Config     previewBody           `json:"config"`
	AuthConfig *previewBody          `json:"auth_config"`
	Triggers   []instanceTriggerBody `json:"triggers"`
	CreatedAt  timestamp             `json:"created_at"`
	UpdatedAt  timestamp             `json:"updated_at"`
}

func presentInstance(i engine.Instance) instanceBody {
	return instanceBody{Object: "callback.instance", ID: i.ID, Status: i.Status, Deployment: presentPreview("provider.deployment", i.Deployment),
		Config: presentPreview("provider.config", i.Config), AuthConfig: presentPreviewOrNull("provider.auth_config", i.AuthConfig),
		Triggers: presentAll(i.Triggers, presentInstanceTrigger), CreatedAt: timestamp(i.CreatedAt), UpdatedAt: timestamp(i.UpdatedAt)}
}

type instanceTriggerBody struct {
	Object              string       `json:"object"`
	ID                  string       `json:"id"`
	Source              string       `json:"source"`
	PollIntervalSeconds *int64       `json:"poll_interval_seconds"`
	NextPollAt          timestamp    `json:"next_poll_at"`
	LastPolledAt        timestamp    `json:"last_polled_at"`
	WebhookURL          *string      `json:"webhook_url"`
	IsWebhookRegistered *bool        `json:"is_webhook_registered"`
	Status              string       `json:"status"`
	ConsecutiveFailures int          `json:"consecutive_failures"`
	LastError           *failureBody `json:"last_error"`
	LagMS               *int64       `json:"lag_ms"`
	LastDurationMS      *int64       `json:"last_duration_ms"`
	LastItems           *int         `json:"last_items"`
	LastReceivedAt      timestamp    `json:"last_received_at"`
	LastRefused         *refusalBody `json:"last_refused"`
	ProviderTrigger     triggerBody  `json:"provider_trigger"`
}

type refusalBody struct {
	At      timestamp `json:"at"`
	Status  int       `json:"status"`
	Message string    `json:"message"`
}

// presentInstanceTrigger shows what polling means only of a trigger that is polled, and what a
// webhook means only of one that has a webhook.
func presentInstanceTrigger(t engine.InstanceTrigger) instanceTriggerBody {
	body := instanceTriggerBody{Object: "callback.instance.trigger", ID: t.ID, Source: t.Trigger.Source, Status: t.Status, ConsecutiveFailures: t.ConsecutiveFailures,
		LastError: presentFailure(t.LastError), LastDurationMS: milliseconds(t.LastDuration), LastItems: t.LastItems, ProviderTrigger: presentTrigger(t.Trigger)}
	if t.Trigger.Source == "webhook" {
		if r := t.LastRefused; r != nil {
			body.LastRefused = &refusalBody{At: timestamp(r.At), Status: r.Status, Message: r.Message}
		}
		body.WebhookURL, body.IsWebhookRegistered, body.LastReceivedAt = orNull(t.WebhookURL), new(t.Registered), timestamp(t.LastReceivedAt)
		return body
	}
	body.PollIntervalSeconds, body.NextPollAt, body.LastPolledAt, body.LagMS = new(seconds(t.PollInterval)), timestamp(t.NextPollAt), timestamp(t.LastPolledAt), milliseconds(t.Lag)
	return body
}
