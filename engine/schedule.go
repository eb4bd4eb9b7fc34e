package engine

import "time"

const (
	maxBackOff        = time.Hour        // between polls of a failing trigger
	pollJitter        = 0.05             // of the interval, either way
	minJitteredPoll   = 10 * time.Second // shorter intervals are kept to the letter
	minFixedPoll      = time.Second / 10 // until a time that a provider asks for: a late poll is not to delay the next second's
	maxPollRetryAfter = 24 * time.Hour   // however long a provider asks to be left alone
)

// nextPoll is when a trigger that was due at due, and has been polled, is due again. Counting
// from due and not from now keeps the interval true although polls start late, and triggers
// spread out although all of them were late: what was missed is not made up for, but the next
// poll comes when it would have come. Jitter keeps triggers that were attached together from
// staying together. random is in [0, 1).
func nextPoll(due, now time.Time, interval time.Duration, random float64) time.Time {
	jittered := interval
	if interval >= minJitteredPoll {
		jittered += time.Duration(float64(interval) * pollJitter * (2*random - 1))
	}
	if late := now.Sub(due); late > 0 {
		due = due.Add(late / interval * interval)
	}
	next := due.Add(jittered)
	if !next.After(now) {
		next = next.Add(interval)
	}
	if next.Sub(now) > 2*interval { // due was far ahead: the clock was elsewhere then
		next = now.Add(jittered)
	}
	return next
}

// nextPollAfterFailure is when a trigger whose poll failed is tried again: after the interval,
// doubled with every further failure up to an hour, or after as long as it asked for.
// failures counts this one.
func nextPollAfterFailure(now time.Time, interval time.Duration, failures int, asked time.Duration, random float64) time.Time {
	if asked > 0 {
		return now.Add(min(max(asked, time.Second), maxPollRetryAfter))
	}
	delay := max(interval, maxBackOff) // an interval of over an hour is not shortened
	if shift := failures - 1; shift < 16 && interval <= delay>>shift {
		delay = interval << shift
	}
	return now.Add(delay + time.Duration(float64(delay)*pollJitter*(2*random-1)))
}

// mapDelays is what follows each failed mapping of an input; after the last it has failed.
var mapDelays = [...]time.Duration{10 * time.Second, time.Minute, 5 * time.Minute, 30 * time.Minute}

// nextMapping is when an input whose mapping failed, for the attempts-th time, is mapped
// again; zero: never.
func nextMapping(now time.Time, attempts int, err error) time.Time {
	if IsPermanent(err) && !IsUnauthorized(err) || attempts > len(mapDelays) {
		return time.Time{}
	}
	return now.Add(mapDelays[attempts-1])
}
