package main

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// disk weighs a file before and after a number of delivered events, once it is closed and
// its log is merged into it.
func disk(ctx context.Context, s *suite) error {
	p, callback, to, _, err := s.startOurs(ctx, "disk", 1)
	if err != nil {
		return err
	}
	defer s.remove(p.path)
	defer s.receiver.forget(to)
	publish := p.publisher(callback)
	burst := func(first, n int) error {
		if err := each(ctx, publishers, n, func(ctx context.Context, i int) error { return publish(ctx, first+i) }); err != nil {
			return err
		}
		_, err := to.wait(ctx, first+n)
		return err
	}
	// The first events make what is there once, such as the first page of each index.
	const first = 100
	if err := errors.Join(burst(0, first), p.close()); err != nil {
		return err
	}
	before, err := os.Stat(p.path)
	if err != nil {
		return err
	}
	if p, err = s.open(ctx, p.path, "disk"); err != nil {
		return err
	}
	publish = p.publisher(callback)
	err = p.Start(ctx)
	if err == nil {
		err = burst(first, s.size.diskEvents)
	}
	if err := errors.Join(err, p.close()); err != nil {
		return err
	}
	after, err := os.Stat(p.path)
	if err != nil {
		return err
	}
	bytes := float64(after.Size()-before.Size()) / float64(s.size.diskEvents)
	s.report.add(row{what: "disk per delivered event of 600 bytes, indexes included", goal: "<= 1,300 bytes", value: fmt.Sprintf("%s bytes", count(int(bytes))), met: yes(bytes <= 1300)})
	return nil
}
