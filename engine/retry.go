package engine

import (
	"math/rand/v2"
	"time"
)

// Types of retry settings.
const (
	RetrySchedule    = "schedule"    // the default: a fixed schedule that spans three days
	RetryLinear      = "linear"      // the delay times the number of attempts made
	RetryExponential = "exponential" // the delay, doubled after each attempt
)

const (
	minRetryDelay   = time.Second
	maxRetryDelay   = 24 * time.Hour
	retryJitter     = 0.10             // of the schedule's delays, either way
	minRetryAfter   = 60 * time.Second // after a 429 or 503, whatever it says
	maxRetryAfter   = 24 * time.Hour
	defaultDelay    = 5 * time.Second
	maxRetryNumber  = 100
	defaultAttempts = 10
)

// schedule is what follows each failed attempt by default; close to what the Standard
// Webhooks specification recommends.
var schedule = [...]time.Duration{5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
	10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour}

func fillRetry(r *Retry) {
	if r.Type == "" {
		r.Type = RetrySchedule
	}
	if r.MaxAttempts == 0 {
		r.MaxAttempts = defaultAttempts
	}
	if r.Delay == 0 {
		r.Delay = defaultDelay
	}
}

func (c *checker) retry(r Retry, path string) {
	c.oneOf(r.Type, []string{RetrySchedule, RetryLinear, RetryExponential}, path, "type")
	c.between(r.MaxAttempts, 1, maxRetryNumber, path, "maxAttempts")
	c.between(clampSeconds(r.Delay), 1, int(maxRetryDelay/time.Second), path, "delaySeconds")
}

// nextAttempt decides what follows the failed attempt with the given number, counted from
// 1: the delay until the next one, or ok false when that was the last. random is in [0, 1).
func nextAttempt(r Retry, attempt int, res result, random float64) (delay time.Duration, ok bool) {
	if res.permanent || attempt >= r.MaxAttempts {
		return 0, false
	}
	switch r.Type {
	case RetryLinear:
		delay = r.Delay * time.Duration(attempt)
	case RetryExponential:
		delay = maxRetryDelay
		if shift := attempt - 1; shift < 32 && r.Delay <= maxRetryDelay>>shift {
			delay = r.Delay << shift
		}
	default:
		delay = schedule[min(attempt, len(schedule))-1]
		delay += time.Duration(float64(delay) * retryJitter * (2*random - 1))
	}
	delay = min(max(delay, minRetryDelay), maxRetryDelay)
	return max(delay, res.retryAfter), true
}

// randomFraction is the default source of jitter, which needs no secrecy.
func randomFraction() float64 { return rand.Float64() }
