package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// destinations has very many destinations, a tenth of which hang to their timeout and a
// tenth of which refuse the connection, and looks at the others.
func destinations(ctx context.Context, s *suite) error {
	full, err := s.publishRateNow(ctx)
	if err != nil {
		return err
	}
	t := &table{title: "Destinations, a tenth hanging to their timeout of 15 s and a tenth refusing",
		note: "Publish to receipt at the others, paced, with events for the others alone and with as many more for the bad ones, in turn, each time with a new file.",
		head: []string{"destinations", "events/s", "p50 without", "p99 without", "p50 with", "p99 with", "p99 ratio"}}
	var without99, with99 time.Duration
	for _, n := range s.size.destinations {
		rate := min(2_000, full/4)
		var took [2][]time.Duration // without bad ones, and with them
		for round := range 2 * min(2, s.size.rounds) {
			got, err := s.amongBad(ctx, n, rate, round%2 == 1)
			if err != nil {
				return fmt.Errorf("%s destinations: %w", count(n), err)
			}
			took[round%2] = append(took[round%2], got...)
		}
		without, with := took[0], took[1]
		without99, with99 = quantile(without, 0.99), quantile(with, 0.99)
		t.add(count(n), count(int(rate)), millis(quantile(without, 0.5)), millis(without99), millis(quantile(with, 0.5)), millis(with99), ratio(float64(with99)/float64(without99)))
		s.note("  %s destinations: p99 %s without bad ones, %s with", count(n), millis(without99), millis(with99))
	}
	s.report.table(t)
	n := largest(s.size.destinations)
	s.report.add(row{what: fmt.Sprintf("%s destinations, %s hanging and %s refusing: the others' p99", count(n), count(n/10), count(n/10)), goal: "<= 2.00 of without them",
		value: fmt.Sprintf("%s (without %s)", millis(with99), millis(without99)), ratio: ratio(float64(with99) / float64(without99)), met: yes(with99 <= 2*without99)})
	return nil
}

// amongBad is the latency at good destinations, with traffic to the bad ones or without.
func (s *suite) amongBad(ctx context.Context, n int, rate float64, traffic bool) (took []time.Duration, err error) {
	p, err := s.fresh(ctx, "many destinations")
	if err != nil {
		return nil, err
	}
	defer s.remove(p.path)
	to := s.receiver.sink(n, false)
	defer s.receiver.forget(to)
	m := &mixture{p: p, to: to, callbacks: make([]string, n)}
	to.hangs = func(destination int) bool { return destination%10 == 1 }
	err = m.setUp(ctx)
	if err == nil {
		_, err = m.round(ctx, rate, s.size.hangSpan/4, false) // to warm up
	}
	if err == nil {
		took, err = m.round(ctx, rate, s.size.hangSpan, traffic)
	}
	// What hangs is not waited for.
	stopping, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if stopped := p.Stop(stopping); stopped != nil && !errors.Is(stopped, context.DeadlineExceeded) {
		err = errors.Join(err, stopped)
	}
	return took, errors.Join(err, p.close())
}

// mixture is destinations with a callback each. Of every ten, one hangs and one refuses.
type mixture struct {
	p         *product
	to        *sink
	callbacks []string
	published int // numbers given away
	good      int // that are to arrive
}

func isGood(destination int) bool { return destination%10 > 1 }

func (m *mixture) setUp(ctx context.Context) error {
	dead, err := deadURL()
	if err != nil {
		return err
	}
	return each(ctx, publishers, len(m.callbacks), func(ctx context.Context, i int) (err error) {
		id := ""
		if i%10 == 0 {
			var d engine.Destination
			d, err = m.p.CreateDestination(ctx, engine.NewDestination{DestinationSettings: engine.DestinationSettings{Name: "refuses", URL: dead}})
			id = d.ID
		} else {
			id, err = m.p.destination(ctx, m.to, i)
		}
		if err != nil {
			return err
		}
		c, err := m.p.CreateCallback(ctx, engine.NewCallback{Details: engine.Details{Name: "bench"}, DeploymentID: m.p.deployment, DestinationIDs: []string{id}})
		m.callbacks[i] = c.ID
		return err
	})
}

// round publishes to the good destinations in turn at eight tenths of a rate, and, with
// all, to the bad ones at the rest.
func (m *mixture) round(ctx context.Context, rate float64, span time.Duration, all bool) ([]time.Duration, error) {
	if !all {
		rate *= 0.8
	}
	first, n := m.published, int(rate*span.Seconds())
	target := make([]int, n) // by number less first
	next := 0
	for i := range target {
		for !all && !isGood(next%len(m.callbacks)) {
			next++
		}
		target[i] = next % len(m.callbacks)
		next++
	}
	arrived := &arrivals{}
	m.to.mu.Lock()
	m.to.received = arrived.note
	m.to.mu.Unlock()
	due, err := paced(ctx, first, rate, span, func(ctx context.Context, number int) error {
		return m.p.Publish(ctx, m.callbacks[target[number-first]], engine.NewEvent{Type: eventType, Output: payload(number)})
	})
	m.published += n
	if err != nil {
		return nil, err
	}
	for _, destination := range target {
		if isGood(destination) {
			m.good++
		}
	}
	if _, err := m.to.wait(ctx, m.good); err != nil {
		return nil, err
	}
	m.to.mu.Lock()
	defer m.to.mu.Unlock()
	var out []time.Duration
	for i, destination := range target {
		if isGood(destination) {
			out = append(out, arrived.at[first+i].Sub(due[i]))
		}
	}
	return out, nil
}
