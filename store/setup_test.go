package store_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/callbackd/callbackd/store"
)

func TestSetup(t *testing.T) {
	t.Parallel()

	t.Run("ADeploymentHasItsDefaultConfig", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		equal(t, "deployment", f.deployment.DefaultConfig.Name, "default")
		equal(t, "config", must(f.Config(t.Context(), f.deployment.DefaultConfig.ID))(t).Deployment.ID, f.deployment.ID)
		second := must(f.CreateDeployment(t.Context(), day, store.NewDeployment{ProviderID: f.provider.ID}))(t)
		equal(t, "which deployments are default", []bool{f.deployment.IsDefault, second.IsDefault, second.DefaultConfig != nil}, []bool{true, false, false})
	})

	t.Run("ADeploymentCanHaveADefaultConfigThatThereIs", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		d := must(f.CreateDeployment(t.Context(), day, store.NewDeployment{ProviderID: f.provider.ID, ConfigID: f.config.ID}))(t)
		equal(t, "default config", []any{d.DefaultConfig.ID, d.DefaultConfig.IsDefault}, []any{f.config.ID, false})
		equal(t, "deployment", must(f.Deployment(t.Context(), d.ID))(t).DefaultConfig.ID, f.config.ID)
		equal(t, "the config stays one of all deployments", must(f.Config(t.Context(), f.config.ID))(t).Deployment == nil, true)
		_, err := f.CreateDeployment(t.Context(), day, store.NewDeployment{ProviderID: f.provider.ID, ConfigID: "pcf_none"})
		notFound(t, err, "provider.config", "pcf_none")
	})

	t.Run("DetailsCanBeChangedUntilItIsArchived", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		ctx, rename := t.Context(), func(d *store.Details) { d.Name, d.Metadata = "new", json.RawMessage(`{"a":1}`) }
		renameConfig := func(c *store.ConfigChange) { rename(&c.Details) }
		d := must(f.UpdateDeployment(ctx, day, f.deployment.ID, rename))(t)
		c := must(f.UpdateConfig(ctx, day, f.config.ID, "", renameConfig))(t)
		a := must(f.UpdateAuthConfig(ctx, day, f.authConfig.ID, renameConfig))(t)
		for _, p := range []store.Preview{d.Preview, c.Preview, a.Preview} {
			equal(t, p.ID, p.Name+string(p.Metadata), `new{"a":1}`)
		}
		equal(t, "value", string(f.target("made").Config), `{"url":"config-secret"}`)
		must(f.ArchiveConfig(ctx, day, f.config.ID))(t)
		must(f.ArchiveAuthConfig(ctx, day, f.authConfig.ID))(t)
		must(f.ArchiveDeployment(ctx, day, f.deployment.ID))(t)
		_, err := f.UpdateDeployment(ctx, day, f.deployment.ID, rename)
		conflict(t, err)
		_, err = f.UpdateConfig(ctx, day, f.config.ID, "", renameConfig)
		conflict(t, err)
		_, err = f.UpdateAuthConfig(ctx, day, f.authConfig.ID, renameConfig)
		conflict(t, err)
	})

	t.Run("WhatIsArchivedIsNotListedUnlessAskedFor", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		archived := must(f.ArchiveConfig(t.Context(), day, f.config.ID))(t)
		active := must(f.ListConfigs(t.Context(), store.SetupFilter{}, store.Page{}))(t).Items
		equal(t, "configs", len(active), 1)
		equal(t, "archived configs", must(f.ListConfigs(t.Context(), store.SetupFilter{Statuses: []string{"archived"}}, store.Page{}))(t).Items, []store.Config{archived})
		equal(t, "config", must(f.Config(t.Context(), f.config.ID))(t), archived)
		of := store.SetupFilter{Deployments: []string{f.deployment.ID, "x"}, Providers: []string{"acme", f.provider.ID}} // by both of its names
		equal(t, "config of the deployment", must(f.ListConfigs(t.Context(), of, store.Page{}))(t).Items[0].Preview, active[0].Preview)
	})

	t.Run("CanBeBoundToADeployment", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		c, a := f.newConfig("bound"), f.newAuthConfig()
		c.DeploymentID, a.DeploymentID = f.deployment.ID, f.deployment.ID
		config := must(f.CreateConfig(t.Context(), day, c))(t)
		auth := must(f.CreateAuthConfig(t.Context(), day, a))(t)
		equal(t, "deployments", config.Deployment.ID+" "+auth.Deployment.ID, f.deployment.ID+" "+f.deployment.ID)
		equal(t, "auth config", must(f.AuthConfig(t.Context(), auth.ID))(t).Preview, auth.Preview)
		must(f.ArchiveDeployment(t.Context(), day, f.deployment.ID))(t)
		equal(t, "status", must(f.Deployment(t.Context(), f.deployment.ID))(t).Status, "archived")
		equal(t, "deployments", len(must(f.ListDeployments(t.Context(), store.SetupFilter{}, store.Page{}))(t).Items), 0)
		_, err := f.CreateConfig(t.Context(), day, c)
		notFound(t, err, "provider.deployment", f.deployment.ID)
		_, err = f.CreateAuthConfig(t.Context(), day, a)
		notFound(t, err, "provider.deployment", f.deployment.ID)
	})

	t.Run("DeploymentsAndConfigsCanBeLookedFor", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		version := must(f.Provider(t.Context(), "acme"))(t).CurrentVersion
		for _, c := range []struct {
			filter               store.SetupFilter
			deployments, configs int
		}{
			{store.SetupFilter{Providers: []string{"acme", f.provider.ID, "acme"}}, 1, 2}, // by both of its names
			{store.SetupFilter{Search: "OUR"}, 1, 0},
			{store.SetupFilter{Search: "conf"}, 0, 1},
			{store.SetupFilter{Search: "%"}, 0, 0},
			{store.SetupFilter{Versions: []string{version.ID, "x"}, Specifications: []string{version.SpecificationID, "x"}}, 1, 2},
			{store.SetupFilter{Versions: []string{"x"}, Specifications: []string{"x"}}, 0, 0},
		} {
			equal(t, fmt.Sprintf("%+v", c.filter), []int{len(must(f.ListDeployments(t.Context(), c.filter, store.Page{}))(t).Items),
				len(must(f.ListConfigs(t.Context(), c.filter, store.Page{}))(t).Items)}, []int{c.deployments, c.configs})
		}
	})

	t.Run("AListOfAuthConfigsCanBeNarrowed", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		for _, c := range []struct {
			filter store.SetupFilter
			want   int
		}{
			{store.SetupFilter{AuthMethods: []string{f.authConfig.Method.ID}}, 1},
			{store.SetupFilter{AuthMethods: []string{"x"}}, 0},
			{store.SetupFilter{Deployments: []string{f.deployment.ID}}, 0},
			{store.SetupFilter{IDs: []string{f.authConfig.ID, "x"}, Created: store.Range{After: day.Add(-1e6), Before: day.Add(1e6)}}, 1},
			{store.SetupFilter{Updated: store.Range{After: day}}, 0},
		} {
			got := must(f.ListAuthConfigs(t.Context(), c.filter, store.Page{}))(t)
			equal(t, "auth configs", len(got.Items), c.want)
		}
	})
}

// TestArchive is about what a trigger does when what it polls with ends.
func TestArchive(t *testing.T) {
	t.Parallel()
	archive := map[string]func(*fixture) error{
		"deployment_archived":  func(f *fixture) error { _, err := f.ArchiveDeployment(f.t.Context(), day, f.deployment.ID); return err },
		"config_archived":      func(f *fixture) error { _, err := f.ArchiveConfig(f.t.Context(), day, f.config.ID); return err },
		"auth_config_archived": func(f *fixture) error { _, err := f.ArchiveAuthConfig(f.t.Context(), day, f.authConfig.ID); return err },
	}
	value := func(c *store.ConfigChange) { c.Value = json.RawMessage(`{}`) }
	resume := map[string]func(*fixture) error{
		"ANewConfigValue": func(f *fixture) error {
			_, err := f.UpdateConfig(f.t.Context(), day, f.config.ID, f.config.SpecificationID, value)
			return err
		},
		"ANewAuthConfigValue": func(f *fixture) error {
			_, err := f.UpdateAuthConfig(f.t.Context(), day, f.authConfig.ID, value)
			return err
		},
		"AnotherSetOfTriggers": func(f *fixture) error {
			for _, set := range [][]store.TriggerChoice{{}, {{Trigger: "made"}, {Trigger: "gone"}}} {
				if _, err := f.UpdateCallback(f.t.Context(), day, f.callback.ID, store.CallbackSets{Triggers: &set}, func(*store.CallbackSettings) {}); err != nil {
					return err
				}
			}
			return nil
		},
	}
	for code, end := range archive {
		t.Run("PausesForGoodAndSaysWhy/"+code, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			check(t, end(f))
			tr := f.trigger("made")
			equal(t, "trigger", []any{tr.Status, tr.LastError.Code, tr.NextPollAt}, []any{"paused", code, time.Time{}})
			equal(t, "due", f.due(), []string{})
			for name, again := range resume {
				if err := again(f); err != nil {
					conflict(t, err) // what is archived cannot be changed
				}
				equal(t, "due after "+name, f.due(), []string{})
			}
		})
	}
	for name, again := range resume {
		t.Run(name+"ResumesWhatHadPausedByItself", func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			check(t, f.RecordPollFailure(t.Context(), f.target("made"), store.PollFailure{At: day, Failure: store.Failure{Code: "no", Message: "no"}}))
			equal(t, "due", f.due(), []string{"gone"})
			check(t, again(f))
			equal(t, "due", f.due(), []string{"gone", "made"})
			tr := f.trigger("made")
			equal(t, "trigger", []any{tr.Status, tr.ConsecutiveFailures, tr.LastError == nil}, []any{"active", 0, true})
		})
	}
}
