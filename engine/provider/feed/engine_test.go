package feed_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/engine/provider/feed"
)

// In an engine, what is there at first is no event, and what comes later is one.
func TestNewEntriesAreDelivered(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	var body atomic.Value
	body.Store(channel(item{"g1", "l1", "old", ""}))
	polled := make(chan struct{}, 100)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, body.Load().(string))
		polled <- struct{}{}
	}))
	t.Cleanup(s.Close)
	delivered := make(chan engine.Message, 100)
	e, err := engine.Open(ctx, engine.Options{
		Path: filepath.Join(t.TempDir(), "callbacks.db"), NoSync: true, AllowPrivateNetworks: true, Providers: []engine.Provider{feed.New()}, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Functions: []engine.Function{{Name: "entry", Handle: func(_ context.Context, m engine.Message) error {
			delivered <- m
			return nil
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	deployment, err := e.CreateDeployment(ctx, engine.NewDeployment{Provider: "feed", Config: &engine.NewConfigValue{Value: json.RawMessage(`{"url":"` + s.URL + `"}`)}})
	if err != nil {
		t.Fatal(err)
	}
	callback, err := e.CreateCallback(ctx, engine.NewCallback{Details: engine.Details{Name: "entries"}, DeploymentID: deployment.ID, DestinationIDs: []string{"func:entry"}, PollIntervalOverride: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.AttachInstance(ctx, callback.ID, engine.NewInstance{ConfigID: deployment.DefaultConfig.ID}); err != nil {
		t.Fatal(err)
	}
	if err := e.Start(ctx); err != nil {
		t.Fatal(err)
	}
	timeout := time.After(20 * time.Second)
	select {
	case <-polled:
	case <-timeout:
		t.Fatal("no poll within 20 s")
	}
	body.Store(channel(item{"g3", "l3", "newest", ""}, item{"g2", "l2", "new", ""}, item{"g1", "l1", "old", ""}))
	missing := map[string]bool{"g2": true, "g3": true} // in any order
	for len(missing) > 0 {
		select {
		case m := <-delivered:
			if m.Type != "entry.new" || !missing[m.SourceID] {
				t.Errorf("got %s %s", m.Type, m.SourceID)
			}
			delete(missing, m.SourceID)
		case <-timeout:
			t.Fatal("no event within 20 s")
		}
	}
}
