package store_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/callbackd/callbackd/store"
)

// register records a registration of the trigger "made", as a source's answer.
func (f *fixture) register() {
	f.t.Helper()
	dropped := must(f.RecordRegistration(f.t.Context(), f.target("made"), store.Registration{At: day, URL: "https://hooks.test/webhooks/x",
		Details: json.RawMessage(`{"secret":"registration-secret"}`), State: json.RawMessage(`{"n":1}`), NextAt: store.Never}))(f.t)
	if dropped {
		f.t.Error("it was dropped")
	}
}

func TestRegistration(t *testing.T) {
	t.Parallel()
	f := setup(t)
	failed := store.Failure{Code: store.UnregistrationFailed, Message: "locked"}

	t.Run("IsWhatTheTargetSays", func(t *testing.T) {
		t.Parallel()
		f := f.fresh(t)
		if f.trigger("made").Registered {
			t.Error("it is registered before")
		}
		f.register()
		target, shown := f.target("made"), f.trigger("made")
		equal(t, "target", []any{target.RegisteredURL, string(target.Registration), string(target.State), target.RegistrationIsOld, target.Fixed, target.DueAt},
			[]any{"https://hooks.test/webhooks/x", `{"secret":"registration-secret"}`, `{"n":1}`, false, true, store.Never})
		if !shown.Registered || shown.Status != "active" {
			t.Errorf("shown: %+v", shown)
		}
	})

	t.Run("FailuresOfTakingItBackCountFromOne", func(t *testing.T) {
		t.Parallel()
		f := f.fresh(t)
		for range 5 {
			check(t, f.RecordPollFailure(t.Context(), f.target("made"), store.PollFailure{At: day, NextPollAt: day, Failure: store.Failure{Code: "registration_failed"}}))
		}
		check(t, f.Write(t.Context(), func(tx *store.Tx) error {
			return tx.Exec(fmt.Sprintf("UPDATE instance_trigger SET registered_url = 'u', registered_revision = revision WHERE id = '%s'", f.trigger("made").ID))
		}))
		must(f.DetachInstance(t.Context(), day, f.callback.ID, f.instance.ID))(t)
		for i := range 2 {
			check(t, f.PostponeUnregistration(t.Context(), day, f.target("made").Seq, day.Add(time.Hour), failed))
			equal(t, "failures", f.trigger("made").ConsecutiveFailures, i+1)
		}
		equal(t, "due", f.target("made").UnregisterAt, day.Add(time.Hour))
		// Detached, and tried in vain, it is wanted again.
		must(f.AttachInstance(t.Context(), day, f.newInstance()))(t)
		target := f.target("made")
		if !target.UnregisterAt.IsZero() || !target.RegistrationIsOld || target.LastError != nil || target.ConsecutiveFailures != 0 {
			t.Errorf("attached again: %+v", target)
		}
	})

	// What somebody paused has no error; that its webhook cannot be taken back is none of its own.
	t.Run("ThatCannotBeTakenBackDoesNotEndAPause", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		f.register()
		check(t, f.Write(t.Context(), func(tx *store.Tx) error {
			return tx.Exec(fmt.Sprintf("UPDATE instance_trigger SET status = 'paused', next_poll_at = NULL, unregister_at = %d WHERE registered_url IS NOT NULL", day.UnixMilli()))
		}))
		check(t, f.PostponeUnregistration(t.Context(), day, f.target("made").Seq, day.Add(time.Hour), failed))
		must(f.UpdateConfig(t.Context(), day, f.config.ID, f.config.SpecificationID, func(c *store.ConfigChange) { c.Value = json.RawMessage(`{}`) }))(t)
		must(f.UpdateAuthConfig(t.Context(), day, f.authConfig.ID, func(c *store.ConfigChange) { c.Value = json.RawMessage(`{}`) }))(t)
		if target := f.target("made"); !target.DueAt.IsZero() || target.UnregisterAt.IsZero() {
			t.Errorf("it is due at %s, to be taken back at %s", target.DueAt, target.UnregisterAt)
		}
		check(t, f.RecordUnregistration(t.Context(), day, f.target("made").Seq, nil))
		if shown := f.trigger("made"); shown.Registered || shown.LastError != nil || shown.Status != "paused" {
			t.Errorf("taken back, it is %+v", shown)
		}
		if target := f.target("made"); target.Registration != nil || target.RegisteredURL != "" || string(target.State) != `{"n":1}` {
			t.Errorf("taken back, it has %s", target.Registration)
		}
	})

	t.Run("MovesWithItsDueTimes", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		f.register()
		must(f.DetachInstance(t.Context(), day, f.callback.ID, f.instance.ID))(t)
		check(t, f.PostponeUnregistration(t.Context(), day, f.target("made").Seq, day.Add(time.Hour), failed))
		m := must(f.BeginDueMove(t.Context(), day.Add(-24*time.Hour), -24*time.Hour))(t)
		for done := false; !done; {
			var err error
			done, err = f.MoveDue(t.Context(), m, day, 1, nil)
			check(t, err)
		}
		equal(t, "due", f.target("made").UnregisterAt, day.Add(-23*time.Hour))
		equal(t, "now", len(must(f.DueUnregistrations(t.Context(), day.Add(-24*time.Hour), 10))(t)), 0)
		equal(t, "later", len(must(f.DueUnregistrations(t.Context(), day.Add(-23*time.Hour), 10))(t)), 1)
	})
}

// What a provider makes of an auth config is kept with the value that it was made of.
func TestPreparedIsOfOneValue(t *testing.T) {
	t.Parallel()
	f := setup(t)
	old := f.target("made")
	renew := day.Add(time.Hour)
	check(t, f.SavePrepared(t.Context(), old, json.RawMessage(`{"token":"prepared-secret"}`), renew))
	for _, key := range []string{"made", "gone"} {
		if target := f.target(key); string(target.AuthPrepared) != `{"token":"prepared-secret"}` || !target.AuthRenewAt.Equal(renew) {
			t.Errorf("%s has %s until %s", key, target.AuthPrepared, target.AuthRenewAt)
		}
	}
	change := func(change func(*store.ConfigChange)) {
		t.Helper()
		must(f.UpdateAuthConfig(t.Context(), day, f.authConfig.ID, change))(t)
	}
	change(func(c *store.ConfigChange) { c.Name = "another" })
	if f.target("made").AuthPrepared == nil {
		t.Error("a new name voids it")
	}
	change(func(c *store.ConfigChange) { c.Value = json.RawMessage(`{"token":"auth-secret"}`) })
	check(t, f.SavePrepared(t.Context(), old, json.RawMessage(`{"token":"late"}`), renew))
	if target := f.target("made"); target.AuthPrepared != nil || !target.AuthRenewAt.IsZero() || target.Err != nil {
		t.Errorf("with another value it is %s", target.AuthPrepared)
	}
}

// A trigger that there was nothing to do for is looked at again when its provider is another.
func TestNewVersionOfAProviderWakesItsWebhooks(t *testing.T) {
	t.Parallel()
	f := setup(t)
	d := declaration()
	d.Triggers[0].Source = "webhook"
	f.sync(d)
	due := func() time.Time { t.Helper(); return f.target("made").DueAt }
	check(t, f.RecordListening(t.Context(), day, f.target("made")))
	equal(t, "due", due(), store.Never)
	f.sync(d)
	equal(t, "due after the same version", due(), store.Never)
	d.Triggers[0].AutoRegistration = true
	f.sync(d)
	equal(t, "due when it can be registered", due(), day)
	f.register()
	d.Name = "another"
	f.sync(d)
	equal(t, "due when it is registered", due(), store.Never)
	d.Triggers[0].Source = "polling"
	f.sync(d)
	equal(t, "due when it is polled", due(), day)
}

func TestMoveRegistrations(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.register()
	other := f.fresh(t)
	d := declaration()
	d.Triggers[1].Source = "webhook"
	f.sync(d)
	check(t, f.RecordPollFailure(t.Context(), other.target("gone"), store.PollFailure{At: day, NextPollAt: day.Add(time.Hour), Failure: store.Failure{Code: "registration_failed"}}))
	later := day.Add(time.Minute)
	for i, c := range []struct {
		prefix string
		moved  int
	}{{"", 0}, {"https://hooks.test/webhooks/", 1}, {"https://hooks.test/webhooks/", 0}, {"", 1}, {"https://HOOKS.test/webhooks/", 2}, {"https://hooks.test/webhooks/x", 1}} {
		if moved := must(f.MoveRegistrations(t.Context(), later, c.prefix))(t); moved != c.moved {
			t.Errorf("%d: with %q %d are moved, want %d", i, c.prefix, moved, c.moved)
		}
	}
	equal(t, "due", []time.Time{f.target("made").DueAt, other.target("gone").DueAt}, []time.Time{later, later})
	check(t, f.Close())
	if _, err := f.MoveRegistrations(t.Context(), later, "https://other.test/"); err == nil {
		t.Errorf("on a closed file it says nothing")
	}
}
