package slates

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

const (
	defaultProcesses = 4
	idleAfter        = 2 * time.Minute  // a child beyond the first is ended when it had nothing to do for so long
	firstPause       = time.Second      // before a child is started again after a failure; doubled by each
	longestPause     = time.Minute      // of these
	endGrace         = 2 * time.Second  // for a child to end by itself, once its input is closed
	maxNoise         = 1000             // bytes of a line of a child that is logged
	linesPerSecond   = 20               // of these lines
	maxStderr        = 64 << 10         // bytes of a line of standard error that is read as one
	lastKept         = 300              // bytes of a child's last line that an error repeats
	secretsKept      = 1000             // texts that are not to be logged, of a child
	longestBusy      = 5 * time.Second  // that an urgent batch waits for a child
	maxBatch         = 64 << 20         // bytes that are written to a child
	pauseForgotten   = 10 * time.Minute // a child that lived so long has not failed at the start
)

var errClosed = errors.New("the integration's processes are ended: the engine is closed")

// pool sends batches to child processes, each of which answers one at a time. Children are
// started when there is no idle one, up to a limit.
type pool struct {
	words []string
	log   *slog.Logger
	slots chan struct{} // one for each child that answers a batch
	extra chan struct{} // one more, which only an urgent batch may have

	mu       sync.Mutex
	closed   bool
	idle     []*child // the one used last is at the end
	all      map[*child]bool
	failures int       // starts in a row that came to nothing
	notUntil time.Time // a child may be started
	problem  error     // why not sooner
	ended    sync.WaitGroup
}

func newPool(command string, processes int, log *slog.Logger) (*pool, error) {
	words, err := splitWords(command)
	if err != nil {
		return nil, err
	}
	return &pool{words: words, log: log, slots: make(chan struct{}, processes), extra: make(chan struct{}, 1), all: make(map[*child]bool)}, nil
}

func (p *pool) send(ctx context.Context, sent parcel) ([]byte, error) {
	if len(sent.batch) > maxBatch {
		return nil, fmt.Errorf("the batch has more than %d MiB", maxBatch>>20)
	}
	leave, err := p.enter(ctx, sent.urgent)
	if err != nil {
		return nil, err
	}
	defer leave()
	for {
		c, err := p.take()
		if err != nil {
			return nil, err
		}
		text, err := c.exchange(ctx, sent)
		if err == nil {
			p.release(c)
			return text, nil
		}
		// What it may still say is no answer to the next batch.
		c.end(0)
		if errors.Is(err, errEndedIdle) {
			continue
		}
		if ctx.Err() == nil {
			p.failed(err)
		}
		return nil, err
	}
}

// enter waits until a child may be had. A source is not kept waiting for long: it comes again.
func (p *pool) enter(ctx context.Context, urgent bool) (leave func(), err error) {
	extra, busy, n := p.extra, (<-chan time.Time)(nil), cap(p.slots)
	if urgent {
		timer := time.NewTimer(longestBusy)
		defer timer.Stop()
		busy, n = timer.C, n+cap(p.extra)
	} else {
		extra = nil
	}
	select {
	case p.slots <- struct{}{}:
		return func() { <-p.slots }, nil
	case extra <- struct{}{}:
		return func() { <-p.extra }, nil
	case <-busy:
	case <-ctx.Done():
		err = ctx.Err()
	}
	return nil, &busyError{fmt.Sprintf("all %d processes of the integration are busy", n), comeAgain, err}
}

// busyError is of a batch that was not sent, and may be after a time.
type busyError struct {
	text  string
	after time.Duration
	cause error // may be nil
}

func (e *busyError) Error() string { return e.text }
func (e *busyError) Unwrap() error { return e.cause }

// take gives an idle child, or a fresh one.
func (p *pool) take() (c *child, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errClosed
	}
	if n := len(p.idle); n > 0 {
		c = p.idle[n-1]
		p.idle = p.idle[:n-1]
		c.retire.Stop()
		return c, nil
	}
	if wait := time.Until(p.notUntil); wait > 0 {
		text := fmt.Sprintf("the integration's process is not started again for %s, after %d failures in a row: %s", wait.Round(time.Second), p.failures, p.problem)
		return nil, &busyError{text, wait, p.problem}
	}
	if c, err = startChild(p.words, p.log); err != nil {
		err = fmt.Errorf("the integration's process cannot be started: %w", err)
		p.pause(err)
		return nil, err
	}
	p.all[c] = true
	p.ended.Go(func() {
		<-c.done
		p.mu.Lock()
		delete(p.all, c)
		p.mu.Unlock()
	})
	return c, nil
}

func (p *pool) release(c *child) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failures, p.notUntil = 0, time.Time{}
	if p.closed {
		return // close ends it
	}
	c.retire = time.AfterFunc(idleAfter, func() { p.retire(c) })
	p.idle = append(p.idle, c)
}

// retire ends a child that has had nothing to do for a while, unless it is the only one.
func (p *pool) retire(c *child) {
	p.mu.Lock()
	found := false
	for i, other := range p.idle {
		if other == c && len(p.all) > 1 {
			p.idle = append(p.idle[:i:i], p.idle[i+1:]...)
			found = true
			break
		}
	}
	p.mu.Unlock()
	if found {
		c.end(endGrace)
	}
}

// failed has the next child wait.
func (p *pool) failed(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pause(err)
}

// pause is failed with p.mu held.
func (p *pool) pause(err error) {
	if time.Since(p.notUntil) > pauseForgotten {
		p.failures = 0
	}
	p.failures++
	p.problem = err
	p.notUntil = time.Now().Add(min(firstPause<<min(p.failures-1, 10), longestPause))
}

// close ends all children, and waits until they have.
func (p *pool) close() error {
	p.mu.Lock()
	p.closed = true
	var ending sync.WaitGroup
	for c := range p.all {
		ending.Go(func() { c.end(endGrace) })
	}
	p.mu.Unlock()
	ending.Wait()
	p.ended.Wait()
	return nil
}
