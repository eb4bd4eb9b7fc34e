package engine

import "context"

// wish is somebody's request that a trigger be polled at once. All who wish it before the poll
// begins share one.
type wish struct {
	id    string        // of the trigger
	done  chan struct{} // closed once the poll was made, or could not be; then what follows may be read
	err   error         // why it could not be
	again bool          // the trigger was changed meanwhile: what was polled does not count
}

// PollNow polls a trigger, also one that backs off after failures, and returns it as it is after
// that poll, which may have failed: LastError says so. A poll that had begun before does not count:
// it is waited for, and another one is made. Many calls at a time share one poll. The next poll
// comes an interval after this one, or as the provider or the back-off has it, as after any poll.
//
// It is a CodeConflict while the trigger is not polled, because it is paused, its instance is
// detached or something that it needs is archived; a CodeBadRequest for a webhook, which is never
// polled; a CodeUnavailable while the engine does not run, or cannot write. When ctx ends, its error
// is returned, and the poll is made all the same. trigger is as for [Engine.InstanceTrigger].
func (e *Engine) PollNow(ctx context.Context, callbackID, instanceID, trigger string) (InstanceTrigger, error) {
	for {
		seq, t, err := e.store.PolledTrigger(ctx, callbackID, instanceID, trigger)
		switch {
		case err != nil:
			return InstanceTrigger{}, wrap(err)
		case t.Trigger.Source != "polling":
			return InstanceTrigger{}, &Error{Code: CodeBadRequest, Reason: "not_polled", Message: "trigger " + t.ID + " has a webhook: it is never polled"}
		}
		if err := e.polling(); err != nil {
			return InstanceTrigger{}, err
		}
		r := e.poller.request(seq, t.ID)
		select {
		case <-r.done:
		case <-ctx.Done():
			return InstanceTrigger{}, ctx.Err()
		case <-e.poller.stopping:
			return InstanceTrigger{}, errNotPolling
		}
		if r.err != nil {
			return InstanceTrigger{}, r.err
		}
		if !r.again {
			return e.InstanceTrigger(ctx, callbackID, instanceID, t.ID)
		}
	}
}

var errNotPolling = &Error{Code: CodeUnavailable, Message: "the engine does not run: nothing is polled", Hint: "try again once it runs"}

// polling tells, by its error, whether polls are made.
func (e *Engine) polling() error {
	if e.state.Load() != lifeRunning {
		return errNotPolling
	}
	return wrap(e.store.WriteError())
}

// request has a trigger polled as soon as there is room, before those that are only due.
func (p *poller) request(seq int64, id string) *wish {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.requests[seq]; r != nil {
		return r
	}
	r := &wish{id: id, done: make(chan struct{})}
	p.requests[seq] = r
	if !p.inHand[seq] { // else it is looked at when its poll begins, or ends
		p.first(seq, r)
	}
	return r
}

// first takes a requested trigger in hand, in front of the queue, to be read when its poll begins.
// p.mu is held.
func (p *poller) first(seq int64, r *wish) {
	p.inHand[seq] = true
	t := readAhead{}
	t.Seq, t.ID = seq, r.id
	p.queue = append([]readAhead{t}, p.queue...)
	p.wake()
}

// take is the request that the poll of a trigger, which begins now, answers; nil: there is none.
func (p *poller) take(seq int64) *wish {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.requests[seq]
	delete(p.requests, seq)
	return r
}

// answer ends a request with a poll that was made, or cut short.
func (p *poller) answer(work context.Context, r *wish, t readAhead, recorded bool) {
	switch {
	case work.Err() != nil:
		r.err = errNotPolling
	case !recorded:
		r.err = &Error{Code: CodeUnavailable, Message: "the poll could not be recorded; its source will be asked again", Hint: "try again later", Err: p.e.store.WriteError()}
	default:
		now, err := p.e.store.PollTarget(work, t.Seq)
		r.again = err == nil && (t.Replaced(now) || now.DueAt.IsZero() && now.LastError == nil)
	}
	close(r.done)
}

// polls tells whether a trigger is just being polled.
func (p *poller) polls(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.polled[id]
}
