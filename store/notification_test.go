package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/callbackd/callbackd/store"
)

// outcome is an attempt at a delivery: it succeeded, or failed with a code and is to be
// tried again at a time, or never.
func outcome(d store.Delivery, number int, code string, again time.Time) store.Outcome {
	o := store.Outcome{Seq: d.Seq, EventSeq: d.EventSeq, NextAttemptAt: again, Attempt: store.Attempt{Number: number, StartedAt: day, Duration: 5 * time.Millisecond,
		Response: &store.Response{StatusCode: 200, Headers: []store.Header{{Key: "A", Value: "b"}}, Body: []byte("body")}}}
	if code != "" {
		o.Attempt.Failure, o.Attempt.Response = &store.Failure{Code: code, Message: "it is " + code}, nil
	}
	return o
}

func (f *fixture) record(outcomes ...store.Outcome) {
	f.t.Helper()
	check(f.t, f.RecordOutcomes(f.t.Context(), day, outcomes))
}

func (f *fixture) notification(id string) store.Notification {
	f.t.Helper()
	return must(f.Notification(f.t.Context(), f.callback.ID, id))(f.t)
}

func TestRecordOutcomes(t *testing.T) {
	t.Parallel()
	shared := setup(t)

	t.Run("Delivered", func(t *testing.T) {
		t.Parallel()
		f := shared.fresh(t)
		p := f.publish("a")
		f.record(outcome(p.Deliveries[0], 1, "", time.Time{}))
		n := f.notification(p.Deliveries[0].NotificationID)
		equal(t, "notification", []any{n.Status, n.AttemptCount, n.Error == nil, n.LastAttemptAt, n.NextAttemptAt}, []any{"delivered", 1, true, day, time.Time{}})
		want := outcome(p.Deliveries[0], 1, "", time.Time{}).Attempt
		equal(t, "response", *n.Attempts[0].Response, *want.Response)
		equal(t, "attempt", []any{n.Attempts[0].Number, n.Attempts[0].StartedAt, n.Attempts[0].Duration}, []any{1, day, want.Duration})
		e := f.event(p.Event.ID)
		equal(t, "event", []any{e.DeliveryStatus, e.SuccessCount, e.FailureCount}, []any{"sent", 1, 0})
		equal(t, "the notification's event", n.Event, store.NotificationEvent{ID: e.ID, Type: e.Type, DeliveryStatus: "sent", DestinationCount: 1, SuccessCount: 1, CreatedAt: day, UpdatedAt: day})
	})

	// In one batch the first that says something of an attempt wins, and attempts follow each other.
	t.Run("InTheOrderOfTheBatch", func(t *testing.T) {
		t.Parallel()
		f := shared.fresh(t)
		a, b, c := f.publish("a").Deliveries[0], f.publish("b").Deliveries[0], f.publish("c").Deliveries[0]
		f.record(outcome(a, 1, "", time.Time{}), outcome(b, 1, "timeout", day), outcome(c, 7, "", time.Time{}),
			outcome(a, 1, "timeout", day), outcome(b, 2, "", time.Time{}), outcome(c, 1, "", time.Time{}))
		for d, attempts := range map[string]int{a.NotificationID: 1, b.NotificationID: 2, c.NotificationID: 1} {
			n := f.notification(d)
			equal(t, "notification", []any{n.Status, n.AttemptCount, len(n.Attempts), n.Event.DeliveryStatus, n.Event.SuccessCount}, []any{"delivered", attempts, attempts, "sent", 1})
		}
	})

	t.Run("RetryingThenFailed", func(t *testing.T) {
		t.Parallel()
		f := shared.fresh(t)
		p := f.publish("a")
		d := p.Deliveries[0]
		f.record(outcome(d, 1, "timeout", day.Add(time.Minute)))
		n := f.notification(d.NotificationID)
		equal(t, "notification", []any{n.Status, n.AttemptCount, n.Error.Code, n.NextAttemptAt}, []any{"retrying", 1, "timeout", day.Add(time.Minute)})
		equal(t, "delivery status", f.event(p.Event.ID).DeliveryStatus, "pending")
		f.record(outcome(d, 2, "refused", time.Time{}))
		n = f.notification(d.NotificationID)
		equal(t, "notification", []any{n.Status, n.AttemptCount, *n.Error, n.NextAttemptAt}, []any{"failed", 2, store.Failure{Code: "refused", Message: "it is refused"}, time.Time{}})
		equal(t, "attempts", n.Attempts[0].Failure.Code+" "+n.Attempts[1].Failure.Code, "timeout refused")
		e := f.event(p.Event.ID)
		equal(t, "event", []any{e.DeliveryStatus, e.SuccessCount, e.FailureCount}, []any{"failed", 0, 1})
	})

	t.Run("AnEventWaitsForAllOfItsNotifications", func(t *testing.T) {
		t.Parallel()
		for name, second := range map[string]string{"sent": "", "failed": "refused"} {
			f := shared.fresh(t)
			must(f.update(destinationSet(f.destination.ID, f.newDestination(store.ScopeSelected, nil).ID), nil))(t)
			p := f.publish("a")
			f.record(outcome(p.Deliveries[0], 1, "", time.Time{}))
			equal(t, "delivery status at first", f.event(p.Event.ID).DeliveryStatus, "pending")
			f.record(outcome(p.Deliveries[1], 1, second, time.Time{}))
			equal(t, "delivery status", f.event(p.Event.ID).DeliveryStatus, name)
		}
	})

	t.Run("NoAttemptCountsAfterTheEnd", func(t *testing.T) {
		t.Parallel()
		f := shared.fresh(t)
		p := f.publish("a")
		d := p.Deliveries[0]
		f.record(outcome(d, 1, "refused", time.Time{}))
		f.record(outcome(d, 2, "", time.Time{}), outcome(d, 3, "timeout", day))
		n := f.notification(d.NotificationID)
		equal(t, "notification", []any{n.Status, n.AttemptCount, len(n.Attempts)}, []any{"failed", 1, 1})
		e := f.event(p.Event.ID)
		equal(t, "event", []any{e.DeliveryStatus, e.SuccessCount, e.FailureCount}, []any{"failed", 0, 1})
		equal(t, "deliveries", len(must(f.Deliveries(t.Context(), []int64{d.Seq}, 1<<20))(t)), 0)
	})

	t.Run("NoAttemptCountsTwice", func(t *testing.T) {
		t.Parallel()
		f := shared.fresh(t)
		p := f.publish("a")
		d, other := p.Deliveries[0], f.publish("b").Deliveries[0]
		f.record(outcome(d, 1, "timeout", day))
		// A repeat is dropped, and does no harm to what comes with it.
		f.record(outcome(d, 1, "", time.Time{}), outcome(other, 1, "", time.Time{}))
		n := f.notification(d.NotificationID)
		equal(t, "notification", []any{n.Status, n.AttemptCount, len(n.Attempts)}, []any{"retrying", 1, 1})
		equal(t, "other", f.notification(other.NotificationID).Status, "delivered")
	})
}

func TestOpenNotifications(t *testing.T) {
	t.Parallel()

	t.Run("AreThoseThatHaveNotEnded", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		equal(t, "destinations at first", len(must(f.OpenDestinations(t.Context()))(t)), 0)
		var d []store.Delivery
		for i := range 4 {
			d = append(d, f.publish(fmt.Sprint(i)).Deliveries...)
		}
		f.record(outcome(d[0], 1, "timeout", day.Add(time.Hour)), outcome(d[1], 1, "", time.Time{}))
		at := d[0].DestinationSeq
		equal(t, "destinations", must(f.OpenDestinations(t.Context()))(t), map[int64]time.Time{at: day})
		equal(t, "notifications", must(f.OpenNotifications(t.Context(), at, 10))(t), []store.Due{{Seq: d[2].Seq, At: day}, {Seq: d[3].Seq, At: day}, {Seq: d[0].Seq, At: day.Add(time.Hour)}})
		equal(t, "the first notification", must(f.OpenNotifications(t.Context(), at, 1))(t), []store.Due{{Seq: d[2].Seq, At: day}})
		equal(t, "notifications of another destination", len(must(f.OpenNotifications(t.Context(), at+1, 10))(t)), 0)
		retried := must(f.Deliveries(t.Context(), []int64{d[0].Seq, d[1].Seq, 99}, 1<<20))(t)
		equal(t, "deliveries", len(retried), 1)
		equal(t, "attempts", retried[0].AttemptCount, 1)
	})

	t.Run("OfAPolledEventKnowWhereItCameFrom", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		d := f.poll(f.target("made"), `1`, "a").Deliveries[0]
		equal(t, "delivery", []string{d.CallbackID, d.InstanceID, d.TriggerKey}, []string{f.callback.ID, f.instance.ID, "made"})
	})

	t.Run("EndInBatches", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		other := f.newDestination(store.ScopeAll, nil)
		for i := range 5 {
			f.publish(fmt.Sprint(i))
		}
		var ended []int
		at := f.count("SELECT seq FROM destination WHERE id = ?", f.destination.ID)
		n, active, err := f.FailNotifications(t.Context(), day, int64(at), 2)
		check(t, err)
		equal(t, "of an active one", []any{len(n), active}, []any{0, true})
		must(f.EndDestination(t.Context(), day, f.destination.ID, "archived", ""))(t)
		for {
			n, active, err := f.FailNotifications(t.Context(), day, int64(at), 2)
			check(t, err)
			equal(t, "active", active, false)
			if ended = append(ended, len(n)); len(n) == 0 {
				break
			}
		}
		equal(t, "ended", ended, []int{2, 2, 1, 0})
		failed := must(f.ListNotifications(t.Context(), f.callback.ID, store.NotificationFilter{Statuses: []string{"failed"}}, store.Page{}))(t).Items
		equal(t, "failed", len(failed), 5)
		equal(t, "notification", []any{*failed[0].Error, failed[0].Destination.ID, failed[0].AttemptCount}, []any{store.Failure{Code: "destination_archived", Message: "the destination is archived"}, f.destination.ID, 0})
		equal(t, "open ones of the other", len(must(f.OpenNotifications(t.Context(), int64(f.count("SELECT seq FROM destination WHERE id = ?", other.ID)), 10))(t)), 5)
		for _, e := range f.events() {
			equal(t, "event", []any{e.DeliveryStatus, e.FailureCount}, []any{"pending", 1})
		}
	})
}

func TestDestination(t *testing.T) {
	t.Parallel()

	t.Run("ADisabledOneCanBeRevivedAnArchivedOneCannot", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		revive := func(_ *store.DestinationSettings, status *string) error { *status = "active"; return nil }
		must(f.EndDestination(t.Context(), day, f.destination.ID, "disabled", ""))(t)
		equal(t, "deliveries", len(f.publish("a").Deliveries), 0)
		equal(t, "status", must(f.UpdateDestination(t.Context(), day, f.destination.ID, revive))(t).Status, "active")
		equal(t, "deliveries", len(f.publish("b").Deliveries), 1)
		must(f.EndDestination(t.Context(), day, f.destination.ID, "archived", ""))(t)
		equal(t, "status", must(f.EndDestination(t.Context(), day, f.destination.ID, "disabled", ""))(t).Status, "archived")
		_, err := f.UpdateDestination(t.Context(), day, f.destination.ID, revive)
		conflict(t, err)
		equal(t, "the callback's destinations", len(must(f.Callback(t.Context(), f.callback.ID))(t).Destinations), 0)
		_, err = f.EndDestination(t.Context(), day, "dest_none", "archived", "")
		notFound(t, err, "callback.destination", "dest_none")
	})

	t.Run("ANewFilterHoldsForTheNextEvent", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		equal(t, "deliveries", len(f.publish("a").Deliveries), 1)
		must(f.UpdateDestination(t.Context(), day, f.destination.ID, func(d *store.DestinationSettings, _ *string) error {
			d.EventTypes = []string{"other"}
			return nil
		}))(t)
		equal(t, "deliveries", len(f.publish("b").Deliveries), 0)
	})

	t.Run("CanBeListedByCallback", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		f.newDestination(store.ScopeSelected, nil)
		all := f.newDestination(store.ScopeAll, nil)
		l := must(f.ListDestinations(t.Context(), store.DestinationFilter{Callbacks: []string{f.callback.ID}}, store.Page{}))(t)
		equal(t, "destinations", []string{l.Items[0].ID, l.Items[1].ID}, []string{f.destination.ID, all.ID})
		equal(t, "callbacks", l.Items[0].CallbackIDs, []string{f.callback.ID})
	})

	t.Run("AFunctionIsOneRowForEver", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		n := store.NewDestination{SigningSecret: "x", DestinationSettings: store.DestinationSettings{Name: "old", Scope: store.ScopeSelected, URL: "func:mail", Method: "POST",
			Retry: store.Retry{Type: "schedule", MaxAttempts: 3}, Timeout: time.Second, MaxInFlight: 1}}
		check(t, f.SyncFunctions(t.Context(), day, []store.NewDestination{n}))
		first := must(f.Destination(t.Context(), "func:mail"))(t)
		must(f.update(destinationSet("func:mail"), nil))(t)
		n.Name, n.MaxInFlight = "new", 7
		check(t, f.SyncFunctions(t.Context(), day, []store.NewDestination{n}))
		again := must(f.Destination(t.Context(), first.ID))(t)
		equal(t, "function", []any{again.Name, again.MaxInFlight, again.CallbackIDs}, []any{"new", 7, []string{f.callback.ID}})
		equal(t, "deliveries", len(f.publish("a").Deliveries), 1)
		_, err := f.Destination(t.Context(), "func:none")
		notFound(t, err, "callback.destination", "func:none")
	})
}
