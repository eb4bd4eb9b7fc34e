package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/callbackd/callbackd/store"
)

// together hands pieces over while the writer is busy, so that they are one batch, in this order.
func (f *fixture) together(pieces ...func() error) (errs []error) {
	f.t.Helper()
	begun, end, held := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	once := sync.OnceFunc(func() { close(begun) })
	go func() {
		held <- f.Write(context.Background(), func(*store.Tx) error { once(); <-end; return nil })
	}()
	<-begun
	errs = make([]error, len(pieces))
	var wg sync.WaitGroup
	for i, piece := range pieces {
		wg.Go(func() { errs[i] = piece() })
		waitForPieces(f.Store, i+1)
	}
	close(end)
	check(f.t, <-held)
	wg.Wait()
	return errs
}

// send publishes events of one type at once.
func (f *fixture) send(typ string, sourceIDs ...string) error {
	var events []store.NewEvent
	for _, id := range sourceIDs {
		events = append(events, store.NewEvent{Type: typ, SourceID: id, Output: json.RawMessage(`{}`)})
	}
	_, err := f.Publish(f.t.Context(), day, f.callback.ID, events...)
	return err
}

// What is rolled back leaves no trace in the numbers that rows have: the file does not know of it after
// the next start, and an event with the number of another would be found by that one's key.
func TestRollback(t *testing.T) {
	t.Parallel()
	const keep = 24 * time.Hour
	for name, others := range map[string]int{"Alone": 0, "InABatch": 1} {
		t.Run("NumbersAreNotGivenTwice/"+name, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			f.publish("old")
			newest := f.publish("newest").Event
			check(t, f.RecordOutcomes(t.Context(), day, outcomesOf(f, 2)))
			equal(t, "rows removed", f.removeAll(day.Add(2*keep), keep), 2)

			// Its second event is known, and its record removed: none of both is stored.
			pieces := []func() error{func() error { return f.send("thing.made", "lost", "old") }}
			for range others {
				pieces = append(pieces, func() error { return f.ProbeWrite(t.Context()) })
			}
			conflict(t, f.together(pieces...)[0])
			equal(t, "rows removed then", f.removeAll(day.Add(2*keep), keep), 0)
			equal(t, "the newest one", f.event(newest.ID).SourceID, "newest")

			check(t, f.Close())
			f.Store = open(t, f.path)
			f.publish("next")
			equal(t, "problems", must(f.Check(t.Context(), false))(t).Problems, []store.Problem(nil))
		})
	}

	// A clock that is set back is noted with row numbers, which have to be the file's own.
	t.Run("SpansOfTimeAreWholeAfterwards", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		lost := errors.New("no")
		target := f.target("made")
		must(f.RecordPoll(t.Context(), target, store.Poll{At: day.Add(time.Hour), NextPollAt: day, Items: []store.Item{
			{Type: "unmapped", SourceID: "u", Input: json.RawMessage(`{}`), Failure: &store.Failure{Code: store.MappingFailed}, NextMapAt: day}}}))(t)
		for range 5 {
			if err := f.Write(t.Context(), func(tx *store.Tx) error { return errors.Join(tx.Publish(day.Add(time.Hour), f.callback.ID), lost) }); !errors.Is(err, lost) {
				t.Fatal(err)
			}
		}
		// A notification by the clock that was set back, of an event that is there.
		m := must(f.DueMappings(t.Context(), day, 10))(t)[0]
		must(f.RecordMapping(t.Context(), day, target, m, item("mapped")))(t)
		check(t, f.Close())
		f.Store = open(t, f.path)
		must(f.Publish(t.Context(), day.Add(2*time.Hour), f.callback.ID, store.NewEvent{Type: "x", Output: json.RawMessage(`{}`)}))(t)
		found := must(f.ListEvents(t.Context(), f.callback.ID, store.EventFilter{Created: store.Range{After: day.Add(90 * time.Minute)}}, store.Page{}))(t)
		equal(t, "events found", len(found.Items), 1)
	})
}

// While the file is away, a commit fails without the connection being made anew.
func TestDeletedFileForgetsWhatWasNotCommitted(t *testing.T) {
	t.Parallel()
	f := setup(t)
	other := f.fresh(t)
	away := filepath.Join(t.TempDir(), "away")
	errs := f.together(
		func() error { return f.send("new", "a") }, // makes its type
		func() error {
			return f.Write(t.Context(), func(tx *store.Tx) error {
				return errors.Join(os.Rename(f.path, away), tx.Exec("ROLLBACK")) // as SQLite does by itself when the disk fails
			})
		})
	for _, err := range errs {
		if !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("without its file, the store says %v", err)
		}
	}
	check(t, os.Rename(away, f.path))
	check(t, other.send("other", "b")) // whose type has the number that the new one was to have
	check(t, f.send("new", "c"))
	equal(t, "type", f.events()[0].Type, "new")
	equal(t, "problems", must(f.Check(t.Context(), false))(t).Problems, []store.Problem(nil))
}

// Whoever goes through a list is not stopped by retention, which removes what is in front of it.
func TestListWhileRetentionRemovesItsPage(t *testing.T) {
	t.Parallel()
	f := setup(t)
	check(t, f.send("thing.made", "1", "2", "3", "4", "5"))
	check(t, f.RecordOutcomes(t.Context(), day, outcomesOf(f, 3)))
	check(t, f.RecordOutcomes(t.Context(), day, outcomesOf(f, 5)[:2]))
	got := must(f.ListWhile(t.Context(), store.Page{Limit: 2}, sync.OnceFunc(func() { f.removeAll(day.AddDate(1, 0, 0), time.Hour) })))(t)
	if len(got.Items) != 1 || got.Items[0].SourceID != "5" {
		t.Errorf("the page has not the newest event alone, which stays: %v", got)
	}
}

// Pieces of all kinds in one transaction, some of which fail, or cut it off: what was accepted is there
// once, what was refused is not, and whatever comes first sees what it needs of the others.
func TestBatches(t *testing.T) {
	t.Parallel()
	shared := setup(t)
	no := errors.New("no")
	rapid.Check(t, func(r *rapid.T) {
		f := shared.fresh(t)
		other := f.newDestination(store.ScopeSelected, nil)
		must(f.UpdateCallback(t.Context(), day, f.callback.ID, store.CallbackSets{DestinationIDs: &[]string{f.destination.ID, other.ID}}, func(*store.CallbackSettings) {}))(t)
		target := f.target("made")
		var mu sync.Mutex
		want := make(map[string]string) // ids by source id
		var open []store.Delivery
		accepted := func(p store.Published) {
			mu.Lock()
			defer mu.Unlock()
			if id, ok := want[p.Event.SourceID]; ok && id != p.Event.ID {
				t.Errorf("%q is stored as %s, and was as %s", p.Event.SourceID, p.Event.ID, id)
			}
			want[p.Event.SourceID] = p.Event.ID
			open = append(open, p.Deliveries...)
		}
		publish := func(ids ...string) error {
			var events []store.NewEvent
			for i, id := range ids {
				events = append(events, store.NewEvent{Type: "t" + id + fmt.Sprint(i%2), SourceID: id, Output: json.RawMessage(`{}`)})
			}
			out, err := f.Publish(t.Context(), day, f.callback.ID, events...)
			for _, p := range out {
				if err == nil {
					accepted(p)
				}
			}
			return err
		}
		for range rapid.IntRange(1, 4).Draw(r, "batches") {
			var pieces []func() error
			var mayFail []bool
			cut := rapid.IntRange(0, 9).Draw(r, "cut off") == 0
			for range rapid.IntRange(1, 6).Draw(r, "pieces") {
				kind := rapid.SampledFrom([]string{"new", "named", "again", "many", "fails", "outcomes", "poll", "probe"}).Draw(r, "kind")
				name := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(r, "name")
				mayFail = append(mayFail, kind == "fails")
				mu.Lock()
				known, due := slices.Sorted(maps.Values(want)), open
				mu.Unlock()
				switch kind {
				case "new":
					pieces = append(pieces, func() error { return publish("") })
				case "named":
					pieces = append(pieces, func() error { return publish(name, "x"+name, name) })
				case "again":
					id := name
					if len(known) > 0 {
						id = rapid.SampledFrom(known).Draw(r, "known")
					}
					pieces = append(pieces, func() error { return publish(id) })
				case "many":
					pieces = append(pieces, func() error { return publish(make([]string, 17)...) })
				case "fails":
					pieces = append(pieces, func() error {
						return f.Write(t.Context(), func(tx *store.Tx) error { return errors.Join(tx.Publish(day, f.callback.ID), no) })
					})
				case "outcomes":
					var outcomes []store.Outcome
					for _, d := range due {
						outcomes = append(outcomes, store.Outcome{Seq: d.Seq, EventSeq: d.EventSeq, Attempt: store.Attempt{Number: 1, StartedAt: day}})
					}
					pieces = append(pieces, func() error { return f.RecordOutcomes(t.Context(), day, outcomes) })
				case "poll":
					pieces = append(pieces, func() error {
						_, err := f.RecordPoll(t.Context(), target, store.Poll{At: day, NextPollAt: day, Items: []store.Item{item("p" + name), item("p" + name)}})
						return err
					})
				case "probe":
					pieces = append(pieces, func() error { return f.ProbeWrite(t.Context()) })
				}
			}
			if cut {
				pieces = append(pieces, func() error { return f.Write(t.Context(), func(tx *store.Tx) error { return tx.Exec("ROLLBACK") }) })
				mayFail = append(mayFail, true)
			}
			for i, err := range f.together(pieces...) {
				if (err != nil) != (mayFail[i] || cut) {
					t.Errorf("piece %d of %d, cut off: %v: %v", i, len(pieces), cut, err)
				}
			}
		}
		got := make(map[string]string)
		for _, e := range f.events() {
			if e.TriggerKey != store.PublishedTriggerKey {
				continue
			}
			if _, ok := got[e.SourceID]; ok {
				t.Errorf("%q is stored twice", e.SourceID)
			}
			got[e.SourceID] = e.ID
		}
		equal(t, "published events", got, want)
	})
	equal(t, "problems", must(shared.Check(t.Context(), false))(t).Problems, []store.Problem(nil))
	// What was drawn may leave every event open or have made none: these two can be removed, but for the newest.
	check(t, shared.send("done", "1", "2"))
	check(t, shared.RecordOutcomes(t.Context(), day, outcomesOf(shared, 2)))
	if shared.removeAll(day.AddDate(1, 0, 0), time.Hour) == 0 {
		t.Error("nothing was removed")
	}
	equal(t, "problems, with gaps", must(shared.Check(t.Context(), false))(t).Problems, []store.Problem(nil))
}

// The ids of an older file, some of which are out of order, keep their places when their rows are gone.
func TestOldFileAfterRetention(t *testing.T) {
	t.Parallel()
	for _, file := range oldFiles(t) {
		s := openOld(t, oldFile(t, file))
		callback := must(s.ListCallbacks(t.Context(), store.CallbackFilter{}, store.Page{}))(t).Items[0].ID
		list := func(p store.Page) (ids []string) {
			p.Limit = 100
			for _, e := range must(s.ListEvents(t.Context(), callback, store.EventFilter{}, p))(t).Items {
				ids = append(ids, e.ID)
			}
			return ids
		}
		all := list(store.Page{})
		for _, x := range must(s.Expiries(t.Context(), time.Now().AddDate(10, 0, 0), time.Hour))(t) {
			must(s.RemoveEvents(t.Context(), x, 100))(t)
		}
		left := list(store.Page{})
		if len(left) == 0 || len(left) >= len(all) {
			t.Errorf("%s: of %d events %d are left", file, len(all), len(left))
		}
		place := 0 // in what is left
		for _, id := range all {
			equal(t, "before "+id, list(store.Page{Before: id}), left[:place])
			if slices.Contains(left, id) {
				place++
			}
			equal(t, "behind "+id, list(store.Page{After: id}), left[place:])
		}
		equal(t, "problems", must(s.Check(t.Context(), false))(t).Problems, []store.Problem(nil))
	}
}

func TestLookupInAnEmptyTable(t *testing.T) {
	t.Parallel()
	f := setup(t)
	id := "cte_0mwr8i6kmLbYhpXZ8q1jR7"
	for _, p := range []store.Page{{}, {After: id}, {Before: id}, {After: id, Desc: true}} {
		equal(t, "page", must(f.ListEvents(t.Context(), f.callback.ID, store.EventFilter{}, p))(t), store.List[store.Event]{})
	}
	_, err := f.Event(t.Context(), f.callback.ID, id)
	notFound(t, err, "callback.event", id)
	equal(t, "by ids", len(must(f.ListEvents(t.Context(), f.callback.ID, store.EventFilter{IDs: []string{id}, SourceIDs: []string{id}}, store.Page{}))(t).Items), 0)
	equal(t, "repeated", []bool{f.publish(id).Repeated, f.publish(id).Repeated}, []bool{false, true})
	equal(t, "removed, of the newest", f.removeAll(day.AddDate(1, 0, 0), time.Hour), 0)
}
