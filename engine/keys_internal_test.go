package engine

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Whoever has no key cannot make the file be read more than once a second, neither by many
// requests, nor by hanging up, nor while the file cannot be read.
func TestKeyRing(t *testing.T) {
	t.Parallel()
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	for name, tt := range map[string]struct {
		ctx  context.Context
		fail error
	}{
		"Flood":            {ctx: context.Background()},
		"ClientsThatGo":    {ctx: gone},
		"UnreadableFile":   {ctx: context.Background(), fail: errors.New("disk I/O error")},
		"ClientsThatGoToo": {ctx: gone, fail: errors.New("disk I/O error")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var r keyRing
				reads := 0
				list := func(ctx context.Context) ([]APIKey, error) {
					reads++
					if err := ctx.Err(); err != nil {
						return nil, err // and SQLite's connection would be lost
					}
					return []APIKey{{ID: "key_1"}}, tt.fail
				}
				var group sync.WaitGroup
				for range 100 {
					group.Go(func() {
						if keys, err := r.current(tt.ctx, list); !errors.Is(err, tt.fail) || len(keys) != 1 {
							t.Errorf("%v, %v", keys, err)
						}
					})
				}
				group.Wait()
				if reads != 1 {
					t.Errorf("%d reads at once, want 1", reads)
				}
				<-time.After(keysMaxAge) // virtual
				_, _ = r.current(tt.ctx, list)
				if reads != 1 {
					t.Errorf("%d reads within %v, want 1", reads, keysMaxAge)
				}
				<-time.After(1)
				_, _ = r.current(tt.ctx, list)
				if reads != 2 {
					t.Errorf("%d reads after %v, want 2", reads, keysMaxAge)
				}
				r.forget()
				_, _ = r.current(tt.ctx, list)
				if reads != 3 {
					t.Errorf("%d reads after a change, want 3", reads)
				}
			})
		})
	}
}

// A key that is made, or revoked beside the engine, is known after the list is read again.
func TestKeysThatAreMadeAreKnownAtOnce(t *testing.T) {
	t.Parallel()
	e, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "x.db"), NoSync: true, Providers: []Provider{{Key: "p", Triggers: []Trigger{{Key: "t",
		Poll: func(context.Context, PollRequest) (PollResult, error) { return PollResult{}, nil }}}}}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if _, ok, err := e.AuthenticateAPIKey(t.Context(), "guess"); ok || err != nil {
		t.Fatalf("%v, %v", ok, err)
	}
	id, secret, err := e.CreateAPIKey(t.Context(), "k", "read")
	if err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if key, ok, err := e.AuthenticateAPIKey(gone, secret); !ok || key.ID != id || err != nil {
		t.Errorf("%+v, %v, %v", key, ok, err)
	}
	for _, other := range []string{"", secret + " ", secret[:len(secret)-1], id} {
		if _, ok, err := e.AuthenticateAPIKey(t.Context(), other); ok || err != nil {
			t.Errorf("%q: %v, %v", other, ok, err)
		}
	}
}
