package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/callbackd/callbackd/store/internal/db"
)

// PublishedTriggerKey is the trigger key of events that were published rather than found by
// a trigger.
const PublishedTriggerKey = "publish"

// Event is something that happened, as it was recorded.
type Event struct {
	ID               string
	CallbackID       string
	InstanceID       string // "" for a published event
	TriggerKey       string
	Type             string
	SourceID         string
	Input            json.RawMessage // nil: there was none
	Output           json.RawMessage // nil: not mapped
	Status           string          // "pending", "processing", "retrying", "succeeded", "failed" or "skipped"
	DeliveryStatus   string          // "pending", "sent", "failed" or "skipped"
	Error            *Failure        // why it was not mapped; nil: it was
	DestinationCount int
	SuccessCount     int
	FailureCount     int
	CreatedAt        time.Time
	UpdatedAt        time.Time
}

// Delivery is one notification to be delivered: all that an attempt needs to know.
type Delivery struct {
	Seq            int64 // row numbers, by which outcomes are recorded
	EventSeq       int64
	DestinationSeq int64

	NotificationID string
	AttemptCount   int // attempts made so far
	EventID        string
	CallbackID     string
	InstanceID     string // "" for a published event
	TriggerKey     string
	Type           string
	SourceID       string
	Output         json.RawMessage // nil: not loaded
	CreatedAt      time.Time       // of the event
}

// NewEvent is an event of the host's own.
type NewEvent struct {
	Type     string
	SourceID string // "": the event's id
	Input    json.RawMessage
	Output   json.RawMessage
}

// Published is what became of a NewEvent.
type Published struct {
	Event      Event      // as it was stored; of a repeated one, as it is now
	Repeated   bool       // an event with this source id is there already
	Deliveries []Delivery // to be made
}

// Publish stores events of one callback, each with a notification for every destination
// that wants it, in one transaction: all or none. A source id that is there already stores
// nothing.
func (s *Store) Publish(ctx context.Context, now time.Time, callbackID string, events ...NewEvent) (out []Published, err error) {
	err = s.add(ctx, func(tx *tx) (err error) {
		out, err = tx.publishAll(now, callbackID, events)
		return err
	})
	return out, err
}

func (tx *tx) publishAll(now time.Time, callbackID string, events []NewEvent) ([]Published, error) {
	r, err := tx.routing(callbackID)
	if err != nil {
		return nil, err
	}
	if !r.active {
		return nil, &ConflictError{Message: "callback " + callbackID + " is archived and takes no events"}
	}
	out := make([]Published, 0, len(events))
	for _, n := range events {
		p, err := tx.publish(ms(now), callbackID, r, n)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

func (tx *tx) publish(now int64, callbackID string, r *routing, n NewEvent) (Published, error) {
	if known, err := tx.ownID(r.seq, n.SourceID); err != nil || known.ID != "" {
		return Published{Event: known, Repeated: true}, err
	}
	e := newRow{callbackID: callbackID, typ: n.Type, sourceID: n.SourceID, input: n.Input, output: n.Output, status: "succeeded", triggerKey: PublishedTriggerKey}
	stored, deliveries, err := tx.insertEvent(now, r, e)
	if err != nil || stored.ID != "" {
		return Published{Event: stored, Deliveries: deliveries}, err
	}
	if err := tx.flush(); err != nil { // it may be of this batch
		return Published{}, err
	}
	seq, err := tx.q.PublishedEvent(tx.ctx, db.PublishedEventParams{CallbackSeq: r.seq, Key: dedupKey(n.SourceID), SourceID: n.SourceID})
	if errors.Is(err, sql.ErrNoRows) {
		return Published{}, &ConflictError{Message: fmt.Sprintf("an event with the source_id %.100q was published before, and its record has been removed since: it is not published again", n.SourceID)}
	}
	if err != nil {
		return Published{}, err
	}
	known, err := loadOne(tx.ctx, []int64{seq}, "callback.event", n.SourceID, loader(tx.q, loadEvents))
	return Published{Event: known, Repeated: true}, err
}

// ownID finds the published event of a callback whose source id is its own id, which has no key.
// There may be none.
func (tx *tx) ownID(callback int64, sourceID string) (known Event, err error) {
	if !isID(prefixEvent, sourceID) {
		return known, nil
	}
	if err := tx.flush(); err != nil { // it may be of this batch
		return known, err
	}
	seq, err := seqOf(tx.ctx, tx.conn, "event", sourceID)
	if errors.Is(err, sql.ErrNoRows) {
		return known, nil
	}
	if err != nil {
		return known, err
	}
	rows, err := tx.q.EventsBySeq(tx.ctx, seqsJSON([]int64{seq}))
	if err != nil || len(rows) == 0 {
		return known, err
	}
	if e := rows[0].Event; e.CallbackSeq != callback || e.InstanceTriggerSeq != nil || e.SourceID != e.ID {
		return known, nil
	}
	return loadOne(tx.ctx, []int64{seq}, "callback.event", sourceID, loader(tx.q, loadEvents))
}

// newRow is an event about to be stored.
type newRow struct {
	callbackID  string
	trigger     *int64 // row number of the instance's trigger; nil: published
	instanceID  string
	triggerKey  string
	typ         string
	sourceID    string // "": the event's id
	input       json.RawMessage
	output      json.RawMessage
	status      string
	failure     *Failure
	mapAttempts int64
	nextMapAt   *int64
}

// insertEvent stores an event, its key, its payload and, when its status is "succeeded",
// its notifications. An event whose source id was seen before stores nothing and has no id.
func (tx *tx) insertEvent(now int64, r *routing, e newRow) (stored Event, deliveries []Delivery, err error) {
	id := tx.id(prefixEvent)
	if e.sourceID == "" {
		e.sourceID = id
	}
	seq := tx.newest.event + 1
	if e.trigger != nil || e.sourceID != id {
		key := db.InsertKeyParams{CallbackSeq: r.seq, Key: dedupKey(e.sourceID), EventSeq: &seq}
		if e.trigger != nil {
			key.InstanceTriggerSeq = *e.trigger
		}
		if n, err := tx.q.InsertKey(tx.ctx, key); err != nil || n == 0 {
			return stored, nil, err
		}
	}
	tx.newest.event = seq
	typ, err := tx.eventType(r, e.typ, e.triggerKey)
	if err != nil {
		return stored, nil, err
	}
	created, err := tx.created(now)
	if err != nil {
		return stored, nil, err
	}
	var destinations []int64
	delivery := "pending"
	if e.status == "succeeded" {
		destinations = r.destinations(e.typ)
	}
	if len(destinations) == 0 && e.status != "retrying" {
		delivery = "skipped"
	}
	code, message := e.failure.columns()
	if err := tx.add(tx.w.rows.events, seq, id, r.seq, typ, orNull(e.trigger), e.sourceID, e.status, delivery, orNull(code), orNull(message),
		orNull(tx.firstNotification(destinations)), int64(len(destinations)), e.mapAttempts, orNull(e.nextMapAt), created, created); err != nil {
		return stored, nil, err
	}
	input := []byte(e.input)
	if input != nil && bytes.Equal(e.input, e.output) {
		input = []byte(sameAsOutput)
	}
	if err := tx.add(tx.w.rows.payloads, seq, input, []byte(e.output)); err != nil {
		return stored, nil, err
	}
	at := fromMS(created)
	deliveries, err = tx.insertNotifications(now, r.seq, destinations, Delivery{EventSeq: seq, EventID: id, CallbackID: e.callbackID, InstanceID: e.instanceID,
		TriggerKey: e.triggerKey, Type: e.typ, SourceID: e.sourceID, Output: e.output, CreatedAt: at})
	stored = Event{ID: id, CallbackID: e.callbackID, InstanceID: e.instanceID, TriggerKey: e.triggerKey, Type: e.typ, SourceID: e.sourceID, Input: e.input, Output: e.output,
		Status: e.status, DeliveryStatus: delivery, Error: e.failure, DestinationCount: len(destinations), CreatedAt: at, UpdatedAt: at}
	return stored, deliveries, err
}

// sameAsOutput is stored for an input that is the same as the output. It is not JSON.
const sameAsOutput = "="

// eventType is the row number of a callback's kind of event, which is made with its first.
func (tx *tx) eventType(r *routing, typ, triggerKey string) (seq int64, err error) {
	kind := [2]string{typ, triggerKey}
	if seq, ok := r.types[kind]; ok {
		return seq, nil
	}
	seq, err = tx.q.EventType(tx.ctx, db.EventTypeParams{CallbackSeq: r.seq, Type: typ, TriggerKey: triggerKey})
	if errors.Is(err, sql.ErrNoRows) {
		seq, err = tx.q.InsertEventType(tx.ctx, db.InsertEventTypeParams{CallbackSeq: r.seq, Type: typ, TriggerKey: triggerKey})
	}
	if err != nil {
		return 0, err
	}
	if len(r.types) >= maxKnownTypes {
		clear(r.types)
	}
	r.types[kind] = seq
	return seq, nil
}

// firstNotification is the row number that the first of the next event's notifications will have;
// nil: it has none.
func (tx *tx) firstNotification(destinations []int64) *int64 {
	if len(destinations) == 0 {
		return nil
	}
	return new(tx.newest.notification + 1)
}

// insertNotifications makes a notification of an event for each destination, in consecutive rows.
func (tx *tx) insertNotifications(now, callback int64, destinations []int64, d Delivery) ([]Delivery, error) {
	if len(destinations) == 0 {
		return nil, nil
	}
	created, err := tx.created(now)
	if err != nil {
		return nil, err
	}
	out := make([]Delivery, 0, len(destinations))
	for _, destination := range destinations {
		tx.newest.notification++
		d.Seq, d.NotificationID, d.DestinationSeq = tx.newest.notification, tx.id(prefixNotification), destination
		if err := tx.add(tx.w.rows.notifications, d.Seq, d.NotificationID, callback, d.EventSeq, destination, now, created, created); err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

// EventFilter narrows the list of a callback's events.
type EventFilter struct {
	IDs              []string
	Types            []string
	SourceIDs        []string
	Statuses         []string
	DeliveryStatuses []string
	Instances        []string // ids
	TriggerKeys      []string
	Created          Range
}

// eventStates are the pairs of status and delivery status that events have.
var eventStates = [][2]string{{"retrying", "pending"}, {"succeeded", "pending"}, {"succeeded", "sent"}, {"succeeded", "failed"}, {"succeeded", "skipped"},
	{"failed", "skipped"}, {"skipped", "skipped"}}

// ListEvents lists a callback's events.
func (s *Store) ListEvents(ctx context.Context, callbackID string, f EventFilter, p Page) (List[Event], error) {
	return listOf(ctx, s, callbackID, "event", p, loader(s.read, loadEvents), func(sel *selection, callback int64) error {
		if err := s.created(ctx, sel, f.Created); err != nil {
			return err
		}
		sel.weights = "SELECT p.event_seq, coalesce(length(p.input), 0) + coalesce(length(p.output), 0) FROM event_payload AS p WHERE p.event_seq IN (SELECT value FROM json_each(?))"
		sel.ids(f.IDs).sourceIDs(callback, f.SourceIDs)
		byKind, byInstance := len(f.Types)+len(f.TriggerKeys) > 0, len(f.Instances) > 0
		var kinds, triggers []int64
		var err error
		if byKind {
			// A callback may have had any number of kinds; of too many it is enough to know that.
			k := f.kinds(callback)
			if kinds, err = queryInts(ctx, s.prepared, k.text+" LIMIT ?", append(k.args, maxWalks+1)...); err != nil {
				return err
			}
		}
		if byInstance {
			if triggers, err = s.read.TriggersOfInstances(ctx, callback, jsonText(f.Instances)); err != nil {
				return err
			}
		}
		if byKind && len(kinds) == 0 || byInstance && len(triggers) == 0 {
			sel.none = true
			return nil
		}
		byStatus := len(f.Statuses)+len(f.DeliveryStatuses) > 0
		// What went as it should are most events by far; all else is rare, and found as such.
		odd := len(f.Statuses) > 0 && !slices.Contains(f.Statuses, "succeeded") || len(f.DeliveryStatuses) > 0 && !slices.Contains(f.DeliveryStatuses, "sent")
		switch {
		case len(f.IDs) > 0 || len(f.SourceIDs) > 0: // a few rows, found one by one
		case odd, byStatus && !byKind && !byInstance:
			f.byStates(sel)
			f.Statuses, f.DeliveryStatuses = nil, nil
		case byKind && len(kinds) <= maxWalks:
			sel.index = "event_by_type"
			choose(sel, "type_seq", kinds)
			kinds, byKind = nil, false
		case byInstance && len(triggers) <= maxWalks:
			sel.index = "event_by_trigger"
			choose(sel, "instance_trigger_seq", triggers)
			triggers = nil
		default:
			f.byStates(sel)
		}
		in(in(in(sel, "status", f.Statuses), "delivery_status", f.DeliveryStatuses), "instance_trigger_seq", triggers)
		switch {
		case byKind && len(kinds) <= maxWalks:
			in(sel, "type_seq", kinds)
		case byKind: // however many they are
			k := f.kinds(callback)
			sel.and("+t.type_seq IN ("+k.text+")", k.args...)
		}
		return nil
	})
}

// byStates walks the events of each state that the filter lets through.
func (f EventFilter) byStates(sel *selection) {
	sel.index = "event_status"
	var states []condition
	for _, s := range eventStates {
		if wants(f.Statuses, s[0]) && wants(f.DeliveryStatuses, s[1]) {
			states = append(states, condition{"t.status = ? AND t.delivery_status = ?", []any{s[0], s[1]}})
		}
	}
	sel.none = len(states) == 0
	sel.choice(states)
}

// kinds is a query for the kinds of events that a filter asks for.
func (f EventFilter) kinds(callback int64) condition {
	k := condition{"SELECT y.seq FROM event_type AS y WHERE y.callback_seq = ?", []any{callback}}
	if len(f.Types) > 0 {
		k = condition{k.text + " AND y.type IN (SELECT value FROM json_each(?))", append(k.args, jsonText(f.Types))}
	}
	if len(f.TriggerKeys) > 0 {
		k = condition{k.text + " AND y.trigger_key IN (SELECT value FROM json_each(?))", append(k.args, jsonText(f.TriggerKeys))}
	}
	return k
}

// sourceIDs keeps events with one of these source ids; none: all events. The keys are the
// index by source id; events without one of their own are found by their ids.
func (s *selection) sourceIDs(callback int64, ids []string) *selection {
	if len(ids) == 0 {
		return s
	}
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = hex.EncodeToString(dedupKey(id))
	}
	return s.and("t.source_id IN (SELECT value FROM json_each(?))", jsonText(ids)).
		find("SELECT k.event_seq FROM event_key AS k WHERE k.callback_seq = ? AND k.key IN (SELECT unhex(value) FROM json_each(?)) UNION ALL SELECT * FROM ("+seqsByID("event")+")",
			callback, jsonText(keys), jsonText(slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !isID(prefixEvent, id) })))
}

// Event finds one of a callback's events.
func (s *Store) Event(ctx context.Context, callbackID, id string) (Event, error) {
	return getOf(ctx, s, callbackID, "event", "callback.event", id, loader(s.read, loadEvents))
}

func loadEvents(ctx context.Context, q *db.Queries, seqs []int64) ([]Event, error) {
	rows, err := q.EventsBySeq(ctx, seqsJSON(seqs))
	if err != nil {
		return nil, err
	}
	return inOrder(seqs, rows, func(r *db.EventsBySeqRow) int64 { return r.Event.Seq }, func(r *db.EventsBySeqRow) (Event, error) {
		e := r.Event
		if string(r.Input) == sameAsOutput {
			r.Input = r.Output
		}
		return Event{ID: e.ID, CallbackID: r.CallbackID, InstanceID: orElse(r.InstanceID, ""), TriggerKey: r.TriggerKey,
			Type: r.Type, SourceID: e.SourceID, Input: r.Input, Output: r.Output, Status: e.Status, DeliveryStatus: e.DeliveryStatus,
			Error: failure(e.ErrorCode, e.ErrorMessage), DestinationCount: int(e.DestinationCount), SuccessCount: int(e.SuccessCount),
			FailureCount: int(e.FailureCount), CreatedAt: fromMS(e.CreatedAt), UpdatedAt: fromMS(e.UpdatedAt)}, nil
	})
}
