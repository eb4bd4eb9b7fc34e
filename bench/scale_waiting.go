package main

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/callbackd/callbackd/engine"
)

// waiting has one destination that is dead, with very many notifications waiting for it, and
// measures what another one gets beside it.
func waiting(ctx context.Context, s *suite) error {
	t := &table{title: "Notifications waiting for a dead destination", note: "engine.Publish to another destination of the same file, of the rate that an empty file has in the same rounds.",
		head: []string{"waiting", "events/s", "of an empty file", "open and start the engine"}}
	var last comparison
	for _, n := range s.size.waiting {
		path, err := s.waitingFile(ctx, n)
		if err != nil {
			return err
		}
		s.note("  %s waiting", count(n))
		got, err := s.compareFiles(ctx, path, "many waiting", n == largest(s.size.waiting))
		s.remove(path)
		if err != nil {
			return fmt.Errorf("%s waiting: %w", count(n), err)
		}
		last = got
		t.add(count(n), count(int(got.full)), ratio(got.ratio()), millis(got.start))
	}
	s.report.table(t)
	s.report.add(row{what: fmt.Sprintf("rate beside %s notifications waiting for a dead destination", count(largest(s.size.waiting))), goal: ">= 0.90 of an empty file",
		value: last.String(), ratio: ratio(last.ratio()), met: yes(last.ratio() >= 0.9)})
	return nil
}

// deadURL is where nothing listens: a port that no system gives away, so that no other
// program gets it while this runs.
func deadURL() (string, error) {
	const address = "127.0.0.1:1"
	if c, err := net.Dial("tcp", address); err == nil {
		return "", errors.Join(errors.New("something listens at "+address+", which is to be a dead destination here"), c.Close())
	}
	return "http://" + address + "/", nil
}

// waitingFile makes a closed file with n notifications that are due at a dead destination.
func (s *suite) waitingFile(ctx context.Context, n int) (path string, err error) {
	if path, err = s.file(); err != nil {
		return "", err
	}
	p, err := s.open(ctx, path, "set-up")
	if err != nil {
		return "", err
	}
	seed := min(n/2, maxSeed)
	if err := errors.Join(p.seedWaiting(ctx, seed), p.close()); err != nil {
		return "", err
	}
	c, err := eventTables(ctx, path)
	if err != nil {
		return "", err
	}
	return path, multiply(ctx, path, c, n/seed)
}

func (p *product) seedWaiting(ctx context.Context, n int) error {
	url, err := deadURL()
	if err != nil {
		return err
	}
	d, err := p.CreateDestination(ctx, engine.NewDestination{DestinationSettings: engine.DestinationSettings{Name: "dead", URL: url}})
	if err != nil {
		return err
	}
	c, err := p.CreateCallback(ctx, engine.NewCallback{Details: engine.Details{Name: "dead"}, DeploymentID: p.deployment, DestinationIDs: []string{d.ID}})
	if err != nil {
		return err
	}
	publish := p.publisher(c.ID)
	return each(ctx, publishers, n, publish)
}
