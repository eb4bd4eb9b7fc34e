package store_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/callbackd/callbackd/store"
)

func TestList(t *testing.T) {
	t.Parallel()
	shared := setup(t)

	// Whatever the limit and the order, and whether one begins in front or behind.
	t.Run("PagesGiveEachRowOnceInOrder", func(t *testing.T) {
		t.Parallel()
		f := shared.fresh(t)
		rapid.Check(t, func(t *rapid.T) {
			f.callback = f.newCallback()
			var want []string
			n := rapid.IntRange(0, 12).Draw(t, "rows")
			for range n {
				want = append(want, f.publish("").EventID)
			}
			p := store.Page{Limit: rapid.IntRange(1, 5).Draw(t, "limit"), Desc: rapid.Bool().Draw(t, "desc")}
			backwards := rapid.Bool().Draw(t, "backwards") && n > 0
			if p.Desc {
				slices.Reverse(want)
			}
			var got []string
			if backwards { // from the last row, which Before leaves out
				p.Before = want[n-1]
				got = append(got, p.Before)
			}
			for page := 0; ; page++ {
				l := must(f.ListEvents(f.t.Context(), f.callback.ID, store.EventFilter{}, p))(f.t)
				ids := eventIDs(l)
				more, other := l.HasMoreAfter, l.HasMoreBefore
				if backwards {
					more, other = other, more
					got = append(ids, got...)
				} else {
					got = append(got, ids...)
				}
				if left := n - len(got); len(ids) != min(p.Limit, left+len(ids)) || more != (left > 0) || other != (page > 0 || backwards) {
					t.Fatalf("page %d of %+v has %d of %d rows, more before: %v, more after: %v", page, p, len(ids), n, l.HasMoreBefore, l.HasMoreAfter)
				}
				if !more {
					break
				}
				// A row that comes meanwhile is in front of what is left, or behind all of it.
				if !backwards && p.Desc || backwards && !p.Desc {
					f.publish("")
				}
				if p.After, p.Before = ids[len(ids)-1], ""; backwards {
					p.After, p.Before = "", ids[0]
				}
			}
			if !slices.Equal(got, want) {
				t.Fatalf("the pages have %v, want %v", got, want)
			}
		})
	})

	t.Run("AnUnknownCursorIsAnEmptyPage", func(t *testing.T) {
		t.Parallel()
		f := shared.fresh(t)
		f.publish("")
		for _, p := range []store.Page{{After: "cte_none"}, {Before: "cte_none"}, {After: f.callback.ID}} {
			equal(t, "page", must(f.ListEvents(t.Context(), f.callback.ID, store.EventFilter{}, p))(t), store.List[store.Event]{})
		}
	})

	t.Run("APageHas20RowsUnlessItSays", func(t *testing.T) {
		t.Parallel()
		f := shared.fresh(t)
		for range 21 {
			f.publish("")
		}
		l := must(f.ListEvents(t.Context(), f.callback.ID, store.EventFilter{}, store.Page{}))(t)
		equal(t, "page", []any{len(l.Items), l.HasMoreAfter}, []any{20, true})
	})

	t.Run("OfAnUnknownCallbackIsNotFound", func(t *testing.T) {
		t.Parallel()
		f := shared.fresh(t)
		_, err := f.ListEvents(t.Context(), "clb_none", store.EventFilter{}, store.Page{})
		notFound(t, err, "callback", "clb_none")
		_, err = f.ListNotifications(t.Context(), "clb_none", store.NotificationFilter{}, store.Page{})
		notFound(t, err, "callback", "clb_none")
	})

	t.Run("FiltersNarrow", func(t *testing.T) {
		t.Parallel()
		f := shared.fresh(t)
		var id [4]string // of the events, oldest first
		for i := range 3 {
			p := must(f.Publish(t.Context(), day.Add(time.Duration(i)*time.Hour), f.callback.ID, store.NewEvent{Type: fmt.Sprint("t", i), SourceID: fmt.Sprint("s", i)}))(t)
			id[i] = p.EventID
			if i == 0 {
				f.record(outcome(p.Deliveries[0], 1, "", time.Time{}))
			}
		}
		f.poll(f.target("made"), `1`, "s2") // the source id of a published event, too
		id[3] = f.events()[3].ID
		for name, c := range map[string]struct {
			filter store.EventFilter
			want   []string
		}{
			"none":              {store.EventFilter{}, id[:]},
			"ids":               {store.EventFilter{IDs: []string{id[2], id[0], "x"}}, []string{id[0], id[2]}},
			"one id":            {store.EventFilter{IDs: id[1:2]}, id[1:2]},
			"types":             {store.EventFilter{Types: []string{"t0", "t1"}}, id[:2]},
			"one type":          {store.EventFilter{Types: []string{"t1"}}, id[1:2]},
			"source ids":        {store.EventFilter{SourceIDs: []string{"s0", "s1"}}, id[:2]},
			"one source id":     {store.EventFilter{SourceIDs: []string{"s2"}}, id[2:]},
			"statuses":          {store.EventFilter{Statuses: []string{"failed"}}, nil},
			"delivery statuses": {store.EventFilter{DeliveryStatuses: []string{"sent"}}, id[:1]},
			"instances":         {store.EventFilter{Instances: []string{f.instance.ID}}, id[3:]},
			"trigger keys":      {store.EventFilter{TriggerKeys: []string{"made"}}, id[3:]},
			"published":         {store.EventFilter{TriggerKeys: []string{store.PublishedTriggerKey}}, id[:3]},
			"created":           {store.EventFilter{Created: store.Range{After: day, Before: day.Add(2 * time.Hour)}}, id[1:2]},
			"several":           {store.EventFilter{Types: []string{"t0", "t1"}, SourceIDs: []string{"s1"}}, id[1:2]},
		} {
			for _, asc := range []bool{true, false} {
				want := slices.Clone(c.want)
				if !asc {
					slices.Reverse(want)
				}
				equal(t, name, eventIDs(must(f.ListEvents(t.Context(), f.callback.ID, c.filter, store.Page{Desc: !asc}))(t)), want)
			}
		}
		for name, c := range map[string]struct {
			filter store.NotificationFilter
			want   int
		}{
			"statuses":     {store.NotificationFilter{Statuses: []string{"delivered", "failed"}}, 1},
			"events":       {store.NotificationFilter{Events: id[:2]}, 2},
			"destinations": {store.NotificationFilter{Destinations: []string{f.destination.ID}, Events: id[:1]}, 1},
			"others":       {store.NotificationFilter{Destinations: []string{"x"}}, 0},
			"created":      {store.NotificationFilter{Created: store.Range{After: day}}, 2},
		} {
			equal(t, name, len(must(f.ListNotifications(t.Context(), f.callback.ID, c.filter, store.Page{}))(t).Items), c.want)
		}
		for name, c := range map[string]struct {
			filter store.InstanceFilter
			want   int
		}{
			"ids":          {store.InstanceFilter{IDs: []string{f.instance.ID, "x"}}, 1},
			"configs":      {store.InstanceFilter{Configs: []string{f.config.ID}, AuthConfigs: []string{f.authConfig.ID}}, 1},
			"other config": {store.InstanceFilter{Configs: []string{f.deployment.DefaultConfig.ID}}, 0},
			"detached":     {store.InstanceFilter{Statuses: []string{"detached"}}, 0},
		} {
			equal(t, name, len(must(f.ListInstances(t.Context(), f.callback.ID, c.filter, store.Page{}))(t).Items), c.want)
		}
	})

	t.Run("AnEventIsFoundOnlyUnderItsCallback", func(t *testing.T) {
		t.Parallel()
		f := shared.fresh(t)
		id := f.publish("").EventID
		_, err := f.Event(t.Context(), f.newCallback().ID, id)
		notFound(t, err, "callback.event", id)
	})
}

func eventIDs(l store.List[store.Event]) (ids []string) {
	for _, e := range l.Items {
		ids = append(ids, e.ID)
	}
	return ids
}
