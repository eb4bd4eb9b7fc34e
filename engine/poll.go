package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/callbackd/callbackd/engine/internal/outbound"
	"github.com/callbackd/callbackd/store"
)

// poller asks the store which triggers are due, and polls them in a bounded pool. It does so every
// second, for whatever reason one may be due, and when it knows that the next poll is. Which are in
// hand is known here and nowhere else.
type poller struct {
	e        *Engine
	woken    chan struct{}
	cron     *cron.Cron
	alarm    alarm // for what is due before the second is over
	cancel   context.CancelFunc
	stopping <-chan struct{} // closed when no more polls begin; set by start
	wg       sync.WaitGroup  // the loop, the polls and the mapping
	looked   heartbeat       // for what is due
	turned   heartbeat       // a poll began or ended
	moved    bool            // webhooks that are registered with a former public URL are due; the loop's own

	mu       sync.Mutex
	inHand   map[int64]bool  // row numbers of triggers: being read, queued, or being polled
	requests map[int64]*wish // by row number: for the next poll that begins
	polled   map[string]bool // ids of triggers: being polled
	queue    []readAhead
	running  int       // polls
	more     bool      // more was due than was read
	again    bool      // a trigger was polled whose source has more
	mapping  bool      // inputs are being mapped again
	mapAt    time.Time // when the next input is to be mapped again; zero: none
}

// readAhead is a trigger that is due, as it was at a time.
type readAhead struct {
	store.PollTarget
	at    time.Time
	moved time.Duration // by how much the clock was set then
}

// due is when it is due, by a clock that was set by so much in all.
func (t readAhead) due(moved time.Duration) time.Time {
	if t.Fixed {
		return t.DueAt
	}
	return t.DueAt.Add(moved - t.moved)
}

const (
	// queuePerPoll is how many triggers are read ahead for each poll that may run at a time: it
	// takes one query to read many.
	queuePerPoll = 4
	// maxAhead is how old what was read ahead may be. An older one is read again, because it may
	// have been detached, or been given another config.
	maxAhead = time.Second
	// minTick is the least time from one look at what is due to the next that the alarm has made: what
	// becomes due meanwhile is read together.
	minTick = 50 * time.Millisecond
	// maxStateAhead is how many bytes a state may have to be read ahead.
	maxStateAhead = 4 << 10
)

func newPoller(e *Engine) *poller {
	p := &poller{e: e, woken: make(chan struct{}, 1), inHand: make(map[int64]bool), requests: make(map[int64]*wish), polled: make(map[string]bool), cancel: func() {}}
	p.alarm.wake, p.alarm.pause = p.wake, minTick
	return p
}

func (p *poller) start(work context.Context) {
	loop, cancel := context.WithCancel(work)
	p.cancel, p.stopping = cancel, loop.Done()
	p.looked.beat()
	p.planMappingAt(p.e.now())
	// One entry for all triggers: cron sorts its entries at every wake.
	p.cron = cron.New(cron.WithLocation(time.UTC))
	p.cron.Schedule(cron.Every(time.Second), cron.FuncJob(p.wake))
	p.cron.Start()
	p.wake()
	p.wg.Go(func() {
		for {
			select {
			case <-loop.Done():
				return
			case <-p.woken:
				p.alarm.begin()
				p.e.clock.plan(func() { p.tick(loop, work) })
			}
		}
	})
}

// wake has the loop look at once; it never blocks.
func (p *poller) wake() {
	select {
	case p.woken <- struct{}{}:
	default:
	}
}

// stop takes no more polls and waits for those in flight.
func (p *poller) stop() {
	<-p.cron.Stop().Done()
	p.cancel()
	p.wg.Wait()
	p.alarm.begin() // it wakes nobody any more
}

// tick reads what is due and starts it, unless it could not be trusted or recorded. loop ends
// the reading of what is due, work the polls.
func (p *poller) tick(loop, work context.Context) {
	if p.held() {
		p.looked.beat() // why, is told elsewhere
		return
	}
	if !p.moved && !p.moveRegistrations(loop) {
		return
	}
	now, moved := p.e.clock.read()
	p.mu.Lock()
	for p.startNext(loop, work) { // what had to wait until now
	}
	mapNow := !p.mapping && !p.mapAt.IsZero() && !p.mapAt.After(now)
	p.mapping = p.mapping || mapNow
	inHand, enough := len(p.inHand), len(p.queue) >= p.e.options.MaxPolls
	p.more = p.more || enough
	p.mu.Unlock()
	if mapNow {
		p.wg.Go(func() { p.mapAgain(loop, work) })
	}
	if enough {
		p.looked.beat()
		return
	}
	// What is in hand is due in the table, still: so many more have to be read.
	limit := inHand + queuePerPoll*p.e.options.MaxPolls
	due, err := p.e.store.DuePolls(loop, now, limit)
	var unwanted []int64
	if err == nil { // webhooks to be taken back, of which those in hand come first: so many are in hand
		unwanted, err = p.e.store.DueUnregistrations(loop, now, max(1, p.e.options.MaxPolls/4))
	}
	var targets []store.PollTarget
	var taken []int64
	if err == nil {
		taken = p.takeInHand(slices.Concat(due, unwanted))
		targets, err = p.e.store.PollTargets(loop, taken, maxStateAhead)
	}
	if err != nil && loop.Err() == nil {
		p.e.log.ErrorContext(loop, "what is due could not be read", keyError, err)
	}
	p.mu.Lock()
	for _, t := range targets {
		p.queue = append(p.queue, readAhead{t, now, moved})
	}
	p.letGo(taken, targets)
	if err == nil {
		p.looked.beat()
		p.more = len(due) == limit
		for p.startNext(loop, work) {
		}
	}
	p.mu.Unlock()
	p.planNext(loop, now)
}

// held tells whether polls wait: while due times are being moved, and while the store cannot
// write, because what a source would give could not be kept.
func (p *poller) held() bool { return p.e.clock.moving.Load() || p.e.store.WriteError() != nil }

// shift moves along with a clock that was set. p.mu is held.
func (p *poller) shift(by time.Duration) {
	if !p.mapAt.IsZero() {
		p.mapAt = p.mapAt.Add(by)
	}
}

// takeInHand takes those of some triggers in hand that are not, before they are read: so nobody
// else can poll one in between, and have what was read of it be old.
func (p *poller) takeInHand(due []int64) []int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(due, func(seq int64) bool {
		known := p.inHand[seq]
		p.inHand[seq] = true
		return known
	})
}

// letGo has those triggers out of hand that could not be read. p.mu is held.
func (p *poller) letGo(taken []int64, read []store.PollTarget) {
	if len(read) == len(taken) {
		return
	}
	found := make(map[int64]bool, len(read))
	for _, t := range read {
		found[t.Seq] = true
	}
	for _, seq := range taken {
		if !found[seq] {
			p.release(seq)
		}
	}
}

// release has a trigger out of hand, unless somebody has requested that it be polled meanwhile.
// p.mu is held.
func (p *poller) release(seq int64) {
	delete(p.inHand, seq)
	if r := p.requests[seq]; r != nil {
		p.first(seq, r)
	}
}

// startNext starts the next poll, if there is one and room for it. p.mu is held.
func (p *poller) startNext(loop, work context.Context) bool {
	if len(p.queue) == 0 || p.running >= p.e.options.MaxPolls || loop.Err() != nil || p.held() {
		return false
	}
	t := p.queue[0]
	p.queue[0] = readAhead{}
	p.queue = p.queue[1:]
	p.running++
	p.polled[t.ID] = true
	p.turned.beat()
	p.wg.Go(func() { p.run(loop, work, t) })
	return true
}

// run polls one trigger and records what came of it. loop ends the pause after a failure of
// the store, work the poll.
func (p *poller) run(loop, work context.Context, t readAhead) {
	var err error
	r := p.take(t.Seq)
	p.e.clock.plan(func() {
		now, moved := p.e.clock.read()
		if age := now.Sub(t.at); r != nil || t.Partial || t.moved != moved || age > maxAhead || age < 0 {
			t.at, t.moved = now, moved
			var fresh store.PollTarget
			if fresh, err = p.e.store.PollTarget(work, t.Seq); err == nil {
				t.PollTarget = fresh
			}
		}
	})
	if err != nil && work.Err() == nil {
		p.e.log.ErrorContext(work, "a trigger could not be read", keyTrigger, t.ID, keyError, err)
	}
	recorded := err == nil && p.poll(work, t, r != nil)
	if r != nil {
		p.answer(work, r, t, recorded)
	}
	if !recorded && work.Err() == nil {
		// The store could not take it: the trigger is due still, but asking its source again at
		// once would help nobody.
		select {
		case <-loop.Done():
		case <-time.After(storeRetry):
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running--
	p.turned.beat()
	delete(p.polled, t.ID)
	p.release(t.Seq)
	p.startNext(loop, work)
	if p.again || p.more && len(p.queue) < p.e.options.MaxPolls {
		p.again = false
		p.wake()
	}
}

// blocked is for how long polls that heed no deadline have left no room for those that wait;
// 0: they have not.
func (p *poller) blocked() time.Duration {
	p.mu.Lock()
	waiting := len(p.queue) > 0 && p.running >= p.e.options.MaxPolls
	p.mu.Unlock()
	if d := p.turned.ago(); waiting && d > 2*p.e.options.PollTimeout+stillAfter { // to poll, and to map
		return d
	}
	return 0
}

// lateGrace is how long past its deadline a poll may run until that is said of its trigger.
const lateGrace = 5 * time.Second

// storeRetry is the pause after the store was unable to write.
const storeRetry = 5 * time.Second

// poll tells whether its outcome is in the store, or there was none to be. A trigger that was
// requested is polled although it is not due.
func (p *poller) poll(ctx context.Context, t readAhead, requested bool) (recorded bool) {
	now, moved := p.e.clock.read()
	log := p.e.log.With(keyProvider, t.ProviderIdentifier, keyTrigger, t.ID, keyInstance, t.InstanceID, keyCallback, t.CallbackID)
	if at := t.UnregisterAt; !at.IsZero() && !at.Add(moved-t.moved).After(now) {
		return p.unregister(ctx, log, t, now)
	}
	if t.DueAt.IsZero() || t.due(moved).After(now) && !requested {
		return true // it was polled, or detached, between being found due and being read
	}
	due := t.due(moved)
	if due.After(now) {
		due = now // as if it had been planned so: the next poll is an interval away
	}
	t.DueAt, t.moved = due, moved
	if t.Webhook {
		return p.register(ctx, log, t, now)
	}
	if requested {
		log = log.With("requested", true)
	}
	began := time.Now()
	limited, cancel := context.WithTimeout(ctx, p.e.options.PollTimeout)
	defer cancel()
	stop := p.late(func() { p.failed(ctx, log, t, Source{}, now, time.Since(began), errRunsOn("poll")) })
	var found PollResult
	trigger, source, err := p.e.source(limited, t.PollTarget, now, log)
	if err == nil {
		found, err = signedIn(limited, p.e, t.PollTarget, &source, func() (PollResult, error) {
			return guard(ctx, log, func() (PollResult, error) {
				return trigger.Poll(limited, PollRequest{Source: source, State: t.State})
			})
		})
		if err == nil && found.State != nil && !json.Valid(found.State) { // it would be shown, and given to the next poll
			err = errors.New("the provider gave a state that is not JSON")
		}
	}
	stop()
	if ctx.Err() != nil {
		return true // we are stopping: a poll that was cut short was not made
	}
	took := time.Since(began)
	if err != nil {
		return p.failed(ctx, log, t, source, now, took, err)
	}
	items, err := p.e.mapAll(ctx, log, trigger, source, found.Inputs)
	if err != nil {
		return true // stopping, too
	}
	problem := unmapped(items)
	if t.SkipBaseline {
		items = mappedOnly(ctx, log, items)
	}
	var record store.Poll
	var out store.PollRecord
	took = time.Since(began)
	p.e.clock.plan(func() {
		done, moved := p.e.clock.read()
		since := moved - t.moved // by how much the clock was set meanwhile
		record = store.Poll{At: now.Add(since), RecordedAt: done, NextPollAt: nextPoll(t.DueAt.Add(since), done, t.Interval, p.e.options.Random()),
			Lag: now.Sub(t.DueAt), Duration: took, State: found.State, Items: items, Problem: problem}
		record.More = found.More && (len(found.Inputs) > 0 || found.State != nil && !bytes.Equal(found.State, t.State))
		switch {
		case record.More:
			record.NextPollAt = done
		case !found.NextPollAt.IsZero(): // in whole milliseconds, as it is stored, and not before
			record.NextPollAt, record.Fixed = latest(found.NextPollAt, done.Add(minFixedPoll)).Add(time.Millisecond-1).Truncate(time.Millisecond), true
		}
		for i := range items {
			if !items[i].NextMapAt.IsZero() {
				items[i].NextMapAt = done.Add(mapDelays[0])
			}
		}
		// What a source gave is worth keeping although we are being stopped.
		if out, err = p.e.store.RecordPoll(context.WithoutCancel(ctx), t.PollTarget, record); err != nil {
			return
		}
		p.e.clock.wrote("instance_trigger", t.Seq)
		p.planPoll(record.NextPollAt)
		p.e.deliverer.offer(out.Deliveries)
		p.planMapping(items)
	})
	if err != nil {
		log.ErrorContext(ctx, "a poll could not be recorded, its source will be asked again", keyError, err)
		return false
	}
	p.e.stuck.succeeded(t.Seq)
	if record.More {
		p.mu.Lock()
		p.again = true
		p.mu.Unlock()
	}
	level := slog.LevelDebug
	if requested {
		level = slog.LevelInfo
	}
	attrs := []slog.Attr{slog.Int("inputs", len(found.Inputs)), slog.Int("events", out.Events), slog.Duration(keyDuration, took), slog.Time(keyNext, record.NextPollAt)}
	if out.Events > 0 {
		level = slog.LevelInfo
		if problem != nil { // of inputs that are stored already, it was said before
			level = slog.LevelWarn
			attrs = append(attrs, slog.String(keyError, problem.Message))
		}
	}
	text := "polled"
	if t.SkipBaseline {
		level, text = slog.LevelInfo, "first poll: what is there already is remembered, and no event (baseline skip)"
	}
	if out.Dropped {
		attrs = append(attrs, slog.Bool("dropped", true))
	}
	log.LogAttrs(ctx, level, text, attrs...)
	return true
}

// late has fn called when what begins now runs on past its deadline. stop ends that, and waits
// for fn.
func (p *poller) late(fn func()) (stop func()) {
	called := make(chan struct{})
	timer := time.AfterFunc(p.e.options.PollTimeout+lateGrace, func() {
		defer close(called)
		fn()
	})
	return func() {
		if !timer.Stop() {
			<-called
		}
	}
}

// failed records that a poll, or the registration of a webhook, which began at a time and took another, failed.
func (p *poller) failed(ctx context.Context, log *slog.Logger, t readAhead, s Source, at time.Time, took time.Duration, err error) (recorded bool) {
	f := store.PollFailure{Lag: at.Sub(t.DueAt), Duration: took, Failure: Failure{Code: pollErrorCode(err), Message: shorten(told(err, s.Auth, t.Registration))}}
	what := "poll"
	if t.Webhook {
		what = "registration"
		if !errors.Is(err, errNoProvider) && !errors.Is(err, errNoTrigger) {
			f.Failure.Code = registrationFailed
		}
	}
	var unrecorded error
	p.e.clock.plan(func() {
		now, moved := p.e.clock.read()
		f.At = at.Add(moved - t.moved)
		switch {
		case !IsPermanent(err):
			asked, _ := RetryAfterOf(err)
			f.NextPollAt = nextPollAfterFailure(now, t.Interval, t.ConsecutiveFailures+1, asked, p.e.options.Random())
		case t.Webhook:
			f.NextPollAt = store.Never // requests are received all the same
		}
		if unrecorded = p.e.store.RecordPollFailure(context.WithoutCancel(ctx), t.PollTarget, f); unrecorded == nil {
			p.e.clock.wrote("instance_trigger", t.Seq)
			if !f.NextPollAt.IsZero() {
				p.planPoll(f.NextPollAt)
			}
		}
	})
	text, attrs := what+" failed, will be tried again", []slog.Attr{slog.String(keyErrorCode, f.Failure.Code), slog.String(keyError, f.Failure.Message), slog.Int("consecutive_failures", t.ConsecutiveFailures+1)}
	switch {
	case f.NextPollAt.IsZero():
		text = what + " failed for good, the trigger is paused"
	case t.Webhook && IsPermanent(err):
		text = what + " failed for good, until the config or the auth config is another"
	default:
		attrs = append(attrs, slog.Time(keyNext, f.NextPollAt))
	}
	log.LogAttrs(ctx, slog.LevelWarn, text, attrs...)
	p.e.stuck.failed(t.PollTarget, t.ConsecutiveFailures+1)
	if unrecorded != nil {
		log.ErrorContext(ctx, "a failed "+what+" could not be recorded", keyError, unrecorded)
		return false
	}
	return true
}

// pollErrorCode is a word for why a poll failed.
func pollErrorCode(err error) string {
	_, limited := RetryAfterOf(err)
	switch {
	case errors.Is(err, errNoProvider):
		return "provider_missing"
	case errors.Is(err, errNoTrigger):
		return "trigger_missing"
	case IsPermanent(err):
		return "permanent"
	case limited:
		return "rate_limited"
	}
	if code := outbound.Classify(err); code != "" && code != outbound.FailureNetwork {
		return code
	}
	return "poll_failed"
}
