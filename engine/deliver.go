package engine

import (
	"context"
	"math"
	"runtime"
	"sync"
	"time"

	"github.com/callbackd/callbackd/engine/internal/outbound"
	"github.com/callbackd/callbackd/store"
)

// deliverer brings notifications to their destinations. Each destination has a lane; lanes
// with something to do take turns, so that none waits for another's backlog, and each keeps
// to its destination's limits. Workers make attempts and hand the outcomes to the recorder.
// A reader fetches from the table what is due and was not handed over in memory.
type deliverer struct {
	e        *Engine
	recorder *recorder

	looked  heartbeat     // for what is due
	woken   chan struct{} // the reader is to look at its lanes
	work    context.Context
	cancel  context.CancelFunc // ends the reader
	reader  sync.WaitGroup
	workers sync.WaitGroup

	mu          sync.Mutex
	running     bool
	lanes       map[int64]*lane
	queued      int // bytes in all their queues, about
	due         dueHeap
	ready       []*lane     // in turn: lanes with a queue and room for an attempt
	silent      []*lane     // those of them whose destination did not answer last
	attempts    int         // workers that make one
	dispatching bool        // somebody is about to dispatch
	resting     []chan turn // to workers that make none, closed at the end
	unheard     int         // those of them whose lane was a silent one
	lastTurn    bool        // the last turn was a silent lane's
	endpoints   map[int64]*endpoint
	changes     int   // of destinations, since the start: what was read before one is old
	lastRead    int64 // the highest row number of a notification that was taken from the table
	// The highest row number that was handed over, or there at the start. Those above it are
	// about to be handed over, which is cheaper than to read them.
	handedOver int64
	reconciled int64 // the highest row number there was at the last comparison with the table
}

func newDeliverer(e *Engine) *deliverer {
	d := &deliverer{e: e, woken: make(chan struct{}, 1), lanes: make(map[int64]*lane), endpoints: make(map[int64]*endpoint)}
	d.recorder = newRecorder(e, d)
	return d
}

// start makes a lane of every destination with open notifications. work ends attempts.
func (d *deliverer) start(ctx, work context.Context) error {
	d.mu.Lock()
	d.running = true // from here on, what is offered is taken
	d.mu.Unlock()
	open, err := d.e.store.OpenDestinations(ctx)
	if err != nil {
		return err
	}
	last, err := d.e.store.LastNotification(ctx)
	if err != nil {
		return err
	}
	reading, cancel := context.WithCancel(work)
	d.mu.Lock()
	d.work, d.cancel = work, cancel
	d.handedOver = max(d.handedOver, last)
	for destination, at := range open {
		l := d.lane(destination)
		l.lookAt(at)
		d.due.place(l)
	}
	d.dispatch()
	d.mu.Unlock()
	d.recorder.start(work)
	d.looked.beat()
	d.reader.Go(func() { d.read(reading) })
	return nil
}

// halt starts no more attempts, but those that are about to start.
func (d *deliverer) halt() {
	d.mu.Lock()
	if d.dispatching {
		d.dispatch()
	}
	d.running = false
	for _, worker := range d.resting {
		close(worker)
	}
	d.resting = nil
	d.mu.Unlock()
}

// stop, after halt, waits for the attempts being made and has the last outcomes recorded.
func (d *deliverer) stop() {
	d.cancel()
	d.workers.Wait()
	d.recorder.stop()
	d.reader.Wait()
}

// lane finds or makes a destination's lane. d.mu is held.
func (d *deliverer) lane(destination int64) *lane {
	l := d.lanes[destination]
	if l == nil {
		l = newLane(destination, &d.queued)
		d.lanes[destination] = l
	}
	return l
}

// offer hands over notifications that were just stored. What there is no room for stays
// in the table, where the reader finds it.
func (d *deliverer) offer(deliveries []store.Delivery) {
	if len(deliveries) == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.running {
		return // the next start finds them in the table
	}
	wake := false
	now := d.e.now()
	for _, n := range deliveries {
		d.handedOver = max(d.handedOver, n.Seq)
		l := d.lane(n.DestinationSeq)
		// Between their commit and now, the reader may have found them, and they may have been
		// delivered even: then they are the reader's. And what waits in the table goes first.
		if n.Seq <= d.lastRead || l.behind(now) || l.ended || !l.push(n) {
			l.lookAt(now)
			d.due.place(l)
			wake = true
			continue
		}
		d.arm(l)
	}
	d.dispatchSoon()
	if wake {
		d.wake()
	}
}

// dispatchSoon is dispatch in a goroutine that stands behind those that are ready to run: so those whom
// a commit has let go are mostly back with what the next one stores before the processors are busy with
// attempts, which then are made while the writer works and waits for the disk. d.mu is held.
func (d *deliverer) dispatchSoon() {
	if d.dispatching || d.attempts >= d.e.options.MaxDeliveries || len(d.ready) == 0 && (len(d.silent) == 0 || !d.silentRoom()) {
		return
	}
	d.dispatching = true
	d.workers.Go(func() {
		runtime.Gosched()
		d.mu.Lock()
		defer d.mu.Unlock()
		d.dispatching = false
		d.dispatch()
	})
}

// silentRoom tells whether another attempt may be made for a silent lane. d.mu is held.
func (d *deliverer) silentRoom() bool { return d.unheard < max(1, d.e.options.MaxDeliveries/2) }

// arm gives a lane a turn if it can start an attempt. d.mu is held.
func (d *deliverer) arm(l *lane) {
	if l.ready || !l.canStart() {
		return
	}
	l.ready = true
	if l.silent() {
		d.silent = append(d.silent, l)
	} else {
		d.ready = append(d.ready, l)
	}
}

// turn is an attempt that is to be made.
type turn struct {
	*lane
	n       store.Delivery
	unheard bool // the lane was a silent one
}

// take is the next attempt to make, in turn. Silent lanes alternate with the others, and have
// half of the room at most: each of their attempts may last until its timeout, and however
// many they are, the others are not to wait for that. d.mu is held.
func (d *deliverer) take() (turn, bool) {
	for d.running {
		unheard := len(d.silent) > 0 && d.silentRoom() && (len(d.ready) == 0 || !d.lastTurn)
		from := &d.ready
		if unheard {
			from = &d.silent
		}
		if len(*from) == 0 {
			break
		}
		l := (*from)[0]
		(*from)[0] = nil
		*from = (*from)[1:]
		l.ready = false
		if !l.canStart() {
			continue
		}
		if l.silent() && !unheard { // it has become one while it waited
			d.arm(l)
			continue
		}
		t := turn{lane: l, n: l.pop(), unheard: unheard}
		l.active++
		d.lastTurn = unheard
		if unheard {
			d.unheard++
		}
		d.arm(l)
		if l.heapIndex < 0 && l.wantsReading() {
			d.due.place(l)
			d.wake()
		}
		return t, true
	}
	return turn{}, false
}

// maxResting is how many workers are kept for what comes next: the stack of a new one would have to
// grow first.
const maxResting = 64

// dispatch has workers go while there is something to do and room for more. d.mu is held.
func (d *deliverer) dispatch() {
	if d.work == nil {
		return
	}
	for d.attempts < d.e.options.MaxDeliveries {
		t, ok := d.take()
		if !ok {
			return
		}
		d.attempts++
		if last := len(d.resting) - 1; last >= 0 {
			d.resting[last] <- t
			d.resting = d.resting[:last]
			continue
		}
		first := t // what is captured is moved to the heap, for a worker that rests too
		d.workers.Go(func() { d.worker(first) })
	}
}

// worker makes attempts. With none to make, it rests, or ends if enough do.
func (d *deliverer) worker(t turn) {
	turns := make(chan turn, 1)
	for ok := true; ok; {
		r := d.attempt(t.n)
		if t, ok = d.following(t, r, turns); !ok {
			t, ok = <-turns
		}
	}
}

// following is the turn after one, unless there is none: then the worker is to wait for turns.
func (d *deliverer) following(t turn, r reply, turns chan turn) (turn, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if t.unheard {
		d.unheard--
	}
	l := t.lane
	l.active--
	p := d.endpoints[l.destination]
	switch r {
	case notAsked:
	case noReply:
		d.pause(l, l.heard(false))
		l.window = 1
		if l.trim(l.room()) { // those that answer have more use for the memory
			l.lookAt(d.e.now())
		}
	default:
		l.heard(true)
		if p != nil {
			l.window = min(2*l.window, p.MaxInFlight)
		}
	}
	d.arm(l)
	d.after(l)
	t, ok := d.take()
	switch {
	case ok:
		d.dispatch() // the window, or the room of silent lanes, may have grown
	case d.running && len(d.resting) < maxResting:
		d.attempts--
		d.resting = append(d.resting, turns)
	default:
		d.attempts--
		close(turns)
	}
	return t, ok
}

// pause has a lane go on after a while. d.mu is held.
func (d *deliverer) pause(l *lane, wait time.Duration) {
	if l.pause != nil {
		l.pause.Reset(wait)
		return
	}
	l.pause = time.AfterFunc(wait, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		l.paused = false
		d.arm(l)
		d.dispatch()
	})
}

// reply is what came of an attempt, as far as the pace of the next ones depends on it.
type reply int

const (
	notAsked reply = iota // there was no attempt
	noReply               // there was no whole answer
	replied               // whatever the answer says
)

// attempt makes one attempt and hands its outcome to the recorder.
func (d *deliverer) attempt(n store.Delivery) reply {
	p, err := d.endpoint(n.DestinationSeq)
	if err != nil {
		if d.work.Err() == nil {
			d.e.log.ErrorContext(d.work, "a destination could not be read", keyNotification, n.NotificationID, keyError, err)
		}
		d.postpone(n)
		return notAsked
	}
	if p.Status != "active" {
		d.endLane(n.DestinationSeq)
		d.putBack(n)
		return notAsked
	}
	if n.Output == nil {
		found, err := d.e.store.Deliveries(d.work, []int64{n.Seq}, math.MaxInt64)
		if err != nil || len(found) == 0 {
			d.postpone(n)
			return notAsked
		}
		n = found[0]
	}
	number := n.AttemptCount + 1
	started, began := d.e.now(), time.Now()
	ctx, cancel := context.WithTimeout(d.work, p.Timeout)
	var r result
	if isFunction(p.URL) {
		r = d.e.call(ctx, p.URL, n, number)
	} else {
		r = d.e.post(ctx, p, n, number, started)
	}
	cancel()
	if d.work.Err() != nil && r.failure != nil {
		d.putBack(n) // a shutdown of ours is no attempt
		return notAsked
	}
	o := store.Outcome{Seq: n.Seq, EventSeq: n.EventSeq, Attempt: Attempt{Number: number, Failure: r.failure, Response: r.response, StartedAt: started, Duration: time.Since(began)}}
	now, moved := d.e.clock.read()
	if r.failure != nil {
		if delay, ok := nextAttempt(p.Retry, number, r, d.e.options.Random()); ok {
			o.NextAttemptAt = now.Add(delay)
		}
	}
	out := recorded{delivery: n, outcome: o, moved: moved}
	out.delivery.Output = nil // it has done its work
	if r.gone {
		out.gone = p // what follows is decided, and logged, once that is known to be so still
	} else {
		if r.failure == nil || d.still(n.DestinationSeq, p) {
			d.e.failing.attempted(p.ID, r.failure)
		}
		d.e.logAttempt(d.work, n, p, o)
	}
	d.recorder.record(out)
	// Headers in time and a body that does not end are no answer: it holds the attempt as long.
	if r.failure == nil || r.response != nil && r.failure.Code != outbound.FailureTimeout || r.failure.Code == codeFunctionError {
		return replied
	}
	return noReply
}

// refresh forgets what was known of destinations, because one has changed. Lanes that
// ended look again whether theirs takes something now.
func (d *deliverer) refresh() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.endpoints)
	d.changes++
	now := d.e.now()
	for _, l := range d.lanes {
		l.lookAt(now)
		d.due.place(l)
	}
	d.wake()
}

// putBack lets go of a notification that was not attempted; it is open in the table.
func (d *deliverer) putBack(n store.Delivery) { d.release(n, 0) }

// postpone is putBack, for when the store could not be read.
func (d *deliverer) postpone(n store.Delivery) { d.release(n, storeRetry) }

// release lets go of a notification, which is due again after a while.
func (d *deliverer) release(n store.Delivery, after time.Duration) {
	d.e.clock.plan(func() { d.settle(n.DestinationSeq, n.Seq, d.e.now().Add(after)) })
}

// settle lets go of a notification whose outcome is in the table; next is when it is due
// again, zero: never. It is called within plan.
func (d *deliverer) settle(destination, seq int64, next time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.lanes[destination]
	if l == nil {
		return
	}
	delete(l.inHand, seq)
	if l.reading {
		l.settled[seq] = true
	}
	l.lookAt(next)
	d.after(l)
}

// shift moves along with a clock that was set. d.mu is held.
func (d *deliverer) shift(by time.Duration) {
	for _, l := range d.lanes {
		if !l.due.IsZero() {
			l.due = l.due.Add(by) // all of them: their order in the heap stays
		}
	}
}

// after puts a lane where it belongs once something about it has changed. d.mu is held.
func (d *deliverer) after(l *lane) {
	d.due.place(l)
	if l.idle() {
		if d.lanes[l.destination] == l {
			delete(d.lanes, l.destination)
		}
	} else if l.heapIndex == 0 {
		d.wake()
	}
}

// endLane has a destination's open notifications fail, once its attempts in flight are
// done with.
func (d *deliverer) endLane(destination int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.endpoints, destination)
	d.changes++
	l := d.lane(destination)
	l.end()
	l.lookAt(d.e.now())
	d.after(l)
}

func (d *deliverer) wake() {
	select {
	case d.woken <- struct{}{}:
	default:
	}
}
