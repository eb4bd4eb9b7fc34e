package engine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// roundTrip answers requests without a network, so that time can be virtual.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(status int, header http.Header, body string) *http.Response {
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(bytes.NewBufferString(body))}
}

// attempts are the times of the requests that a destination saw, since the test began.
type attempts struct {
	mu    sync.Mutex
	start time.Time
	at    []time.Duration
}

func (a *attempts) add() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.at = append(a.at, time.Since(a.start).Round(time.Second))
	return len(a.at)
}

func (a *attempts) times() []time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]time.Duration(nil), a.at...)
}

// inVirtualTime runs an engine whose clock a test can move by sleeping.
func inVirtualTime(t *testing.T, o engine.Options, deliver roundTrip, test func(t *testing.T, e *engine.Engine)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "callbacks.db")
	synctest.Test(t, func(t *testing.T) {
		o.Path, o.NoSync = path, true
		o.HTTPClient = &http.Client{Transport: deliver, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		o.Random = func() float64 { return 0.5 } // no jitter
		o.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		e, err := engine.Open(ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		test(t, e)
		if err := e.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		synctest.Wait()
	})
}

func start(t *testing.T, e *engine.Engine) {
	t.Helper()
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func publish(t *testing.T, e *engine.Engine, callback string) {
	t.Helper()
	if err := e.Publish(t.Context(), callback, engine.NewEvent{Type: "x", Output: json.RawMessage(`{}`)}); err != nil {
		t.Fatal(err)
	}
}

// only is a callback's one notification, with its attempts.
func only(t *testing.T, e *engine.Engine, callback string) engine.Notification {
	t.Helper()
	l := must(e.ListNotifications(t.Context(), callback, engine.NotificationFilter{}, engine.Page{}))(t)
	if len(l.Items) != 1 {
		t.Fatalf("%d notifications, want 1", len(l.Items))
	}
	return must(e.Notification(t.Context(), callback, l.Items[0].ID))(t)
}

func TestRetryFollowsItsSettingsToTheEnd(t *testing.T) {
	t.Parallel()
	a := attempts{}
	down := func(*http.Request) (*http.Response, error) { a.add(); return answer(502, nil, "down"), nil }
	inVirtualTime(t, engine.Options{Providers: []engine.Provider{(&source{}).provider()}}, down, func(t *testing.T, e *engine.Engine) {
		s := attach(t, e, "source", engine.DestinationSettings{URL: "http://receiver.test", Retry: engine.Retry{Type: engine.RetryExponential, MaxAttempts: 5, Delay: 10 * time.Second}})
		start(t, e)
		a.start = time.Now()
		publish(t, e, s.callback.ID)
		time.Sleep(11 * time.Second)
		n := only(t, e, s.callback.ID)
		if n.Status != "retrying" || n.AttemptCount != 2 || time.Until(n.NextAttemptAt).Round(time.Second) != 19*time.Second {
			t.Errorf("after 11 s: %s, %d attempts, next %s", n.Status, n.AttemptCount, n.NextAttemptAt)
		}
		time.Sleep(10 * time.Minute)
		want := []time.Duration{0, 10 * time.Second, 30 * time.Second, 70 * time.Second, 150 * time.Second}
		if got := a.times(); !slices.Equal(got, want) {
			t.Errorf("attempts at %v, want %v", got, want)
		}
		n = only(t, e, s.callback.ID)
		if n.Status != "failed" || !n.NextAttemptAt.IsZero() || n.Error == nil || n.Error.Code != "http_502" || len(n.Attempts) != 5 {
			t.Errorf("at the end: %+v", n)
		}
		ev := must(e.Event(t.Context(), s.callback.ID, n.Event.ID))(t)
		if ev.DeliveryStatus != "failed" || ev.FailureCount != 1 {
			t.Errorf("event: %+v", ev)
		}
	})
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		answer  *http.Response
		err     error
		code    string        // of the first attempt
		nextIn  time.Duration // until the second; 0: none
		ended   bool
		disable bool
	}{
		{name: "NoContentIsDelivered", answer: answer(204, nil, ""), ended: true},
		{name: "RedirectIsAFailure", answer: answer(302, http.Header{"Location": {"http://other.test"}}, ""), code: "redirect", nextIn: 2 * time.Second},
		{name: "ClientErrorIsRetried", answer: answer(404, nil, ""), code: "http_404", nextIn: 2 * time.Second},
		{name: "GoneDisables", answer: answer(410, nil, ""), code: "http_410", ended: true, disable: true},
		{name: "TooManyWaitsAMinute", answer: answer(429, nil, ""), code: "http_429", nextIn: time.Minute},
		{name: "RetryAfterIsHonoured", answer: answer(503, http.Header{"Retry-After": {"600"}}, ""), code: "http_503", nextIn: 10 * time.Minute},
		{name: "RetryAfterIsAtMostADay", answer: answer(503, http.Header{"Retry-After": {"999999999"}}, ""), code: "http_503", nextIn: 24 * time.Hour},
		{name: "ShortRetryAfterIsAMinute", answer: answer(429, http.Header{"Retry-After": {"1"}}, ""), code: "http_429", nextIn: time.Minute},
		{name: "RetryAfterOn500IsNotHeeded", answer: answer(500, http.Header{"Retry-After": {"600"}}, ""), code: "http_500", nextIn: 2 * time.Second},
		{name: "NoAnswer", err: errors.New("broken"), code: "network", nextIn: 2 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			first := true
			deliver := func(*http.Request) (*http.Response, error) {
				if first {
					first = false
					return tt.answer, tt.err
				}
				return answer(200, nil, ""), nil
			}
			inVirtualTime(t, engine.Options{Providers: []engine.Provider{(&source{}).provider()}}, deliver, func(t *testing.T, e *engine.Engine) {
				s := attach(t, e, "source", engine.DestinationSettings{URL: "http://receiver.test", Retry: engine.Retry{Type: engine.RetryLinear, MaxAttempts: 3, Delay: 2 * time.Second}})
				start(t, e)
				publish(t, e, s.callback.ID)
				time.Sleep(time.Second)
				n := only(t, e, s.callback.ID)
				if len(n.Attempts) != 1 {
					t.Fatalf("%d attempts, want 1", len(n.Attempts))
				}
				code := ""
				if n.Attempts[0].Failure != nil {
					code = n.Attempts[0].Failure.Code
				}
				if code != tt.code {
					t.Errorf("code %q, want %q", code, tt.code)
				}
				if n.NextAttemptAt.IsZero() != tt.ended {
					t.Errorf("next attempt at %v", n.NextAttemptAt)
				}
				if !tt.ended {
					if in := n.NextAttemptAt.Sub(n.LastAttemptAt).Round(time.Second); in != tt.nextIn {
						t.Errorf("next attempt in %s, want %s", in, tt.nextIn)
					}
					if tt.nextIn > time.Hour {
						return
					}
					time.Sleep(tt.nextIn)
					if n = only(t, e, s.callback.ID); n.Status != "delivered" || n.AttemptCount != 2 {
						t.Errorf("after the second attempt: %s, %d", n.Status, n.AttemptCount)
					}
				}
				d := must(e.Destination(t.Context(), s.destination.ID))(t)
				if (d.Status == "disabled") != tt.disable {
					t.Errorf("destination is %s", d.Status)
				}
				if tt.disable && (d.LastError == nil || d.LastError.Code != "destination_disabled") {
					t.Errorf("it does not say why: %v", d.LastError)
				}
			})
		})
	}
}

func TestGoneEndsWhatWaitsAndRevivingTakesNewEvents(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	status := 500
	deliver := func(*http.Request) (*http.Response, error) {
		mu.Lock()
		defer mu.Unlock()
		return answer(status, nil, ""), nil
	}
	set := func(s int) { mu.Lock(); status = s; mu.Unlock() }
	inVirtualTime(t, engine.Options{Providers: []engine.Provider{(&source{}).provider()}}, deliver, func(t *testing.T, e *engine.Engine) {
		s := attach(t, e, "source", engine.DestinationSettings{URL: "http://receiver.test"})
		start(t, e)
		for range 5 {
			publish(t, e, s.callback.ID)
		}
		time.Sleep(time.Second)
		set(410)
		time.Sleep(time.Minute)
		l := must(e.ListNotifications(t.Context(), s.callback.ID, engine.NotificationFilter{Statuses: []string{"failed"}}, engine.Page{}))(t)
		if len(l.Items) != 5 {
			t.Fatalf("%d failed, want 5", len(l.Items))
		}
		for _, n := range l.Items {
			if n.Error == nil || n.Error.Code != "http_410" && n.Error.Code != "destination_disabled" {
				t.Errorf("%s failed with %+v", n.ID, n.Error)
			}
		}
		publish(t, e, s.callback.ID) // nobody wants it
		set(200)
		if _, err := e.UpdateDestination(t.Context(), s.destination.ID, engine.UpdateDestination{Active: true}); err != nil {
			t.Fatal(err)
		}
		publish(t, e, s.callback.ID)
		time.Sleep(time.Second)
		events := must(e.ListEvents(t.Context(), s.callback.ID, engine.EventFilter{}, engine.Page{Limit: 2, Desc: true}))(t).Items
		if events[0].DeliveryStatus != "sent" || events[1].DeliveryStatus != "skipped" {
			t.Errorf("the newest events are %s and %s, want sent and skipped", events[0].DeliveryStatus, events[1].DeliveryStatus)
		}
	})
}

func TestArchivedDestinationFailsWhatWaits(t *testing.T) {
	t.Parallel()
	deliver := func(*http.Request) (*http.Response, error) { return answer(500, nil, ""), nil }
	inVirtualTime(t, engine.Options{Providers: []engine.Provider{(&source{}).provider()}}, deliver, func(t *testing.T, e *engine.Engine) {
		s := attach(t, e, "source", engine.DestinationSettings{URL: "http://receiver.test"})
		start(t, e)
		publish(t, e, s.callback.ID)
		time.Sleep(time.Second)
		if _, err := e.ArchiveDestination(t.Context(), s.destination.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if n := only(t, e, s.callback.ID); n.Status != "failed" || n.Error.Code != "destination_archived" || n.AttemptCount != 1 {
			t.Errorf("notification: %s, %+v, %d attempts", n.Status, n.Error, n.AttemptCount)
		}
	})
}

func TestFailingPollBacksOffAndRecovers(t *testing.T) {
	t.Parallel()
	src := &source{}
	var times attempts
	src.fail = func(poll int) error {
		times.add()
		if poll <= 4 {
			return errors.New("source is down")
		}
		return nil
	}
	inVirtualTime(t, engine.Options{Providers: []engine.Provider{src.provider()}}, nil, func(t *testing.T, e *engine.Engine) {
		s := attach(t, e, "source", engine.DestinationSettings{URL: "http://receiver.test"})
		times.start = time.Now()
		start(t, e)
		time.Sleep(2500 * time.Millisecond)
		tr := must(e.Instance(t.Context(), s.callback.ID, s.instance.ID))(t).Triggers[0]
		if tr.Status != "failing" || tr.ConsecutiveFailures != 2 || tr.LastError.Message != "source is down" {
			t.Errorf("while failing: %+v", tr)
		}
		time.Sleep(20 * time.Second)
		tr = must(e.Instance(t.Context(), s.callback.ID, s.instance.ID))(t).Triggers[0]
		if tr.Status != "active" || tr.ConsecutiveFailures != 0 || tr.LastError != nil {
			t.Errorf("recovered: %+v", tr)
		}
		// 1 s, 2 s, 4 s and 8 s after each other, each at the next tick of a second.
		got := times.times()
		for i, want := range []time.Duration{0, 1, 3, 7, 15} {
			if diff := got[i] - want*time.Second; diff < 0 || diff > time.Duration(i+1)*time.Second {
				t.Errorf("poll %d at %s, want about %d s", i+1, got[i], want)
			}
		}
	})
}

func TestProviderErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		fail   func(int) error
		status string
		code   string
		next   time.Duration // 0: not polled again
	}{
		{"PermanentPauses", func(int) error { return engine.Permanent(errors.New("account closed")) }, "paused", "permanent", 0},
		{"RetryAfterIsHeeded", func(int) error { return engine.RetryAfter(time.Hour, errors.New("slow down")) }, "failing", "rate_limited", time.Hour},
		{"PanicIsAnError", func(int) error { panic("bug") }, "failing", "poll_failed", time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			src := &source{fail: tt.fail}
			inVirtualTime(t, engine.Options{Providers: []engine.Provider{src.provider()}}, nil, func(t *testing.T, e *engine.Engine) {
				s := attach(t, e, "source", engine.DestinationSettings{URL: "http://receiver.test"})
				start(t, e)
				time.Sleep(500 * time.Millisecond)
				tr := must(e.Instance(t.Context(), s.callback.ID, s.instance.ID))(t).Triggers[0]
				if tr.Status != tt.status || tr.LastError == nil || tr.LastError.Code != tt.code {
					t.Errorf("trigger: %+v, %+v", tr, tr.LastError)
				}
				next := time.Duration(0)
				if !tr.NextPollAt.IsZero() {
					next = tr.NextPollAt.Sub(tr.LastPolledAt)
				}
				if next != tt.next {
					t.Errorf("next poll in %s, want %s", next, tt.next)
				}
			})
		})
	}
}

func TestFailedMappingIsTriedFiveTimesAndThenFails(t *testing.T) {
	t.Parallel()
	for _, succeedAt := range []int{3, 99} {
		t.Run(strconv.Itoa(succeedAt), func(t *testing.T) {
			t.Parallel()
			tries := 0
			p := engine.Provider{Key: "mapped", Triggers: []engine.Trigger{{Key: "t", Interval: 10 * time.Minute,
				Poll: func(context.Context, engine.PollRequest) (engine.PollResult, error) {
					return engine.PollResult{Inputs: []json.RawMessage{json.RawMessage(`{ "a": 1 }`)}}, nil
				},
				Map: func(_ context.Context, r engine.MapRequest) (engine.Mapped, error) {
					if tries++; tries < succeedAt {
						return engine.Mapped{}, errors.New("not yet")
					}
					return engine.Mapped{Type: "t", SourceID: "1", Output: r.Input}, nil
				}}}}
			ok := func(*http.Request) (*http.Response, error) { return answer(200, nil, ""), nil }
			inVirtualTime(t, engine.Options{Providers: []engine.Provider{p}}, ok, func(t *testing.T, e *engine.Engine) {
				s := attach(t, e, "mapped", engine.DestinationSettings{URL: "http://receiver.test"})
				start(t, e)
				time.Sleep(time.Second)
				ev := must(e.ListEvents(t.Context(), s.callback.ID, engine.EventFilter{}, engine.Page{}))(t).Items[0]
				if ev.Status != "retrying" || ev.Error.Message != "not yet" || string(ev.Input) != `{"a":1}` {
					t.Errorf("at first: %+v", ev)
				}
				time.Sleep(37 * time.Minute) // the source repeats the input meanwhile
				l := must(e.ListEvents(t.Context(), s.callback.ID, engine.EventFilter{}, engine.Page{}))(t)
				last := l.Items[0] // the one that failed at first
				if succeedAt == 3 {
					if last.Status != "succeeded" || last.DeliveryStatus != "sent" || last.SourceID != "1" || last.Error != nil {
						t.Errorf("at the end: %+v", last)
					}
					return
				}
				if len(l.Items) != 1 || last.Status != "failed" || last.DeliveryStatus != "skipped" || last.SourceID != ev.SourceID {
					t.Errorf("at the end: %d events, %+v", len(l.Items), last)
				}
			})
		})
	}
}

func TestNothingToDoWaitsForTheNextSecond(t *testing.T) {
	t.Parallel()
	src := &source{}
	inVirtualTime(t, engine.Options{Providers: []engine.Provider{src.provider()}}, nil, func(t *testing.T, e *engine.Engine) {
		s := attach(t, e, "source", engine.DestinationSettings{URL: "http://receiver.test"})
		if _, err := e.DetachInstance(t.Context(), s.callback.ID, s.instance.ID); err != nil {
			t.Fatal(err)
		}
		start(t, e)
		time.Sleep(time.Hour) // virtual: this returns only because everything sleeps
		if src.count() != 0 {
			t.Errorf("a detached trigger was polled %d times", src.count())
		}
	})
}
