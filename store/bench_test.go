package store_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/callbackd/callbackd/store"
)

// benchSetup is the fixture in a file that is synced, as it is outside of tests.
func benchSetup(b *testing.B) *fixture {
	f := setup(b)
	check(b, f.Close())
	f.Store = must(store.Open(b.Context(), store.Options{Path: f.path}))(b)
	b.Cleanup(func() { _ = f.Close() })
	return f
}

// BenchmarkPublish is one durable event with one notification, by 64 callers for each CPU.
func BenchmarkPublish(b *testing.B) {
	f := benchSetup(b)
	b.SetParallelism(64)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := f.Publish(b.Context(), day, f.callback.ID, store.NewEvent{Type: "thing.made", Output: json.RawMessage(`{"id":1}`)}); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkRecordPoll is a poll with 1000 items, all new or all known.
func BenchmarkRecordPoll(b *testing.B) {
	for _, fresh := range []bool{true, false} {
		b.Run(fmt.Sprintf("new=%v", fresh), func(b *testing.B) {
			f := benchSetup(b)
			target, round := f.target("made"), 0
			for b.Loop() {
				if fresh {
					round++
				}
				p := store.Poll{At: day, NextPollAt: day.Add(time.Minute), State: json.RawMessage(`1`)}
				for i := range 1000 {
					p.Items = append(p.Items, item(fmt.Sprint("item-", round, "-", i)))
				}
				must(f.RecordPoll(b.Context(), target, p))(b)
			}
		})
	}
}

// BenchmarkRecordOutcomes is the outcomes of 100 deliveries, which are published outside of
// the measured time.
func BenchmarkRecordOutcomes(b *testing.B) {
	f := benchSetup(b)
	round := 0
	for b.Loop() {
		b.StopTimer()
		round++
		p := store.Poll{At: day, NextPollAt: day}
		for i := range 100 {
			p.Items = append(p.Items, item(fmt.Sprint(round, "-", i)))
		}
		var outcomes []store.Outcome
		for _, d := range must(f.RecordPoll(b.Context(), f.target("made"), p))(b).Deliveries {
			outcomes = append(outcomes, outcome(d, 1, "", time.Time{}))
		}
		b.StartTimer()
		f.record(outcomes...)
	}
}

// BenchmarkListDeep is a page of 20 in the middle of 20000 events.
func BenchmarkListDeep(b *testing.B) {
	f := setup(b)
	target := f.target("made")
	for i := range 20 {
		p := store.Poll{At: day, NextPollAt: day}
		for j := range 1000 {
			p.Items = append(p.Items, item(fmt.Sprint(i, "-", j)))
		}
		must(f.RecordPoll(b.Context(), target, p))(b)
	}
	middle := must(f.ListEvents(b.Context(), f.callback.ID, store.EventFilter{SourceIDs: []string{"10-0"}}, store.Page{}))(b).Items[0].ID
	for b.Loop() {
		must(f.ListEvents(b.Context(), f.callback.ID, store.EventFilter{}, store.Page{After: middle}))(b)
	}
}

// BenchmarkEvent is one event of 600 bytes with the outcome of its delivery, 20 to a commit, none
// of which waits for the disk.
func BenchmarkEvent(b *testing.B) {
	const each = 20
	f := setup(b)
	output := json.RawMessage(`{"text":"` + strings.Repeat("x", 580) + `"}`)
	events := make([]store.NewEvent, each)
	for i := range events {
		events[i] = store.NewEvent{Type: "thing.made", Output: output}
	}
	outcomes := make([]store.Outcome, each)
	b.ReportAllocs()
	for i := 0; i < b.N; i += each {
		for j, p := range must(f.Publish(b.Context(), day, f.callback.ID, events...))(b) {
			outcomes[j] = outcome(p.Deliveries[0], 1, "", time.Time{})
		}
		f.record(outcomes...)
	}
}
