package store_test

import (
	"encoding/json"
	"testing"

	"github.com/callbackd/callbackd/store"
)

// changed is the declaration with another trigger, one fewer, and another name for one.
func changed() store.ProviderDeclaration {
	d := declaration()
	d.Triggers = []store.TriggerDeclaration{d.Triggers[0], {Key: "moved", Name: "Moved", Source: "polling", IntervalSeconds: 60, Baseline: "emit"}}
	d.Triggers[0].Name = "Made anew"
	return d
}

func TestSyncProviders(t *testing.T) {
	t.Parallel()

	t.Run("AgainChangesNothing", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		check(t, f.SyncProviders(t.Context(), day.Add(1e9), []store.ProviderDeclaration{declaration()}))
		equal(t, "provider", must(f.Provider(t.Context(), f.provider.ID))(t), f.provider)
		equal(t, "specifications, versions, triggers and auth methods", f.count(`SELECT (SELECT count(*) FROM provider_specification) * 1000
			+ (SELECT count(*) FROM provider_version) * 100 + (SELECT count(*) FROM provider_trigger) * 10 + (SELECT count(*) FROM provider_auth_method)`), 1121)
	})

	t.Run("AChangeIsANewVersionAndOldRowsStay", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		f.sync(changed())
		p := must(f.Provider(t.Context(), "acme"))(t)
		equal(t, "current version", p.CurrentVersion.Version, "2")
		old := must(f.Version(t.Context(), f.provider.CurrentVersion.ID))(t)
		equal(t, "old version", old.Version+" "+old.SpecificationID, "1 "+f.provider.CurrentVersion.SpecificationID)
		equal(t, "old version is current", old.IsCurrent, false)
		keys := func(filter store.CatalogFilter) (out []string) {
			for _, tr := range must(f.ListTriggers(t.Context(), filter, store.Page{}))(t).Items {
				out = append(out, tr.Key+"="+tr.Name)
			}
			return out
		}
		equal(t, "triggers", keys(store.CatalogFilter{}), []string{"made=Made anew", "moved=Moved"})
		equal(t, "triggers of version 1", keys(store.CatalogFilter{Versions: []string{old.ID}}), []string{"made=Made", "gone=Gone"})
		equal(t, "triggers of the deployment", keys(store.CatalogFilter{Deployments: []string{f.deployment.ID}, Providers: []string{"acme"}}), keys(store.CatalogFilter{}))
		equal(t, "config's specification", must(f.Config(t.Context(), f.config.ID))(t).SpecificationID, f.config.SpecificationID)
	})

	t.Run("CallbacksAndInstancesMoveWithTheirState", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		f.poll(f.target("made"), `"cursor"`, "a")
		before := f.trigger("made")
		f.sync(changed())
		after := f.trigger("made")
		equal(t, "instance trigger", after.ID, before.ID)
		equal(t, "trigger's name", after.Trigger.Name, "Made anew")
		equal(t, "state", string(f.target("made").State), `"cursor"`)
		c := must(f.Callback(t.Context(), f.callback.ID))(t)
		equal(t, "callback trigger", c.Triggers[0].ID+" "+c.Triggers[0].TriggerName, f.callback.Triggers[0].ID+" Made anew")
		equal(t, "events when the source repeats itself", f.poll(f.target("made"), `"cursor"`, "a").Events, 0)
	})

	t.Run("AndBackAgain", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		f.poll(f.target("gone"), `"cursor"`)
		f.sync(changed())
		f.sync(declaration())
		p := must(f.Provider(t.Context(), "acme"))(t)
		equal(t, "version and specification", p.CurrentVersion.Version+" "+p.CurrentVersion.SpecificationID, "3 "+f.provider.CurrentVersion.SpecificationID)
		equal(t, "state", string(f.target("gone").State), `"cursor"`)
	})

	t.Run("WhatIsDeclaredNoLongerIsArchivedUntilItIs", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		other := store.ProviderDeclaration{Identifier: "other", Name: "Other", ConfigSchema: json.RawMessage(`{}`)}
		status := func() string { return must(f.Provider(t.Context(), "acme"))(t).Status }
		f.sync(other)
		equal(t, "status", status(), "archived")
		f.sync(other, declaration())
		equal(t, "status", status(), "active")
		equal(t, "version", must(f.Provider(t.Context(), "acme"))(t).CurrentVersion.Version, "1")
	})

	t.Run("IsAllOrNothing", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		bad := store.ProviderDeclaration{Identifier: "bad", Triggers: []store.TriggerDeclaration{{Key: "x", Source: "telepathy"}}}
		if err := f.SyncProviders(t.Context(), day, []store.ProviderDeclaration{changed(), bad}); err == nil {
			t.Error("a source that there is not was taken")
		}
		equal(t, "provider", must(f.Provider(t.Context(), "acme"))(t), f.provider)
	})
}

func TestAuthMethod(t *testing.T) {
	t.Parallel()
	f := setup(t)
	method := must(f.AuthMethod(t.Context(), "token", ""))(t)

	t.Run("IsFoundByIDAndByKey", func(t *testing.T) {
		equal(t, "by id", must(f.AuthMethod(t.Context(), method.ID, ""))(t), method)
		equal(t, "by key", must(f.AuthMethod(t.Context(), "token", f.provider.ID))(t), method)
		_, err := f.AuthMethod(t.Context(), "none", "")
		notFound(t, err, "provider.auth_method", "none")
		_, err = f.AuthMethod(t.Context(), "token", "pro_other")
		notFound(t, err, "provider.auth_method", "token")
	})

	t.Run("AKeyThatSeveralProvidersHaveIsAConflict", func(t *testing.T) {
		other := declaration()
		other.Identifier = "other"
		f.sync(declaration(), other)
		_, err := f.AuthMethod(t.Context(), "token", "")
		conflict(t, err)
		equal(t, "with its provider", must(f.AuthMethod(t.Context(), "token", f.provider.ID))(t).ID, method.ID)
	})
}
