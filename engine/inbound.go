package engine

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	// maxLeftBehind is how many calls of a trigger may run on, long past their deadline, until
	// its requests are turned away.
	maxLeftBehind = 8
	// noteFailuresEvery is how often a trigger's failed requests are noted in the file at most:
	// whoever sends them must not have it written as often as he likes.
	noteFailuresEvery = time.Second
	// maxNoted bounds the triggers of which that is known, and of which the last refusal is.
	maxNoted = 1000
)

var errLeftBehind = errors.New("the call runs on past its deadline: the provider does not heed its context")

// inbound are the requests that are in hand.
type inbound struct {
	mu      sync.Mutex
	doors   map[int64]*door // by row number of the trigger; those with requests in hand
	noted   map[int64]time.Time
	refused map[string]Refusal // the last of each trigger, by its id
	count   int                // of requests
	closed  bool               // no more are taken
	empty   chan struct{}      // closed when closed and count is 0
	end     context.CancelFunc
	ended   context.Context // cuts short what is in hand
}

// door is where one trigger's requests come in.
type door struct {
	in    *inbound
	seq   int64
	users int           // requests in hand, and calls that were left behind; in.mu is held
	left  int           // calls that were left behind; in.mu is held
	turn  chan struct{} // full while a request with a state is in hand
}

func newInbound() *inbound {
	in := &inbound{doors: make(map[int64]*door), noted: make(map[int64]time.Time), refused: make(map[string]Refusal), empty: make(chan struct{})}
	in.ended, in.end = context.WithCancel(context.Background())
	return in
}

// begin takes a request, unless the engine is closed. The context ends with the caller's, and
// when the engine will wait for it no longer; done must be called.
func (in *inbound) begin(ctx context.Context) (_ context.Context, done func(), ok bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return ctx, nil, false
	}
	in.count++
	ctx, cancel := context.WithCancel(ctx)
	unlink := context.AfterFunc(in.ended, cancel)
	return ctx, func() {
		unlink()
		cancel()
		in.mu.Lock()
		defer in.mu.Unlock()
		if in.count--; in.closed && in.count == 0 {
			close(in.empty)
		}
	}, true
}

// close takes no more requests and waits for those in hand; when ctx ends first, they are cut
// short, and have a second to see it.
func (in *inbound) close(ctx context.Context) {
	in.mu.Lock()
	if !in.closed {
		in.closed = true
		if in.count == 0 {
			close(in.empty)
		}
	}
	in.mu.Unlock()
	defer in.end()
	select {
	case <-in.empty:
		return
	case <-ctx.Done():
	}
	in.end()
	select {
	case <-in.empty:
	case <-time.After(stopGrace):
	}
}

// door is a trigger's; leave must be called.
func (in *inbound) door(seq int64) *door {
	in.mu.Lock()
	defer in.mu.Unlock()
	d := in.doors[seq]
	if d == nil {
		d = &door{in: in, seq: seq, turn: make(chan struct{}, 1)}
		in.doors[seq] = d
	}
	d.users++
	return d
}

func (d *door) leave() {
	d.in.mu.Lock()
	defer d.in.mu.Unlock()
	d.drop()
}

// drop forgets the door after its last user. in.mu is held.
func (d *door) drop() {
	if d.users--; d.users == 0 {
		delete(d.in.doors, d.seq)
	}
}

// blocked tells whether so many calls were left behind that no more are to be made.
func (d *door) blocked() bool {
	d.in.mu.Lock()
	defer d.in.mu.Unlock()
	return d.left >= maxLeftBehind
}

// note tells whether a failed request of a trigger is to be noted in the file.
func (in *inbound) note(seq int64) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	now := time.Now()
	if last, ok := in.noted[seq]; ok && now.Sub(last) < noteFailuresEvery {
		return false
	}
	if len(in.noted) >= maxNoted {
		clear(in.noted)
	}
	in.noted[seq] = now
	return true
}

// refuse remembers a request that was not believed.
func (in *inbound) refuse(trigger string, r Refusal) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if _, known := in.refused[trigger]; !known && len(in.refused) >= maxNoted {
		clear(in.refused)
	}
	in.refused[trigger] = r
}

// lastRefused is a trigger's last request that was not believed; nil: there was none.
func (in *inbound) lastRefused(trigger string) *Refusal {
	in.mu.Lock()
	defer in.mu.Unlock()
	if r, ok := in.refused[trigger]; ok {
		return &r
	}
	return nil
}

// within makes a call, and waits for it no longer than limit, or a second after ctx has ended: what
// does not end by then is left behind, and its outcome dropped.
func within[T any](ctx context.Context, d *door, limit time.Duration, call func() (T, error)) (out T, err error) {
	type outcome struct {
		out T
		err error
	}
	done := make(chan outcome, 1)
	abandoned := false // d.in.mu is held
	ended := false     // d.in.mu is held
	go func() {        // awaited below, unless foreign code hangs
		out, err := call()
		done <- outcome{out, err}
		d.in.mu.Lock()
		defer d.in.mu.Unlock()
		if ended = true; abandoned {
			d.left--
			d.drop()
		}
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case o := <-done:
		return o.out, o.err
	case <-timer.C:
	case <-ctx.Done():
		timer.Reset(stopGrace)
		select {
		case o := <-done:
			return o.out, o.err
		case <-timer.C:
		}
	}
	d.in.mu.Lock()
	defer d.in.mu.Unlock()
	if ended {
		o := <-done
		return o.out, o.err
	}
	abandoned = true
	d.left++
	d.users++
	return out, errLeftBehind
}
