package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/callbackd/callbackd/store"
)

const (
	// minRegistration is how far apart two registrations of a webhook are at least, however soon
	// the source lets one expire.
	minRegistration = time.Minute
	// maxUnregistrations is how often it is tried to take a webhook back, over about a day.
	maxUnregistrations = 30
)

// registrationFailed is the code of a webhook that could not be registered.
const registrationFailed = "registration_failed"

var errNoPublicURL = errors.New("the webhook cannot be registered, because the engine does not know under which URL the world reaches it: " +
	"set Options.PublicURL, or --public-url of callbackd serve, and start again")

// moveRegistrations has webhooks registered anew if the public URL is another than when the engine
// ran last. It tells whether that is in the store.
func (p *poller) moveRegistrations(ctx context.Context) bool {
	webhooks, err := p.e.store.MoveRegistrations(ctx, p.e.now(), p.e.WebhookURL(""))
	if p.moved = err == nil; !p.moved && ctx.Err() == nil {
		p.e.log.ErrorContext(ctx, "webhooks with another public URL could not be looked for", keyError, err)
	}
	if webhooks > 0 {
		p.e.log.InfoContext(ctx, "the public URL is another: webhooks are registered anew", "webhooks", webhooks)
	}
	return p.moved
}

// register looks after a webhook's registration, in place of a poll, which began at a time. It
// tells whether the outcome is in the store, or there was none to be.
//
// When Register succeeds and we end before that is in the store, it is called again, with what
// was known before. When the trigger is not wanted any longer by then, or with another config, the
// store has it taken back, or made anew.
func (p *poller) register(ctx context.Context, log *slog.Logger, t readAhead, at time.Time) (recorded bool) {
	began := time.Now()
	trigger, source, err := p.e.declaredSource(t.PollTarget, at, log)
	if err == nil && trigger.Register == nil {
		return p.listen(ctx, log, t)
	}
	url := p.e.WebhookURL(t.ID)
	if err == nil && url == "" {
		err = errNoPublicURL
	}
	var made Registration
	if err == nil {
		stop := p.late(func() { p.failed(ctx, log, t, Source{}, at, time.Since(began), errRunsOn("registration")) })
		if trigger.Unregister != nil && t.RegisteredURL != "" && (t.RegisteredURL != url || t.RegistrationIsOld) {
			t = p.takeBackFirst(ctx, log, t, trigger, source)
		}
		if err = ctx.Err(); err == nil {
			made, err = p.callRegister(ctx, log, t, trigger, &source, url)
		}
		stop()
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return true // we are stopping: what was cut short was not made
	case err != nil:
		return p.failed(ctx, log, t, source, at, time.Since(began), err)
	}
	var dropped bool
	next := store.Never
	p.e.clock.plan(func() {
		now := p.e.now()
		if !made.ExpiresAt.IsZero() {
			next = nextRegistration(now, made.ExpiresAt, p.e.options.Random())
		}
		dropped, err = p.e.store.RecordRegistration(context.WithoutCancel(ctx), t.PollTarget,
			store.Registration{At: now, URL: url, Details: made.Details, State: made.State, NextAt: next})
		if err == nil {
			p.e.clock.wrote("instance_trigger", t.Seq)
		}
	})
	if err != nil {
		log.ErrorContext(ctx, "a registration could not be recorded, it will be made again", keyError, err)
		return false
	}
	p.e.stuck.succeeded(t.Seq)
	attrs := []slog.Attr{slog.Duration(keyDuration, time.Since(began))}
	if next.Before(store.Never) {
		attrs = append(attrs, slog.Time(keyNext, next))
	}
	if dropped {
		attrs = append(attrs, slog.Bool("dropped", true))
	}
	log.LogAttrs(ctx, slog.LevelInfo, "webhook registered", attrs...)
	return true
}

// callRegister calls a trigger's Register, with an auth config that is prepared.
func (p *poller) callRegister(ctx context.Context, log *slog.Logger, t readAhead, trigger *Trigger, s *Source, url string) (made Registration, err error) {
	limited, cancel := context.WithTimeout(ctx, p.e.options.PollTimeout)
	defer cancel()
	if err := p.e.prepare(limited, t.PollTarget, s); err != nil {
		return made, err
	}
	made, err = signedIn(limited, p.e, t.PollTarget, s, func() (Registration, error) {
		return guard(ctx, log, func() (Registration, error) {
			return trigger.Register(limited, RegisterRequest{Source: *s, URL: url, State: t.State, Registration: t.Registration})
		})
	})
	if err == nil && (!validOrNil(made.Details) || !validOrNil(made.State)) {
		err = errors.New("the provider's registration has details or a state that are not JSON")
	}
	return made, err
}

// listen has a webhook left alone that a person registers.
func (p *poller) listen(ctx context.Context, log *slog.Logger, t readAhead) (recorded bool) {
	var err error
	p.e.clock.plan(func() {
		if err = p.e.store.RecordListening(context.WithoutCancel(ctx), p.e.now(), t.PollTarget); err == nil {
			p.e.clock.wrote("instance_trigger", t.Seq)
		}
	})
	if err != nil {
		log.ErrorContext(ctx, "that a webhook is received could not be recorded", keyError, err)
		return false
	}
	p.e.stuck.succeeded(t.Seq)
	return true
}

// takeBackFirst takes back a registration that another one is to follow, because the URL or the
// config is another. If that fails, the other one is made all the same.
func (p *poller) takeBackFirst(ctx context.Context, log *slog.Logger, t readAhead, trigger *Trigger, s Source) readAhead {
	err := p.callUnregister(ctx, log, t, trigger, &s)
	if err == nil {
		err = p.unregistered(ctx, t, nil)
	}
	if err == nil {
		t.RegisteredURL, t.Registration = "", nil
	} else if ctx.Err() == nil {
		log.WarnContext(ctx, "the former registration of a webhook could not be taken back, its source may go on sending to it", keyError, shorten(told(err, s.Auth, t.Registration)))
	}
	return t
}

// callUnregister calls a trigger's Unregister, with an auth config that is prepared.
func (p *poller) callUnregister(ctx context.Context, log *slog.Logger, t readAhead, trigger *Trigger, s *Source) error {
	limited, cancel := context.WithTimeout(ctx, p.e.options.PollTimeout)
	defer cancel()
	if err := p.e.prepare(limited, t.PollTarget, s); err != nil {
		return err
	}
	_, err := signedIn(limited, p.e, t.PollTarget, s, func() (struct{}, error) {
		req := RegisterRequest{Source: *s, URL: t.RegisteredURL, State: t.State, Registration: t.Registration}
		req.Config = t.RegisteredConfig // which may lead to another place than the present one
		return guard(ctx, log, func() (struct{}, error) { return struct{}{}, trigger.Unregister(limited, req) })
	})
	return err
}

// unregister takes back a webhook that is wanted no longer. It tells whether the outcome is in the
// store, or there was none to be.
func (p *poller) unregister(ctx context.Context, log *slog.Logger, t readAhead, at time.Time) (recorded bool) {
	trigger, source, err := p.e.declaredSource(t.PollTarget, at, log)
	called := err == nil && trigger.Unregister != nil
	if called {
		stop := p.late(func() { p.unregistrationFailed(ctx, log, t, source, errRunsOn("unregistration")) })
		err = p.callUnregister(ctx, log, t, trigger, &source)
		stop()
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return true // we are stopping
	case err != nil:
		return p.unregistrationFailed(ctx, log, t, source, err)
	}
	if err := p.unregistered(ctx, t, nil); err != nil {
		log.ErrorContext(ctx, "that a webhook was taken back could not be recorded, it will be again", keyError, err)
		return false
	}
	text := "webhook unregistered"
	if !called {
		text = "webhook is wanted no longer, and left at its source: the provider does not take it back"
	}
	log.InfoContext(ctx, text)
	return true
}

// unregistered records that a webhook is not registered any longer, or given up.
func (p *poller) unregistered(ctx context.Context, t readAhead, givenUp *Failure) (err error) {
	p.e.clock.plan(func() {
		if err = p.e.store.RecordUnregistration(context.WithoutCancel(ctx), p.e.now(), t.Seq, givenUp); err == nil {
			p.e.clock.wrote("instance_trigger", t.Seq)
		}
	})
	return err
}

// unregistrationFailed plans the next try, if there is to be one.
func (p *poller) unregistrationFailed(ctx context.Context, log *slog.Logger, t readAhead, s Source, err error) (recorded bool) {
	failures := 1
	if t.LastError != nil && t.LastError.Code == store.UnregistrationFailed {
		failures += t.ConsecutiveFailures
	}
	f := Failure{Code: store.UnregistrationFailed, Message: shorten(told(err, s.Auth, t.Registration))}
	attrs := []slog.Attr{slog.String(keyError, f.Message), slog.Int("consecutive_failures", failures)}
	var unrecorded error
	if IsPermanent(err) || failures >= maxUnregistrations {
		log.LogAttrs(ctx, slog.LevelError, "a webhook could not be taken back and is given up: its source may go on sending, until somebody removes it there", attrs...)
		f.Message = shorten("given up, remove the webhook at its source: " + f.Message)
		unrecorded = p.unregistered(ctx, t, &f)
	} else {
		asked, _ := RetryAfterOf(err)
		p.e.clock.plan(func() {
			now := p.e.now()
			next := nextPollAfterFailure(now, t.Interval, failures, asked, p.e.options.Random())
			attrs = append(attrs, slog.Time(keyNext, next))
			if unrecorded = p.e.store.PostponeUnregistration(context.WithoutCancel(ctx), now, t.Seq, next, f); unrecorded == nil {
				p.e.clock.wrote("instance_trigger", t.Seq)
			}
		})
		log.LogAttrs(ctx, slog.LevelWarn, "a webhook could not be taken back, will be tried again", attrs...)
	}
	if unrecorded != nil {
		log.ErrorContext(ctx, "a failed unregistration could not be recorded", keyError, unrecorded)
		return false
	}
	return true
}

// errRunsOn is what a trigger says whose provider does not end in time.
func errRunsOn(what string) error {
	return fmt.Errorf("the %s runs on, %s past its deadline: the provider does not heed its context", what, lateGrace)
}

// nextRegistration is when a registration that expires is to be renewed: when a tenth to a fifth
// of its life is left, and at least a minute, so that a failure can be made up for. random is
// in [0, 1).
func nextRegistration(now, expires time.Time, random float64) time.Time {
	left := time.Duration(float64(expires.Sub(now)) * (0.1 + 0.1*random))
	next := expires.Add(-max(left, minRegistration))
	if least := now.Add(minRegistration); next.Before(least) {
		next = least
	}
	if next.After(store.Never) {
		return store.Never
	}
	return next
}
