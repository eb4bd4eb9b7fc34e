package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

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
