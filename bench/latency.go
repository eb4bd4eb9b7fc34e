package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// latency is from when an event was to be published to its receipt, at half of the rate that
// engine.Publish reaches, ours and the bare loop's in turn.
func latency(ctx context.Context, s *suite) error {
	full, err := s.publishRateNow(ctx)
	if err != nil {
		return err
	}
	rate := full / 2
	var bare, ours []time.Duration
	for range s.size.rounds {
		got, err := s.bareLatency(ctx, rate)
		if err != nil {
			return fmt.Errorf("bare loop: %w", err)
		}
		bare = append(bare, got...)
		if got, err = s.ourLatency(ctx, rate); err != nil {
			return err
		}
		ours = append(ours, got...)
	}
	for _, q := range []struct {
		share float64
		name  string
		goal  time.Duration
	}{{0.5, "p50", 3 * time.Millisecond}, {0.99, "p99", 20 * time.Millisecond}} {
		b, o := quantile(bare, q.share), quantile(ours, q.share)
		s.report.add(row{what: fmt.Sprintf("publish to receipt at half of the rate (%s events/s), %s", count(int(rate)), q.name), goal: fmt.Sprintf("< %s", q.goal),
			value: fmt.Sprintf("%s (bare %s)", millis(o), millis(b)), ratio: ratio(float64(o) / float64(b)), met: yes(o < q.goal)})
	}
	return nil
}

func (s *suite) bareLatency(ctx context.Context, rate float64) (got []time.Duration, err error) {
	b, to, end, err := s.startBare(ctx, 1)
	if err != nil {
		return nil, err
	}
	got, err = s.latencies(ctx, to, rate, func(ctx context.Context, number int) error { return b.publish(ctx, number, payload(number)) })
	return got, errors.Join(err, end())
}

func (s *suite) ourLatency(ctx context.Context, rate float64) (got []time.Duration, err error) {
	p, callback, to, end, err := s.startOurs(ctx, "latency", 1)
	if err != nil {
		return nil, err
	}
	got, err = s.latencies(ctx, to, rate, p.publisher(callback))
	return got, errors.Join(err, end())
}

// latencies warms up with a few events, then paces.
func (s *suite) latencies(ctx context.Context, to *sink, rate float64, publish func(context.Context, int) error) ([]time.Duration, error) {
	arrivals := &arrivals{}
	to.received = arrivals.note
	l := load{workers: publishers, to: to, publish: publish}
	if _, err := l.run(ctx, warmUp); err != nil {
		return nil, err
	}
	if _, err := l.wait(ctx); err != nil {
		return nil, err
	}
	due, err := paced(ctx, l.next, rate, s.size.span, publish)
	if err != nil {
		return nil, err
	}
	if _, err := to.wait(ctx, l.counted+len(due)); err != nil {
		return nil, err
	}
	return arrivals.since(due, l.next), nil
}

// arrivals are the times of first receipts, by number. The sink calls it under its lock.
type arrivals struct{ at []time.Time }

func (a *arrivals) note(_, number int, at time.Time) {
	if missing := number + 1 - len(a.at); missing > 0 {
		a.at = append(a.at, make([]time.Time, missing)...)
	}
	a.at[number] = at
}

// since is how long after its due time each number from first on arrived. It is for when
// all have.
func (a *arrivals) since(due []time.Time, first int) []time.Duration {
	out := make([]time.Duration, len(due))
	for i, at := range slices.All(a.at[first : first+len(due)]) {
		out[i] = at.Sub(due[i])
	}
	return out
}
