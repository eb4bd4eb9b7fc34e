package main

import (
	"context"
	"fmt"
	"time"
)

// coldStart is from a daemon's start to its ready line, on a file that does not exist yet. A
// file of millions is started in section events, which makes one.
func coldStart(ctx context.Context, s *suite) error {
	var took []time.Duration
	for range 2*s.size.rounds + 1 {
		path, err := s.file()
		if err != nil {
			return err
		}
		ready, err := s.startOnce(ctx, path)
		s.remove(path)
		if err != nil {
			return err
		}
		took = append(took, ready)
	}
	at := median(took)
	s.report.add(row{what: "start of callbackd serve to its ready line, fresh file", goal: "< 100 ms", value: millis(at), met: yes(at < 100*time.Millisecond)})
	return nil
}

// fullStart is the same on a file that holds events.
func fullStart(ctx context.Context, s *suite, path string, events int) error {
	var took []time.Duration
	for range 2*s.size.rounds + 1 {
		ready, err := s.startOnce(ctx, path)
		if err != nil {
			return err
		}
		took = append(took, ready)
	}
	at := median(took)
	s.report.add(row{what: fmt.Sprintf("start of callbackd serve to its ready line, %s events", count(events)), goal: "< 300 ms", value: millis(at), met: yes(at < 300*time.Millisecond)})
	return nil
}

func (s *suite) startOnce(ctx context.Context, path string) (time.Duration, error) {
	d, err := s.serve(ctx, path, "start")
	if err != nil {
		return 0, err
	}
	return d.readyIn, d.stop()
}
