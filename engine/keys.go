package engine

import (
	"context"
	"crypto/subtle"
	"sync"
	"time"

	"github.com/callbackd/callbackd/store"
)

// keysMaxAge is how long a list of API keys is believed. It bounds what a flood of
// unknown keys can cost, and how long a key that another process revoked still works.
const keysMaxAge = time.Second

// keyRing knows the API keys by their hashes.
type keyRing struct {
	mu     sync.Mutex
	keys   []APIKey
	err    error // of the last reading
	readAt time.Time
}

// CreateAPIKey makes a key to the HTTP API, with scope "read" or "write". The secret is
// returned this once; only a hash of it is kept.
func (e *Engine) CreateAPIKey(ctx context.Context, name, scope string) (id, secret string, err error) {
	id, secret, err = e.store.APIKeys().Create(ctx, e.now(), name, scope)
	e.keys.forget()
	return id, secret, wrap(err)
}

// ListAPIKeys returns all keys, revoked ones too.
func (e *Engine) ListAPIKeys(ctx context.Context) ([]APIKey, error) {
	keys, err := e.store.APIKeys().List(ctx)
	return keys, wrap(err)
}

// AuthenticateAPIKey finds the valid key that a secret belongs to; ok is false if there
// is none. It takes the same time whichever key it is, and reads the file at most once a second.
func (e *Engine) AuthenticateAPIKey(ctx context.Context, secret string) (key APIKey, ok bool, err error) {
	keys, err := e.keys.current(ctx, e.store.APIKeys().List)
	if err != nil {
		return APIKey{}, false, wrap(err)
	}
	hash := store.HashAPIKey(secret)
	for _, k := range keys {
		if subtle.ConstantTimeCompare(k.Hash[:], hash[:]) == 1 && k.RevokedAt.IsZero() {
			key, ok = k, true
		}
	}
	return key, ok, nil
}

// current reads the list again when it is too old. The caller's end does not end the reading:
// somebody without a key could make it begin again and again by hanging up. Nor does a
// failed one begin again at once.
func (r *keyRing) current(ctx context.Context, list func(context.Context) ([]APIKey, error)) ([]APIKey, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); r.readAt.IsZero() || now.Sub(r.readAt) > keysMaxAge {
		r.keys, r.err = list(context.WithoutCancel(ctx))
		r.readAt = now
	}
	return r.keys, r.err
}

func (r *keyRing) forget() {
	r.mu.Lock()
	r.readAt = time.Time{}
	r.mu.Unlock()
}
