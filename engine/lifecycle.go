package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/callbackd/callbackd/engine/internal/outbound"
)

type lifeState = int32

const (
	lifeNew lifeState = iota
	lifeRunning
	lifeStopped
)

// closeTimeout is how long Run and Close let work in flight finish. Deliveries take
// longer only with a longer timeout of their own; they are then made again.
const closeTimeout = 20 * time.Second

// stopGrace is how long work that was cut short may take to see it.
const stopGrace = time.Second

// Start begins to poll and to deliver, and returns. It reads the file first, so that an
// error of the file is returned here. An engine starts once; ctx is only for starting.
func (e *Engine) Start(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.state.Load() != lifeNew {
		return errors.New("engine: it was started before; open a new one")
	}
	// Work outlives the caller's context; Stop ends it.
	if err := e.openClock(ctx); err != nil {
		return wrap(err)
	}
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	if err := e.deliverer.start(ctx, work); err != nil {
		cancel()
		return wrap(err)
	}
	e.poller.start(work)
	e.remover.start(work)
	e.clock.agree(0, true)
	watching, unwatch := context.WithCancel(work)
	var watches sync.WaitGroup
	for _, watch := range []func(context.Context){e.follow, e.tend, e.stuck.follow} {
		watches.Go(func() { watch(watching) })
	}
	e.unwatch = func() { unwatch(); watches.Wait() }
	e.cancelWork = cancel
	e.state.Store(lifeRunning)
	return nil
}

// Stop takes no more work, lets polls and attempts in flight finish, and records their
// outcomes. When ctx ends first, they are cut short: such a poll or attempt counts as not
// made and is made again after the next start, and ctx's error is returned, at the latest
// a second later, even if foreign code does not heed its context. Stopping an engine that
// does not run does nothing; stopping it twice waits twice.
func (e *Engine) Stop(ctx context.Context) error {
	e.mu.Lock()
	if e.state.Load() == lifeNew {
		e.mu.Unlock()
		return nil
	}
	if e.state.Load() == lifeRunning {
		e.state.Store(lifeStopped)
		go func() { // awaited below, unless foreign code hangs
			defer close(e.stopped)
			defer e.cancelWork()
			defer e.unwatch()
			// What polls in flight still find stays in the table. Outcomes come last.
			e.deliverer.halt()
			e.remover.stop()
			e.poller.stop()
			e.deliverer.stop()
		}()
	}
	e.mu.Unlock()
	select {
	case <-e.stopped:
		return nil
	case <-ctx.Done():
	}
	select {
	case <-e.stopped: // both were ready
		return nil
	default:
	}
	e.mu.Lock()
	e.cutShort = true
	e.mu.Unlock()
	e.cancelWork()
	select {
	case <-e.stopped:
	case <-time.After(stopGrace):
		e.log.Error("work in flight does not end and is left behind: a provider or function does not heed its context, or the disk does not answer")
	}
	return context.Cause(ctx)
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

// Close stops the engine if it runs, giving work in flight 20 s, or a second if a Stop has cut
// it short already, and closes the providers and the file. Every later call fails.
func (e *Engine) Close() error {
	wait := closeTimeout
	e.mu.Lock()
	if e.cutShort {
		wait = 0 // and the grace of Stop
	}
	e.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	err := e.Stop(ctx)
	e.inbound.close(ctx)
	if t, ok := e.deliveries.(*outbound.Transport); ok { // another is its giver's
		t.Close()
	}
	if e.options.HTTPClient == nil {
		e.polls.CloseIdleConnections()
	}
	return errors.Join(err, e.closeProviders(), e.store.Close())
}

// closeProviders closes each provider.
func closeProviders(log *slog.Logger, providers []Provider) (err error) {
	for _, p := range providers {
		if p.Close == nil {
			continue
		}
		if _, failed := guard(context.Background(), log, func() (struct{}, error) { return struct{}{}, p.Close() }); failed != nil {
			err = errors.Join(err, fmt.Errorf("engine: close provider %s: %w", p.Key, failed))
		}
	}
	return err
}
