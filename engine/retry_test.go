package engine

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestNextAttempt(t *testing.T) {
	t.Parallel()
	const middle = 0.5 // no jitter
	failed := result{failure: &Failure{Code: "http_500"}}
	tests := []struct {
		name    string
		retry   Retry
		attempt int
		res     result
		random  float64
		want    time.Duration
		ok      bool
	}{
		{"ScheduleFirst", Retry{Type: RetrySchedule, MaxAttempts: 10, Delay: 5 * time.Second}, 1, failed, middle, 5 * time.Second, true},
		{"ScheduleNinth", Retry{Type: RetrySchedule, MaxAttempts: 10, Delay: 5 * time.Second}, 9, failed, middle, 24 * time.Hour, true},
		{"ScheduleEnds", Retry{Type: RetrySchedule, MaxAttempts: 10, Delay: 5 * time.Second}, 10, failed, middle, 0, false},
		{"ScheduleStaysAtItsLast", Retry{Type: RetrySchedule, MaxAttempts: 50, Delay: 5 * time.Second}, 40, failed, middle, 24 * time.Hour, true},
		{"ScheduleJittersDown", Retry{Type: RetrySchedule, MaxAttempts: 10, Delay: 5 * time.Second}, 2, failed, 0, 270 * time.Second, true},
		{"ScheduleJittersUp", Retry{Type: RetrySchedule, MaxAttempts: 10, Delay: 5 * time.Second}, 2, failed, 1, 330 * time.Second, true},
		{"LinearGrows", Retry{Type: RetryLinear, MaxAttempts: 5, Delay: 3 * time.Second}, 4, failed, 0, 12 * time.Second, true},
		{"LinearIsAtMostADay", Retry{Type: RetryLinear, MaxAttempts: 100, Delay: 24 * time.Hour}, 99, failed, 0, 24 * time.Hour, true},
		{"ExponentialDoubles", Retry{Type: RetryExponential, MaxAttempts: 9, Delay: 3 * time.Second}, 4, failed, 1, 24 * time.Second, true},
		{"ExponentialDoesNotOverflow", Retry{Type: RetryExponential, MaxAttempts: 100, Delay: 24 * time.Hour}, 99, failed, 1, 24 * time.Hour, true},
		{"RetryAfterIsTheLeast", Retry{Type: RetryLinear, MaxAttempts: 5, Delay: time.Second}, 1, result{retryAfter: time.Hour}, 0, time.Hour, true},
		{"RetryAfterDoesNotHasten", Retry{Type: RetryLinear, MaxAttempts: 5, Delay: time.Hour}, 1, result{retryAfter: time.Minute}, 0, time.Hour, true},
		{"PermanentEnds", Retry{Type: RetryLinear, MaxAttempts: 5, Delay: time.Second}, 1, result{permanent: true}, 0, 0, false},
		{"OneAttemptIsOne", Retry{Type: RetryLinear, MaxAttempts: 1, Delay: time.Second}, 1, failed, 0, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, ok := nextAttempt(tt.retry, tt.attempt, tt.res, tt.random)
			if got != tt.want || ok != tt.ok {
				t.Errorf("got %s, %t; want %s, %t", got, ok, tt.want, tt.ok)
			}
		})
	}
}

// Whatever the settings, a delay is within bounds and the attempts come to an end.
func TestNextAttemptStaysInBounds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := Retry{Type: rapid.SampledFrom([]string{RetrySchedule, RetryLinear, RetryExponential}).Draw(t, "type"),
			MaxAttempts: rapid.IntRange(1, maxRetryNumber).Draw(t, "max"), Delay: time.Duration(rapid.IntRange(1, 86400).Draw(t, "delay")) * time.Second}
		attempts := 0
		for {
			attempts++
			delay, ok := nextAttempt(r, attempts, result{}, rapid.Float64Range(0, 1).Draw(t, "random"))
			if !ok {
				break
			}
			if delay < minRetryDelay || delay > maxRetryDelay {
				t.Fatalf("delay %s after attempt %d of %+v", delay, attempts, r)
			}
		}
		if attempts != r.MaxAttempts {
			t.Fatalf("%d attempts of %+v", attempts, r)
		}
	})
}

func TestNextPoll(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 10, 12, 0, 0, 0, time.UTC)
	sec := func(s float64) time.Time { return at.Add(time.Duration(s * float64(time.Second))) }
	tests := []struct {
		name     string
		due, now time.Time
		interval time.Duration
		random   float64
		want     time.Time
	}{
		{"CountsFromDue", sec(0.3), sec(0.9), time.Second, 0, sec(1.3)},
		{"AlwaysGoesOn", sec(0.3), sec(1.3), time.Second, 0, sec(2.3)},
		{"MissedOnesAreNotMadeUpFor", sec(0), sec(100), time.Second, 0, sec(101)},
		{"ClockSetBack", sec(0), sec(-86400), time.Minute, 0.5, sec(-86340)},
		{"LongIntervalsJitter", sec(0), sec(1), 100 * time.Second, 0, sec(95)},
		{"AnEarlyOneIsNotMadeTwice", sec(0), sec(97), 100 * time.Second, 0, sec(195)},
		{"LongIntervalsJitterUp", sec(0), sec(1), 100 * time.Second, 1, sec(105)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := nextPoll(tt.due, tt.now, tt.interval, tt.random); !got.Equal(tt.want) {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestNextPollAfterFailure(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 10, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		interval time.Duration
		failures int
		asked    time.Duration
		want     time.Duration
	}{
		{time.Second, 1, 0, time.Second},
		{time.Second, 4, 0, 8 * time.Second},
		{time.Second, 12, 0, 2048 * time.Second},
		{time.Second, 13, 0, time.Hour},
		{time.Minute, 1000, 0, time.Hour},
		{2 * time.Hour, 9, 0, 2 * time.Hour},
		{365 * 24 * time.Hour, 16, 0, 365 * 24 * time.Hour},
		{time.Minute, 3, 5 * time.Minute, 5 * time.Minute},
		{time.Minute, 3, 1000 * time.Hour, 24 * time.Hour},
	} {
		if got := nextPollAfterFailure(at, tt.interval, tt.failures, tt.asked, 0.5); got.Sub(at) != tt.want {
			t.Errorf("%+v: got %s", tt, got.Sub(at))
		}
	}
}

func TestNextMapping(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 10, 12, 0, 0, 0, time.UTC)
	if got := nextMapping(at, 1, errors.New("x")); got.Sub(at) != 10*time.Second {
		t.Errorf("after the first failure: %s", got)
	}
	if got := nextMapping(at, 5, errors.New("x")); !got.IsZero() {
		t.Errorf("after the fifth failure: %s", got)
	}
	if got := nextMapping(at, 1, Permanent(errors.New("x"))); !got.IsZero() {
		t.Errorf("after a permanent failure: %s", got)
	}
}
