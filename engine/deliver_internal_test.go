package engine

import (
	"context"
	"encoding/json"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/callbackd/callbackd/store"
)

// inside runs an engine with a function as the destination of a callback, in virtual time.
func inside(t *testing.T, f Function, test func(t *testing.T, e *Engine, callback string)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "callbacks.db")
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		poll := func(context.Context, PollRequest) (PollResult, error) { return PollResult{}, nil }
		e, err := Open(ctx, Options{Path: path, NoSync: true, Functions: []Function{f}, Providers: []Provider{{Key: "p", Triggers: []Trigger{{Key: "t", Poll: poll}}}}})
		if err != nil {
			t.Fatal(err)
		}
		d, err := e.CreateDeployment(ctx, NewDeployment{Provider: "p"})
		if err != nil {
			t.Fatal(err)
		}
		c, err := e.CreateCallback(ctx, NewCallback{Details: Details{Name: "c"}, DeploymentID: d.ID, DestinationIDs: []string{"func:" + f.Name}})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Start(ctx); err != nil {
			t.Fatal(err)
		}
		test(t, e, c.ID)
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Between a commit and its hand-over, the reader may find what was committed, and it may be
// delivered. It must not be delivered again then.
func TestLateOfferIsNotDeliveredTwice(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	f := Function{Name: "f", Handle: func(context.Context, Message) error { calls.Add(1); return nil }}
	inside(t, f, func(t *testing.T, e *Engine, callback string) {
		p, err := e.store.Publish(context.Background(), e.now(), callback, store.NewEvent{Type: "x", Output: json.RawMessage(`{}`)})
		if err != nil {
			t.Fatal(err)
		}
		d := e.deliverer
		d.mu.Lock()
		l := d.lane(p.Deliveries[0].DestinationSeq)
		l.lookAt(e.now())
		d.due.place(l)
		d.wake()
		d.mu.Unlock()
		time.Sleep(time.Second)
		if calls.Load() != 1 {
			t.Fatalf("%d calls before the hand-over", calls.Load())
		}
		d.offer(p.Deliveries)
		time.Sleep(time.Minute)
		if calls.Load() != 1 {
			t.Errorf("%d calls for one notification", calls.Load())
		}
	})
}

// A destination that was read just before it changed is not kept as it was.
func TestChangedDestinationIsNotKeptAsItWas(t *testing.T) {
	t.Parallel()
	e, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "x.db"), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	row, err := e.CreateDestination(t.Context(), NewDestination{DestinationSettings: DestinationSettings{Name: "d", URL: "http://old.test"}})
	if err != nil {
		t.Fatal(err)
	}
	d := e.deliverer
	d.work = t.Context()
	old, err := newEndpoint(row)
	if err != nil {
		t.Fatal(err)
	}
	changes := d.changes
	if _, err := e.UpdateDestination(t.Context(), row.ID, UpdateDestination{URL: new("http://new.test")}); err != nil {
		t.Fatal(err)
	}
	d.keep(1, old, changes)
	p, err := d.endpoint(1)
	if err != nil {
		t.Fatal(err)
	}
	if p.URL != "http://new.test" {
		t.Errorf("the next attempt goes to %s", p.URL)
	}
}

// What waits in memory is bounded in bytes, and what is not read yet goes before what is new.
func TestLaneKeepsLittleInMemory(t *testing.T) {
	t.Parallel()
	l := newLane(1)
	for i := range 100 {
		l.push(store.Delivery{Seq: int64(i), Output: make(json.RawMessage, 1<<20)})
	}
	if len(l.queue) != queuePerAttempt {
		t.Errorf("%d wait for a destination that answers one at a time", len(l.queue))
	}
	for _, d := range l.queue {
		if d.Output != nil {
			t.Errorf("an output of %d bytes waits in memory", len(d.Output))
		}
	}
	now := time.Now()
	if l.lookAt(now.Add(time.Second)); l.behind(now) {
		t.Error("a retry that is due later holds up what is new")
	}
	if l.lookAt(now); !l.behind(now) {
		t.Error("what is new overtakes what waits")
	}
}
