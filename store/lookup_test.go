package store_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/callbackd/callbackd/store"
)

func TestLookup(t *testing.T) {
	t.Parallel()

	// Retention makes gaps; a place in a list is known also by the id of a row that is gone.
	t.Run("FindsEachRowAmongGaps", func(t *testing.T) {
		t.Parallel()
		shared := setup(t)
		rapid.Check(t, func(r *rapid.T) {
			f := shared.fresh(t)
			var ids []string
			for range rapid.IntRange(1, 10).Draw(r, "events") {
				ids = append(ids, f.publish("").Event.ID)
			}
			gone := make(map[string]bool)
			for _, i := range rapid.SliceOfDistinct(rapid.IntRange(0, len(ids)-1), rapid.ID[int]).Draw(r, "gone") {
				gone[ids[i]] = true
			}
			check(t, f.Write(t.Context(), func(tx *store.Tx) error {
				for id := range gone {
					for _, text := range []string{"DELETE FROM event_payload WHERE event_seq = (SELECT seq FROM event WHERE id = ?)", "DELETE FROM event WHERE id = ?"} {
						if err := tx.Exec(text, id); err != nil {
							return err
						}
					}
				}
				return nil
			}))
			left := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return gone[id] })
			list := func(filter store.EventFilter, p store.Page) (got []string) {
				p.Limit = 100
				for _, e := range must(f.ListEvents(t.Context(), f.callback.ID, filter, p))(t).Items {
					got = append(got, e.ID)
				}
				return got
			}
			equal(t, "by all ids", list(store.EventFilter{IDs: append(ids, "cte_none", "cte_zzzzzzzzzzzzzzzzzzzzzz", "cte_0000000000000000000000")}, store.Page{}), left)
			equal(t, "by source ids, which are their own", list(store.EventFilter{SourceIDs: ids}, store.Page{}), left)
			for i, id := range ids {
				_, err := f.Event(t.Context(), f.callback.ID, id)
				if (err != nil) != gone[id] {
					t.Fatalf("event %d of %d, gone: %v: %v", i, len(ids), gone[id], err)
				}
				from, _ := slices.BinarySearch(left, id)
				to := from
				if !gone[id] {
					to++
				}
				equal(t, "before and behind", fmt.Sprint(list(store.EventFilter{}, store.Page{Before: id}), list(store.EventFilter{}, store.Page{After: id})), fmt.Sprint(left[:from], left[to:]))
			}
		})
	})

	// Or else halving would go astray.
	t.Run("IdsAscendWhenTheClockIsSetBack", func(t *testing.T) {
		t.Parallel()
		now := time.Now().AddDate(10, 0, 0)
		f := setup(t)
		check(t, f.Close())
		var ids []string
		for range 3 {
			f.Store = must(store.Open(t.Context(), store.Options{Path: f.path, NoSync: true, Now: func() time.Time { return now }}))(t)
			for range 2 {
				ids = append(ids, f.publish("").Event.ID)
			}
			for _, id := range ids {
				equal(t, "found", f.event(id).ID, id)
			}
			check(t, f.Close())
			now = now.AddDate(-5, 0, 0)
		}
		if !slices.IsSorted(ids) {
			t.Errorf("the ids do not ascend: %q", ids)
		}
	})

	t.Run("AnEventsOwnIdIsASourceIdThatIsKnown", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		other := f.fresh(t)
		first := f.publish("").Event
		equal(t, "again", f.publish(first.ID), store.Published{Event: f.event(first.ID), Repeated: true})
		equal(t, "of another callback", other.publish(first.ID).Repeated, false)
		named := f.publish("named").Event
		equal(t, "the id of one that has another source id", f.publish(named.ID).Repeated, false)
		equal(t, "and that again", f.publish(named.ID).Repeated, true)
		nobodys := "cte_" + strings.Repeat("z", 22)
		equal(t, "an id that is nobody's", f.publish(nobodys).Repeated, false)
		equal(t, "found", len(must(f.ListEvents(t.Context(), f.callback.ID, store.EventFilter{SourceIDs: []string{first.ID, named.ID, nobodys}}, store.Page{}))(t).Items), 3)
	})
}
