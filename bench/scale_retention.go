package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// retention has a file's old events removed beside full load, and looks at both.
func retention(ctx context.Context, s *suite) error {
	path, _, err := s.eventFile(ctx, s.size.oldEvents)
	if err != nil {
		return err
	}
	defer s.remove(path)
	const twoDays = 2 * 24 * time.Hour
	if err := alter(ctx, path, fmt.Sprintf("UPDATE event SET created_at = created_at - %[1]d, updated_at = updated_at - %[1]d", twoDays.Milliseconds())); err != nil {
		return err
	}
	tables, err := eventTables(ctx, path)
	if err != nil {
		return err
	}
	old, err := countRows(ctx, path, tables.tables)
	if err != nil {
		return err
	}
	var alone, beside, removed []float64
	for range s.size.rounds {
		for _, keep := range []time.Duration{-1, 24 * time.Hour} {
			before, err := countRows(ctx, path, tables.tables)
			if err != nil {
				return err
			}
			rate, made, took, err := s.publishKeeping(ctx, path, keep)
			if err != nil {
				return err
			}
			after, err := countRows(ctx, path, tables.tables)
			if err != nil {
				return err
			}
			if keep < 0 {
				alone = append(alone, rate)
				continue
			}
			beside = append(beside, rate)
			// Each event of the load has a payload, a notification and an attempt.
			removed = append(removed, float64(before+4*made-after)/took.Seconds())
		}
	}
	r, rows := median(beside)/median(alone), median(removed)
	s.report.add(row{what: fmt.Sprintf("engine.Publish while old events are removed (%s rows of them)", count(int(old))), goal: ">= 0.80 of alone",
		value: fmt.Sprintf("%s events/s (alone %s)", count(int(median(beside))), count(int(median(alone)))), ratio: ratio(r), met: yes(r >= 0.8)})
	s.report.add(row{what: "rows removed a second beside full load", goal: ">= 10,000", value: count(int(rows)), ratio: "", met: yes(rows >= 10_000)})
	return nil
}

// publishKeeping is the rate at which events are published and delivered by an engine that keeps
// events for so long, how many that were, and how long it ran.
func (s *suite) publishKeeping(ctx context.Context, path string, keep time.Duration) (rate float64, made int64, took time.Duration, err error) {
	p, err := s.openWith(ctx, path, "retention", func(o *engine.Options) { o.Retention = keep })
	if err != nil {
		return 0, 0, 0, err
	}
	to := s.receiver.sink(1, false)
	defer s.receiver.forget(to)
	callback, err := p.callback(ctx, to)
	if err != nil {
		return 0, 0, 0, errors.Join(err, p.close())
	}
	started := time.Now()
	if err := p.Start(ctx); err != nil {
		return 0, 0, 0, errors.Join(err, p.close())
	}
	l := load{workers: publishers, to: to, publish: p.publisher(callback)}
	got, err := l.measure(ctx, s.size.span)
	took = time.Since(started)
	return got.rate(), int64(got.events), took, errors.Join(err, p.close())
}

// countRows counts the rows of a closed file's tables.
func countRows(ctx context.Context, path string, tables []string) (n int64, err error) {
	db, err := openForCopying(path)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	for _, table := range tables {
		var rows int64
		if err := db.QueryRowContext(ctx, "SELECT count(*) FROM "+table).Scan(&rows); err != nil {
			return 0, err
		}
		if table != "event_key" { // keys stay
			n += rows
		}
	}
	return n, nil
}
