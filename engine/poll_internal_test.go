package engine

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/callbackd/callbackd/store"
)

// A trigger that was detached while it waited for its poll is not polled with what was read
// of it before; and a state that is too large to wait in memory is there when it is polled.
func TestWhatIsReadAheadIsNotPolledWhenItIsOld(t *testing.T) {
	t.Parallel()
	large := json.RawMessage(`""`)
	for len(large) <= maxStateAhead {
		large = append(large[:len(large)-1], `0123456789abcdef"`...)
	}
	polls := 0
	var seen json.RawMessage
	poll := func(_ context.Context, r PollRequest) (PollResult, error) {
		polls++
		seen = r.State
		return PollResult{State: large}, nil
	}
	ctx := t.Context()
	e, err := Open(ctx, Options{Path: t.TempDir() + "/x.db", NoSync: true, Providers: []Provider{{Key: "p", Triggers: []Trigger{{Key: "t", Poll: poll}}}}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	deployment, err := e.CreateDeployment(ctx, NewDeployment{Provider: "p", Config: &NewConfigValue{Value: json.RawMessage(`{}`)}})
	must(err)
	callback, err := e.CreateCallback(ctx, NewCallback{Details: Details{Name: "c"}, DeploymentID: deployment.ID})
	must(err)
	instance, err := e.AttachInstance(ctx, callback.ID, NewInstance{ConfigID: deployment.DefaultConfig.ID})
	must(err)
	now := e.now()
	targets := func() []store.PollTarget {
		found, err := e.store.PollTargets(ctx, []int64{1}, maxStateAhead)
		must(err)
		return found
	}
	p := e.poller
	p.run(ctx, ctx, readAhead{targets()[0], now, 0})
	if polls != 1 || seen != nil {
		t.Fatalf("%d polls, state %s", polls, seen)
	}
	_, err = e.UpdateCallback(ctx, callback.ID, UpdateCallback{PollIntervalOverride: new(time.Second)})
	must(err)
	e.clock.wall = func() time.Time { return now.Add(time.Hour) }
	ahead := readAhead{targets()[0], e.now(), 0}
	if !ahead.Partial || ahead.State != nil {
		t.Errorf("a state of %d bytes waits in memory", len(ahead.State))
	}
	p.run(ctx, ctx, ahead)
	if polls != 2 || string(seen) != string(large) {
		t.Fatalf("%d polls, state of %d bytes", polls, len(seen))
	}
	e.clock.wall = func() time.Time { return now.Add(2 * time.Hour) }
	ahead = readAhead{targets()[0], e.now().Add(-2 * maxAhead), 0}
	ahead.Partial = false
	_, err = e.DetachInstance(ctx, callback.ID, instance.ID)
	must(err)
	p.run(ctx, ctx, ahead)
	if polls != 2 {
		t.Error("what was detached while it waited was polled")
	}
}
