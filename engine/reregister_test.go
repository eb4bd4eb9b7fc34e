package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/callbackd/callbackd/engine"
)

func TestRegistrationThatExpiresIsRenewed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ expires, sooner, later time.Duration }{
		"InAnHour":          {time.Hour, 48 * time.Minute, 54 * time.Minute},
		"InMinutes":         {4 * time.Minute, 2 * time.Minute, 3 * time.Minute},
		"InSeconds":         {5 * time.Second, time.Minute, time.Minute + 2*time.Second},
		"Already":           {-time.Hour, time.Minute, time.Minute + 2*time.Second},
		"InTenThousandYear": {290 * 365 * 24 * time.Hour, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			withHooks(t, nil, func(t *testing.T, b *bench) {
				synctest.Wait()
				b.detach()
				time.Sleep(time.Second)
				b.seen()
				set(b.hooks, &b.expires, c.expires)
				b.attach()
				synctest.Wait()
				began := time.Now()
				if c.later == 0 {
					if tr := b.shows(true, "active", "", ""); tr.NextPollAt.Before(began.AddDate(100, 0, 0)) {
						t.Errorf("it is renewed at %s", tr.NextPollAt)
					}
					return
				}
				next := b.trigger().NextPollAt
				if in := next.Sub(began); in < c.sooner-time.Second || in > c.later {
					t.Errorf("it is renewed in %s", in)
				}
				time.Sleep(time.Until(next) + 2*time.Second)
				b.expect("+"+hooksURL, "+"+hooksURL)
				if r := b.request(); string(r.Registration) != `{"id":1}` || r.URL != hooksURL+"/webhooks/"+b.trigger().ID {
					t.Errorf("renewed with %+v", r)
				}
				// One that cannot be renewed is there still, and says so.
				set(b.hooks, &b.register, func(context.Context) error { return errors.New("not now") })
				time.Sleep(time.Until(b.trigger().NextPollAt) + 2*time.Second)
				b.shows(true, "failing", "registration_failed", "not now")
			})
		})
	}
}

func TestChangedWebhookIsRegisteredAnew(t *testing.T) {
	t.Parallel()
	const other = "https://other.test/sub"
	for name, c := range map[string]struct {
		change func(b *bench)
		url    string
	}{
		"WithAnotherPublicURL": {func(b *bench) { b.reopen(func(o *engine.Options) { o.PublicURL = other }) }, other},
		"WithAnotherConfig": {func(b *bench) {
			must(b.e.UpdateConfig(b.t.Context(), b.config(), engine.UpdateConfig{Value: json.RawMessage(`{"v":2}`)}))(b.t)
		}, hooksURL},
		"WithAnotherAuthConfigValue": {func(b *bench) {
			must(b.e.UpdateAuthConfig(b.t.Context(), b.auth.ID, engine.UpdateConfig{Value: json.RawMessage(`{"token":"second"}`)}))(b.t)
		}, hooksURL},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			withHooks(t, nil, func(t *testing.T, b *bench) {
				synctest.Wait()
				b.expect("+" + hooksURL)
				c.change(b)
				time.Sleep(2 * time.Second)
				b.expect("-"+hooksURL, "+"+c.url)
				b.shows(true, "active", "", "")
				if b.count() != 1 {
					t.Errorf("the source knows %d webhooks", b.count())
				}
				b.reopen(nil)
				time.Sleep(10 * time.Minute)
				b.expect()
				// The former one that cannot be taken back does not keep the new one from being made, which knows of it.
				set(b.hooks, &b.unregister, func(context.Context) error { return engine.Permanent(errors.New("no")) })
				must(b.e.UpdateConfig(t.Context(), b.config(), engine.UpdateConfig{Value: json.RawMessage(`{"v":3}`)}))(t)
				time.Sleep(2 * time.Second)
				b.expect("-"+c.url, "+"+c.url)
				if r := b.request(); r.Registration == nil || string(r.Config) != `{"v":3}` {
					t.Errorf("registered with %+v", r)
				}
				b.shows(true, "active", "", "")
				// One that was taken back, and could not be made anew, is not registered.
				set(b.hooks, &b.unregister, nil)
				set(b.hooks, &b.register, func(context.Context) error { return errors.New("not now") })
				must(b.e.UpdateConfig(t.Context(), b.config(), engine.UpdateConfig{Value: json.RawMessage(`{"v":4}`)}))(t)
				time.Sleep(2 * time.Second)
				b.shows(false, "failing", "registration_failed", "not now")
				if r := b.request(); r.Registration != nil {
					t.Errorf("registered with %+v", r)
				}
				b.expect("-"+c.url, "+"+c.url)
			})
		})
	}
}
