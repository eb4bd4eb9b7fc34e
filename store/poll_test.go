package store_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/callbackd/callbackd/store"
)

// unmapped is an item whose mapping failed and is to be tried again at a time.
func unmapped(name string, again time.Time) store.Item {
	return store.Item{Input: json.RawMessage(`{"name":"` + name + `"}`), SourceID: name, NextMapAt: again, Failure: &store.Failure{Code: "map_failed", Message: "bad input"}}
}

func TestRecordPoll(t *testing.T) {
	t.Parallel()
	shared := setup(t)

	t.Run("StoresEventsStateAndTheNextPollTogether", func(t *testing.T) {
		t.Parallel()
		f := shared.fresh(t)
		r := f.poll(f.target("made"), `{"n":1}`, "a", "b")
		equal(t, "events and deliveries", []int{r.Events, len(r.Deliveries)}, []int{2, 2})
		equal(t, "deliveries", r.Deliveries, must(f.Deliveries(t.Context(), []int64{r.Deliveries[0].Seq, r.Deliveries[1].Seq}, 1<<20))(t))
		e := f.events()[0]
		equal(t, "event", []string{e.InstanceID, e.TriggerKey, e.SourceID, e.Status, e.DeliveryStatus}, []string{f.instance.ID, "made", "a", "succeeded", "pending"})
		equal(t, "state", string(f.target("made").State), `{"n":1}`)
		tr := f.trigger("made")
		equal(t, "times", []time.Time{tr.LastPolledAt, tr.NextPollAt}, []time.Time{day, day.Add(time.Minute)})
		must(f.RecordPoll(t.Context(), f.target("made"), store.Poll{At: day, NextPollAt: day}))(t)
		equal(t, "state after a poll without one", string(f.target("made").State), `{"n":1}`)
	})

	t.Run("AFailedWriteLeavesTheOldState", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		f.poll(f.target("made"), `"old"`, "a")
		before := f.trigger("made")
		check(t, f.Write(t.Context(), func(tx *store.Tx) error {
			return tx.Exec("CREATE TRIGGER no BEFORE INSERT ON notification WHEN new.event_seq >= 3 BEGIN SELECT raise(ABORT, 'no'); END")
		}))
		target := f.target("made")
		_, err := f.RecordPoll(t.Context(), target, store.Poll{At: day, NextPollAt: day, State: json.RawMessage(`"new"`), Items: []store.Item{item("b"), item("c")}})
		if err == nil {
			t.Error("RecordPoll succeeds")
		}
		equal(t, "state", string(f.target("made").State), `"old"`)
		equal(t, "trigger", f.trigger("made"), before)
		equal(t, "events", len(f.events()), 1)
		check(t, f.Write(t.Context(), func(tx *store.Tx) error { return tx.Exec("DROP TRIGGER no") }))
		equal(t, "events of the poll again", f.poll(target, `"new"`, "b", "c").Events, 2)
	})

	t.Run("TwoTriggersMayHaveTheSameSourceID", func(t *testing.T) {
		t.Parallel()
		f := shared.fresh(t)
		gone := f.target("gone")
		f.poll(gone, `1`)
		equal(t, "events", f.publish("a").Repeated, false)
		equal(t, "events", f.poll(f.target("made"), `1`, "a").Events, 1)
		equal(t, "events", f.poll(f.target("gone"), `1`, "a").Events, 1)
	})

	t.Run("AnInputThatIsTheOutputIsStoredOnce", func(t *testing.T) {
		t.Parallel()
		f := shared.fresh(t)
		f.poll(f.target("made"), `1`, "same")
		other := item("other")
		other.Input = json.RawMessage(`{"raw":1}`)
		none := item("none")
		none.Input = nil
		must(f.RecordPoll(t.Context(), f.target("made"), store.Poll{At: day, NextPollAt: day, Items: []store.Item{other, none}}))(t)
		var got []string
		for _, e := range f.events() {
			got = append(got, string(e.Input)+" "+string(e.Output))
		}
		equal(t, "inputs and outputs", got, []string{"{} {}", `{"raw":1} {}`, " {}"})
		equal(t, "bytes of inputs", f.count("SELECT sum(length(p.input)) FROM event_payload AS p JOIN event AS e ON e.seq = p.event_seq JOIN callback AS c ON c.seq = e.callback_seq WHERE c.id = ?", f.callback.ID), 1+9)
	})

	t.Run("ABaselineIsRememberedAndNotEmitted", func(t *testing.T) {
		t.Parallel()
		f := shared.fresh(t)
		equal(t, "events of the first poll", f.poll(f.target("gone"), `1`, "a", "b").Events, 0)
		equal(t, "skips", f.target("gone").SkipBaseline, false)
		equal(t, "events of the second", f.poll(f.target("gone"), `2`, "a", "b", "c").Events, 1)
		equal(t, "event", f.events()[0].SourceID, "c")
	})

	t.Run("AFailedFirstPollLeavesTheBaselineToCome", func(t *testing.T) {
		t.Parallel()
		f := shared.fresh(t)
		check(t, f.RecordPollFailure(t.Context(), f.target("gone"), store.PollFailure{At: day, NextPollAt: day.Add(time.Minute), Failure: store.Failure{Code: "no"}}))
		equal(t, "skips", f.target("gone").SkipBaseline, true)
	})

	t.Run("IsDroppedWhenTheTriggerIsPolledNoLonger", func(t *testing.T) {
		t.Parallel()
		f := shared.fresh(t)
		stop := map[string]func(){
			"detached": func() { must(f.DetachInstance(t.Context(), day, f.callback.ID, f.instance.ID))(t) },
			"removed":  func() { must(f.update(triggerSet("gone"), nil))(t) },
			"archived": func() { must(f.ArchiveCallback(t.Context(), day, f.callback.ID))(t) },
		}
		for _, name := range []string{"removed", "detached", "archived"} {
			target := f.target("made")
			target.DueAt = day
			stop[name]()
			equal(t, name+": record", f.poll(target, `"new"`, "a"), store.PollRecord{Dropped: true})
			check(t, f.RecordPollFailure(t.Context(), target, store.PollFailure{At: day, NextPollAt: day, Failure: store.Failure{Code: "no"}}))
			equal(t, name+": due", must(f.PollTarget(t.Context(), target.Seq))(t).DueAt, time.Time{})
			if name == "removed" {
				must(f.update(triggerSet("made", "gone"), nil))(t)
			} else if name == "detached" {
				must(f.AttachInstance(t.Context(), day, f.newInstance()))(t)
			}
		}
		equal(t, "events", len(f.events()), 0)
	})

	t.Run("TypesThatTheCallbackDoesNotWantAreSkipped", func(t *testing.T) {
		t.Parallel()
		f := shared.fresh(t)
		f.poll(f.target("made"), `1`, "before")
		set := []store.TriggerChoice{{Trigger: "made", EventTypes: []string{"other"}}}
		must(f.update(store.CallbackSets{Triggers: &set}, nil))(t)
		equal(t, "deliveries", len(f.poll(f.target("made"), `2`, "a").Deliveries), 0)
		e := f.events()[1]
		equal(t, "event", e.Status+" "+e.DeliveryStatus, "skipped skipped")
	})

	t.Run("FailuresCountUntilASuccess", func(t *testing.T) {
		t.Parallel()
		f := shared.fresh(t)
		f.poll(f.target("made"), `"kept"`)
		for range 2 {
			check(t, f.RecordPollFailure(t.Context(), f.target("made"), store.PollFailure{At: day, NextPollAt: day.Add(time.Hour), Failure: store.Failure{Code: "no", Message: "not now"}}))
		}
		tr := f.trigger("made")
		equal(t, "trigger", []any{tr.Status, tr.ConsecutiveFailures, *tr.LastError, tr.NextPollAt}, []any{"failing", 2, store.Failure{Code: "no", Message: "not now"}, day.Add(time.Hour)})
		equal(t, "state", string(f.target("made").State), `"kept"`)
		f.poll(f.target("made"), `"new"`)
		tr = f.trigger("made")
		equal(t, "trigger", []any{tr.Status, tr.ConsecutiveFailures, tr.LastError == nil}, []any{"active", 0, true})
		check(t, f.RecordPollFailure(t.Context(), f.target("made"), store.PollFailure{At: day, Failure: store.Failure{Code: "no"}}))
		equal(t, "status", f.trigger("made").Status, "paused")
		equal(t, "due", f.due(), []string{"gone"})
	})

	// However often a source repeats itself, also within one poll, whatever fails in between.
	t.Run("StoresEachSourceIDOnce", func(t *testing.T) {
		t.Parallel()
		f := shared.fresh(t)
		rapid.Check(t, func(t *rapid.T) {
			f := f.fresh(f.t)
			seen := map[string]bool{}
			for _, ids := range rapid.SliceOfN(rapid.SliceOfN(rapid.IntRange(0, 20), 0, 10), 1, 5).Draw(t, "polls") {
				var texts []string
				fresh := 0
				for _, id := range ids {
					text := fmt.Sprint(id)
					if texts = append(texts, text); !seen[text] {
						seen[text] = true
						fresh++
					}
				}
				if r := f.poll(f.target("made"), `1`, texts...); r.Events != fresh || len(r.Deliveries) != fresh {
					t.Fatalf("%v gave %d events and %d deliveries, want %d", texts, r.Events, len(r.Deliveries), fresh)
				}
			}
			equal(f.t, "events", len(f.events()), len(seen))
		})
	})
}

func TestMapping(t *testing.T) {
	t.Parallel()

	// record has one unmapped item recorded, and returns what is due of it.
	record := func(f *fixture) store.Mapping {
		f.t.Helper()
		must(f.RecordPoll(f.t.Context(), f.target("made"), store.Poll{At: day, NextPollAt: day.Add(time.Minute), Items: []store.Item{unmapped("input", day.Add(time.Second))}}))(f.t)
		equal(f.t, "due before its time", len(must(f.DueMappings(f.t.Context(), day, 10))(f.t)), 0)
		return must(f.DueMappings(f.t.Context(), day.Add(time.Second), 10))(f.t)[0]
	}

	t.Run("AnInputThatWasNotMappedIsKeptAndTriedAgain", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		m := record(f)
		equal(t, "mapping", []any{m.TriggerSeq, m.Attempts, string(m.Input)}, []any{f.target("made").Seq, 1, `{"name":"input"}`})
		equal(t, "next", must(f.NextMapping(t.Context()))(t), day.Add(time.Second))
		e := f.events()[0]
		equal(t, "event", []any{e.Status, e.DeliveryStatus, e.Error.Code}, []any{"retrying", "pending", "map_failed"})
	})

	t.Run("OneThatIsMappedIsAnEventLikeOthers", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		m := record(f)
		deliveries := must(f.RecordMapping(t.Context(), day, f.target("made"), m, item("a")))(t)
		equal(t, "deliveries", deliveries, must(f.Deliveries(t.Context(), []int64{deliveries[0].Seq}, 1<<20))(t))
		e := f.events()[0]
		equal(t, "event", []any{e.Status, e.DeliveryStatus, e.SourceID, e.Type, string(e.Output), e.Error == nil, e.DestinationCount},
			[]any{"succeeded", "pending", "a", "thing.made", `{}`, true, 1})
		equal(t, "due", len(must(f.DueMappings(t.Context(), day.Add(time.Hour), 10))(t)), 0)
		equal(t, "next", must(f.NextMapping(t.Context()))(t), time.Time{})
		equal(t, "events when the source repeats itself", f.poll(f.target("made"), `1`, "a").Events, 0)
		equal(t, "deliveries of a second time", len(must(f.RecordMapping(t.Context(), day, f.target("made"), m, item("a")))(t)), 0)
		equal(t, "notifications", f.count("SELECT count(*) FROM notification"), 1)
	})

	t.Run("OneThatTurnsOutToBeKnownIsSkipped", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		m := record(f)
		f.poll(f.target("made"), `1`, "a")
		equal(t, "deliveries", len(must(f.RecordMapping(t.Context(), day, f.target("made"), m, item("a")))(t)), 0)
		e := f.events()[0]
		equal(t, "event", []string{e.Status, e.DeliveryStatus, e.Error.Code}, []string{"skipped", "skipped", "duplicate"})
		named := must(f.ListEvents(t.Context(), f.callback.ID, store.EventFilter{SourceIDs: []string{e.SourceID}}, store.Page{}))(t)
		equal(t, "events of that source id", eventIDs(named), []string{e.ID})
	})

	t.Run("OneThatFailsAgainIsTriedUntilItIsGivenUp", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		m := record(f)
		must(f.RecordMapping(t.Context(), day, f.target("made"), m, unmapped("input", day.Add(time.Minute))))(t)
		m = must(f.DueMappings(t.Context(), day.Add(time.Hour), 10))(t)[0]
		equal(t, "attempts", m.Attempts, 2)
		must(f.RecordMapping(t.Context(), day, f.target("made"), m, unmapped("input", time.Time{})))(t)
		e := f.events()[0]
		equal(t, "event", []string{e.Status, e.DeliveryStatus, e.Error.Code}, []string{"failed", "skipped", "map_failed"})
		equal(t, "due", len(must(f.DueMappings(t.Context(), day.Add(time.Hour), 10))(t)), 0)
	})

	t.Run("OneThatIsGivenUpAtOnceIsSentToNobody", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		must(f.RecordPoll(t.Context(), f.target("made"), store.Poll{At: day, NextPollAt: day, Items: []store.Item{unmapped("input", time.Time{})}}))(t)
		e := f.events()[0]
		equal(t, "event", []string{e.Status, e.DeliveryStatus}, []string{"failed", "skipped"})
	})
}

// What one trigger polls with cannot be opened: the others are polled all the same.
func TestPollTargetsThatAreBroken(t *testing.T) {
	t.Parallel()
	f := setup(t)
	broken := f.target("made")
	whole := f.fresh(t)
	config := must(f.CreateConfig(t.Context(), day, f.newConfig("other")))(t)
	n := whole.newInstance()
	n.ConfigID = config.ID
	must(whole.AttachInstance(t.Context(), day, n))(t)
	check(t, f.Write(t.Context(), func(tx *store.Tx) error {
		return tx.Exec("UPDATE provider_config SET value = x'00' WHERE id = ?", f.config.ID)
	}))
	opened, failed := 0, 0
	due := must(f.DuePolls(t.Context(), day.Add(time.Hour), 100))(t)
	for _, target := range must(f.PollTargets(t.Context(), append(due, 9999), 1<<20))(t) {
		if target.Err != nil {
			failed++
		} else {
			opened++
		}
		if target.Seq == broken.Seq && target.Err == nil {
			t.Error("the broken one is whole")
		}
	}
	equal(t, "triggers", []int{failed, opened}, []int{4, 2})
}
