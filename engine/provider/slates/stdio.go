package slates

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/callbackd/callbackd/engine"
)

const (
	defaultProcesses = 4
	idleAfter        = 2 * time.Minute  // a child beyond the first is ended when it had nothing to do for so long
	firstPause       = time.Second      // before a child is started again after a failure; doubled by each
	longestPause     = time.Minute      // of these
	endGrace         = 2 * time.Second  // for a child to end by itself, once its input is closed
	maxNoise         = 1000             // bytes of a line of a child that is logged
	linesPerSecond   = 20               // of these lines
	stderrKept       = 300              // characters of the last line of standard error that an error repeats
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
	return &pool{words: words, log: log, slots: make(chan struct{}, processes), all: make(map[*child]bool)}, nil
}

func (p *pool) send(ctx context.Context, batch []byte, ids []string) ([]byte, error) {
	if len(batch) > maxBatch {
		return nil, fmt.Errorf("the batch has more than %d MiB", maxBatch>>20)
	}
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("all %d processes of the integration are busy: %w", cap(p.slots), ctx.Err())
	}
	defer func() { <-p.slots }()
	for {
		c, err := p.take()
		if err != nil {
			return nil, err
		}
		text, err := c.exchange(ctx, batch, ids)
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
		return nil, engine.RetryAfter(wait, fmt.Errorf("the integration's process is not started again for %s, after %d failures in a row: %w", wait.Round(time.Second), p.failures, p.problem))
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
