package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/callbackd/callbackd/store"
)

const (
	// minPrepared is how long what a provider made of an auth config is used at least, whatever it
	// says of when to make it anew.
	minPrepared = 10 * time.Second
	// failedPrepare is for how long a failure holds for all who sign in with the auth config, unless
	// the provider asked to be left alone for longer.
	failedPrepare = time.Second
)

// preparing knows, of each auth config, who has it prepared.
type preparing struct {
	mu      sync.Mutex
	of      map[string]*preparation    // by auth config
	refused map[string]json.RawMessage // by auth config: what its source accepts no longer
}

// refuse has what an auth config was prepared for made anew when it is needed next, if it was
// prepared. auth may be nil.
func (p *preparing) refuse(auth *Auth) (refused bool) {
	if auth == nil || auth.Prepared == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refused == nil {
		p.refused = make(map[string]json.RawMessage)
	}
	p.refused[auth.config] = auth.Prepared
	return true
}

// accept forgets what was refused, because it has been made anew.
func (p *preparing) accept(authConfig string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.refused, authConfig)
}

// good tells whether what was made of a target's auth config can be used at a time.
func (p *preparing) good(t store.PollTarget, now time.Time) bool {
	if t.AuthPrepared == nil || !t.AuthRenewAt.IsZero() && !now.Before(t.AuthRenewAt) {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	refused, ok := p.refused[t.AuthConfigID]
	return !ok || !bytes.Equal(refused, t.AuthPrepared)
}

// signedIn makes a call of a provider, and makes it once more if what the source was prepared with
// is refused and could be prepared anew.
func signedIn[T any](ctx context.Context, e *Engine, t store.PollTarget, s *Source, call func() (T, error)) (out T, err error) {
	out, err = call()
	if !IsUnauthorized(err) || !e.preparing.refuse(s.Auth) {
		return out, err
	}
	s.Log.InfoContext(ctx, "what the auth config was prepared for is refused, it is prepared anew", "auth_config", t.AuthConfigID)
	if err := e.prepare(ctx, t, s); err != nil {
		return out, err
	}
	return call()
}

// preparation is held by the one who has an auth config prepared, who alone may use the rest of it.
type preparation struct {
	held   chan struct{}   // has room for one
	value  json.RawMessage // the user's value, that the rest is about
	unkept *Prepared       // could not be stored yet
	failed error           // nil: it has not, or not of late
	until  time.Time       // the failure holds; by the monotonic clock
}

func (p *preparing) find(authConfig string) *preparation {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of == nil {
		p.of = make(map[string]*preparation)
	}
	if p.of[authConfig] == nil {
		p.of[authConfig] = &preparation{held: make(chan struct{}, 1)}
	}
	return p.of[authConfig]
}

// prepare gives a source what its provider makes of the auth config, which is made, or renewed,
// if it has to be. Many may ask at a time: one does it, within the deadline of its ctx, and the
// others wait, or end with their own. It is in the file before it is used: a refreshed token that
// was lost could not be refreshed again.
func (e *Engine) prepare(ctx context.Context, t store.PollTarget, s *Source) error {
	if s.Auth == nil {
		return nil
	}
	call := e.providers[t.ProviderIdentifier].methods[t.AuthMethod].Prepare
	if call == nil {
		s.Auth.Prepared = nil
		return nil
	}
	if e.preparing.good(t, e.now()) {
		return nil
	}
	own := e.preparing.find(t.AuthConfigID)
	select {
	case own.held <- struct{}{}:
		defer func() { <-own.held }()
	case <-ctx.Done():
		return fmt.Errorf("wait until the auth config is prepared for another: %w", context.Cause(ctx))
	}
	t, err := e.store.PollTarget(ctx, t.Seq) // as it is after the wait
	if err == nil {
		err = t.Err
	}
	if err != nil {
		return fmt.Errorf("read the auth config: %w", err)
	}
	s.Config, s.Auth = t.Config, &Auth{Method: t.AuthMethod, Value: t.Auth, Prepared: t.AuthPrepared, config: t.AuthConfigID}
	if e.preparing.good(t, e.now()) {
		return nil
	}
	if !bytes.Equal(own.value, t.Auth) {
		own.value, own.unkept, own.failed = t.Auth, nil, nil
	}
	if left := time.Until(own.until); own.failed != nil && left > 0 {
		if _, asked := RetryAfterOf(own.failed); asked {
			return RetryAfter(left, own.failed)
		}
		return own.failed
	}
	if err := e.store.WriteError(); err != nil {
		return fmt.Errorf("the auth config is not prepared, because what comes of it could not be kept: %w", err)
	}
	if own.unkept == nil {
		if own.unkept, err = e.callPrepare(ctx, call, t, *s); err != nil {
			if !errors.Is(ctx.Err(), context.Canceled) { // then it is not to blame
				pause := failedPrepare
				if asked, ok := RetryAfterOf(err); ok {
					pause = min(max(asked, failedPrepare), maxPollRetryAfter)
				}
				own.failed, own.until = err, time.Now().Add(pause)
			}
			return err
		}
	}
	made := *own.unkept
	if err := e.store.SavePrepared(context.WithoutCancel(ctx), t, made.Value, made.RenewAt); err != nil {
		return fmt.Errorf("keep what the provider made of the auth config: %w", err)
	}
	own.value, own.unkept, own.failed = nil, nil, nil
	e.preparing.accept(t.AuthConfigID)
	s.Auth.Prepared = made.Value
	return nil
}

// callPrepare calls an auth method's Prepare.
func (e *Engine) callPrepare(ctx context.Context, call func(context.Context, PrepareRequest) (Prepared, error), t store.PollTarget, s Source) (*Prepared, error) {
	s.Auth = nil
	made, err := guard(ctx, s.Log, func() (Prepared, error) {
		return call(ctx, PrepareRequest{Source: s, Value: t.Auth, Prepared: t.AuthPrepared})
	})
	if err == nil && !json.Valid(made.Value) {
		err = errors.New("the provider made of it what is not JSON")
	}
	if err != nil {
		return nil, fmt.Errorf("prepare the auth config: %w", err)
	}
	if !made.RenewAt.IsZero() {
		made.RenewAt = latest(made.RenewAt, e.now().Add(minPrepared))
	}
	s.Log.InfoContext(ctx, "auth config prepared", "auth_config", t.AuthConfigID, "renew_at", made.RenewAt)
	return &made, nil
}
