package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
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
		note: "Publish to receipt at the others, paced, with events for the others alone and with as many more for the bad ones, in turn, each time with a new file. " +
			"One commit that waits for the disk decides a p99: the ratio is the median of those of all pairs.",
		head: []string{"destinations", "events/s", "p50 without", "p99 without", "p50 with", "p99 with", "p99 ratio", "of each pair"}}
	most := largest(s.size.destinations)
	var deciding badPairs
	for _, n := range s.size.destinations {
		pairs := 1
		if n == most {
			pairs = s.size.rounds
		}
		rate := min(2_000, full/4)
		got, err := s.comparedAmongBad(ctx, n, rate, pairs)
		if err != nil {
			return fmt.Errorf("%s destinations: %w", count(n), err)
		}
		t.add(count(n), count(int(rate)), millis(quantile(got.without, 0.5)), millis(quantile(got.without, 0.99)), millis(quantile(got.with, 0.5)), millis(quantile(got.with, 0.99)),
			ratio(median(got.ratios)), got.eachRatio())
		s.note("  %s destinations: p99 with bad ones %s of what it is without", count(n), got.eachRatio())
		if n == most {
			deciding = got
		}
	}
	s.report.table(t)
	r := median(deciding.ratios)
	s.report.add(row{what: fmt.Sprintf("%s destinations, %s hanging and %s refusing: the others' p99", count(most), count(most/10), count(most/10)), goal: "<= 2.00 of without them, median of pairs",
		value: fmt.Sprintf("%s (without %s); pairs: %s", millis(quantile(deciding.with, 0.99)), millis(quantile(deciding.without, 0.99)), deciding.eachRatio()), ratio: ratio(r), met: yes(r <= 2)})
	return nil
}

// badPairs are latencies at good destinations, without traffic to bad ones and with it.
type badPairs struct {
	without, with []time.Duration
	ratios        []float64 // of each pair's p99
}

func (b badPairs) eachRatio() string {
	var each []string
	for _, r := range b.ratios {
		each = append(each, ratio(r))
	}
	return strings.Join(each, ", ")
}

func (s *suite) comparedAmongBad(ctx context.Context, n int, rate float64, pairs int) (got badPairs, err error) {
	for pair := range pairs {
		var took [2][]time.Duration     // without bad ones, and with them
		for _, i := range []int{0, 1} { // each is first in turn
			with := (pair + i) % 2
			if took[with], err = s.amongBad(ctx, n, rate, with == 1); err != nil {
				return got, err
			}
		}
		got.without, got.with = append(got.without, took[0]...), append(got.with, took[1]...)
		got.ratios = append(got.ratios, float64(quantile(took[1], 0.99))/float64(quantile(took[0], 0.99)))
	}
	return got, nil
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
