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

// Hand-overs come in any order, and the reader may find a notification before its own, when a
// later one has had its. It must not be delivered again then.
func TestLateOfferIsNotDeliveredTwice(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	f := Function{Name: "f", Handle: func(context.Context, Message) error { calls.Add(1); return nil }}
	inside(t, f, func(t *testing.T, e *Engine, callback string) {
		early, late := publishUnseen(t, e, callback), publishUnseen(t, e, callback)
		e.deliverer.offer(late)
		time.Sleep(time.Second)
		look(e.deliverer, early[0].DestinationSeq)
		time.Sleep(time.Second)
		if calls.Load() != 2 {
			t.Fatalf("%d calls before the hand-over of the first", calls.Load())
		}
		e.deliverer.offer(early)
		time.Sleep(time.Minute)
		if calls.Load() != 2 {
			t.Errorf("%d calls for two notifications", calls.Load())
		}
	})
}

// What was just stored is not read, because it is about to be handed over; but if that is
// forgotten, the table is the truth.
func TestNothingIsDeliveredBeforeItIsHandedOver(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	f := Function{Name: "f", Handle: func(context.Context, Message) error { calls.Add(1); return nil }}
	inside(t, f, func(t *testing.T, e *Engine, callback string) {
		forgotten := publishUnseen(t, e, callback)
		look(e.deliverer, forgotten[0].DestinationSeq)
		time.Sleep(30 * time.Second)
		if calls.Load() != 0 {
			t.Fatalf("%d calls before the hand-over", calls.Load())
		}
		time.Sleep(3 * reconcileEvery)
		if calls.Load() != 1 {
			t.Errorf("%d calls for what was never handed over", calls.Load())
		}
	})
}

// publishUnseen stores an event of which the deliverer is not told.
func publishUnseen(t *testing.T, e *Engine, callback string) []store.Delivery {
	t.Helper()
	published, err := e.store.Publish(context.Background(), e.now(), callback, store.NewEvent{Type: "x", Output: json.RawMessage(`{}`)})
	if err != nil {
		t.Fatal(err)
	}
	return published[0].Deliveries
}

// look has the deliverer look at the table for a destination.
func look(d *deliverer, destination int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.lane(destination)
	l.lookAt(d.e.now())
	d.due.place(l)
	d.wake()
}

// laneOf makes an engine that delivers nothing by itself, with one event that waits for a
// destination.
func laneOf(t *testing.T, url string) (e *Engine, destination Destination, l *lane) {
	t.Helper()
	ctx := t.Context()
	poll := func(context.Context, PollRequest) (PollResult, error) { return PollResult{}, nil }
	e, err := Open(ctx, Options{Path: filepath.Join(t.TempDir(), "x.db"), NoSync: true, AllowPrivateNetworks: true, Providers: []Provider{{Key: "p", Triggers: []Trigger{{Key: "t", Poll: poll}}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	deployment, err := e.CreateDeployment(ctx, NewDeployment{Provider: "p"})
	if err != nil {
		t.Fatal(err)
	}
	if destination, err = e.CreateDestination(ctx, NewDestination{DestinationSettings: DestinationSettings{Name: "d", URL: url, Scope: ScopeAll}}); err != nil {
		t.Fatal(err)
	}
	c, err := e.CreateCallback(ctx, NewCallback{Details: Details{Name: "c"}, DeploymentID: deployment.ID})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Publish(ctx, c.ID, NewEvent{Type: "x", Output: json.RawMessage(`{}`)}); err != nil {
		t.Fatal(err)
	}
	d := e.deliverer
	d.work, d.handedOver = ctx, 1 // as a start would have it
	d.mu.Lock()
	defer d.mu.Unlock()
	l = d.lane(1)
	l.lookAt(e.now())
	d.due.place(l)
	return e, destination, l
}

// A lane that ends while its part of the table is being read takes nothing in hand, and is
// read again.
func TestLaneThatEndsWhileItIsReadIsReadAgain(t *testing.T) {
	t.Parallel()
	e, _, l := laneOf(t, "http://gone.test")
	d := e.deliverer
	d.next()
	found, again, err := d.fetch(t.Context(), l, 5)
	if err != nil || len(found) != 1 {
		t.Fatal(len(found), err)
	}
	d.endLane(1) // an attempt in flight was answered 410
	d.takeIn(l, found, again)
	if len(l.inHand) != 0 || l.heapIndex < 0 {
		t.Errorf("%d are in hand for a lane that has ended, its place in the heap is %d", len(l.inHand), l.heapIndex)
	}
}

// A destination that is revived before the reader ends its backlog keeps it, and the lane.
func TestRevivedDestinationKeepsItsBacklog(t *testing.T) {
	t.Parallel()
	e, destination, l := laneOf(t, "http://gone.test")
	d, ctx := e.deliverer, t.Context()
	if _, err := e.store.EndDestination(ctx, e.now(), destination.ID, "disabled", ""); err != nil {
		t.Fatal(err)
	}
	if p, err := d.endpoint(1); err != nil || p.Status != "disabled" {
		t.Fatal(p, err)
	}
	if _, err := e.store.UpdateDestination(ctx, e.now(), destination.ID, func(_ *DestinationSettings, status *string) error { *status = "active"; return nil }); err != nil {
		t.Fatal(err)
	}
	d.next()
	d.readLane(ctx, l) // it believes the destination to be disabled still
	if l.heapIndex < 0 || l.ended {
		t.Error("the notification is open, and nobody will look at it")
	}
	d.next()
	d.readLane(ctx, l)
	if len(l.queue) != 1 {
		t.Errorf("%d wait to be delivered", len(l.queue))
	}
}

func TestReconcileFindsLostLanes(t *testing.T) {
	t.Parallel()
	e, _, _ := laneOf(t, "http://gone.test")
	d := e.deliverer
	clear(d.lanes)
	d.due = nil
	d.reconcile(t.Context())
	if l := d.lanes[1]; l == nil || l.heapIndex < 0 {
		t.Error("the lane is lost")
	}
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
	shared := 0
	l, other := newLane(1, &shared), newLane(2, &shared)
	fill := func(l *lane, size int) {
		output := make(json.RawMessage, size)
		for i := range 10_000 {
			l.push(store.Delivery{Seq: int64(i), Output: output})
		}
	}
	l.unanswered = 1
	if fill(l, 1<<20); len(l.queue) != queuePerAttempt {
		t.Errorf("%d wait for a destination that does not answer", len(l.queue))
	}
	for _, d := range l.queue {
		if d.Output != nil {
			t.Errorf("an output of %d bytes waits in memory", len(d.Output))
		}
	}
	l.end()
	l.unanswered, l.ended = 0, false
	fill(l, 16<<10)
	fill(other, 10)
	if l.bytes > maxShared/2+32<<10 || shared > maxShared || other.bytes < maxShared/5 {
		t.Errorf("%d and %d bytes wait for two destinations, %d in all", l.bytes, other.bytes, shared)
	}
	for range 10 {
		l.pop()
	}
	l.trim(3)
	other.end()
	if len(l.queue) != 3 || len(l.inHand) != 13 || shared != l.bytes || l.bytes != 3*(queuedCost+16<<10) {
		t.Errorf("%d are left, %d in hand, %d bytes of %d", len(l.queue), len(l.inHand), l.bytes, shared)
	}
	l.window = 1
	l.trim(1)
	if got := l.toRead(); got < 100 || got > maxShared/2/(16<<10) {
		t.Errorf("%d of 16 KiB each are read into memory of %d bytes", got, maxShared)
	}
	if l.unanswered = 1; l.toRead() != queuePerAttempt-1 {
		t.Errorf("%d are read for a destination that does not answer", l.toRead())
	}
	now := time.Now()
	if l.lookAt(now.Add(time.Second)); l.behind(now) {
		t.Error("a retry that is due later holds up what is new")
	}
	if l.lookAt(now); !l.behind(now) {
		t.Error("what is new overtakes what waits")
	}
}

// Pauses grow while nothing is answered, to a bound, and end with an answer.
func TestPausesOfALane(t *testing.T) {
	t.Parallel()
	l := newLane(1, new(int))
	var pause, all time.Duration
	for range 200 {
		before := pause
		if pause = l.heard(false); pause < before || !l.paused || !l.silent() {
			t.Errorf("a pause of %s follows one of %s", pause, before)
		}
		all += pause
	}
	if pause != maxPause || all > 4*time.Second {
		t.Errorf("the last pause is %s of %s", pause, all)
	}
	if pause = l.heard(true); pause != 0 || l.paused || l.silent() {
		t.Errorf("after an answer there is a pause of %s", pause)
	}
	if pause = l.heard(false); pause != morePause {
		t.Errorf("after an answer the pauses begin at %s", pause)
	}
}
