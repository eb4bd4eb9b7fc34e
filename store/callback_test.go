package store_test

import (
	"slices"
	"testing"
	"time"

	"github.com/callbackd/callbackd/store"
)

// update changes the fixture's callback.
func (f *fixture) update(sets store.CallbackSets, change func(*store.CallbackSettings)) (store.Callback, error) {
	if change == nil {
		change = func(*store.CallbackSettings) {}
	}
	return f.UpdateCallback(f.t.Context(), day, f.callback.ID, sets, change)
}

func triggerSet(keys ...string) store.CallbackSets {
	set := []store.TriggerChoice{}
	for _, key := range keys {
		set = append(set, store.TriggerChoice{Trigger: key})
	}
	return store.CallbackSets{Triggers: &set}
}

func destinationSet(ids ...string) store.CallbackSets {
	return store.CallbackSets{DestinationIDs: &ids}
}

// due are the callback's triggers that are polled, by key.
func (f *fixture) due() (keys []string) {
	f.t.Helper()
	for _, seq := range must(f.DuePolls(f.t.Context(), day.Add(24*time.Hour), 1000))(f.t) {
		if target := must(f.PollTarget(f.t.Context(), seq))(f.t); target.CallbackID == f.callback.ID {
			keys = append(keys, target.TriggerKey)
		}
	}
	slices.Sort(keys)
	return keys
}

func TestCallback(t *testing.T) {
	t.Parallel()
	shared := setup(t)

	t.Run("HasAllTriggersUnlessTheyAreChosen", func(t *testing.T) {
		t.Parallel()
		f := shared.fresh(t)
		keys := func(c store.Callback) (out []string) {
			for _, tr := range c.Triggers {
				out = append(out, tr.TriggerKey)
			}
			return out
		}
		equal(t, "triggers", keys(f.callback), []string{"made", "gone"})
		chosen := must(f.CreateCallback(t.Context(), day, f.deployment.ID, store.CallbackSettings{}, triggerSet(f.callback.Triggers[1].TriggerID)))(t)
		equal(t, "chosen triggers", keys(chosen), []string{"gone"})
		equal(t, "destinations", len(chosen.Destinations), 0)
	})

	t.Run("RefusesReferencesThatCannotBeUsed", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		must(f.EndDestination(t.Context(), day, f.newDestination(store.ScopeSelected, nil).ID, "archived", ""))(t)
		archived := must(f.ListDestinations(t.Context(), store.DestinationFilter{Statuses: []string{"archived"}}, store.Page{}))(t).Items[0].ID
		for _, c := range []struct {
			sets  store.CallbackSets
			index int
		}{
			{triggerSet("made", "none"), 1},
			{triggerSet("made", "made"), 1},
			{destinationSet("dest_none"), 0},
			{destinationSet(f.destination.ID, archived), 1},
		} {
			_, err := f.CreateCallback(t.Context(), day, f.deployment.ID, store.CallbackSettings{}, c.sets)
			invalidReference(t, err, c.index)
			_, err = f.update(c.sets, func(s *store.CallbackSettings) { s.Name = "half done" })
			invalidReference(t, err, c.index)
		}
		equal(t, "callback", must(f.Callback(t.Context(), f.callback.ID))(t).Name, "")
		_, err := f.CreateCallback(t.Context(), day, "pde_none", store.CallbackSettings{}, store.CallbackSets{})
		notFound(t, err, "provider.deployment", "pde_none")
		must(f.ArchiveDeployment(t.Context(), day, f.deployment.ID))(t)
		_, err = f.CreateCallback(t.Context(), day, f.deployment.ID, store.CallbackSettings{}, store.CallbackSets{})
		notFound(t, err, "provider.deployment", f.deployment.ID)
	})

	t.Run("TellsOfEveryReferenceAtOnceAndChangesNothing", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		sets := triggerSet("none", "made", f.callback.Triggers[0].TriggerID)
		sets.DestinationIDs = &[]string{f.destination.ID, "dest_none"}
		destination := store.Reference{Entity: "callback.destination", ID: "dest_none", Index: 1}
		want := store.InvalidReferencesError{{Entity: "provider.trigger", ID: "none"},
			{Entity: "callback.provider_trigger", ID: f.callback.Triggers[0].TriggerID, Index: 2}, destination}
		equal(t, "sets", f.CheckSets(t.Context(), f.provider.ID, sets), want)
		equal(t, "sets of an unknown provider", f.CheckSets(t.Context(), "", sets), store.InvalidReferencesError{destination})
		_, err := f.CreateCallback(t.Context(), day, "pde_none", store.CallbackSettings{}, sets)
		equal(t, "sets of an unknown deployment", err, store.InvalidReferencesError{destination})
		_, err = f.update(sets, nil)
		equal(t, "sets of a change", err, want)
		check(t, f.CheckSets(t.Context(), f.provider.ID, triggerSet("gone")))
		equal(t, "callbacks of a destination", f.CheckCallbacks(t.Context(), []string{f.callback.ID, "clb_none"}),
			store.InvalidReferencesError{{Entity: "callback", ID: "clb_none", Index: 1}})
		check(t, f.CheckCallbacks(t.Context(), []string{f.callback.ID}))
		equal(t, "callback", must(f.Callback(t.Context(), f.callback.ID))(t), f.callback)
		equal(t, "callbacks", len(must(f.ListCallbacks(t.Context(), store.CallbackFilter{}, store.Page{}))(t).Items), 1)
	})

	t.Run("TakesTheIdThatATriggerHadInAnOlderVersion", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		other := declaration()
		other.Identifier = "other"
		changed := declaration()
		changed.Triggers = changed.Triggers[:1]
		changed.Triggers[0].Name = "Made anew"
		f.sync(changed, other)
		made, gone := f.callback.Triggers[0].TriggerID, f.callback.Triggers[1].TriggerID
		c := must(f.update(triggerSet(made), nil))(t)
		equal(t, "trigger", c.Triggers[0].TriggerKey+" "+c.Triggers[0].TriggerName, "made Made anew")
		equal(t, "the id is the new one", c.Triggers[0].TriggerID != made, true)
		equal(t, "the link is the old one", c.Triggers[0].ID, f.callback.Triggers[0].ID)
		equal(t, "due", f.due(), []string{"made"})
		created := must(f.CreateCallback(t.Context(), day, f.deployment.ID, store.CallbackSettings{}, triggerSet(made)))(t)
		equal(t, "new callback's trigger", created.Triggers[0].TriggerID, c.Triggers[0].TriggerID)
		_, err := f.update(triggerSet("made", made), nil)
		equal(t, "twice", err, store.InvalidReferencesError{{Entity: "callback.provider_trigger", ID: made, Index: 1}})
		_, err = f.update(triggerSet(gone), nil)
		invalidReference(t, err, 0)
		foreign := must(f.ListTriggers(t.Context(), store.CatalogFilter{Providers: []string{"other"}}, store.Page{}))(t).Items[0].ID
		_, err = f.update(triggerSet(foreign), nil)
		invalidReference(t, err, 0)
	})

	t.Run("ASetThatIsReplacedKeepsWhatStays", func(t *testing.T) {
		t.Parallel()
		f := shared.fresh(t)
		f.poll(f.target("made"), `"kept"`, "a")
		before := f.trigger("made")
		set := []store.TriggerChoice{{Trigger: "made", EventTypes: []string{"x"}}}
		c := must(f.update(store.CallbackSets{Triggers: &set}, nil))(t)
		equal(t, "callback trigger", c.Triggers, []store.CallbackTrigger{{ID: f.callback.Triggers[0].ID, TriggerID: f.callback.Triggers[0].TriggerID,
			TriggerKey: "made", TriggerName: "Made", EventTypes: []string{"x"}, CreatedAt: day}})
		equal(t, "instance trigger", f.trigger("made"), before)
		equal(t, "due", f.due(), []string{"made"})
		equal(t, "destinations", len(c.Destinations), 1)
	})

	t.Run("ATriggerThatComesBackFindsItsState", func(t *testing.T) {
		t.Parallel()
		f := shared.fresh(t)
		f.poll(f.target("made"), `"kept"`, "a")
		id := f.trigger("made").ID
		must(f.update(triggerSet("gone"), nil))(t)
		equal(t, "due", f.due(), []string{"gone"})
		must(f.update(triggerSet("made", "gone"), nil))(t)
		equal(t, "due", f.due(), []string{"gone", "made"})
		equal(t, "id and state", f.trigger("made").ID+string(f.target("made").State), id+`"kept"`)
	})

	t.Run("ATriggerThatComesReachesItsInstances", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		f.sync(changed())
		must(f.update(triggerSet("made", "moved"), nil))(t)
		equal(t, "due", f.due(), []string{"made", "moved"})
	})

	t.Run("SettingsThatAreNotNamedStay", func(t *testing.T) {
		t.Parallel()
		f := shared.fresh(t)
		must(f.update(store.CallbackSets{}, func(s *store.CallbackSettings) { s.Name, s.PollIntervalOverride = "new", time.Hour }))(t)
		c := must(f.update(destinationSet(), nil))(t)
		equal(t, "callback", []any{c.Name, c.PollIntervalOverride, len(c.Triggers), len(c.Destinations)}, []any{"new", time.Hour, 2, 0})
	})

	t.Run("AShorterIntervalHoldsAtOnce", func(t *testing.T) {
		t.Parallel()
		f := shared.fresh(t)
		target := f.target("made")
		must(f.RecordPoll(t.Context(), target, store.Poll{At: day, NextPollAt: day.Add(time.Hour)}))(t)
		must(f.update(store.CallbackSets{}, func(s *store.CallbackSettings) { s.PollIntervalOverride = time.Minute }))(t)
		equal(t, "next poll", f.trigger("made").NextPollAt, day.Add(time.Minute))
		equal(t, "interval", f.target("made").Interval, time.Minute)
		must(f.update(store.CallbackSets{}, func(s *store.CallbackSettings) { s.PollIntervalOverride = 2 * time.Hour }))(t)
		equal(t, "next poll after a longer interval", f.trigger("made").NextPollAt, day.Add(time.Minute))
	})

	t.Run("IsPolledNoLongerOnceItIsArchived", func(t *testing.T) {
		t.Parallel()
		f := shared.fresh(t)
		must(f.ArchiveCallback(t.Context(), day, f.callback.ID))(t)
		equal(t, "due", f.due(), []string{})
		equal(t, "callbacks", len(must(f.ListCallbacks(t.Context(), store.CallbackFilter{IDs: []string{f.callback.ID}}, store.Page{}))(t).Items), 0)
		equal(t, "status", must(f.Callback(t.Context(), f.callback.ID))(t).Status, "archived")
		_, err := f.update(store.CallbackSets{}, nil)
		conflict(t, err)
		_, err = f.AttachInstance(t.Context(), day, f.newInstance())
		conflict(t, err)
	})
}

func TestInstance(t *testing.T) {
	t.Parallel()
	shared := setup(t)

	t.Run("IsPolledFromTheMomentItIsAttached", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		equal(t, "due", f.due(), []string{"gone", "made"})
		equal(t, "due a moment before", len(must(f.DuePolls(t.Context(), day.Add(-time.Millisecond), 10))(t)), 0)
		equal(t, "due, at most one", len(must(f.DuePolls(t.Context(), day, 1))(t)), 1)
		before := day.Add(-time.Second)
		equal(t, "due next", must(f.NextPoll(t.Context(), before, day.Add(time.Millisecond)))(t), day)
		equal(t, "due next, before it is", must(f.NextPoll(t.Context(), before, day))(t), time.Time{})
		equal(t, "due next, and not now", must(f.NextPoll(t.Context(), day, day.Add(time.Hour)))(t), time.Time{})
	})

	t.Run("APairIsAttachedOnce", func(t *testing.T) {
		t.Parallel()
		f := shared.fresh(t)
		_, err := f.AttachInstance(t.Context(), day, f.newInstance())
		conflict(t, err)
		without := f.newInstance()
		without.AuthConfigID = ""
		other := must(f.AttachInstance(t.Context(), day, without))(t)
		equal(t, "auth config", other.AuthConfig == nil, true)
		_, err = f.AttachInstance(t.Context(), day, without)
		conflict(t, err)
	})

	t.Run("OneThatWasDetachedIsRevivedWithItsState", func(t *testing.T) {
		t.Parallel()
		f := shared.fresh(t)
		f.poll(f.target("made"), `"kept"`, "a")
		id := f.trigger("made").ID
		equal(t, "status", must(f.DetachInstance(t.Context(), day, f.callback.ID, f.instance.ID))(t).Status, "detached")
		equal(t, "due", f.due(), []string{})
		equal(t, "attached", len(must(f.ListInstances(t.Context(), f.callback.ID, store.InstanceFilter{}, store.Page{}))(t).Items), 0)
		must(f.DetachInstance(t.Context(), day, f.callback.ID, f.instance.ID))(t) // again, which is harmless
		revived := must(f.AttachInstance(t.Context(), day, f.newInstance()))(t)
		equal(t, "instance", revived.ID+" "+revived.Status, f.instance.ID+" attached")
		equal(t, "trigger and state", f.trigger("made").ID+string(f.target("made").State), id+`"kept"`)
		equal(t, "due", f.due(), []string{"gone", "made"})
		equal(t, "events when the source repeats itself", f.poll(f.target("made"), `"kept"`, "a").Events, 0)
	})

	t.Run("HasTheTriggersThatItsCallbackHasWhenItIsRevived", func(t *testing.T) {
		t.Parallel()
		f := shared.fresh(t)
		must(f.DetachInstance(t.Context(), day, f.callback.ID, f.instance.ID))(t)
		must(f.update(triggerSet("gone"), nil))(t)
		must(f.AttachInstance(t.Context(), day, f.newInstance()))(t)
		equal(t, "due", f.due(), []string{"gone"})
	})

	t.Run("UsesOnlyWhatBelongsToItsDeployment", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		ctx := t.Context()
		elsewhere := must(f.CreateDeployment(ctx, day, store.NewDeployment{ProviderID: f.provider.ID, Config: new(f.newConfig("foreign"))}))(t).DefaultConfig.ID
		other := declaration()
		other.Identifier = "other"
		f.sync(declaration(), other)
		stranger := f.newConfig("stranger")
		stranger.ProviderID = must(f.Provider(ctx, "other"))(t).ID
		strange := must(f.CreateConfig(ctx, day, stranger))(t).ID
		ended := must(f.CreateConfig(ctx, day, f.newConfig("ended")))(t).ID
		must(f.ArchiveConfig(ctx, day, ended))(t)
		for _, id := range []string{elsewhere, strange, ended, "pcf_none"} {
			_, err := f.AttachInstance(ctx, day, store.NewInstance{CallbackID: f.callback.ID, ConfigID: id})
			notFound(t, err, "provider.config", id)
		}
		must(f.ArchiveAuthConfig(ctx, day, f.authConfig.ID))(t)
		n := f.newInstance()
		n.ConfigID = f.deployment.DefaultConfig.ID
		_, err := f.AttachInstance(ctx, day, n)
		notFound(t, err, "provider.auth_config", f.authConfig.ID)
		n.AuthConfigID = ""
		must(f.ArchiveDeployment(ctx, day, f.deployment.ID))(t)
		_, err = f.AttachInstance(ctx, day, n)
		notFound(t, err, "provider.deployment", f.deployment.ID)
	})

	t.Run("IsFoundOnlyUnderItsCallback", func(t *testing.T) {
		t.Parallel()
		f := shared.fresh(t)
		other := f.newCallback()
		_, err := f.Instance(t.Context(), other.ID, f.instance.ID)
		notFound(t, err, "callback.instance", f.instance.ID)
		_, err = f.DetachInstance(t.Context(), day, other.ID, f.instance.ID)
		notFound(t, err, "callback.instance", f.instance.ID)
		_, err = f.Instance(t.Context(), "clb_none", f.instance.ID)
		notFound(t, err, "callback", "clb_none")
	})

	t.Run("ItsBaselineIsItsOwnElseTheTriggers", func(t *testing.T) {
		t.Parallel()
		f := shared.fresh(t)
		equal(t, "skips", []bool{f.target("made").SkipBaseline, f.target("gone").SkipBaseline}, []bool{false, true})
		n := f.newInstance()
		n.AuthConfigID, n.Baseline = "", "skip"
		f.instance = must(f.AttachInstance(t.Context(), day, n))(t)
		equal(t, "skips", []bool{f.target("made").SkipBaseline, f.target("gone").SkipBaseline}, []bool{true, true})
	})
}
