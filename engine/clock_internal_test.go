package engine

import (
	"context"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// A move of due times that a crash has cut short is ended by the next start, in the direction
// and by the amount in which it began.
func TestClock_UnfinishedMoveIsEnded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.db")
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		poll := func(context.Context, PollRequest) (PollResult, error) { return PollResult{}, nil }
		var triggers []Trigger
		for _, key := range []string{"a", "b", "c", "d"} {
			triggers = append(triggers, Trigger{Key: key, Interval: 10 * time.Hour, Poll: poll})
		}
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		open := func() *Engine {
			e, err := Open(ctx, Options{Path: path, NoSync: true, Providers: []Provider{{Key: "p", Triggers: triggers}}, Random: func() float64 { return 0.5 }})
			must(err)
			return e
		}
		e := open()
		d, err := e.CreateDeployment(ctx, NewDeployment{Provider: "p", Config: &NewConfigValue{Value: []byte(`{}`)}})
		must(err)
		c, err := e.CreateCallback(ctx, NewCallback{Details: Details{Name: "c"}, DeploymentID: d.ID})
		must(err)
		i, err := e.AttachInstance(ctx, c.ID, NewInstance{ConfigID: d.DefaultConfig.ID})
		must(err)
		must(e.Start(ctx))
		time.Sleep(time.Second)
		move, err := e.store.BeginDueMove(ctx, e.now(), time.Hour)
		must(err)
		for move.Moved < 2 {
			_, err = e.store.MoveDue(ctx, move, e.now(), 1, nil)
			must(err)
		}
		must(e.Close())
		e = open()
		must(e.Start(ctx))
		i, err = e.Instance(ctx, c.ID, i.ID)
		must(err)
		for _, tr := range i.Triggers {
			if in := tr.NextPollAt.Sub(tr.LastPolledAt).Round(time.Minute); in != 11*time.Hour {
				t.Errorf("%s is polled after %s", tr.Trigger.Key, in)
			}
		}
		must(e.Close())
		synctest.Wait()
	})
}

// A pause of the process between readings of the two clocks is not taken for a clock that was set.
func TestClock_PauseBetweenItsReadingsCountsForNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pause := false
		c := newClock(func() time.Time {
			now := time.Now()
			if pause {
				pause = false
				time.Sleep(time.Minute) // before the other clock is read
			}
			return now
		})
		c.agree(0, true)
		pause = true
		c.agree(0, true)
		if off := c.off(); off != 0 {
			t.Errorf("the clock was set by %s", off)
		}
		if now := c.now(); !now.Equal(time.Now()) {
			t.Errorf("it is off by %s", time.Until(now))
		}
	})
}

// A clock that is set again while its setting is being noted is found at the next comparison.
func TestClock_SecondSettingDuringTheFirstIsNotSwallowed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ahead := time.Duration(0)
		c := newClock(func() time.Time { return time.Now().Add(ahead) })
		c.agree(0, true)
		ahead = time.Hour
		by := c.off()
		ahead = 3 * time.Hour
		c.agree(by, true)
		if off := c.off(); by != time.Hour || off != 2*time.Hour {
			t.Errorf("set by %s and then by %s", by, off)
		}
	})
}
