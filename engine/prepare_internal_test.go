package engine

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/callbackd/callbackd/store"
)

// preparable is an engine with an auth config that has to be prepared, and the trigger that
// needs it.
func preparable(t *testing.T, prepare func(context.Context, PrepareRequest) (Prepared, error)) (*Engine, store.PollTarget, Options) {
	t.Helper()
	ctx := t.Context()
	o := Options{Path: t.TempDir() + "/x.db", NoSync: true, Providers: []Provider{{Key: "p", AuthMethods: []AuthMethod{{Key: "m", Prepare: prepare}},
		Triggers: []Trigger{{Key: "t", Poll: func(context.Context, PollRequest) (PollResult, error) { return PollResult{}, nil }}}}}}
	e, err := Open(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	deployment, err := e.CreateDeployment(ctx, NewDeployment{Provider: "p", Config: &NewConfigValue{Value: json.RawMessage(`{}`)}})
	must(err)
	auth, err := e.CreateAuthConfig(ctx, NewAuthConfig{Method: "m", DeploymentID: deployment.ID, Value: json.RawMessage(`{}`)})
	must(err)
	callback, err := e.CreateCallback(ctx, NewCallback{Details: Details{Name: "c"}, DeploymentID: deployment.ID})
	must(err)
	_, err = e.AttachInstance(ctx, callback.ID, NewInstance{ConfigID: deployment.DefaultConfig.ID, AuthConfigID: auth.ID})
	must(err)
	target, err := e.store.PollTarget(ctx, 1)
	must(err)
	return e, target, o
}

// A token that was refreshed cannot be refreshed again: it is not used before it is in the file,
// and not lost while it cannot be.
func TestWhatWasPreparedIsKeptBeforeItIsUsed(t *testing.T) {
	t.Parallel()
	var e *Engine
	calls := 0
	ctx, cancel := context.WithCancel(t.Context())
	e, target, o := preparable(t, func(context.Context, PrepareRequest) (Prepared, error) {
		if calls++; calls == 1 {
			return Prepared{Value: json.RawMessage(`"refreshed"`)}, e.store.Close() // no write succeeds from here on
		}
		cancel() // whoever asked is gone, what was made is not
		return Prepared{Value: json.RawMessage(`"refreshed again"`)}, nil
	})
	_, s, err := e.source(ctx, target, e.now(), slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "keep what the provider made") || s.Auth.Prepared != nil {
		t.Fatalf("it is used although it is not kept: %+v, %v", s.Auth, err)
	}
	if e.store, err = store.Open(ctx, store.Options{Path: o.Path, NoSync: true}); err != nil {
		t.Fatal(err)
	}
	kept := func(want string, times int) {
		t.Helper()
		target, err := e.store.PollTarget(context.WithoutCancel(ctx), 1)
		if err != nil || string(target.AuthPrepared) != want || string(s.Auth.Prepared) != want || calls != times {
			t.Errorf("%d calls, used %s, kept %s, %v", calls, s.Auth.Prepared, target.AuthPrepared, err)
		}
	}
	if _, s, err = e.source(ctx, target, e.now(), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	kept(`"refreshed"`, 1)
	// With another value, what was made of the former one counts no more.
	auth, err := e.store.AuthConfig(ctx, target.AuthConfigID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.UpdateAuthConfig(ctx, auth.ID, UpdateConfig{Value: json.RawMessage(`{"new":1}`)}); err != nil {
		t.Fatal(err)
	}
	if target, err = e.store.PollTarget(ctx, 1); err != nil || target.AuthPrepared != nil {
		t.Fatalf("kept of the former value: %s, %v", target.AuthPrepared, err)
	}
	if _, s, err = e.source(ctx, target, e.now(), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	kept(`"refreshed again"`, 2)
}

// Who waits for another's turn ends with its own context; and one whose context ends is not to
// blame: the next one tries.
func TestPreparationWaitsForItsTurn(t *testing.T) {
	t.Parallel()
	begun, calls := make(chan struct{}), 0
	e, target, _ := preparable(t, func(ctx context.Context, _ PrepareRequest) (Prepared, error) {
		if calls++; calls == 1 {
			close(begun)
			<-ctx.Done()
			return Prepared{}, ctx.Err()
		}
		return Prepared{Value: json.RawMessage(`1`)}, nil
	})
	log := slog.New(slog.DiscardHandler)
	first, cut := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, _, err := e.source(first, target, e.now(), log)
		done <- err
	}()
	<-begun
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := e.source(gone, target, e.now(), log); err == nil || !strings.Contains(err.Error(), "for another") {
		t.Errorf("it did not wait: %v", err)
	}
	go func() {
		_, s, err := e.source(t.Context(), target, e.now(), log)
		if err == nil && string(s.Auth.Prepared) != "1" {
			t.Errorf("prepared: %s", s.Auth.Prepared)
		}
		done <- err
	}()
	cut()
	if a, b := <-done, <-done; (a == nil) == (b == nil) || calls != 2 {
		t.Errorf("%v, %v after %d calls", a, b, calls)
	}
}
