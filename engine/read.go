package engine

import (
	"container/heap"
	"context"
	"time"

	"github.com/callbackd/callbackd/store"
)

// endBatch is how many notifications of an ended destination fail in one transaction.
const endBatch = 500

// read fetches from the table, lane by lane, what has come due. With nothing due it
// sleeps until something is.
func (d *deliverer) read(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	reconciled, failed := time.Now(), false
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.woken:
		case <-timer.C:
		}
		if time.Since(reconciled) >= reconcileEvery && !d.e.clock.moving.Load() {
			reconciled = time.Now()
			d.e.clock.plan(func() { d.reconcile(ctx) })
		}
		for ctx.Err() == nil {
			l, wait := d.next()
			if l == nil {
				if !failed {
					d.looked.beat()
				}
				timer.Reset(wait)
				break
			}
			if failed = !d.readLane(ctx, l); !failed {
				d.looked.beat()
			}
		}
	}
}

// idleWait is the longest sleep of the reader, although anything new wakes it: timers stand
// still while a machine is suspended, and do not follow a clock that is set.
const idleWait = 10 * time.Second

// reconcileEvery is how often the lanes are compared with the table.
const reconcileEvery = time.Minute

// next is the lane to read now, or how long to wait.
func (d *deliverer) next() (*lane, time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.due) == 0 || d.e.clock.moving.Load() {
		return nil, idleWait // it is woken once due times have been moved
	}
	if wait := d.due[0].due.Sub(d.e.now()); wait > 0 {
		return nil, min(wait, idleWait)
	}
	l := heap.Pop(&d.due).(*lane)
	// What changes from here on is noted in due and settled, and looked at again.
	l.reading, l.settled, l.due = true, make(map[int64]bool), time.Time{}
	return l, 0
}

// readLane reads one lane's part of the table, and tells whether the table can be read.
func (d *deliverer) readLane(ctx context.Context, l *lane) bool {
	p, err := d.endpoint(l.destination)
	if err == nil && p.Status != "active" {
		var again bool
		again, err = d.endOpen(ctx, l)
		if err == nil {
			d.e.clock.plan(func() {
				next := time.Time{}
				if again {
					next = d.e.now()
				}
				d.takeIn(l, nil, next)
			})
			return true
		}
	}
	d.e.clock.plan(func() {
		var found []store.Delivery
		var again time.Time
		switch {
		case err != nil:
		case d.e.clock.moving.Load():
			again = d.e.now() // once the file has what is due
		default:
			d.mu.Lock()
			l.ended = false
			limit := len(l.inHand) + l.toRead()
			d.mu.Unlock()
			found, again, err = d.fetch(ctx, l, limit)
		}
		if err != nil {
			again = d.e.now().Add(storeRetry)
			if ctx.Err() == nil {
				d.e.log.ErrorContext(ctx, "open notifications could not be read", keyError, err)
			}
		}
		d.takeIn(l, found, again)
	})
	if p == nil { // of a destination that is broken, nothing is known of the others by that
		_, err = d.e.store.OpenNotifications(ctx, l.destination, 1)
	}
	return err == nil
}

// endOpen fails what is open of a destination that takes nothing more, once what is in flight
// has been recorded. It tells whether to look again.
func (d *deliverer) endOpen(ctx context.Context, l *lane) (again bool, err error) {
	d.mu.Lock()
	l.end()
	busy := len(l.inHand) > 0
	d.mu.Unlock()
	if busy {
		return true, nil
	}
	return d.fail(ctx, l)
}

// takeIn takes in hand what was read, and ends the reading.
func (d *deliverer) takeIn(l *lane, found []store.Delivery, again time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range found {
		// A lane that has ended meanwhile takes nothing: its next reading is planned.
		if !l.ended && !l.settled[n.Seq] && !l.inHand[n.Seq] && !l.push(n) {
			l.lookAt(d.e.now())
		}
	}
	l.reading, l.settled = false, nil
	l.lookAt(again)
	d.arm(l)
	d.dispatch()
	d.after(l)
}

// fetch reads what is due and not in hand, and when to look again. What is in hand is in
// front in the table still, so that much more is asked for.
func (d *deliverer) fetch(ctx context.Context, l *lane, limit int) (found []store.Delivery, again time.Time, err error) {
	open, err := d.e.store.OpenNotifications(ctx, l.destination, limit)
	if err != nil {
		return nil, again, err
	}
	now := d.e.now()
	var seqs []int64
	fresh := 0
	d.mu.Lock()
	for _, o := range open {
		if l.inHand[o.Seq] {
			continue
		}
		if o.At.After(now) {
			again = o.At // the first of what is not due yet: they come in order
			break
		}
		if o.Seq > d.handedOver {
			fresh++ // it is about to be handed over
			continue
		}
		d.lastRead = max(d.lastRead, o.Seq)
		seqs = append(seqs, o.Seq)
	}
	d.mu.Unlock()
	switch {
	case len(open) < limit || !again.IsZero():
	case fresh == 0:
		again = now // there may be more
	default:
		again = now.Add(time.Second) // or as soon as one of them is handed over
	}
	if len(seqs) == 0 {
		return nil, again, nil
	}
	found, err = d.e.store.Deliveries(ctx, seqs, maxQueuedOutput)
	return found, again, err
}

// fail ends the open notifications of a destination that takes nothing more. If it is active
// again by now, they are to be delivered instead, at once.
func (d *deliverer) fail(ctx context.Context, l *lane) (again bool, err error) {
	for ctx.Err() == nil {
		ended, active, err := d.e.store.FailNotifications(ctx, d.e.now(), l.destination, endBatch)
		if err != nil {
			return again, err
		}
		d.looked.beat()
		d.mu.Lock()
		for _, seq := range ended {
			d.lastRead = max(d.lastRead, seq)
		}
		if active {
			delete(d.endpoints, l.destination)
			d.changes++
			again = true
		}
		d.mu.Unlock()
		if len(ended) < endBatch {
			break
		}
	}
	d.mu.Lock()
	l.ended = false
	d.mu.Unlock()
	return again, nil
}

// reconcile makes lanes of destinations that have open notifications and no lane, and reads
// what was there a minute ago, handed over or not. There should be neither; but the table is
// the truth.
func (d *deliverer) reconcile(ctx context.Context) {
	open, err := d.e.store.OpenDestinations(ctx)
	if err != nil {
		return // the next time will do
	}
	last, err := d.e.store.LastNotification(ctx)
	if err != nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.handedOver = max(d.handedOver, d.reconciled)
	d.reconciled = last
	for destination, at := range open {
		if d.lanes[destination] == nil {
			l := d.lane(destination)
			l.lookAt(at)
			d.due.place(l)
		}
	}
}
