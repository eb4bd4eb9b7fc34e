package main

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// sample is what one round came to.
type sample struct {
	events  int
	elapsed time.Duration // from the first publish to the last receipt
	cpu     time.Duration // of the whole process
}

func (s sample) rate() float64 { return float64(s.events) / s.elapsed.Seconds() }

func (s sample) cpuPerEvent() time.Duration { return s.cpu / time.Duration(max(1, s.events)) }

// load is something that publishes.
type load struct {
	workers int
	each    int // payloads that a call publishes; 0: 1
	publish func(ctx context.Context, number int) error
	to      *sink
	next    int // number of the next payload
	counted int // payloads that were published
}

// warmUp is how long a load runs before it is measured.
const warmUp = 300 * time.Millisecond

// measure runs a load to its end, after some of the same to warm up.
func (l *load) measure(ctx context.Context, span time.Duration) (sample, error) {
	if _, err := l.run(ctx, min(warmUp, span)); err != nil {
		return sample{}, err
	}
	if _, err := l.wait(ctx); err != nil {
		return sample{}, err
	}
	runtime.GC() // of what was before
	cpu, started := cpuTime(), time.Now()
	n, err := l.run(ctx, span)
	if err != nil {
		return sample{}, err
	}
	last, err := l.wait(ctx)
	return sample{events: n, elapsed: last.Sub(started), cpu: cpuTime() - cpu}, err
}

func (l *load) wait(ctx context.Context) (last time.Time, err error) {
	n := l.counted
	if l.to.fanOut {
		n *= len(l.to.secrets)
	}
	return l.to.wait(ctx, n)
}

// run publishes for a span of time.
func (l *load) run(ctx context.Context, span time.Duration) (published int, err error) {
	each := max(1, l.each)
	var next, done atomic.Int64
	next.Store(int64(l.next))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	until := time.Now().Add(span)
	var slow sync.Once
	var workers sync.WaitGroup
	for range l.workers {
		workers.Go(func() {
			for time.Now().Before(until) && ctx.Err() == nil {
				number := int(next.Add(int64(each))) - each
				called := time.Now()
				if err := l.publish(ctx, number); err != nil {
					cancel(err)
					return
				}
				if took := time.Since(called); took > worthANote {
					slow.Do(func() { l.to.note("  a publish took %s", took.Round(time.Millisecond)) })
				}
				done.Add(int64(each))
			}
		})
	}
	workers.Wait()
	l.next = int(next.Load())
	l.counted += int(done.Load())
	return int(done.Load()), context.Cause(ctx)
}

// paced publishes at a rate in an open loop, each event in its own time whatever became of
// those before it. It returns when each was to be published, by its number less first.
func paced(ctx context.Context, first int, rate float64, span time.Duration, publish func(ctx context.Context, number int) error) (due []time.Time, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	n := int(rate * span.Seconds())
	due = make([]time.Time, n)
	started := time.Now()
	for i := range due {
		due[i] = started.Add(time.Duration(float64(i) / rate * float64(time.Second)))
	}
	var calls sync.WaitGroup
	for i := range due {
		if wait := time.Until(due[i]); wait > 0 {
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
		}
		if ctx.Err() != nil {
			break
		}
		calls.Go(func() {
			if err := publish(ctx, first+i); err != nil {
				cancel(err)
			}
		})
	}
	calls.Wait()
	return due, context.Cause(ctx)
}
