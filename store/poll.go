package store

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"math"
	"strconv"
	"time"

	"github.com/callbackd/callbackd/store/internal/db"
)

// PollTarget is an instance trigger that is due, with all that a poll or a mapping needs.
type PollTarget struct {
	Seq                 int64 // row number
	ID                  string
	InstanceID          string
	CallbackID          string
	ProviderIdentifier  string
	TriggerKey          string
	Config              json.RawMessage
	AuthMethod          string          // "": no auth config
	Auth                json.RawMessage // nil: no auth config
	State               json.RawMessage // nil: none yet, or left out
	Partial             bool            // the state is left out
	SkipBaseline        bool            // what this poll finds is to be remembered, not emitted
	Interval            time.Duration
	DueAt               time.Time // zero: it is not polled
	ConsecutiveFailures int
	LastError           *Failure // as the trigger shows it
	Err                 error    // why the config, auth config or registration cannot be opened; nil: they are

	Webhook           bool // it is not polled: when it is due, its registration is looked after
	Fixed             bool // DueAt is a time of the wall clock, and does not move with it
	AuthConfigID      string
	AuthPrepared      json.RawMessage // what the provider made of Auth; nil: nothing yet
	AuthRenewAt       time.Time       // when that is to be made anew; zero: never
	RegisteredURL     string          // with which the webhook is registered at its source; "": it is not
	Registration      json.RawMessage // what the source said to that
	RegisteredConfig  json.RawMessage // with which that was done; nil: it is not registered
	RegistrationIsOld bool            // since then, the trigger was given another config
	UnregisterAt      time.Time       // when the webhook is to be taken back; zero: it is not

	trigger   int64  // row number of the provider's trigger
	revision  int64  // of what it is polled with
	authValue []byte // sealed
}

// registrationInterval is the interval of a trigger with a webhook: what it polls with does not
// matter, and failing registrations are tried again as polls are.
const registrationInterval = time.Minute

// DuePolls are the row numbers of at most limit triggers that are due, longest due
// first.
func (s *Store) DuePolls(ctx context.Context, now time.Time, limit int) ([]int64, error) {
	return s.read.DuePolls(ctx, msPtr(now), int64(limit))
}

// NextPoll is when the next trigger is due after now, if that is before a time; else it is zero.
func (s *Store) NextPoll(ctx context.Context, now, before time.Time) (time.Time, error) {
	next, err := s.read.NextPoll(ctx, msPtr(now), msPtr(before))
	if err != nil || len(next) == 0 {
		return time.Time{}, err
	}
	return fromMSPtr(next[0]), nil
}

// PollTarget loads a trigger.
func (s *Store) PollTarget(ctx context.Context, seq int64) (PollTarget, error) {
	targets, err := s.PollTargets(ctx, []int64{seq}, math.MaxInt64)
	if err == nil && len(targets) == 0 {
		err = &NotFoundError{Entity: "callback.instance.trigger", ID: strconv.FormatInt(seq, 10)}
	}
	if err != nil {
		return PollTarget{}, err
	}
	return targets[0], nil
}

// PollTargets loads triggers, in the order of seqs, with states of at most maxState bytes.
// Triggers that are not there are left out.
func (s *Store) PollTargets(ctx context.Context, seqs []int64, maxState int64) ([]PollTarget, error) {
	if len(seqs) == 0 {
		return nil, nil
	}
	rows, err := s.read.PollTargets(ctx, maxState, seqsJSON(seqs))
	if err != nil {
		return nil, err
	}
	return inOrder(seqs, rows, func(r *db.PollTargetsRow) int64 { return r.Seq }, func(r *db.PollTargetsRow) (PollTarget, error) {
		t := s.pollTarget(r)
		t.Partial = r.StateLength > maxState
		return t, nil
	})
}

func (s *Store) pollTarget(r *db.PollTargetsRow) PollTarget {
	t := PollTarget{Seq: r.Seq, ID: r.ID, InstanceID: r.InstanceID, CallbackID: r.CallbackID, ProviderIdentifier: r.ProviderIdentifier, TriggerKey: r.TriggerKey,
		State: r.State, SkipBaseline: r.Baseline == "skip", Interval: pollInterval(r.PollIntervalSecondsOverride, r.IntervalSeconds, r.MinIntervalSeconds),
		DueAt: fromMSPtr(r.NextPollAt), ConsecutiveFailures: int(r.ConsecutiveFailures), LastError: failure(r.ErrorCode, r.ErrorMessage), trigger: r.ProviderTriggerSeq, revision: r.Revision,
		Webhook: r.Source == "webhook", Fixed: r.NextPollFixed == 1, RegisteredURL: orElse(r.RegisteredURL, ""), RegistrationIsOld: orElse(r.RegisteredRevision, r.Revision) != r.Revision, UnregisterAt: fromMSPtr(r.UnregisterAt)}
	if t.Webhook {
		t.Interval = registrationInterval
	}
	t.Config, t.Err = s.sealer.open("config:"+r.ConfigID, r.ConfigValue)
	if r.AuthConfigID != nil && t.Err == nil {
		t.AuthMethod = orElse(r.AuthMethodKey, "")
		t.AuthConfigID, t.AuthRenewAt, t.authValue = *r.AuthConfigID, fromMSPtr(r.AuthRenewAt), r.AuthValue
		t.Auth, t.Err = s.sealer.open("auth_config:"+*r.AuthConfigID, r.AuthValue)
		if t.Err == nil && r.AuthPrepared != nil {
			t.AuthPrepared, t.Err = s.sealer.open("auth_config.prepared:"+*r.AuthConfigID, r.AuthPrepared)
		}
	}
	if r.Registration != nil && t.Err == nil {
		var text []byte
		if text, t.Err = s.sealer.open("instance_trigger.registration:"+r.ID, r.Registration); t.Err == nil {
			var kept registered
			t.Err = json.Unmarshal(text, &kept)
			t.Registration, t.RegisteredConfig = noNull(kept.Details), kept.Config
		}
	}
	return t // one that is broken does not keep the others from being polled
}

// Item is one input that a poll found: mapped, or with the reason why not.
type Item struct {
	Input     json.RawMessage
	Type      string
	SourceID  string // when it was not mapped: a name for the input
	Output    json.RawMessage
	Failure   *Failure  // nil: it was mapped
	NextMapAt time.Time // when to map it again; zero: never, if it was not mapped
}

// Poll is a poll that succeeded.
type Poll struct {
	At         time.Time // when it began
	RecordedAt time.Time // of its events; zero: At
	NextPollAt time.Time
	Fixed      bool          // NextPollAt does not move with the clock
	More       bool          // a baseline goes on with the next one
	Lag        time.Duration // by how much later than planned it began
	Duration   time.Duration
	State      json.RawMessage // nil: as before
	Items      []Item
	Problem    *Failure // what was wrong although the poll succeeded; nil: nothing
}

// PollRecord is what became of a Poll.
type PollRecord struct {
	Events     int        // stored
	Deliveries []Delivery // to be made
	Dropped    bool       // the trigger is polled no longer, or with other settings: nothing was stored
}

// RecordPoll stores what a poll found: keys, events, notifications, the new state and
// when to poll next, in one transaction. Items that were seen before change nothing.
func (s *Store) RecordPoll(ctx context.Context, t PollTarget, p Poll) (out PollRecord, err error) {
	items, err := s.unseen(ctx, t, p.Items)
	if err != nil {
		return out, err
	}
	recorded := p.RecordedAt // a slow poll's events are not older than those that came meanwhile
	if recorded.IsZero() {
		recorded = p.At
	}
	err = s.write(ctx, func(tx *tx) error {
		out = PollRecord{}
		problem, err := tx.problem(t, p.Problem)
		if err != nil {
			return err
		}
		code, message := problem.columns()
		n, err := tx.q.RecordPollSuccess(tx.ctx, db.RecordPollSuccessParams{Seq: t.Seq, Revision: t.revision, State: p.State, NextPollAt: msPtr(p.NextPollAt), NextPollFixed: flag(p.Fixed), More: flag(p.More), LastPolledAt: msPtr(p.At),
			LastLagMs: new(p.Lag.Milliseconds()), LastDurationMs: new(p.Duration.Milliseconds()), LastItems: new(int64(len(p.Items))),
			ErrorCode: code, ErrorMessage: message})
		if err != nil {
			return err
		}
		if n == 0 {
			out.Dropped = true
			return nil
		}
		if t.SkipBaseline {
			return tx.rememberItems(t, items)
		}
		out.Events, out.Deliveries, err = tx.insertItems(t, recorded, items)
		return err
	})
	return out, err
}

// insertItems makes events of what is new among items, and tells how many.
func (tx *tx) insertItems(t PollTarget, at time.Time, items []Item) (events int, deliveries []Delivery, err error) {
	if len(items) == 0 {
		return 0, nil, nil
	}
	r, err := tx.routing(t.CallbackID)
	if err != nil {
		return 0, nil, err
	}
	for _, item := range items {
		stored, more, err := tx.insertEvent(ms(at), r, item.row(t, r))
		if err != nil {
			return 0, nil, err
		}
		if stored.ID != "" {
			events++
		}
		deliveries = append(deliveries, more...)
	}
	return events, deliveries, nil
}

// rememberItems has items known as seen, and makes no events of them.
func (tx *tx) rememberItems(t PollTarget, items []Item) error {
	if len(items) == 0 {
		return nil
	}
	r, err := tx.routing(t.CallbackID)
	if err != nil {
		return err
	}
	for _, item := range items {
		if _, err := tx.q.InsertKey(tx.ctx, db.InsertKeyParams{CallbackSeq: r.seq, Key: dedupKey(item.SourceID), InstanceTriggerSeq: t.Seq}); err != nil {
			return err
		}
	}
	return nil
}

// MappingFailed is the code of what cannot be mapped.
const MappingFailed = "mapping_failed"

// problem is what a trigger shows after a poll: also what earlier polls found and cannot be
// mapped yet, because a source with a cursor says it only once.
func (tx *tx) problem(t PollTarget, found *Failure) (*Failure, error) {
	if found != nil || t.LastError == nil || t.LastError.Code != MappingFailed {
		return found, nil
	}
	unmapped, err := tx.q.Unmapped(tx.ctx, &t.Seq)
	if err != nil || len(unmapped) == 0 {
		return nil, err
	}
	return t.LastError, nil
}

// row is an item as an event to be stored.
func (i Item) row(t PollTarget, r *routing) newRow {
	e := newRow{callbackID: t.CallbackID, trigger: &t.Seq, instanceID: t.InstanceID, triggerKey: t.TriggerKey,
		typ: i.Type, sourceID: i.SourceID, input: i.Input, output: i.Output, status: "succeeded"}
	switch {
	case i.Failure == nil && !wants(r.triggers[t.trigger], i.Type):
		e.status = "skipped"
	case i.Failure != nil:
		e.failure, e.mapAttempts, e.nextMapAt, e.status = i.Failure, 1, msPtr(i.NextMapAt), "retrying"
		if i.NextMapAt.IsZero() {
			e.status = "failed"
		}
	}
	return e
}

// unseen leaves out what has a key already. It only saves the writer work: a source that
// repeats a thousand items at each poll costs reads, not writes. The keys decide.
func (s *Store) unseen(ctx context.Context, t PollTarget, items []Item) ([]Item, error) {
	if len(items) == 0 {
		return nil, nil
	}
	callback, err := s.read.CallbackSeq(ctx, t.CallbackID)
	if err != nil {
		return nil, notFound(err, "callback", t.CallbackID)
	}
	keys := make([]string, len(items))
	for i, item := range items {
		keys[i] = hex.EncodeToString(dedupKey(item.SourceID))
	}
	known, err := s.read.KnownKeys(ctx, db.KnownKeysParams{Keys: jsonText(keys), CallbackSeq: callback.Seq, InstanceTriggerSeq: t.Seq})
	if err != nil {
		return nil, err
	}
	seen := make(map[string]bool, len(known))
	for _, k := range known {
		seen[k] = true
	}
	fresh := make([]Item, 0, len(items)-len(known))
	for i, item := range items {
		if !seen[keys[i]] {
			fresh = append(fresh, item)
		}
	}
	return fresh, nil
}

// PollFailure is a poll that failed.
type PollFailure struct {
	At         time.Time
	Lag        time.Duration // by how much later than planned it began
	Duration   time.Duration
	NextPollAt time.Time // zero: not before a person acts
	Failure    Failure
}

// RecordPollFailure stores that a poll, or the registration of a webhook, failed. The state stays
// as it was. What was made with other settings than the trigger has by now does not count.
func (s *Store) RecordPollFailure(ctx context.Context, t PollTarget, f PollFailure) error {
	status := "failing"
	if f.NextPollAt.IsZero() {
		status = "paused"
	}
	return s.write(ctx, func(tx *tx) error {
		if t.Webhook {
			return tx.q.RecordRegistrationFailure(tx.ctx, db.RecordRegistrationFailureParams{Seq: t.Seq, Revision: t.revision, Status: status, NextPollAt: msPtr(f.NextPollAt),
				ErrorCode: &f.Failure.Code, ErrorMessage: &f.Failure.Message, Now: ms(f.At)})
		}
		_, err := tx.q.RecordPollFailure(tx.ctx, db.RecordPollFailureParams{Seq: t.Seq, Revision: t.revision, Status: status, NextPollAt: msPtr(f.NextPollAt), LastPolledAt: msPtr(f.At),
			LastLagMs: new(f.Lag.Milliseconds()), LastDurationMs: new(f.Duration.Milliseconds()),
			ErrorCode: &f.Failure.Code, ErrorMessage: &f.Failure.Message})
		return err
	})
}

// Mapping is an event whose input is to be mapped again.
type Mapping struct {
	EventSeq   int64
	TriggerSeq int64 // for [Store.PollTarget]
	Attempts   int   // made so far
	Input      json.RawMessage
}

// DueMappings are at most limit events whose input is to be mapped again.
func (s *Store) DueMappings(ctx context.Context, now time.Time, limit int) ([]Mapping, error) {
	rows, err := s.read.DueMappings(ctx, msPtr(now), int64(limit))
	if err != nil {
		return nil, err
	}
	out := make([]Mapping, 0, len(rows))
	for _, r := range rows {
		if r.InstanceTriggerSeq != nil {
			out = append(out, Mapping{EventSeq: r.Seq, TriggerSeq: *r.InstanceTriggerSeq, Attempts: int(r.MapAttempts), Input: r.Input})
		}
	}
	return out, nil
}

// NextMapping is when the next input is to be mapped again; zero: none is.
func (s *Store) NextMapping(ctx context.Context) (time.Time, error) {
	at, err := s.read.NextMapping(ctx)
	if err != nil || at == 0 {
		return time.Time{}, err
	}
	return fromMS(at), nil
}

// PostponeMapping puts off an event whose mapping cannot be tried.
func (s *Store) PostponeMapping(ctx context.Context, eventSeq int64, until time.Time) error {
	return s.write(ctx, func(tx *tx) error { return tx.q.PostponeMapping(tx.ctx, msPtr(until), eventSeq) })
}

// RecordMapping stores what became of mapping an event again. An event that turns out to
// be known under its source id already ends as skipped.
func (s *Store) RecordMapping(ctx context.Context, now time.Time, t PollTarget, m Mapping, item Item) (deliveries []Delivery, err error) {
	err = s.write(ctx, func(tx *tx) error {
		deliveries = nil
		r, err := tx.routing(t.CallbackID)
		if err != nil {
			return err
		}
		rows, err := tx.q.EventsBySeq(tx.ctx, seqsJSON([]int64{m.EventSeq}))
		if err != nil || len(rows) == 0 || rows[0].Event.NextMapAt == nil {
			return err // it is mapped, or gone
		}
		e := item.row(t, r)
		if item.Failure == nil {
			n, err := tx.q.InsertKey(tx.ctx, db.InsertKeyParams{CallbackSeq: r.seq, Key: dedupKey(e.sourceID), InstanceTriggerSeq: t.Seq, EventSeq: &m.EventSeq})
			if err != nil {
				return err
			}
			if n == 0 { // its source id is that of the other one, by which it is found
				e.status, e.failure = "skipped", &Failure{Code: "duplicate", Message: "the source repeated an event that is there already"}
				e.sourceID = rows[0].Event.SourceID
			}
		}
		var destinations []int64
		delivery := "pending"
		if e.status == "succeeded" {
			destinations = r.destinations(e.typ)
		}
		if len(destinations) == 0 && e.status != "retrying" {
			delivery = "skipped"
		}
		if item.Failure != nil {
			e.sourceID = rows[0].Event.SourceID // clients know it by this name
		}
		typ, err := tx.eventType(r, e.typ, t.TriggerKey)
		if err != nil {
			return err
		}
		code, message := e.failure.columns()
		if err := tx.q.RecordMapping(tx.ctx, db.RecordMappingParams{Seq: m.EventSeq, TypeSeq: typ, SourceID: e.sourceID, Status: e.status, DeliveryStatus: delivery,
			FirstNotificationSeq: tx.firstNotification(destinations), DestinationCount: int64(len(destinations)), ErrorCode: code, ErrorMessage: message, NextMapAt: e.nextMapAt, Now: ms(now)}); err != nil {
			return err
		}
		if err := tx.q.SetOutput(tx.ctx, e.output, m.EventSeq); err != nil {
			return err
		}
		deliveries, err = tx.insertNotifications(ms(now), r.seq, destinations, Delivery{EventSeq: m.EventSeq, EventID: rows[0].Event.ID, CallbackID: t.CallbackID,
			InstanceID: t.InstanceID, TriggerKey: t.TriggerKey, Type: e.typ, SourceID: e.sourceID, Output: e.output, CreatedAt: fromMS(rows[0].Event.CreatedAt)})
		return err
	})
	return deliveries, err
}

// noNull is a JSON text, or nil for null.
func noNull(text json.RawMessage) json.RawMessage {
	if string(text) == "null" {
		return nil
	}
	return text
}
