package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"testing"

	"github.com/callbackd/callbackd/engine"
)

// shop is an engine with a callback that tells a function.
func shop(t *testing.T) (eng *engine.Engine, callback string, told chan engine.Message) {
	t.Helper()
	told = make(chan engine.Message, 10)
	eng, err := engine.Open(t.Context(), engine.Options{
		Path: filepath.Join(t.TempDir(), "shop.db"), NoSync: true, Providers: []engine.Provider{counter()},
		Functions: []engine.Function{{Name: "told", Handle: func(_ context.Context, m engine.Message) error { told <- m; return nil }}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = eng.Close() })
	deployment, err := eng.CreateDeployment(t.Context(), engine.NewDeployment{Provider: "counter"})
	if err != nil {
		t.Fatal(err)
	}
	c, err := eng.CreateCallback(t.Context(), engine.NewCallback{Details: engine.Details{Name: "orders"}, DeploymentID: deployment.ID, DestinationIDs: []string{"func:told"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := eng.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return eng, c.ID, told
}

func TestTransactDeliversWhatWasPublishedOnce(t *testing.T) {
	t.Parallel()
	eng, callback, told := shop(t)
	for range 2 {
		var events []engine.Event
		err := eng.Transact(t.Context(), func(tx *engine.Tx) (err error) {
			events, err = tx.Publish(callback, engine.NewEvent{Type: "a", SourceID: "1", Output: json.RawMessage(`{"n":1}`)},
				engine.NewEvent{Type: "a", SourceID: "1", Output: json.RawMessage(`{"n":2}`)})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(events) != 2 || events[0].ID != events[1].ID || string(events[1].Output) != `{"n":1}` {
			t.Errorf("got %+v", events)
		}
	}
	if err := eng.Publish(t.Context(), callback, engine.NewEvent{Type: "last", Output: json.RawMessage(`{}`)}); err != nil {
		t.Fatal(err)
	}
	got := map[string]int{(<-told).Type: 1}
	got[(<-told).Type]++
	if got["a"] != 1 || got["last"] != 1 || len(told) > 0 {
		t.Errorf("got %v", got)
	}
}

func TestTransactReturnsTheErrorsOfItsFunction(t *testing.T) {
	t.Parallel()
	eng, callback, _ := shop(t)
	own := errors.New("mine")
	for name, c := range map[string]struct {
		fn   func(tx *engine.Tx) error
		is   error
		code engine.Code
	}{
		"Own": {fn: func(*engine.Tx) error { return own }, is: own, code: engine.CodeInternal},
		"AnEventThatIsWrong": {fn: func(tx *engine.Tx) error {
			_, err := tx.Publish(callback, engine.NewEvent{Type: "a"})
			return err
		}, code: engine.CodeInvalid},
		"ACallbackThatIsNotThere": {fn: func(tx *engine.Tx) error {
			_, err := tx.Publish("clb_none", engine.NewEvent{Type: "a", Output: json.RawMessage(`{}`)})
			return err
		}, code: engine.CodeNotFound},
		"AFailedPublishThatIsNotReturned": {fn: func(tx *engine.Tx) error {
			_, _ = tx.Publish("clb_none", engine.NewEvent{Type: "a", Output: json.RawMessage(`{}`)})
			return nil
		}, code: engine.CodeNotFound},
	} {
		err := eng.Transact(t.Context(), c.fn)
		if engine.CodeOf(err) != c.code || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if err := eng.Close(); err != nil {
		t.Fatal(err)
	}
	if err := eng.Transact(t.Context(), func(*engine.Tx) error { return nil }); engine.CodeOf(err) != engine.CodeUnavailable {
		t.Errorf("after Close: got %v", err)
	}
}
