package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// comparison is the rate of engine.Publish in a file with much in it and in an empty one, and
// how long an engine took to open and start the former.
type comparison struct {
	full, empty float64
	start       time.Duration
}

func (c comparison) ratio() float64 { return c.full / c.empty }

func (c comparison) String() string {
	return fmt.Sprintf("%s events/s (empty file %s)", count(int(c.full)), count(int(c.empty)))
}

// compareFiles publishes in turn to a new destination of a file and to one of an empty file. Only
// the file of the last size, which has a goal, gets more than one round.
func (s *suite) compareFiles(ctx context.Context, path, when string, last bool) (comparison, error) {
	rounds := 1
	if last {
		rounds = s.size.rounds
	}
	var fulls, empties []float64
	var starts []time.Duration
	for range rounds {
		got, err := publishRound(ctx, s, 1)
		if err != nil {
			return comparison{}, fmt.Errorf("empty file: %w", err)
		}
		empties = append(empties, got.rate())
		full, start, err := s.fullRound(ctx, path, when)
		if err != nil {
			return comparison{}, err
		}
		fulls, starts = append(fulls, full), append(starts, start)
	}
	return comparison{median(fulls), median(empties), median(starts)}, nil
}

func (s *suite) fullRound(ctx context.Context, path, when string) (rate float64, start time.Duration, err error) {
	before := time.Now()
	p, err := s.open(ctx, path, when)
	if err != nil {
		return 0, 0, err
	}
	if err := p.Start(ctx); err != nil {
		return 0, 0, errors.Join(err, p.close())
	}
	start = time.Since(before)
	to := s.receiver.sink(1, false)
	defer s.receiver.forget(to)
	got, err := p.publishTo(ctx, to, s.size.span)
	return got.rate(), start, errors.Join(err, p.close())
}

// publishTo publishes for a while to a new callback.
func (p *product) publishTo(ctx context.Context, to *sink, span time.Duration) (sample, error) {
	callback, err := p.callback(ctx, to)
	if err != nil {
		return sample{}, err
	}
	l := load{workers: publishers, to: to, publish: p.publisher(callback)}
	return l.measure(ctx, span)
}
