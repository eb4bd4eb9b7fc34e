package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/callbackd/callbackd/store"
)

// NewEvent is an event of your own.
type NewEvent struct {
	Faults
	Type     string          // such as "invoice.paid"; required
	SourceID string          // your own id of it: the same one again stores nothing; "": the event's id
	Output   json.RawMessage // a JSON object: what destinations receive as data; required, at most 1 MiB
	Input    json.RawMessage // a JSON object to keep beside it; may be nil
}

func (n NewEvent) check() *checker {
	c := n.Faults.check()
	c.eventType(n.Type, "type")
	c.required(n.Type, "type")
	c.text(n.SourceID, maxSourceID, "source_id")
	if len(n.Output) == 0 {
		c.add("required", "must be a JSON object", "output")
	} else {
		c.object(n.Output, "output")
	}
	if nullable(n.Input) != nil {
		c.object(n.Input, "input")
	}
	return c
}

// Publish accepts events, at most 100, for a callback's destinations: all of them or none.
// When it returns nil, they and their notifications are on the disk. A source id that was
// published to this callback before changes nothing, and is no error. When ctx ends before
// the events are being written, nothing is stored and ctx's error returned.
func (e *Engine) Publish(ctx context.Context, callbackID string, events ...NewEvent) error {
	if len(events) == 1 {
		_, err := e.PublishEvent(ctx, callbackID, events[0])
		return err
	}
	_, err := e.PublishEvents(ctx, callbackID, NewEvents{Events: events})
	return err
}

// PublishEvent is Publish, and returns the event: the first one, for a source id that was
// published before.
func (e *Engine) PublishEvent(ctx context.Context, callbackID string, n NewEvent) (Event, error) {
	if err := n.check().err(); err != nil {
		return Event{}, err
	}
	stored, err := e.publish(ctx, callbackID, n)
	if err != nil {
		return Event{}, err
	}
	return stored[0], nil
}

// NewEvents are events of your own that are published together.
type NewEvents struct {
	Faults
	Events []NewEvent // at most 100
}

func (n NewEvents) check() *checker {
	c := n.Faults.check()
	if len(n.Events) > maxList {
		c.add("invalid_max", fmt.Sprintf("must have at most %d entries", maxList), "events")
		return c
	}
	for i, event := range n.Events {
		for _, f := range event.check().fields {
			f.Path = append([]string{"events", strconv.Itoa(i)}, f.Path...)
			c.put(f)
		}
	}
	return c
}

// PublishEvents is Publish, and returns the events, in their order.
func (e *Engine) PublishEvents(ctx context.Context, callbackID string, n NewEvents) ([]Event, error) {
	if err := n.check().err(); err != nil {
		return nil, err
	}
	return e.publish(ctx, callbackID, n.Events...)
}

func (e *Engine) publish(ctx context.Context, callbackID string, events ...NewEvent) ([]Event, error) {
	rows := rowsOf(events)
	stored := make([]Event, len(events))
	var err error
	e.clock.plan(func() {
		var published []store.Published
		if published, err = e.store.Publish(ctx, e.now(), callbackID, rows...); err != nil {
			return
		}
		var deliveries []store.Delivery
		for i, p := range published {
			stored[i] = p.Event
			deliveries = append(deliveries, p.Deliveries...)
		}
		e.deliverer.offer(deliveries)
	})
	if err != nil {
		return nil, wrap(err)
	}
	return stored, nil
}

func rowsOf(events []NewEvent) []store.NewEvent {
	rows := make([]store.NewEvent, len(events))
	for i, n := range events {
		rows[i] = store.NewEvent{Type: n.Type, SourceID: n.SourceID, Input: nullable(n.Input), Output: compact(n.Output)}
	}
	return rows
}

// ListEvents lists a callback's events.
func (e *Engine) ListEvents(ctx context.Context, callbackID string, f EventFilter, p Page) (List[Event], error) {
	l, err := e.store.ListEvents(ctx, callbackID, f, p)
	return l, wrap(err)
}

// Event finds one of a callback's events.
func (e *Engine) Event(ctx context.Context, callbackID, id string) (Event, error) {
	v, err := e.store.Event(ctx, callbackID, id)
	return v, wrap(err)
}

// ListNotifications lists a callback's notifications, without their attempts.
func (e *Engine) ListNotifications(ctx context.Context, callbackID string, f NotificationFilter, p Page) (List[Notification], error) {
	l, err := e.store.ListNotifications(ctx, callbackID, f, p)
	return l, wrap(err)
}

// Notification finds one of a callback's notifications, with its attempts.
func (e *Engine) Notification(ctx context.Context, callbackID, id string) (Notification, error) {
	n, err := e.store.Notification(ctx, callbackID, id)
	return n, wrap(err)
}
