package store_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/callbackd/callbackd/store"
)

func TestList(t *testing.T) {
	t.Parallel()
	shared := setup(t)

	// A hundred of the largest events are more than a request should take memory for.
	t.Run("APageOfLargeEventsEndsEarly", func(t *testing.T) {
		t.Parallel()
		f := shared.fresh(t)
		var want []string
		for i := range 5 {
			size := 3 << 20 / 2
			if i == 3 {
				size = 5 << 20 // more than a page: it is one all the same
			}
			output := json.RawMessage(`"` + strings.Repeat("x", size) + `"`)
			want = append(want, must(f.Publish(t.Context(), day, f.callback.ID, store.NewEvent{Type: "x", Output: output}))(t)[0].Event.ID)
		}
		pages := func(p store.Page) (got []string) {
			for {
				l := must(f.ListEvents(t.Context(), f.callback.ID, store.EventFilter{}, p))(t)
				ids := eventIDs(l)
				if p.Before != "" {
					got = append(got, fmt.Sprint(len(ids), l.HasMoreBefore))
					if p.Before = ids[0]; !l.HasMoreBefore {
						return got
					}
					continue
				}
				got = append(got, fmt.Sprint(len(ids), l.HasMoreAfter))
				if p.After = ids[len(ids)-1]; !l.HasMoreAfter {
					return got
				}
			}
		}
		equal(t, "forwards", pages(store.Page{}), []string{"2 true", "1 true", "1 true", "1 false"})
		equal(t, "backwards", pages(store.Page{Before: want[4]}), []string{"1 true", "2 true", "1 false"})
	})

	// Whatever the limit and the order, and whether one begins in front or behind.
	t.Run("PagesGiveEachRowOnceInOrder", func(t *testing.T) {
		t.Parallel()
		f := shared.fresh(t)
		rapid.Check(t, func(t *rapid.T) {
			f.callback = f.newCallback()
			var want []string
			n := rapid.IntRange(0, 12).Draw(t, "rows")
			for range n {
				want = append(want, f.publish("").Event.ID)
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
			p := must(f.Publish(t.Context(), day.Add(time.Duration(i)*time.Hour), f.callback.ID, store.NewEvent{Type: fmt.Sprint("t", i), SourceID: fmt.Sprint("s", i)}))(t)[0]
			id[i] = p.Event.ID
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
		id := f.publish("").Event.ID
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

// TestListByTime sets the clock to and fro: a range has exactly the rows of its time, whatever
// the clock did, and rows are dated in their order unless it was set back by far.
func TestListByTime(t *testing.T) {
	t.Parallel()
	shared := setup(t)

	rapid.Check(t, func(r *rapid.T) {
		f := shared.fresh(t)
		clock := day.Add(time.Duration(rapid.IntRange(-3, 3).Draw(r, "start")) * time.Hour)
		for range rapid.IntRange(0, 30).Draw(r, "rows") {
			clock = clock.Add(time.Duration(rapid.SampledFrom([]int{0, 1, 700, 60_000, 3_600_000, -1, -59_000, -61_000, -7_200_000}).Draw(r, "step")) * time.Millisecond)
			must(f.Publish(t.Context(), clock, f.callback.ID, store.NewEvent{Type: "a"}))(t)
		}
		all := must(f.ListEvents(t.Context(), f.callback.ID, store.EventFilter{}, store.Page{Limit: 100}))(t).Items
		at := func(label string) time.Time {
			if len(all) == 0 || rapid.Bool().Draw(r, label+" open") {
				return time.Time{}
			}
			return rapid.SampledFrom(all).Draw(r, label).CreatedAt.Add(time.Duration(rapid.IntRange(-1, 1).Draw(r, label+" off")) * time.Millisecond)
		}
		span := store.Range{After: at("after"), Before: at("before")}
		var want []string
		for _, e := range all {
			if (span.After.IsZero() || e.CreatedAt.After(span.After)) && (span.Before.IsZero() || e.CreatedAt.Before(span.Before)) {
				want = append(want, e.ID)
			}
		}
		got := eventIDs(must(f.ListEvents(t.Context(), f.callback.ID, store.EventFilter{Created: span}, store.Page{Limit: 100}))(t))
		if !slices.Equal(got, want) {
			r.Fatalf("%v has %v, want %v", span, got, want)
		}
		notified := must(f.ListNotifications(t.Context(), f.callback.ID, store.NotificationFilter{Created: span}, store.Page{Limit: 100}))(t).Items
		if len(notified) != len(want) {
			r.Fatalf("%v has %d notifications, want %d", span, len(notified), len(want))
		}
	})
}

// TestListFilters compares every mix of filters with a walk over all rows.
func TestListFilters(t *testing.T) {
	t.Parallel()
	f := setup(t)
	second := f.newDestination(store.ScopeSelected, []string{"thing.made"})
	f.callback = must(f.update(destinationSet(f.destination.ID, second.ID), func(*store.CallbackSettings) {}))(t)
	for i := range 60 {
		n := store.NewEvent{Type: []string{"thing.made", "thing.gone", "other"}[i%3], SourceID: fmt.Sprint("own-", i)}
		p := must(f.Publish(t.Context(), day.Add(time.Duration(i)*time.Second), f.callback.ID, n))(t)[0]
		for j, d := range p.Deliveries {
			switch (i + j) % 4 {
			case 0:
				f.record(outcome(d, 1, "", time.Time{}))
			case 1:
				f.record(outcome(d, 1, "http_500", time.Time{}))
			case 2:
				f.record(outcome(d, 1, "http_500", day.Add(time.Hour)))
			}
		}
		if i%7 == 0 {
			f.poll(f.target("made"), `1`, fmt.Sprint("polled-", i))
		}
	}
	events := must(f.ListEvents(t.Context(), f.callback.ID, store.EventFilter{}, store.Page{Limit: 100}))(t).Items
	notifications := must(f.ListNotifications(t.Context(), f.callback.ID, store.NotificationFilter{}, store.Page{Limit: 1000}))(t).Items

	some := func(r *rapid.T, label string, values ...string) []string {
		return rapid.SliceOfNDistinct(rapid.SampledFrom(append(values, "none")), 0, 2, rapid.ID).Draw(r, label)
	}
	has := func(list []string, value string) bool { return len(list) == 0 || slices.Contains(list, value) }
	page := func(r *rapid.T) store.Page {
		return store.Page{Limit: rapid.IntRange(1, 200).Draw(r, "limit"), Desc: rapid.Bool().Draw(r, "desc")}
	}
	compare := func(r *rapid.T, p store.Page, filter any, got, want []string, more bool) {
		if p.Desc {
			slices.Reverse(want)
		}
		if !slices.Equal(got, want[:min(p.Limit, len(want))]) || more != (len(want) > p.Limit) {
			r.Fatalf("%+v, %+v has %v (more: %v), want %v", filter, p, got, more, want)
		}
	}

	t.Run("OfEvents", func(t *testing.T) {
		rapid.Check(t, func(r *rapid.T) {
			e := rapid.SampledFrom(events).Draw(r, "event")
			filter := store.EventFilter{IDs: some(r, "ids", e.ID), Types: some(r, "types", "thing.made", "other", "made"), SourceIDs: some(r, "sources", e.SourceID),
				Statuses: some(r, "statuses", "succeeded", "skipped"), DeliveryStatuses: some(r, "delivery", "pending", "sent", "failed", "skipped"),
				Instances: some(r, "instances", f.instance.ID), TriggerKeys: some(r, "triggers", store.PublishedTriggerKey, "made")}
			var want []string
			for _, e := range events {
				if has(filter.IDs, e.ID) && has(filter.Types, e.Type) && has(filter.SourceIDs, e.SourceID) && has(filter.Statuses, e.Status) &&
					has(filter.DeliveryStatuses, e.DeliveryStatus) && has(filter.Instances, e.InstanceID) && has(filter.TriggerKeys, e.TriggerKey) {
					want = append(want, e.ID)
				}
			}
			p := page(r)
			l := must(f.ListEvents(t.Context(), f.callback.ID, filter, p))(t)
			compare(r, p, filter, eventIDs(l), want, l.HasMoreAfter)
		})
	})

	t.Run("OfNotifications", func(t *testing.T) {
		rapid.Check(t, func(r *rapid.T) {
			n := rapid.SampledFrom(notifications).Draw(r, "notification")
			filter := store.NotificationFilter{Destinations: some(r, "destinations", f.destination.ID, second.ID), Events: some(r, "events", n.Event.ID),
				Statuses: some(r, "statuses", "pending", "retrying", "delivered", "failed")}
			var want []string
			for _, n := range notifications {
				if has(filter.Destinations, n.Destination.ID) && has(filter.Events, n.Event.ID) && has(filter.Statuses, n.Status) {
					want = append(want, n.ID)
				}
			}
			p := page(r)
			l := must(f.ListNotifications(t.Context(), f.callback.ID, filter, p))(t)
			var got []string
			for _, n := range l.Items {
				got = append(got, n.ID)
			}
			compare(r, p, filter, got, want, l.HasMoreAfter)
		})
	})
}
