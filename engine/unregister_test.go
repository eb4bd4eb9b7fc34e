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

// What changes while the source is being asked is made good afterwards.
func TestRegistrationInFlight(t *testing.T) {
	t.Parallel()
	// hold has calls wait until they are told to go on; held tells that one does.
	hold := func() (call func(context.Context) error, held, release chan struct{}) {
		held, release = make(chan struct{}, 1), make(chan struct{})
		return func(ctx context.Context) error {
			held <- struct{}{}
			<-release
			return nil
		}, held, release
	}
	fresh := func(b *bench) (held, release chan struct{}) {
		synctest.Wait()
		b.detach()
		time.Sleep(time.Second)
		b.seen()
		call, held, release := hold()
		set(b.hooks, &b.register, call)
		b.attach()
		<-held
		set(b.hooks, &b.register, nil)
		return held, release
	}

	t.Run("OfATriggerThatIsDetachedIsTakenBack", func(t *testing.T) {
		t.Parallel()
		withHooks(t, nil, func(t *testing.T, b *bench) {
			_, release := fresh(b)
			b.detach()
			time.Sleep(3 * time.Second)
			close(release)
			time.Sleep(2 * time.Second)
			b.expect("+"+hooksURL, "-"+hooksURL)
			if r := b.request(); string(r.Registration) == "" || b.count() != 0 {
				t.Errorf("taken back with %+v", r)
			}
			b.shows(false, "paused", "", "")
		})
	})

	t.Run("OfATriggerWithAnotherConfigIsMadeAnew", func(t *testing.T) {
		t.Parallel()
		withHooks(t, nil, func(t *testing.T, b *bench) {
			_, release := fresh(b)
			must(b.e.UpdateConfig(t.Context(), b.config(), engine.UpdateConfig{Value: json.RawMessage(`{"v":2}`)}))(t)
			time.Sleep(3 * time.Second)
			close(release)
			time.Sleep(2 * time.Second)
			b.expect("+"+hooksURL, "-"+hooksURL, "+"+hooksURL)
			if r := b.request(); string(r.Config) != `{"v":2}` || b.count() != 1 {
				t.Errorf("registered with %+v", r)
			}
			b.shows(true, "active", "", "")
		})
	})

	t.Run("ThatNobodyRecordedIsMadeAgain", func(t *testing.T) {
		t.Parallel()
		withHooks(t, nil, func(t *testing.T, b *bench) {
			_, release := fresh(b)
			if err := b.e.Close(); err == nil { // it waits in vain, and leaves it behind
				t.Error("the registration did not hold up the end")
			}
			close(release)
			synctest.Wait()
			if b.count() != 1 {
				t.Errorf("the source knows %d webhooks", b.count())
			}
			b.open()
			time.Sleep(2 * time.Second)
			b.expect("+"+hooksURL, "+"+hooksURL)
			if r := b.request(); r.Registration != nil {
				t.Errorf("registered with %+v", r)
			}
			b.shows(true, "active", "", "")
			b.detach()
			time.Sleep(time.Second)
			if b.count() != 0 {
				t.Error("it was not taken back")
			}
		})
	})

	t.Run("ThatIsCutShortCountsForNothing", func(t *testing.T) {
		t.Parallel()
		withHooks(t, nil, func(t *testing.T, b *bench) {
			synctest.Wait()
			b.detach()
			time.Sleep(time.Second)
			b.seen()
			set(b.hooks, &b.register, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
			b.attach()
			synctest.Wait()
			_ = b.e.Close()
			set(b.hooks, &b.register, nil)
			b.open()
			time.Sleep(2 * time.Second) // it is due as it was
			b.expect("+"+hooksURL, "+"+hooksURL)
			b.shows(true, "active", "", "")
		})
	})

	t.Run("UnregistrationOfATriggerThatIsAttachedAgainIsFollowedByARegistration", func(t *testing.T) {
		t.Parallel()
		withHooks(t, nil, func(t *testing.T, b *bench) {
			synctest.Wait()
			b.seen()
			call, held, release := hold()
			set(b.hooks, &b.unregister, call)
			b.detach()
			<-held
			b.attach()
			time.Sleep(10 * time.Second)
			b.expect("-" + hooksURL) // one thing at a time
			close(release)
			set(b.hooks, &b.unregister, nil)
			time.Sleep(2 * time.Second)
			b.expect("+" + hooksURL)
			b.shows(true, "active", "", "")
			if b.count() != 1 {
				t.Errorf("the source knows %d webhooks", b.count())
			}
		})
	})
}

func TestFailingUnregistrationIsTriedAgain(t *testing.T) {
	t.Parallel()

	t.Run("WithBackOffOverRestartsAndClocksUntilItIsGivenUp", func(t *testing.T) {
		t.Parallel()
		var wall wallClock
		withHooks(t, func(o *engine.Options) { o.Now = wall.now }, func(t *testing.T, b *bench) {
			synctest.Wait()
			b.seen()
			fail := errors.New("first-token and its hook are locked")
			set(b.hooks, &b.unregister, func(context.Context) error { return fail })
			must(b.e.ArchiveConfig(t.Context(), b.config()))(t)
			set(b.hooks, &b.start, time.Now())
			time.Sleep(5 * time.Minute)
			if tr := b.shows(true, "paused", "unregistration_failed", "[secret] and its hook are locked"); tr.ConsecutiveFailures != 3 {
				t.Errorf("%+v", tr)
			}
			b.reopen(nil)
			time.Sleep(10 * time.Minute)
			wall.set(-24 * time.Hour)
			time.Sleep(10 * time.Minute)
			b.shows(true, "paused", "unregistration_failed", "locked")
			time.Sleep(10 * time.Minute)
			fail = engine.RetryAfter(time.Second, errors.New("still")) // which makes a day short
			time.Sleep(35 * time.Minute)
			at := b.times()
			want := []time.Duration{0, 1, 3, 7, 15, 31, 63}
			for i := range want {
				if late := at[i] - want[i]*time.Minute; late < 0 || late > 20*time.Second {
					t.Errorf("try %d was %s late", i+1, late)
				}
			}
			if len(at) != 30 {
				t.Errorf("it was given up after %d tries", len(at))
			}
			b.shows(false, "paused", "unregistration_failed", "given up")
		})
	})

	t.Run("AndThenShowsWhatItShowedBefore", func(t *testing.T) {
		t.Parallel()
		withHooks(t, nil, func(t *testing.T, b *bench) {
			synctest.Wait()
			set(b.hooks, &b.unregister, func(context.Context) error { return errors.New("locked") })
			must(b.e.ArchiveConfig(t.Context(), b.config()))(t)
			time.Sleep(5 * time.Second)
			b.shows(true, "paused", "unregistration_failed", "locked")
			set(b.hooks, &b.unregister, nil)
			time.Sleep(2 * time.Minute)
			b.shows(false, "paused", "config_archived", "")
		})
	})

	for name, c := range map[string]struct {
		fail func(ctx context.Context) error
		code string
		text string
		left bool // it is registered still
	}{
		"NotWhenItIsPermanent": {func(context.Context) error { return engine.Permanent(errors.New("no such hook")) }, "unregistration_failed", "given up, remove the webhook at its source: no such hook", false},
		"AfterAPanic":          {func(context.Context) error { panic("bug") }, "unregistration_failed", "panic: bug", true},
		"AfterAsLongAsWasAsked": {func(context.Context) error { return engine.RetryAfter(5*time.Minute, errors.New("slow down")) },
			"unregistration_failed", "slow down", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			withHooks(t, nil, func(t *testing.T, b *bench) {
				synctest.Wait()
				b.seen()
				set(b.hooks, &b.unregister, c.fail)
				b.detach()
				time.Sleep(30 * time.Second)
				b.shows(c.left, "paused", c.code, c.text)
				b.expect("-" + hooksURL)
				set(b.hooks, &b.unregister, nil)
				if c.left {
					time.Sleep(6 * time.Minute)
					b.expect("-" + hooksURL)
					b.shows(false, "paused", "", "")
					return
				}
				b.reopen(nil)
				time.Sleep(10 * time.Minute)
				b.expect()
				b.attach()
				time.Sleep(time.Second)
				b.shows(true, "active", "", "")
			})
		})
	}

	t.Run("UntilTheProviderIsBack", func(t *testing.T) {
		t.Parallel()
		withHooks(t, nil, func(t *testing.T, b *bench) {
			synctest.Wait()
			b.seen()
			providers := b.o.Providers
			b.reopen(func(o *engine.Options) { o.Providers = nil })
			b.detach()
			time.Sleep(5 * time.Second)
			b.shows(true, "paused", "unregistration_failed", "without the provider's code")
			b.reopen(func(o *engine.Options) { o.Providers = providers })
			time.Sleep(2 * time.Minute)
			b.expect("-" + hooksURL)
			b.shows(false, "paused", "", "")
		})
	})
}
