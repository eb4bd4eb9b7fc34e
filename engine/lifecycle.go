package engine

import (
	"context"
	"errors"
	"time"
)

type lifeState int

const (
	lifeNew lifeState = iota
	lifeRunning
	lifeStopped
)

// closeTimeout is how long Run and Close let work in flight finish. Deliveries take
// longer only with a longer timeout of their own; they are then made again.
const closeTimeout = 20 * time.Second

// Start begins to poll and to deliver, and returns. It reads the file first, so that an
// error of the file is returned here. An engine starts once; ctx is only for starting.
func (e *Engine) Start(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.state != lifeNew {
		return errors.New("engine: it was started before; open a new one")
	}
	// Work outlives the caller's context; Stop ends it.
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	if err := e.deliverer.start(ctx, work); err != nil {
		cancel()
		return wrap(err)
	}
	e.poller.start(work)
	e.state = lifeRunning
	e.stop = func(ctx context.Context) error {
		defer cancel()
		hurry := context.AfterFunc(ctx, cancel)
		defer hurry()
		// What polls in flight still find stays in the table. Outcomes come last.
		e.deliverer.halt()
		e.poller.stop()
		e.deliverer.stop()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return nil
	}
	return nil
}

// Stop takes no more work, lets polls and attempts in flight finish, and records their
// outcomes. When ctx ends first, they are cut short: such a poll or attempt counts as not
// made and is made again after the next start, and ctx's error is returned. Stopping an
// engine that does not run does nothing.
func (e *Engine) Stop(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.state != lifeRunning {
		return nil
	}
	e.state = lifeStopped
	return e.stop(ctx)
}

// Run starts the engine, waits until ctx ends, and stops it, giving work in flight 20 s.
// It returns nil after an orderly end.
func (e *Engine) Run(ctx context.Context) error {
	if err := e.Start(ctx); err != nil {
		return err
	}
	<-ctx.Done()
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	return e.Stop(stopping)
}

// Close stops the engine if it runs, giving work in flight 20 s, and closes the file.
// Every later call fails.
func (e *Engine) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return errors.Join(e.Stop(ctx), e.store.Close())
}
