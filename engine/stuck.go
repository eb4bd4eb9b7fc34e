package engine

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/callbackd/callbackd/store"
)

const (
	// stuckAfter is after how many of its intervals without a successful poll a trigger is stuck.
	stuckAfter = 3
	// stuckEvery is how often that is looked at.
	stuckEvery = 5 * time.Second
	// maxTroubled bounds the triggers that are watched for it, and those that are late and read
	// at a time.
	maxTroubled = 10_000
	maxLate     = 1000
)

// stuck knows the triggers that have had no successful poll for a while, whatever the reason:
// because polls fail, or hang, or because their turn does not come.
type stuck struct {
	e *Engine

	mu       sync.Mutex
	troubled map[int64]*trouble // by row number
	count    int                // of those that are stuck
	free     time.Time          // since when triggers could be polled, by the engine's clock
	polled   map[int64]bool     // with success since a look began: what it has read of them is old; nil: nobody looks
}

// trouble is a trigger without a successful poll since a time.
type trouble struct {
	since  time.Time // by the monotonic clock
	stuck  bool
	target store.PollTarget
}

func newStuck(e *Engine) *stuck { return &stuck{e: e, troubled: make(map[int64]*trouble)} }

// failed takes note of a poll that failed, the n-th in a row.
func (s *stuck) failed(t store.PollTarget, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// Failures follow a success after 1, 2, 4, 8 intervals.
	s.note(t, time.Now().Add(-t.Interval<<min(n-1, 2)))
}

// late takes note of a trigger that was found to be late.
func (s *stuck) late(t store.PollTarget, since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.polled[t.Seq] {
		s.note(t, since)
	}
}

// note has a trigger watched that had no successful poll since a time. s.mu is held.
func (s *stuck) note(t store.PollTarget, since time.Time) {
	if s.troubled[t.Seq] == nil && len(s.troubled) < maxTroubled {
		t.State, t.Config, t.Auth = nil, nil, nil
		s.troubled[t.Seq] = &trouble{since: since, target: t}
	}
	s.judge(t.Seq)
}

// judge says it, once, when a trigger has become stuck. s.mu is held.
func (s *stuck) judge(seq int64) {
	t := s.troubled[seq]
	if t == nil || t.stuck || time.Since(t.since) < stuckAfter*t.target.Interval-time.Second { // since then, which was a little after it was due
		return
	}
	t.stuck = true
	s.count++
	s.e.log.Warn("a trigger is stuck: no poll has succeeded for three of its intervals", keyProvider, t.target.ProviderIdentifier, keyTrigger, t.target.ID,
		keyInstance, t.target.InstanceID, keyCallback, t.target.CallbackID, "since", time.Since(t.since).Round(time.Second).String())
}

// succeeded takes note of a successful poll.
func (s *stuck) succeeded(seq int64) { s.end(seq, "a trigger that was stuck is polled again") }

// end stops to watch a trigger; if it was stuck, the text says why.
func (s *stuck) end(seq int64, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.polled != nil {
		s.polled[seq] = true
	}
	t := s.troubled[seq]
	if t == nil {
		return
	}
	delete(s.troubled, seq)
	if t.stuck {
		s.count--
		s.e.log.Info(text, keyTrigger, t.target.ID, keyInstance, t.target.InstanceID, keyCallback, t.target.CallbackID)
	}
}

// look finds triggers that are late, and those that need not be watched any longer. While
// nothing can be polled because of troubles of our own, no trigger is to blame.
func (s *stuck) look(ctx context.Context) {
	now := s.e.now()
	s.mu.Lock()
	if s.e.poller.held() || s.free.IsZero() {
		s.free = now
		s.mu.Unlock()
		return
	}
	free := s.free
	s.polled = make(map[int64]bool)
	var known []int64
	for seq := range s.troubled {
		known = append(known, seq)
	}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.polled = nil
		s.mu.Unlock()
	}()
	late, err := s.e.store.DuePolls(ctx, now.Add(-2*time.Second), maxLate)
	if err != nil {
		return // that is said elsewhere
	}
	targets, err := s.e.store.PollTargets(ctx, late, 0)
	if err != nil {
		return
	}
	isLate := make(map[int64]bool, len(targets))
	for _, t := range targets {
		isLate[t.Seq] = true
		if behind := now.Sub(latest(t.DueAt, free)); behind >= (stuckAfter-1)*t.Interval {
			s.late(t, time.Now().Add(-behind-t.Interval)) // it was polled an interval before it was due
		}
	}
	for len(known) > 0 {
		part := known[:min(len(known), maxLate)]
		known = known[len(part):]
		targets, err := s.e.store.PollTargets(ctx, part, 0)
		if err != nil {
			return
		}
		for _, t := range targets {
			switch {
			case t.DueAt.IsZero():
				s.end(t.Seq, "a trigger that was stuck is polled no longer")
			case t.ConsecutiveFailures == 0 && !isLate[t.Seq] && len(late) < maxLate:
				s.succeeded(t.Seq) // or it was given another config, and another chance
			default:
				s.mu.Lock()
				s.judge(t.Seq)
				s.mu.Unlock()
			}
		}
	}
}

// shift moves along with a clock that was set.
func (s *stuck) shift(by time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.free.IsZero() {
		s.free = s.free.Add(by)
	}
}

// follow looks from time to time.
func (s *stuck) follow(ctx context.Context) {
	ticker := time.NewTicker(stuckEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			s.mu.Lock()
			s.free = time.Time{}
			s.mu.Unlock()
			return
		case <-ticker.C:
			s.look(ctx)
		}
	}
}

func (s *stuck) total() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// show has a trigger that is stuck say so, although none of its polls failed.
func (s *stuck) show(t *InstanceTrigger) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.free.IsZero() || s.e.poller.held() || t.Status != "active" || t.NextPollAt.IsZero() { // else nothing is polled
		return
	}
	if behind := s.e.now().Sub(latest(t.NextPollAt, s.free)); behind >= (stuckAfter-1)*t.PollInterval {
		t.Status = "failing"
		t.LastError = &Failure{Code: "poll_overdue", Message: fmt.Sprintf("it should have been polled %s ago: a poll hangs, or too many others are being made", behind.Round(time.Second))}
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
