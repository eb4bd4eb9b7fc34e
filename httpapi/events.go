package httpapi

import (
	"strconv"

	"github.com/callbackd/callbackd/engine"
)

// What events are published with, and what events and notifications are listed by.

func newEvent(f *fields) engine.NewEvent {
	return engine.NewEvent{
		Type:     value(f.text("type", required)),
		SourceID: value(f.word("source_id", 0)),
		Output:   value(f.object("output", required)),
		Input:    value(f.object("input", nullable)),
	}
}

// newEvents reads several events, of which all are stored or none.
func newEvents(f *fields) (n engine.NewEvents) {
	items, count, _ := f.items("events", required)
	for i := range count {
		var event engine.NewEvent // also for what is none, so that the others keep their places
		if inner, _ := items.nested(strconv.Itoa(i), 0); inner != nil {
			event = newEvent(inner)
		}
		n.Events = append(n.Events, event)
	}
	return n
}

func eventFilter(q *query) engine.EventFilter {
	return engine.EventFilter{IDs: q.all("id"), Types: q.all("type"), SourceIDs: q.all("source_id"),
		Statuses:         q.anyOf("status", "pending", "processing", "retrying", "succeeded", "failed", "skipped"),
		DeliveryStatuses: q.anyOf("delivery_status", "pending", "sent", "failed", "skipped"),
		Instances:        q.all("callback_instance_id"), TriggerKeys: q.all("trigger_key"), Created: q.during("created_at")}
}

func notificationFilter(q *query) engine.NotificationFilter {
	return engine.NotificationFilter{Destinations: q.all("destination_id"), Statuses: q.anyOf("status", "pending", "retrying", "delivered", "failed"),
		Events: q.all("event_id"), Created: q.during("created_at")}
}

// getNotification shows more than a list does: the request and every attempt.
func getNotification(r *request) (any, error) {
	n, err := r.eng.Notification(r.ctx(), r.id(0), r.id(1))
	if err != nil {
		return nil, err
	}
	body := notificationDetailBody{notificationBody: presentNotification(n), Attempts: presentAll(n.Attempts, presentAttempt)}
	if isFunction(n.Destination) {
		return body, nil // it is called, not sent a request
	}
	sent, err := r.eng.NotificationRequest(r.ctx(), r.id(0), n)
	if err != nil {
		return nil, err
	}
	body.Event.Request = &requestBody{Body: string(sent.Body), Headers: presentAll(sent.Headers, presentHeader)}
	return body, nil
}
