package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const readRate = 40 // list requests a second

// readers has lists read over the API beside full load, and looks at both.
func readers(ctx context.Context, s *suite) error {
	path, seed, err := s.eventFile(ctx, s.size.readerEvents)
	if err != nil {
		return err
	}
	defer s.remove(path)
	p, err := s.open(ctx, path, "readers beside full load")
	if err != nil {
		return err
	}
	err = p.Start(ctx)
	if err == nil {
		err = s.readBeside(ctx, p, seed)
	}
	return errors.Join(err, p.close())
}

func (s *suite) readBeside(ctx context.Context, p *product, seed *eventSeed) error {
	url, stop, err := p.serveAPI()
	if err != nil {
		return err
	}
	defer stop()
	c := newClient(url)
	defer c.close()
	var alone, beside []float64
	var quiet, loaded []time.Duration
	var achieved []float64
	to := s.receiver.sink(1, false)
	defer s.receiver.forget(to)
	callback, err := p.callback(ctx, to)
	if err != nil {
		return err
	}
	l := load{workers: publishers, to: to, publish: p.publisher(callback)}
	for range s.size.rounds {
		got, err := l.measure(ctx, s.size.span)
		if err != nil {
			return err
		}
		alone = append(alone, got.rate())
		took, _, err := readLists(ctx, c, seed.callback, s.size.span)
		if err != nil {
			return err
		}
		quiet = append(quiet, took...)

		reading, cancel := context.WithCancel(ctx)
		var reader sync.WaitGroup
		var failed error
		reader.Go(func() {
			var rate float64
			if took, rate, failed = readLists(reading, c, seed.callback, time.Hour); reading.Err() != nil {
				failed = nil
			}
			achieved = append(achieved, rate)
		})
		got, err = l.measure(ctx, s.size.span)
		cancel()
		reader.Wait()
		if err := errors.Join(err, failed); err != nil {
			return err
		}
		beside = append(beside, got.rate())
		loaded = append(loaded, took...)
	}
	r, rate := median(beside)/median(alone), median(achieved)
	s.report.add(row{what: "engine.Publish beside 40 list requests/s", goal: ">= 0.80 of alone", value: fmt.Sprintf("%s events/s (alone %s)", count(int(median(beside))), count(int(median(alone)))), ratio: ratio(r), met: yes(r >= 0.8)})
	s.report.add(row{what: "list requests/s answered beside full load", goal: ">= 32 of 40", value: fmt.Sprintf("%.1f", rate), ratio: ratio(rate / readRate), met: yes(rate >= 0.8*readRate)})
	t := &table{title: fmt.Sprintf("List requests over the API, 40 a second, %s events in the file", count(s.size.readerEvents)),
		note: "Beside full load they share the processor with the generator and the receiver too.", head: []string{"", "p50", "p99", "max"}}
	t.add("nothing else to do", millis(quantile(quiet, 0.5)), millis(quantile(quiet, 0.99)), millis(quantile(quiet, 1)))
	t.add("beside full load", millis(quantile(loaded, 0.5)), millis(quantile(loaded, 0.99)), millis(quantile(loaded, 1)))
	s.report.table(t)
	return nil
}

// readLists reads lists at a rate, until the span is over or ctx ends, and says how long
// each took from when it was due, and the rate that was reached.
func readLists(ctx context.Context, c *client, callback string, span time.Duration) (took []time.Duration, rate float64, err error) {
	lists := []string{"/events?order=desc", "/notifications?order=desc", "/events?limit=100", "/notifications?status=failed", "/events?delivery_status=failed&order=desc"}
	var mu sync.Mutex
	var requests sync.WaitGroup
	started := time.Now()
	for i := 0; ; i++ {
		due := started.Add(time.Duration(i) * time.Second / readRate)
		if due.Sub(started) >= span || sleep(ctx, time.Until(due)) != nil {
			break
		}
		requests.Go(func() {
			failed := c.call(ctx, "GET", "/callbacks/"+callback+lists[i%len(lists)], nil, nil)
			mu.Lock()
			defer mu.Unlock()
			if failed == nil {
				took = append(took, time.Since(due))
			} else if ctx.Err() == nil {
				err = errors.Join(err, failed)
			}
		})
	}
	requests.Wait()
	return took, float64(len(took)) / time.Since(started).Seconds(), err
}
