package store_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/callbackd/callbackd/store"
)

// hooked is a store with an instance of a trigger "hook", which has a webhook.
func hooked(t *testing.T) *fixture {
	t.Helper()
	f := setup(t)
	d := declaration()
	d.Triggers = append(d.Triggers, store.TriggerDeclaration{Key: "hook", Name: "Hook", Source: "webhook", IntervalSeconds: 60, Baseline: "skip"})
	f.sync(d)
	f.provider = must(f.Provider(t.Context(), "acme"))(t)
	return f.fresh(t)
}

func (f *fixture) exec(query string, args ...any) {
	f.t.Helper()
	check(f.t, f.Write(f.t.Context(), func(tx *store.Tx) error { return tx.Exec(query, args...) }))
}

// webhook is the trigger as a request finds it.
func (f *fixture) webhook() (store.PollTarget, store.Openness) {
	f.t.Helper()
	t, open, err := f.WebhookTarget(f.t.Context(), f.trigger("hook").ID)
	check(f.t, err)
	return t, open
}

func (f *fixture) receive(t store.PollTarget, state string, sourceIDs ...string) store.PollRecord {
	f.t.Helper()
	w := store.Webhook{At: day, RecordedAt: day, Duration: 20 * time.Millisecond}
	if state != "" {
		w.State = json.RawMessage(state)
	}
	for _, id := range sourceIDs {
		w.Items = append(w.Items, item(id))
	}
	return must(f.RecordWebhook(f.t.Context(), t, w))(f.t)
}

func TestWebhookTarget(t *testing.T) {
	t.Parallel()
	f := hooked(t)
	seq := f.target("hook").Seq

	t.Run("IsNoTriggerThatIsPolled", func(t *testing.T) {
		for _, id := range []string{"", "ctr_none", f.trigger("made").ID, f.instance.ID} {
			_, _, err := f.WebhookTarget(t.Context(), id)
			if _, ok := errors.AsType[*store.NotFoundError](err); !ok {
				t.Errorf("%q: %v", id, err)
			}
		}
	})
	t.Run("IsOpenWhileItIsAttendedTo", func(t *testing.T) {
		target, open := f.webhook()
		equal(t, "openness", open, store.WebhookOpen)
		equal(t, "config", string(target.Config), `{"url":"config-secret"}`)
		equal(t, "auth", string(target.Auth), `{"token":"auth-secret"}`)
	})
	t.Run("IsPausedAloneOrClosedWithWhatItNeeds", func(t *testing.T) {
		f.exec("UPDATE instance_trigger SET status = 'paused', next_poll_at = NULL WHERE seq = ?", seq)
		_, open := f.webhook()
		equal(t, "paused", open, store.WebhookPaused)
		for _, end := range [][2]string{
			{"UPDATE callback SET status = 'archived'", "UPDATE callback SET status = 'active'"},
			{"UPDATE instance SET status = 'detached'", "UPDATE instance SET status = 'attached'"},
			{"UPDATE provider_deployment SET status = 'archived'", "UPDATE provider_deployment SET status = 'active'"},
			{"UPDATE provider_config SET status = 'archived'", "UPDATE provider_config SET status = 'active'"},
			{"UPDATE provider_auth_config SET status = 'archived'", "UPDATE provider_auth_config SET status = 'active'"},
		} {
			f.exec(end[0])
			if _, open := f.webhook(); open != store.WebhookClosed {
				t.Errorf("%s: %d", end[0], open)
			}
			f.exec(end[1])
		}
		f.exec("UPDATE instance_trigger SET status = 'active' WHERE seq = ?", seq)
		_, open = f.webhook()
		equal(t, "neither paused nor attended to", open, store.WebhookClosed)
	})
}

func TestRecordWebhook(t *testing.T) {
	t.Parallel()
	f := hooked(t)

	t.Run("StoresWhatIsNew", func(t *testing.T) {
		f := f.fresh(t)
		target, _ := f.webhook()
		out := f.receive(target, "", "a", "b")
		equal(t, "record", []any{out.Events, len(out.Deliveries), out.Dropped}, []any{2, 2, false})
		out = f.receive(target, "", "b", "c")
		equal(t, "the second", []any{out.Events, len(out.Deliveries)}, []any{1, 1})
		equal(t, "events", len(f.events()), 3)
		tr := f.trigger("hook")
		equal(t, "trigger", []any{tr.LastReceivedAt, *tr.LastDuration, *tr.LastItems, tr.Status}, []any{day, 20 * time.Millisecond, 2, "active"})
	})
	t.Run("TakesAStateOnlyIfItWasMadeFromTheLast", func(t *testing.T) {
		f := f.fresh(t)
		first, _ := f.webhook()
		equal(t, "first", f.receive(first, "1", "a").Dropped, false)
		out := f.receive(first, "1", "b")
		equal(t, "from the same", []any{out.Dropped, out.Events, len(f.events())}, []any{true, 0, 1})
		second, _ := f.webhook()
		equal(t, "state", string(second.State), "1")
		equal(t, "second", f.receive(second, "2", "b").Dropped, false)
		equal(t, "without a state", f.receive(first, "", "c").Dropped, false)
		last, _ := f.webhook()
		equal(t, "state", string(last.State), "2")
	})
	t.Run("DropsWhatIsNoLongerWanted", func(t *testing.T) {
		f := f.fresh(t)
		target, _ := f.webhook()
		f.exec("UPDATE instance_trigger SET revision = revision + 1 WHERE seq = ?", target.Seq)
		equal(t, "with another config", f.receive(target, "", "a").Dropped, true)
		target, _ = f.webhook()
		must(f.DetachInstance(t.Context(), day, f.callback.ID, f.instance.ID))(t)
		equal(t, "detached", f.receive(target, "", "a").Dropped, true)
		check(t, f.RecordWebhookFailure(t.Context(), target, day, 0, "late"))
		if f.trigger("hook").LastError != nil || len(f.events()) > 0 {
			t.Error("something was stored")
		}
	})
	t.Run("EndsErrorsOfReceivingAlone", func(t *testing.T) {
		f := f.fresh(t)
		target, _ := f.webhook()
		for i := range 2 {
			check(t, f.RecordWebhookFailure(t.Context(), target, day, time.Second, "no"))
			tr := f.trigger("hook")
			equal(t, "failed", []any{tr.Status, tr.ConsecutiveFailures, *tr.LastError, *tr.LastItems}, []any{"failing", i + 1, store.Failure{Code: store.WebhookFailed, Message: "no"}, 0})
		}
		f.receive(target, "")
		tr := f.trigger("hook")
		equal(t, "received", []any{tr.Status, tr.ConsecutiveFailures, tr.LastError == nil}, []any{"active", 0, true})
		f.exec("UPDATE instance_trigger SET status = 'failing', consecutive_failures = 7, error_code = 'registration_failed', error_message = 'x' WHERE seq = ?", target.Seq)
		f.receive(target, "", "a")
		check(t, f.RecordWebhookFailure(t.Context(), target, day, 0, "no"))
		tr = f.trigger("hook")
		equal(t, "of the registration", []any{tr.Status, tr.ConsecutiveFailures, tr.LastError.Code, len(f.events())}, []any{"failing", 7, "registration_failed", 1})
	})
	t.Run("ShowsWhatCannotBeMapped", func(t *testing.T) {
		f := f.fresh(t)
		target, _ := f.webhook()
		w := store.Webhook{At: day, RecordedAt: day, Problem: &store.Failure{Code: store.MappingFailed, Message: "no"},
			Items: []store.Item{{Input: json.RawMessage(`{}`), Type: "unmapped", SourceID: "input:1", Failure: &store.Failure{Code: store.MappingFailed}, NextMapAt: day.Add(time.Minute)}}}
		must(f.RecordWebhook(t.Context(), target, w))(t)
		equal(t, "events", f.events()[0].Status, "retrying")
		target, _ = f.webhook()
		f.receive(target, "")
		equal(t, "while one is left", f.trigger("hook").LastError.Code, store.MappingFailed)
		f.exec("UPDATE event SET status = 'failed', delivery_status = 'skipped', next_map_at = NULL WHERE instance_trigger_seq = ?", target.Seq)
		f.receive(target, "")
		if f.trigger("hook").LastError != nil {
			t.Error("the error stays")
		}
	})
	t.Run("StoresAllOrNothing", func(t *testing.T) {
		f := f.fresh(t)
		target, _ := f.webhook()
		f.exec("CREATE TRIGGER broken BEFORE INSERT ON event_payload BEGIN SELECT RAISE(ABORT, 'broken'); END")
		_, err := f.RecordWebhook(t.Context(), target, store.Webhook{At: day, RecordedAt: day, State: json.RawMessage(`1`), Items: []store.Item{item("a")}})
		f.exec("DROP TRIGGER broken")
		target, _ = f.webhook()
		if err == nil || target.State != nil || len(f.events()) > 0 || !f.trigger("hook").LastReceivedAt.IsZero() {
			t.Errorf("%v, state %s", err, target.State)
		}
		equal(t, "again", f.receive(target, "1", "a").Events, 1)
	})
}
