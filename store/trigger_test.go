package store_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/callbackd/callbackd/store"
)

// change changes the trigger "made".
func (f *fixture) change(c store.TriggerChange) (store.InstanceTrigger, error) {
	f.t.Helper()
	_, changed, err := f.UpdateInstanceTrigger(f.t.Context(), day.Add(time.Hour), f.callback.ID, f.instance.ID, "made", c)
	return changed, err
}

func (f *fixture) pause() {
	f.t.Helper()
	paused := must(f.change(store.TriggerChange{Status: "paused"}))(f.t)
	f.isPaused(paused)
}

// isPaused tells whether somebody has paused a trigger, and nothing else.
func (f *fixture) isPaused(t store.InstanceTrigger) {
	f.t.Helper()
	equal(f.t, "status, plan, failures and error", []any{t.Status, t.NextPollAt.IsZero(), t.ConsecutiveFailures, t.LastError == nil}, []any{"paused", true, 0, true})
}

// inOrder holds the file to the engine's rules about triggers.
func (f *fixture) inOrder() {
	f.t.Helper()
	rules, queries := store.Rules()
	for i, q := range queries {
		if !strings.HasPrefix(rules[i], "a trigger") {
			continue
		}
		if n := f.count("SELECT count(*) FROM (" + q + ")"); n != 0 {
			f.t.Errorf("%d rows break the rule: %s", n, rules[i])
		}
	}
}

func TestUpdateInstanceTrigger_Pause(t *testing.T) {
	t.Parallel()
	ctx := t.Context()

	// What somebody paused stays so, whatever becomes of what the trigger needs.
	for name, event := range map[string]func(f *fixture){
		"ANewConfig": func(f *fixture) {
			must(f.UpdateConfig(ctx, day, f.config.ID, f.provider.CurrentVersion.SpecificationID, func(c *store.ConfigChange) { c.Value = json.RawMessage(`{"new":1}`) }))(f.t)
		},
		"ANewAuthConfig": func(f *fixture) {
			must(f.UpdateAuthConfig(ctx, day, f.authConfig.ID, func(c *store.ConfigChange) { c.Value = json.RawMessage(`{"new":1}`) }))(f.t)
		},
		"ANewInterval": func(f *fixture) {
			must(f.UpdateCallback(ctx, day, f.callback.ID, store.CallbackSets{}, func(s *store.CallbackSettings) { s.PollIntervalOverride = time.Second }))(f.t)
		},
		"NoLongerNamedAndNamedAgain": func(f *fixture) {
			must(f.UpdateCallback(ctx, day, f.callback.ID, store.CallbackSets{Triggers: &[]store.TriggerChoice{{Trigger: "gone"}}}, func(*store.CallbackSettings) {}))(f.t)
			f.inOrder()
			must(f.UpdateCallback(ctx, day, f.callback.ID, store.CallbackSets{Triggers: &[]store.TriggerChoice{{Trigger: "made"}, {Trigger: "gone"}}}, func(*store.CallbackSettings) {}))(f.t)
		},
		"AnArchivedConfig":            func(f *fixture) { must(f.ArchiveConfig(ctx, day, f.config.ID))(f.t) },
		"AnotherVersionOfItsProvider": func(f *fixture) { d := declaration(); d.Triggers[0].IntervalSeconds = 7; f.sync(d) },
		"ARestart": func(f *fixture) {
			check(f.t, f.Close())
			f.Store = open(f.t, f.path)
		},
		"AnotherPause": func(f *fixture) { f.pause() },
		"APollThatEnds": func(f *fixture) { // it was begun before
		},
	} {
		t.Run("IsKeptBy"+name, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			running := f.target("made")
			f.pause()
			event(f)
			f.isPaused(f.trigger("made"))
			equal(t, "what was found is dropped", f.poll(running, `{"a":1}`, "x").Dropped, true)
			check(t, f.RecordPollFailure(ctx, running, store.PollFailure{At: day, NextPollAt: day, Failure: store.Failure{Code: "x", Message: "x"}}))
			f.isPaused(f.trigger("made"))
			equal(t, "state", f.count("SELECT count(*) FROM instance_trigger WHERE state IS NOT NULL"), 0)
			f.inOrder()
		})
	}

	t.Run("EndsWhenTheInstanceIsAttachedAnew", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		f.pause()
		must(f.DetachInstance(ctx, day, f.callback.ID, f.instance.ID))(t)
		f.inOrder()
		must(f.AttachInstance(ctx, day, f.newInstance()))(t)
		equal(t, "status", f.trigger("made").Status, "active")
		f.inOrder()
	})

	// Only somebody's own pause is remembered of a trigger that the callback no longer names, although
	// the error is replaced, and forgotten, when its webhook is taken back.
	t.Run("ByAnErrorEndsWhenTheTriggerIsNamedAgain", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		must(f.RecordRegistration(ctx, f.target("made"), store.Registration{At: day, URL: "https://here.test/1", NextAt: store.Never}))(t)
		check(t, f.RecordPollFailure(ctx, f.target("made"), store.PollFailure{At: day, Failure: store.Failure{Code: "permanent", Message: "no"}}))
		equal(t, "status", f.trigger("made").Status, "paused")
		for _, names := range [][]store.TriggerChoice{{{Trigger: "gone"}}, {{Trigger: "made"}}} {
			must(f.UpdateCallback(ctx, day, f.callback.ID, store.CallbackSets{Triggers: &names}, func(*store.CallbackSettings) {}))(t)
			f.inOrder()
			for _, seq := range must(f.DueUnregistrations(ctx, day, 10))(t) {
				check(t, f.PostponeUnregistration(ctx, day, seq, day, store.Failure{Code: store.UnregistrationFailed, Message: "no"}))
				check(t, f.RecordUnregistration(ctx, day, seq, nil))
			}
		}
		equal(t, "status", f.trigger("made").Status, "active")
	})

	t.Run("LeavesTheWebhookRegistered", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		must(f.RecordRegistration(ctx, f.target("made"), store.Registration{At: day, URL: "https://here.test/1", NextAt: store.Never}))(t)
		f.pause()
		target := f.target("made")
		equal(t, "registered", []any{target.RegisteredURL, target.RegistrationIsOld, len(must(f.DueUnregistrations(ctx, store.Never, 10))(t)) == 0}, []any{"https://here.test/1", false, true})
		must(f.change(store.TriggerChange{Status: "active"}))(t)
		equal(t, "it is registered anew: the source may have given up meanwhile", f.target("made").RegistrationIsOld, true)
	})
}

func TestUpdateInstanceTrigger_Resume(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	active := store.TriggerChange{Status: "active"}

	for name, trouble := range map[string]func(f *fixture){
		"APause": func(f *fixture) { f.pause() },
		"AnError": func(f *fixture) {
			check(f.t, f.RecordPollFailure(ctx, f.target("made"), store.PollFailure{At: day, Failure: store.Failure{Code: "permanent", Message: "no"}}))
		},
		"BackingOff": func(f *fixture) {
			check(f.t, f.RecordPollFailure(ctx, f.target("made"), store.PollFailure{At: day, NextPollAt: day.Add(9 * time.Hour), Failure: store.Failure{Code: "x", Message: "no"}}))
		},
	} {
		t.Run("From"+name+"PollsAtOnce", func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			running := f.target("made")
			trouble(f)
			got := must(f.change(active))(t)
			equal(t, "trigger", []any{got.Status, got.ConsecutiveFailures, got.LastError == nil, got.NextPollAt}, []any{"active", 0, true, day.Add(time.Hour)})
			equal(t, "what was found before is dropped", f.poll(running, `1`, "x").Dropped, true)
			f.inOrder()
		})
	}

	t.Run("OfAnActiveTriggerLeavesItsPlan", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		running := f.target("made")
		equal(t, "next poll", must(f.change(active))(t).NextPollAt, day)
		equal(t, "what is found counts", f.poll(running, `1`, "x").Dropped, false)
	})

	for name, end := range map[string]func(f *fixture){
		"Detached":           func(f *fixture) { must(f.DetachInstance(ctx, day, f.callback.ID, f.instance.ID))(f.t) },
		"CallbackArchived":   func(f *fixture) { must(f.ArchiveCallback(ctx, day, f.callback.ID))(f.t) },
		"DeploymentArchived": func(f *fixture) { must(f.ArchiveDeployment(ctx, day, f.deployment.ID))(f.t) },
		"ConfigArchived":     func(f *fixture) { must(f.ArchiveConfig(ctx, day, f.config.ID))(f.t) },
		"AuthConfigArchived": func(f *fixture) { must(f.ArchiveAuthConfig(ctx, day, f.authConfig.ID))(f.t) },
	} {
		t.Run("IsAConflictWhen"+name, func(t *testing.T) {
			t.Parallel()
			for _, paused := range []bool{false, true} {
				f := setup(t)
				if paused {
					f.pause()
				}
				end(f)
				before := f.trigger("made")
				_, err := f.change(store.TriggerChange{Status: "active", State: new(json.RawMessage(`1`))})
				conflict(t, err)
				_, _, err = f.PolledTrigger(ctx, f.callback.ID, f.instance.ID, "made")
				conflict(t, err)
				equal(t, "trigger", f.trigger("made"), before)
				equal(t, "state", f.count("SELECT count(*) FROM instance_trigger WHERE state IS NOT NULL"), 0)
				f.inOrder()
			}
		})
	}
}

func TestUpdateInstanceTrigger_State(t *testing.T) {
	t.Parallel()
	ctx := t.Context()

	t.Run("IsPolledWithAtOnceAndWhatWasBegunBeforeDoesNotCount", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		f.poll(f.target("made"), `"old"`, "a")
		running := f.target("made")
		for _, state := range []json.RawMessage{json.RawMessage(`{"since":1}`), nil} {
			got := must(f.change(store.TriggerChange{State: &state}))(t)
			equal(t, "state and next poll", []any{string(got.State), got.NextPollAt}, []any{string(state), day.Add(time.Hour)})
			equal(t, "what was found is dropped", f.poll(running, `"newer"`, "b").Dropped, true)
			running = f.target("made")
			equal(t, "state", string(running.State), string(state))
			equal(t, "nothing is skipped", running.SkipBaseline, false)
		}
		equal(t, "there is none", f.count("SELECT count(*) FROM instance_trigger WHERE state IS NOT NULL"), 0)
		record := f.poll(running, `"newer"`, "a", "b")
		equal(t, "what was seen is seen", []any{record.Dropped, record.Events}, []any{false, 1})
	})

	t.Run("OfAPausedTriggerWaits", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		f.pause()
		got := must(f.change(store.TriggerChange{State: new(json.RawMessage(`1`))}))(t)
		f.isPaused(got)
		both := must(f.change(store.TriggerChange{Status: "active", State: new(json.RawMessage(`2`))}))(t)
		equal(t, "both at once", []any{both.Status, string(both.State), both.NextPollAt}, []any{"active", "2", day.Add(time.Hour)})
	})

	t.Run("EndsABaselineUnlessItIsNone", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		for _, c := range []struct {
			state json.RawMessage
			skip  bool
		}{{nil, true}, {json.RawMessage(`1`), false}, {nil, false}} {
			_, _, err := f.UpdateInstanceTrigger(ctx, day, f.callback.ID, f.instance.ID, "gone", store.TriggerChange{State: &c.state})
			check(t, err)
			equal(t, "the first poll is only remembered", f.target("gone").SkipBaseline, c.skip)
		}
	})

	t.Run("OfAWebhookLeavesItsRegistration", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		d := declaration()
		d.Triggers[0].Source = "webhook"
		f.sync(d)
		must(f.RecordRegistration(ctx, f.target("made"), store.Registration{At: day, URL: "https://here.test/1", NextAt: store.Never}))(t)
		got := must(f.change(store.TriggerChange{State: new(json.RawMessage(`1`))}))(t)
		target := f.target("made")
		equal(t, "plan and registration", []any{got.NextPollAt, target.RegistrationIsOld, target.Fixed}, []any{store.Never, false, true})
	})
}

// Of an older version's file, and before the first poll, nothing is known of the last poll.
func TestInstanceTriggerKnowsItsLastPoll(t *testing.T) {
	t.Parallel()
	f := setup(t)
	known := func() []bool {
		x := f.trigger("made")
		return []bool{!x.LastPolledAt.IsZero(), x.Lag != nil, x.LastDuration != nil, x.LastItems != nil}
	}
	equal(t, "before the first poll", known(), []bool{false, false, false, false})
	must(f.RecordPoll(t.Context(), f.target("made"), store.Poll{At: day, NextPollAt: day.Add(time.Minute), Lag: 3 * time.Second, Duration: 70 * time.Millisecond, Items: []store.Item{item("a"), item("b"), item("a")}}))(t)
	x := f.trigger("made")
	equal(t, "after it", []any{*x.Lag, *x.LastDuration, *x.LastItems}, []any{3 * time.Second, 70 * time.Millisecond, 3})
	check(t, f.RecordPollFailure(t.Context(), f.target("made"), store.PollFailure{At: day, NextPollAt: day.Add(time.Minute), Duration: time.Second, Failure: store.Failure{Code: "x", Message: "x"}}))
	x = f.trigger("made")
	equal(t, "after a failure", []any{*x.Lag, *x.LastDuration, *x.LastItems}, []any{time.Duration(0), time.Second, 0})
	check(t, f.Write(t.Context(), func(tx *store.Tx) error {
		return tx.Exec("UPDATE instance_trigger SET last_lag_ms = NULL, last_duration_ms = NULL, last_items = NULL")
	}))
	equal(t, "in an older version's file", known(), []bool{true, false, false, false})
}
