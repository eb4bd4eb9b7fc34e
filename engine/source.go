package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/callbackd/callbackd/store"
)

var (
	errNoProvider = errors.New("this program runs without the provider's code")
	errNoTrigger  = errors.New("there is no longer a trigger")
)

// source is what a trigger's functions are given, with an auth config that is prepared before ctx
// ends, and the trigger itself. With an error, it is what is known of it.
func (e *Engine) source(ctx context.Context, t store.PollTarget, now time.Time, log *slog.Logger) (*Trigger, Source, error) {
	trigger, s, err := e.declaredSource(t, now, log)
	if err == nil {
		err = e.prepare(ctx, t, &s)
	}
	return trigger, s, err
}

// declaredSource is the same, with the auth config as it was prepared before, if it was.
func (e *Engine) declaredSource(t store.PollTarget, now time.Time, log *slog.Logger) (*Trigger, Source, error) {
	s := Source{Config: t.Config, Now: now.UTC(), HTTP: e.polls, Log: log}
	if t.AuthMethod != "" {
		s.Auth = &Auth{Method: t.AuthMethod, Value: t.Auth, Prepared: t.AuthPrepared, config: t.AuthConfigID}
	}
	if t.Err != nil {
		return nil, s, fmt.Errorf("read the config: %w", t.Err)
	}
	d := e.providers[t.ProviderIdentifier]
	if d == nil {
		return nil, s, fmt.Errorf("provider %s: %w", t.ProviderIdentifier, errNoProvider)
	}
	trigger := d.triggers[t.TriggerKey]
	if trigger == nil {
		return nil, s, fmt.Errorf("provider %s: %w %s: it was there before, and may be there again", t.ProviderIdentifier, errNoTrigger, t.TriggerKey)
	}
	return trigger, s, nil
}
