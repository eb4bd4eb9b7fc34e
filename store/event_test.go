package store_test

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"github.com/callbackd/callbackd/store"
)

func TestPublish(t *testing.T) {
	t.Parallel()
	shared := setup(t)

	t.Run("StoresTheEventAndItsNotifications", func(t *testing.T) {
		t.Parallel()
		f := shared.fresh(t)
		n := store.NewEvent{Type: "thing.made", SourceID: "a", Input: json.RawMessage(`{"in":1}`), Output: json.RawMessage(`{"out":1}`)}
		p := must(f.Publish(t.Context(), day, f.callback.ID, n))(t)[0]
		equal(t, "event", f.event(p.Event.ID), p.Event)
		equal(t, "event", p.Event, store.Event{ID: p.Event.ID, CallbackID: f.callback.ID, TriggerKey: store.PublishedTriggerKey, Type: "thing.made",
			SourceID: "a", Input: n.Input, Output: n.Output, Status: "succeeded", DeliveryStatus: "pending", DestinationCount: 1, CreatedAt: day, UpdatedAt: day})
		d := must(f.Deliveries(t.Context(), []int64{p.Deliveries[0].Seq}, 1<<20))(t)
		equal(t, "deliveries", p.Deliveries, d)
		equal(t, "delivery", []any{d[0].EventID, d[0].TriggerKey, d[0].SourceID, string(d[0].Output), d[0].AttemptCount, d[0].CreatedAt},
			[]any{p.Event.ID, "publish", "a", `{"out":1}`, 0, day})
	})

	// The notification's insert fails, and with it the event's.
	t.Run("IsAllOrNothing", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		check(t, f.Write(t.Context(), func(tx *store.Tx) error {
			return tx.Exec("CREATE TRIGGER no BEFORE INSERT ON notification BEGIN SELECT raise(ABORT, 'no'); END")
		}))
		if _, err := f.Publish(t.Context(), day, f.callback.ID, store.NewEvent{Type: "x", SourceID: "a"}); err == nil {
			t.Error("Publish succeeds")
		}
		check(t, f.Write(t.Context(), func(tx *store.Tx) error { return tx.Exec("DROP TRIGGER no") }))
		equal(t, "events", len(f.events()), 0)
		equal(t, "repeated", f.publish("a").Repeated, false)
	})

	t.Run("IsAllOrNothingOfManyToo", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		check(t, f.Write(t.Context(), func(tx *store.Tx) error {
			return tx.Exec("CREATE TRIGGER no BEFORE INSERT ON event WHEN NEW.source_id = 'b' BEGIN SELECT raise(ABORT, 'no'); END")
		}))
		n := func(id string) store.NewEvent {
			return store.NewEvent{Type: "x", SourceID: id, Output: json.RawMessage(`{}`)}
		}
		if _, err := f.Publish(t.Context(), day, f.callback.ID, n("a"), n("b"), n("c")); err == nil {
			t.Error("Publish succeeds")
		}
		equal(t, "events", len(f.events()), 0)
		p := must(f.Publish(t.Context(), day, f.callback.ID, n("a"), n("c"), n("a")))(t)
		equal(t, "published", []any{len(p), p[0].Repeated, p[1].Repeated, p[2].Repeated, p[2].Event.ID}, []any{3, false, false, true, p[0].Event.ID})
		equal(t, "events", len(f.events()), 2)
	})

	t.Run("NotifiesEveryDestinationThatWantsTheType", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		picky := f.newDestination(store.ScopeSelected, []string{"thing.made", "other"})
		fussy := f.newDestination(store.ScopeSelected, []string{"other"})
		disabled := f.newDestination(store.ScopeSelected, nil)
		f.newDestination(store.ScopeSelected, nil) // of no callback
		must(f.update(destinationSet(f.destination.ID, picky.ID, fussy.ID, disabled.ID), nil))(t)
		must(f.EndDestination(t.Context(), day, disabled.ID, "disabled", ""))(t)
		all := f.newDestination(store.ScopeAll, nil)
		var got []string
		for _, d := range f.publish("a").Deliveries {
			got = append(got, must(f.DestinationBySeq(t.Context(), d.DestinationSeq))(t).ID)
		}
		equal(t, "destinations", got, []string{f.destination.ID, picky.ID, all.ID})
		must(f.update(destinationSet(fussy.ID), nil))(t)
		must(f.EndDestination(t.Context(), day, all.ID, "archived", ""))(t)
		p := f.publish("b")
		equal(t, "deliveries", len(p.Deliveries), 0)
		equal(t, "delivery status", f.event(p.Event.ID).DeliveryStatus, "skipped")
	})

	t.Run("ScopeAllCoversCallbacksMadeLater", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		all := f.newDestination(store.ScopeAll, nil)
		f.callback = f.newCallback()
		equal(t, "destinations", []string{f.callback.Destinations[0].ID, f.callback.Destinations[1].ID}, []string{f.destination.ID, all.ID})
		equal(t, "deliveries", len(f.publish("a").Deliveries), 2)
	})

	t.Run("ADestinationCanNameItsCallbacks", func(t *testing.T) {
		t.Parallel()
		f := shared.fresh(t)
		f.publish("before")
		n := store.NewDestination{CallbackIDs: []string{f.callback.ID}, DestinationSettings: store.DestinationSettings{Scope: store.ScopeSelected,
			URL: "https://example.com", Method: "POST", Retry: store.Retry{Type: "linear", MaxAttempts: 1}}}
		must(f.CreateDestination(t.Context(), day, n))(t)
		equal(t, "deliveries", len(f.publish("a").Deliveries), 2)
		n.CallbackIDs = append(n.CallbackIDs, "clb_none")
		_, err := f.CreateDestination(t.Context(), day, n)
		invalidReference(t, err, 1)
	})

	t.Run("TheSameSourceIDIsTheFirstEvent", func(t *testing.T) {
		t.Parallel()
		f := shared.fresh(t)
		first := f.publish("a")
		again := f.publish("a")
		equal(t, "again", again, store.Published{Event: f.event(first.Event.ID), Repeated: true})
		equal(t, "events", len(f.events()), 1)
		f.callback = f.newCallback()
		equal(t, "repeated in another callback", f.publish("a").Repeated, false)
	})

	t.Run("OfManyAtOnceOneIsTheFirst", func(t *testing.T) {
		t.Parallel()
		f := shared.fresh(t)
		var wg sync.WaitGroup
		ids := make([]string, 50)
		for i := range ids {
			wg.Go(func() {
				p, err := f.Publish(t.Context(), day, f.callback.ID, store.NewEvent{Type: "x", SourceID: "same"})
				if err != nil {
					t.Error(err)
				}
				ids[i] = p[0].Event.ID
			})
		}
		wg.Wait()
		events := f.events()
		equal(t, "events", len(events), 1)
		equal(t, "answers", strings.Join(ids, ""), strings.Repeat(events[0].ID, len(ids)))
	})

	t.Run("WithoutASourceIDItIsTheEventsOwn", func(t *testing.T) {
		t.Parallel()
		f := shared.fresh(t)
		a, b := f.publish(""), f.publish("")
		equal(t, "source ids", f.event(a.Event.ID).SourceID+f.event(b.Event.ID).SourceID, a.Event.ID+b.Event.ID)
	})

	t.Run("LongSourceIDsDiffer", func(t *testing.T) {
		t.Parallel()
		f := shared.fresh(t)
		long := strings.Repeat("x", 500)
		// The last is what the key of the first looks like.
		for _, id := range []string{long, long + "y", long[:32], long[:33], string(store.DedupKey(long))} {
			first := f.publish(id)
			equal(t, "repeated at first", first.Repeated, false)
			equal(t, "again", f.publish(id), store.Published{Event: f.event(first.Event.ID), Repeated: true})
		}
		got := must(f.ListEvents(t.Context(), f.callback.ID, store.EventFilter{SourceIDs: []string{long, long[:32]}}, store.Page{}))(t)
		equal(t, "found", got.Items[0].SourceID+got.Items[1].SourceID, long+long[:32])
	})

	// Retention removes events, not keys.
	t.Run("ASourceIDIsRememberedLongerThanItsEvent", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		f.publish("a")
		check(t, f.Write(t.Context(), func(tx *store.Tx) error {
			for _, table := range []string{"notification", "event_payload", "event"} {
				if err := tx.Exec("DELETE FROM " + table); err != nil {
					return err
				}
			}
			return nil
		}))
		check(t, f.Close())
		f.Store = open(t, f.path)
		f.publish("b") // is not mistaken for it, though it has its row number
		_, err := f.Publish(t.Context(), day, f.callback.ID, store.NewEvent{Type: "x", SourceID: "a"})
		conflict(t, err)
	})

	t.Run("NeedsAnActiveCallback", func(t *testing.T) {
		t.Parallel()
		f := shared.fresh(t)
		_, err := f.Publish(t.Context(), day, "clb_none", store.NewEvent{Type: "x"})
		notFound(t, err, "callback", "clb_none")
		f.publish("a")
		must(f.ArchiveCallback(t.Context(), day, f.callback.ID))(t)
		_, err = f.Publish(t.Context(), day, f.callback.ID, store.NewEvent{Type: "x"})
		conflict(t, err)
	})
}
