package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/callbackd/callbackd/engine/signature"
)

const (
	publishers = 32
	fanOut     = 10
	batchSize  = 100
)

// contender is a way for events from somewhere to their receipt. Each round has a file of
// its own.
type contender struct {
	name  string
	round func(context.Context, *suite) (sample, error)
}

var (
	bareContender       = contender{"bare loop", func(ctx context.Context, s *suite) (sample, error) { return bareRound(ctx, s, 1) }}
	publishContender    = contender{"engine.Publish", func(ctx context.Context, s *suite) (sample, error) { return publishRound(ctx, s, 1) }}
	bareServerContender = contender{"bare loop behind net/http", bareServerRound}
	apiContender        = contender{"POST events", apiRound}
	batchContender      = contender{"POST events in batches", batchRound}
	polledContender     = contender{"polled", polledRound}
	bareFanOutContender = contender{"bare loop, 1 to 10", func(ctx context.Context, s *suite) (sample, error) { return bareRound(ctx, s, fanOut) }}
	fanOutContender     = contender{"engine.Publish, 1 to 10", func(ctx context.Context, s *suite) (sample, error) { return publishRound(ctx, s, fanOut) }}
)

// throughput has everything take turns.
func throughput(ctx context.Context, s *suite) error {
	contenders := []contender{bareContender, publishContender, bareServerContender, apiContender, batchContender, polledContender, bareFanOutContender, fanOutContender}
	samples := make(map[string][]sample)
	for round := range s.size.rounds {
		for _, c := range contenders {
			got, err := c.round(ctx, s)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			samples[c.name] = append(samples[c.name], got)
			s.note("  round %d: %s: %s events/s, %s of CPU an event", round+1, c.name, count(int(got.rate())), got.cpuPerEvent())
		}
	}
	yardstick := func(c contender, what string) {
		s.report.add(row{what: what, goal: "the yardstick", value: describe(samples[c.name])})
	}
	compare := func(c, with contender, what string, goal float64) {
		r := rateOf(samples[c.name]) / rateOf(samples[with.name])
		s.report.add(row{what: what, goal: fmt.Sprintf(">= %.2f of %s", goal, with.name), value: describe(samples[c.name]), ratio: ratio(r), met: yes(r >= goal)})
	}
	yardstick(bareContender, "bare loop, 32 goroutines, to receipt")
	compare(publishContender, bareContender, "engine.Publish, 32 goroutines, to receipt", 0.8)
	yardstick(bareServerContender, "bare loop behind net/http, 128 connections, to receipt")
	compare(apiContender, bareServerContender, "POST /callbacks/:id/events, 128 connections, to receipt", 0.75)
	compare(batchContender, bareContender, "POST /callbacks/:id/events/batch, 100 events each, to receipt", 0.75)
	compare(polledContender, bareContender, fmt.Sprintf("polled: provider http, %d feeds with 1,000 new items a second each, to receipt", s.size.feeds), 0.7)
	yardstick(bareFanOutContender, "bare loop, 1 to 10 destinations, to the last receipt")
	compare(fanOutContender, bareFanOutContender, "engine.Publish, 1 to 10 destinations, to the last receipt", 0.8)
	bare, ours := cpuOf(samples[bareContender.name]), cpuOf(samples[publishContender.name])
	if bare > 0 {
		r := float64(ours) / float64(bare)
		s.report.add(row{what: "CPU of the whole process per event, engine.Publish to receipt", goal: "<= 1.40 of bare loop", value: fmt.Sprintf("%s (bare %s)", micros(ours), micros(bare)), ratio: ratio(r), met: yes(r <= 1.4)})
	}
	s.publishRate = rateOf(samples[publishContender.name])
	return nil
}

func rateOf(samples []sample) float64 {
	var rates []float64
	for _, s := range samples {
		rates = append(rates, s.rate())
	}
	return median(rates)
}

func cpuOf(samples []sample) time.Duration {
	var each []time.Duration
	for _, s := range samples {
		each = append(each, s.cpuPerEvent())
	}
	return median(each)
}

func describe(samples []sample) string {
	return fmt.Sprintf("%s events/s, %s CPU/event", count(int(rateOf(samples))), micros(cpuOf(samples)))
}

func micros(d time.Duration) string { return fmt.Sprintf("%d µs", d.Microseconds()) }

// startBare is a bare loop on a new file, with as many destinations.
func (s *suite) startBare(ctx context.Context, destinations int) (*bareLoop, *sink, func() error, error) {
	path, err := s.file()
	if err != nil {
		return nil, nil, nil, err
	}
	to := s.receiver.sink(destinations, destinations > 1)
	for i := range to.secrets {
		to.secrets[i] = signature.NewSecret()
	}
	b, err := openBare(ctx, path, to)
	if err != nil {
		return nil, nil, nil, err
	}
	return b, to, func() error {
		err := b.close()
		s.receiver.forget(to)
		s.remove(path)
		return err
	}, nil
}

func bareRound(ctx context.Context, s *suite, destinations int) (got sample, err error) {
	b, to, end, err := s.startBare(ctx, destinations)
	if err != nil {
		return got, err
	}
	l := load{workers: publishers, to: to, publish: func(ctx context.Context, number int) error { return b.publish(ctx, number, payload(number)) }}
	got, err = l.measure(ctx, s.size.span)
	return got, errors.Join(err, end())
}

func bareServerRound(ctx context.Context, s *suite) (got sample, err error) {
	b, to, end, err := s.startBare(ctx, 1)
	if err != nil {
		return got, err
	}
	url, stop, err := serveLoopback(b)
	if err != nil {
		return got, errors.Join(err, end())
	}
	c := newClient(url)
	l := load{workers: apiConnections, to: to, publish: func(ctx context.Context, number int) error { return c.post(ctx, "/", payload(number), nil) }}
	got, err = l.measure(ctx, s.size.span)
	c.close()
	stop()
	return got, errors.Join(err, end())
}

// startOurs is an engine on a new file, with a callback that has as many destinations.
func (s *suite) startOurs(ctx context.Context, when string, destinations int) (*product, string, *sink, func() error, error) {
	p, err := s.fresh(ctx, when)
	if err != nil {
		return nil, "", nil, nil, err
	}
	to := s.receiver.sink(destinations, destinations > 1)
	end := func() error {
		err := p.close()
		s.receiver.forget(to)
		s.remove(p.path)
		return err
	}
	callback, err := p.callback(ctx, to)
	if err != nil {
		return nil, "", nil, nil, errors.Join(err, end())
	}
	return p, callback, to, end, nil
}

func publishRound(ctx context.Context, s *suite, destinations int) (got sample, err error) {
	p, callback, to, end, err := s.startOurs(ctx, "throughput", destinations)
	if err != nil {
		return got, err
	}
	l := load{workers: publishers, to: to, publish: p.publisher(callback)}
	got, err = l.measure(ctx, s.size.span)
	return got, errors.Join(err, end())
}

// withAPI runs a round against the real handler.
func withAPI(ctx context.Context, s *suite, round func(c *client, callback string, to *sink) (sample, error)) (got sample, err error) {
	p, callback, to, end, err := s.startOurs(ctx, "throughput of the API", 1)
	if err != nil {
		return got, err
	}
	url, stop, err := p.serveAPI()
	if err != nil {
		return got, errors.Join(err, end())
	}
	c := newClient(url)
	got, err = round(c, callback, to)
	c.close()
	stop()
	return got, errors.Join(err, end())
}

func apiRound(ctx context.Context, s *suite) (sample, error) {
	return withAPI(ctx, s, func(c *client, callback string, to *sink) (sample, error) {
		l := load{workers: apiConnections, to: to, publish: func(ctx context.Context, number int) error {
			return c.post(ctx, "/callbacks/"+callback+"/events", eventBody(number), nil)
		}}
		return l.measure(ctx, s.size.span)
	})
}

// publishRateNow is the rate of engine.Publish, which is measured here if no section did so
// before.
func (s *suite) publishRateNow(ctx context.Context) (float64, error) {
	if s.publishRate == 0 {
		got, err := publishRound(ctx, s, 1)
		if err != nil {
			return 0, err
		}
		s.publishRate = got.rate()
	}
	return s.publishRate, nil
}
