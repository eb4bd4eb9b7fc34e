package engine_test

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// One destination whose secret cannot be opened is one row's trouble: the others are delivered
// to, and the engine is ready.
func TestUnreadableDestinationLeavesItReady(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "callbacks.db")
	var delivered atomic.Int64
	synctest.Test(t, func(t *testing.T) {
		deliver := roundTrip(func(*http.Request) (*http.Response, error) { delivered.Add(1); return answer(200, nil, ""), nil })
		e := must(engine.Open(t.Context(), engine.Options{Path: path, NoSync: true, HTTPClient: &http.Client{Transport: deliver}, Providers: []engine.Provider{(&source{}).provider()}}))(t)
		ill := attach(t, e, "source", engine.DestinationSettings{URL: "http://ill.test"})
		well := attach(t, e, "source", engine.DestinationSettings{URL: "http://well.test"})
		db := must(sql.Open("sqlite", path))(t)
		if n := must(must(db.Exec("UPDATE destination SET signing_secret = x'00' WHERE id = ?", ill.destination.ID))(t).RowsAffected())(t); n != 1 {
			t.Fatalf("%d rows are damaged", n)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		start(t, e)
		publish(t, e, ill.callback.ID)
		for range 4 {
			publish(t, e, well.callback.ID)
			time.Sleep(time.Minute)
			if h := e.Health(); !h.Ready() {
				t.Errorf("another's row makes it unready: %q", h.Reasons)
			}
		}
		if n := delivered.Load(); n != 4 {
			t.Errorf("%d deliveries", n)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
	})
}

// A clock that is set, however far, does not hide a trigger whose turn does not come, and
// blames none whose does.
func TestStuckTriggerIsFoundAfterTheClockWasSet(t *testing.T) {
	t.Parallel()
	for _, by := range jumps {
		t.Run(by.String(), func(t *testing.T) {
			t.Parallel()
			var wall wallClock
			var hang atomic.Bool
			var release chan struct{}
			p := engine.Provider{Key: "p", Triggers: []engine.Trigger{{Key: "t", Interval: 10 * time.Second, Poll: func(context.Context, engine.PollRequest) (engine.PollResult, error) {
				if hang.Load() {
					<-release
				}
				return engine.PollResult{}, nil
			}}}}
			withLog(t, engine.Options{Now: wall.now, PollTimeout: 24 * time.Hour, Providers: []engine.Provider{p}}, nil, func(t *testing.T, e *engine.Engine, l *logged) {
				release = make(chan struct{})
				attach(t, e, "p", engine.DestinationSettings{URL: "http://receiver.test"})
				start(t, e)
				time.Sleep(time.Minute)
				wall.set(by)
				time.Sleep(time.Minute)
				if n := e.Health().StuckTriggers; n != 0 || l.count("WARN", "is stuck") != 0 {
					t.Errorf("%d are stuck because the clock was set", n)
				}
				hang.Store(true)
				time.Sleep(time.Minute)
				if n := e.Health().StuckTriggers; n != 1 {
					t.Errorf("%d are stuck", n)
				}
				hang.Store(false)
				close(release)
			})
		})
	}
}

// An engine that was stopped polls nothing, and no trigger is to blame for that.
func TestStoppedEngineBlamesNoTrigger(t *testing.T) {
	t.Parallel()
	withLog(t, engine.Options{Providers: []engine.Provider{(&source{}).provider()}}, nil, func(t *testing.T, e *engine.Engine, _ *logged) {
		s := attach(t, e, "source", engine.DestinationSettings{URL: "http://receiver.test"})
		start(t, e)
		time.Sleep(time.Minute)
		if err := e.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if tr := must(e.Instance(t.Context(), s.callback.ID, s.instance.ID))(t).Triggers[0]; tr.Status != "active" || tr.LastError != nil {
			t.Errorf("it is shown as %s, %+v", tr.Status, tr.LastError)
		}
	})
}

// Attempts that were in flight when their destination was archived do not make it one that fails.
func TestArchivedDestinationIsNotCountedAsFailing(t *testing.T) {
	t.Parallel()
	var made, held atomic.Int64
	var release chan struct{}
	deliver := func(*http.Request) (*http.Response, error) {
		if made.Add(1) > 15 { // answers widen what is sent at a time
			held.Add(1)
			<-release
			return answer(500, nil, ""), nil
		}
		time.Sleep(time.Second)
		return answer(200, nil, ""), nil
	}
	withLog(t, engine.Options{Providers: []engine.Provider{(&source{}).provider()}}, deliver, func(t *testing.T, e *engine.Engine, l *logged) {
		release = make(chan struct{})
		s := attach(t, e, "source", engine.DestinationSettings{URL: "http://receiver.test", Timeout: time.Minute})
		start(t, e)
		for range 40 {
			publish(t, e, s.callback.ID)
		}
		time.Sleep(15 * time.Second)
		if held.Load() < 5 {
			t.Errorf("%d in flight", held.Load())
		}
		must(e.ArchiveDestination(t.Context(), s.destination.ID))(t)
		close(release)
		time.Sleep(time.Minute)
		if n := e.Health().FailingDestinations; n != 0 || l.count("WARN", "is failing") != 0 {
			t.Errorf("%d destinations are failing, and none is active", n)
		}
	})
}

// blockingHandler is a log that waits at one text.
type blockingHandler struct {
	slog.Handler
	text             string
	entered, release chan struct{}
}

func (h blockingHandler) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, h.text) {
		close(h.entered)
		<-h.release
	}
	return nil
}
func (h blockingHandler) Enabled(context.Context, slog.Level) bool { return true }
func (h blockingHandler) WithAttrs([]slog.Attr) slog.Handler       { return h }

// Health answers from memory, also while a long start moves what is planned.
func TestHealthDoesNotWaitForStart(t *testing.T) {
	t.Parallel()
	var wall wallClock
	o := engine.Options{Path: filepath.Join(t.TempDir(), "callbacks.db"), Now: wall.now, Providers: []engine.Provider{(&source{}).provider()}}
	wall.set(time.Hour)
	e := must(engine.Open(t.Context(), o))(t)
	publish(t, e, attach(t, e, "source", engine.DestinationSettings{URL: "http://receiver.test"}).callback.ID)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	wall.set(-time.Hour)
	h := blockingHandler{slog.DiscardHandler, "the clock was set while", make(chan struct{}), make(chan struct{})}
	o.Logger = slog.New(h)
	e = open(t, o)
	started, asked := make(chan error, 1), make(chan engine.Health, 1)
	go func() { started <- e.Start(t.Context()) }()
	<-h.entered
	go func() { asked <- e.Health() }()
	select {
	case got := <-asked:
		if got.Ready() {
			t.Error("it is ready before it has started")
		}
	case <-time.After(10 * time.Second):
		t.Error("Health waits for Start")
	}
	close(h.release)
	if err := <-started; err != nil {
		t.Error(err)
	}
}

// Being stopped while the disk takes nothing, the engine does not try every outcome again.
func TestStopDoesNotTryEachOutcomeAgain(t *testing.T) {
	t.Parallel()
	path, away := filepath.Join(t.TempDir(), "callbacks.db"), filepath.Join(t.TempDir(), "away")
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		deliver := roundTrip(func(*http.Request) (*http.Response, error) { <-release; return answer(200, nil, ""), nil })
		l := new(logged)
		e := must(engine.Open(t.Context(), engine.Options{Path: path, NoSync: true, HTTPClient: &http.Client{Transport: deliver}, Providers: []engine.Provider{(&source{}).provider()},
			Logger: slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))}))(t)
		for range 50 {
			publish(t, e, attach(t, e, "source", engine.DestinationSettings{URL: "http://receiver.test"}).callback.ID)
		}
		start(t, e)
		synctest.Wait()
		if err := os.Rename(path, away); err != nil {
			t.Fatal(err)
		}
		close(release)
		time.Sleep(20 * time.Second)
		before := l.count("DEBUG", "outcomes wait")
		if before == 0 {
			t.Error("no outcome waits")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := e.Stop(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if n := l.count("DEBUG", "outcomes wait") - before; n > 5 {
			t.Errorf("it was tried %d times more", n)
		}
		if err := os.Rename(away, path); err != nil {
			t.Error(err)
		}
		if err := e.Close(); err != nil {
			t.Log(err)
		}
		synctest.Wait()
	})
}

// Polls that hang past their deadlines and leave no room for others make it unready, however
// many wait for their answers in time; once they end, it is ready again.
func TestPollsThatLeaveNoRoomMakeItUnready(t *testing.T) {
	t.Parallel()
	var hang atomic.Bool
	var release chan struct{}
	poll := func(ctx context.Context, _ engine.PollRequest) (engine.PollResult, error) {
		if hang.Load() {
			<-release
		} else {
			<-ctx.Done() // slow, and in time
		}
		return engine.PollResult{}, nil
	}
	p := engine.Provider{Key: "p", Triggers: []engine.Trigger{{Key: "a", Interval: time.Second, Poll: poll}, {Key: "b", Interval: time.Second, Poll: poll}}}
	withLog(t, engine.Options{MaxPolls: 1, PollTimeout: 10 * time.Second, Providers: []engine.Provider{p}}, nil, func(t *testing.T, e *engine.Engine, _ *logged) {
		release = make(chan struct{})
		attach(t, e, "p", engine.DestinationSettings{URL: "http://receiver.test"})
		start(t, e)
		for range 10 {
			time.Sleep(time.Minute)
			if h := e.Health(); !h.Ready() {
				t.Errorf("slow polls make it unready: %q", h.Reasons)
			}
		}
		hang.Store(true)
		time.Sleep(5 * time.Minute)
		if h := e.Health(); len(h.Reasons) != 1 || !strings.Contains(h.Reasons[0], "polls stand still") {
			t.Errorf("nothing is polled, and it says %q", h.Reasons)
		}
		hang.Store(false)
		close(release)
		time.Sleep(time.Minute)
		if h := e.Health(); !h.Ready() {
			t.Errorf("at the end: %q", h.Reasons)
		}
	})
}

// A clock that is set back between Open and Start delays no mapping.
func TestClock_SetBackBeforeStartDelaysNoMapping(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "callbacks.db")
	var tries attempts
	p := engine.Provider{Key: "p", Triggers: []engine.Trigger{{Key: "t", Interval: time.Hour, Poll: findsOne, Map: func(context.Context, engine.MapRequest) (engine.Mapped, error) {
		tries.add()
		return engine.Mapped{}, errors.New("not yet")
	}}}}
	synctest.Test(t, func(t *testing.T) {
		var wall wallClock
		o := engine.Options{Path: path, NoSync: true, Now: wall.now, Providers: []engine.Provider{p}}
		tries.start = time.Now()
		e := must(engine.Open(t.Context(), o))(t)
		attach(t, e, "p", engine.DestinationSettings{URL: "http://receiver.test"})
		start(t, e)
		time.Sleep(5 * time.Second)
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		wall.set(24 * time.Hour)
		e = must(engine.Open(t.Context(), o))(t)
		wall.set(-24 * time.Hour)
		start(t, e)
		time.Sleep(time.Minute)
		if n := len(tries.times()); n != 2 {
			t.Errorf("mapped %d times", n)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
	})
}
