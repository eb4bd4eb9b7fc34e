package engine

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

// An engine that no longer finds out what is due says so, although it can do nothing about it.
func TestHealth_SaysWhatStandsStill(t *testing.T) {
	t.Parallel()
	fails := func(context.Context, Message) error { return errors.New("no") }
	f := Function{Name: "f", Retry: Retry{Type: RetryLinear, Delay: 10 * time.Second, MaxAttempts: 100}, Handle: fails}
	inside(t, f, func(t *testing.T, e *Engine, callback string) {
		if err := e.Publish(t.Context(), callback, NewEvent{Type: "x", Output: json.RawMessage(`{}`)}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if h := e.Health(); !h.Ready() {
			t.Errorf("%q", h.Reasons)
		}
		if err := e.store.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		if h := e.Health(); !h.Ready() {
			t.Errorf("too early: %q", h.Reasons)
		}
		time.Sleep(time.Minute)
		reasons := strings.Join(e.Health().Reasons, "; ")
		if !strings.Contains(reasons, "polls stand still") || !strings.Contains(reasons, "deliveries stand still") {
			t.Errorf("%q", reasons)
		}
	})
}
