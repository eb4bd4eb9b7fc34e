package engine_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// tally counts attempts, by notification and number.
type tally struct {
	mu   sync.Mutex
	made map[string]int
	all  int
	many chan struct{} // closed when there are so many
	so   int
}

func (y *tally) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.made[r.Header.Get("webhook-id")+" "+r.Header.Get("Metorial-Delivery-Attempt")]++
	if y.all++; y.all == y.so {
		close(y.many)
	}
}

// While the disk takes nothing, attempts go on as far as their outcomes can be kept in mind,
// and no further; then they are recorded, and none is made again.
func TestDiskThatStallsBoundsWhatIsNotRecorded(t *testing.T) {
	t.Parallel()
	const events, inFlight, outcomes = 1500, 16, 1024 + 128 // what the recorder keeps, and its batch
	y := &tally{made: make(map[string]int), many: make(chan struct{}), so: 1024}
	r := httptest.NewServer(http.HandlerFunc(y.ServeHTTP)) // a receiver would keep each request
	t.Cleanup(r.Close)
	path := filepath.Join(t.TempDir(), "callbacks.db")
	e := open(t, engine.Options{Path: path, Providers: []engine.Provider{(&source{}).provider()}, MaxDeliveries: inFlight})
	s := attach(t, e, "source", engine.DestinationSettings{URL: r.URL, EventTypes: []string{"x"}})
	for range events / 100 {
		batch := make([]engine.NewEvent, 100)
		for i := range batch {
			batch[i] = engine.NewEvent{Type: "x", Output: json.RawMessage(`{}`)}
		}
		if err := e.Publish(t.Context(), s.callback.ID, batch...); err != nil {
			t.Fatal(err)
		}
	}
	stalled := stall(t, path)
	start(t, e)
	<-y.many
	quiet, last := 0, 0
	eventually(t, "no more attempts are made", func() bool {
		y.mu.Lock()
		defer y.mu.Unlock()
		if quiet++; y.all != last {
			quiet, last = 0, y.all
		}
		return quiet == 20
	})
	if last > outcomes+inFlight {
		t.Errorf("%d attempts were made and not recorded", last)
	}
	accepted := make(chan error)
	go func() {
		accepted <- e.Publish(t.Context(), s.callback.ID, engine.NewEvent{Type: "y", Output: json.RawMessage(`{}`)})
	}()
	select {
	case err := <-accepted:
		t.Errorf("accepted while nothing can be written: %v", err)
	default:
	}
	stalled()
	if err := <-accepted; err != nil {
		t.Errorf("after the stall: %v", err)
	}
	eventually(t, "all are recorded", func() bool {
		return len(must(e.ListNotifications(t.Context(), s.callback.ID, engine.NotificationFilter{Statuses: []string{"pending", "retrying"}}, engine.Page{}))(t).Items) == 0
	})
	y.mu.Lock()
	defer y.mu.Unlock()
	if len(y.made) != events || y.all != events {
		t.Errorf("%d attempts at %d notifications, want %d", y.all, len(y.made), events)
	}
}

// stall keeps a file from being written until the function that it returns is called.
func stall(t *testing.T, path string) (end func()) {
	t.Helper()
	db := must(sql.Open("sqlite", path))(t)
	conn := must(db.Conn(t.Context()))(t)
	if _, err := conn.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	end = sync.OnceFunc(func() {
		if _, err := conn.ExecContext(context.WithoutCancel(t.Context()), "ROLLBACK"); err != nil {
			t.Error(err)
		}
		if err := errors.Join(conn.Close(), db.Close()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(end)
	return end
}

// Stop waits for no destination beyond its context: what was being attempted is pending
// again, as if it had not been attempted, and is made after the next start.
func TestStopLeavesACutAttemptPending(t *testing.T) {
	t.Parallel()
	entered := make(chan struct{}, 100)
	hanging := newReceiver(t, func(_ http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		<-r.Context().Done()
	})
	y := &tally{made: make(map[string]int), many: make(chan struct{}), so: 20}
	well := newReceiver(t, y.ServeHTTP)
	path := filepath.Join(t.TempDir(), "callbacks.db")
	o := engine.Options{Path: path, Providers: []engine.Provider{(&source{}).provider()}}
	e := open(t, o)
	ill := attach(t, e, "source", engine.DestinationSettings{URL: hanging.URL, Timeout: time.Minute})
	s := attach(t, e, "source", engine.DestinationSettings{URL: well.URL})
	start(t, e)
	publish(t, e, ill.callback.ID)
	for range 40 {
		publish(t, e, s.callback.ID)
	}
	<-entered
	<-y.many
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Stop(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Stop: %v", err)
	}
	if n := only(t, e, ill.callback.ID); n.Status != "pending" || n.AttemptCount != 0 || len(n.Attempts) != 0 {
		t.Errorf("what was cut off is %s after %d attempts", n.Status, n.AttemptCount)
	}
	if err := e.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	e = open(t, o)
	url := well.URL
	must(e.UpdateDestination(t.Context(), ill.destination.ID, engine.UpdateDestination{URL: &url}))(t)
	start(t, e)
	eventually(t, "it is delivered", func() bool { return only(t, e, ill.callback.ID).Status == "delivered" })
	eventually(t, "so are the others", func() bool {
		return len(must(e.ListNotifications(t.Context(), s.callback.ID, engine.NotificationFilter{Statuses: []string{"delivered"}}, engine.Page{Limit: 100}))(t).Items) == 40
	})
	y.mu.Lock()
	defer y.mu.Unlock()
	if first := fmt.Sprint(only(t, e, ill.callback.ID).ID, " 1"); len(y.made) != 41 || y.made[first] != 1 {
		t.Errorf("attempts at %d notifications, %d at the one that was cut off", len(y.made), y.made[first])
	}
}

// A provider that does not heed its context bounds neither Stop nor the Close after it.
func TestStopAndCloseAreBoundedAlthoughAProviderHangs(t *testing.T) {
	t.Parallel()
	polling, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	p := engine.Provider{Key: "deaf", Triggers: []engine.Trigger{{Key: "t", Poll: func(context.Context, engine.PollRequest) (engine.PollResult, error) {
		close(polling)
		<-release
		return engine.PollResult{}, nil
	}}}}
	e, err := engine.Open(t.Context(), engine.Options{Path: filepath.Join(t.TempDir(), "x.db"), Providers: []engine.Provider{p}})
	if err != nil {
		t.Fatal(err)
	}
	d := must(e.CreateDeployment(t.Context(), engine.NewDeployment{Provider: "deaf", Config: &engine.NewConfigValue{Value: json.RawMessage(`{}`)}}))(t)
	c := must(e.CreateCallback(t.Context(), engine.NewCallback{Details: engine.Details{Name: "c"}, DeploymentID: d.ID}))(t)
	must(e.AttachInstance(t.Context(), c.ID, engine.NewInstance{ConfigID: d.DefaultConfig.ID}))(t)
	start(t, e)
	<-polling
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ended := make(chan [2]error, 1)
	go func() { ended <- [2]error{e.Stop(ctx), e.Close()} }()
	select {
	case errs := <-ended:
		if !errors.Is(errs[0], context.Canceled) || errs[1] == nil {
			t.Errorf("Stop: %v, Close: %v", errs[0], errs[1])
		}
	case <-time.After(15 * time.Second):
		t.Error("Close gives 20 s more to what Stop has given up")
	}
}
