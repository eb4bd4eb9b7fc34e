package store_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/callbackd/callbackd/store"
)

// removeAll removes what has expired, in small batches, and returns how many rows that were.
func (f *fixture) removeAll(now time.Time, keep time.Duration) (rows int64) {
	f.t.Helper()
	for _, x := range must(f.Expiries(f.t.Context(), now, keep))(f.t) {
		for {
			n := must(f.RemoveEvents(f.t.Context(), x, 3))(f.t)
			if n == 0 {
				break
			}
			rows += n
		}
	}
	return rows
}

func TestRetention(t *testing.T) {
	t.Parallel()
	const keep = 24 * time.Hour

	// Events of any age and state, in callbacks with and without a setting of their own.
	t.Run("RemovesWhatIsOldAndDoneWithAndNothingElse", func(t *testing.T) {
		t.Parallel()
		shared := setup(t)
		rapid.Check(t, func(r *rapid.T) {
			f := shared.fresh(t)
			own := rapid.SampledFrom([]time.Duration{0, -1, time.Hour, 100 * time.Hour}).Draw(r, "own")
			must(f.UpdateCallback(t.Context(), day, f.callback.ID, store.CallbackSets{}, func(s *store.CallbackSettings) { s.Retention = own }))(t)
			age := map[time.Duration]time.Duration{0: keep, -1: 1000 * time.Hour}[own]
			if age == 0 {
				age = own
			}
			now, want := day, 0
			target := f.target("made")
			for i := range rapid.IntRange(0, 12).Draw(r, "events") {
				now = now.Add(time.Duration(rapid.IntRange(0, 20).Draw(r, "hours")) * time.Hour)
				state := rapid.SampledFrom([]string{"waiting", "retrying", "sent", "failed", "unmapped", "skipped"}).Draw(r, "state")
				switch state {
				case "unmapped":
					must(f.RecordPoll(t.Context(), target, store.Poll{At: now, NextPollAt: now, Items: []store.Item{{Type: "unmapped", SourceID: fmt.Sprint("u", i), Failure: &store.Failure{Code: store.MappingFailed}, NextMapAt: now}}}))(t)
					continue
				case "skipped":
					must(f.UpdateCallback(t.Context(), now, f.callback.ID, store.CallbackSets{DestinationIDs: &[]string{}}, func(*store.CallbackSettings) {}))(t)
				}
				p := must(f.Publish(t.Context(), now, f.callback.ID, store.NewEvent{Type: "thing.made", SourceID: fmt.Sprint(i)}))(t)[0]
				must(f.UpdateCallback(t.Context(), now, f.callback.ID, store.CallbackSets{DestinationIDs: &[]string{f.destination.ID}}, func(*store.CallbackSettings) {}))(t)
				last := now
				for _, d := range p.Deliveries {
					a := store.Attempt{Number: 1, StartedAt: now, Response: &store.Response{StatusCode: 200}}
					if state == "failed" || state == "retrying" {
						a.Failure = &store.Failure{Code: "http_error"}
					}
					o := store.Outcome{Seq: d.Seq, EventSeq: d.EventSeq, Attempt: a}
					if state == "retrying" {
						o.NextAttemptAt = now.Add(time.Hour)
					}
					if state != "waiting" {
						last = now.Add(time.Duration(rapid.IntRange(0, 5).Draw(r, "hours until done")) * time.Hour)
						check(t, f.RecordOutcomes(t.Context(), last, []store.Outcome{o}))
					}
				}
				if state == "waiting" || state == "retrying" {
					last = now.AddDate(100, 0, 0)
				}
				if day.AddDate(0, 0, 10).Sub(last) > age {
					want++
				}
			}
			f.publish("") // the newest one always stays
			before := len(f.events())
			f.removeAll(day.AddDate(0, 0, 10), keep)
			equal(t, "removed", before-len(f.events()), want)
			callback := "(SELECT seq FROM callback WHERE id = ?)"
			equal(t, "notifications of none", f.count("SELECT count(*) FROM notification AS n WHERE n.callback_seq = "+callback+" AND NOT EXISTS (SELECT 1 FROM event AS e WHERE e.seq = n.event_seq)", f.callback.ID), 0)
			equal(t, "events without theirs", f.count("SELECT count(*) FROM event AS e WHERE e.callback_seq = "+callback+" AND e.destination_count <> (SELECT count(*) FROM notification AS n WHERE n.seq BETWEEN e.first_notification_seq AND e.first_notification_seq + e.destination_count - 1 AND n.event_seq = e.seq)", f.callback.ID), 0)
		})
		equal(t, "payloads of none", shared.count("SELECT count(*) FROM event_payload AS p WHERE NOT EXISTS (SELECT 1 FROM event AS e WHERE e.seq = p.event_seq)"), 0)
		equal(t, "attempts of none", shared.count("SELECT count(*) FROM attempt AS a WHERE NOT EXISTS (SELECT 1 FROM notification AS n WHERE n.seq = a.notification_seq)"), 0)
	})

	t.Run("RepeatsAreKnownAfterwards", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		f.poll(f.target("made"), "{}", "a")
		check(t, f.RecordOutcomes(t.Context(), day, outcomesOf(f, 1)))
		f.publish("newest")
		equal(t, "rows", f.removeAll(day.Add(2*keep), keep), 2)
		equal(t, "again", f.poll(f.target("made"), "{}", "a").Events, 0)
	})

	// What is removed makes room: the file does not grow for ever.
	t.Run("RoomIsUsedAgain", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		var sizes []int
		now := day
		for range 4 {
			events := make([]store.NewEvent, 300)
			for i := range events {
				events[i] = store.NewEvent{Type: "x", Output: []byte(`{"text":"` + fmt.Sprintf("%0600d", i) + `"}`)}
			}
			must(f.Publish(t.Context(), now, f.callback.ID, events...))(t)
			check(t, f.RecordOutcomes(t.Context(), now, outcomesOf(f, 300)))
			now = now.Add(2 * keep)
			f.removeAll(now, keep)
			sizes = append(sizes, f.count("SELECT page_count FROM pragma_page_count"))
		}
		if sizes[3] > sizes[0]*11/10 {
			t.Errorf("the file grows, in pages: %v", sizes)
		}
	})
}

// outcomesOf are deliveries of the newest n notifications.
func outcomesOf(f *fixture, n int64) (out []store.Outcome) {
	last := must(f.LastNotification(f.t.Context()))(f.t)
	for seq := last - n + 1; seq <= last; seq++ {
		out = append(out, store.Outcome{Seq: seq, EventSeq: int64(f.count("SELECT event_seq FROM notification WHERE seq = ?", seq)), Attempt: store.Attempt{Number: 1, StartedAt: day}})
	}
	return out
}
