package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// simPollTimeout is the deadline of polls: no whole number of seconds, at which the engine
// looks for what is due.
const simPollTimeout = 9700 * time.Millisecond

// Triggers of the simulated provider: one that has a cursor, and tells of an item once and
// for all, and one that lists its latest items at every poll.
const (
	byCursor = "cursor"
	byList   = "list"
)

var simIntervals = map[string]time.Duration{byCursor: 6 * time.Second, byList: 30 * time.Second}

// simSource is what an instance trigger watches.
type simSource struct {
	name, trigger string
	callback      *simCallback
	instance      string // id
	configID      string
	skip          bool // what it has at first is not wanted
	troubled      float64
	items         []*simItem

	polls      []*simPoll
	recorded   int           // the number of the newest poll that is known to be recorded
	polling    bool          // a poll is in flight, of a living process
	disturbed  time.Duration // when its instance, config or callback was last changed
	pokes      int           // how often it was
	failures   int           // failed polls in a row; -1: not known
	limitedFor time.Duration // what the last failed poll asked for
	paused     bool
}

// simPoll is a poll that was answered. Its number is its state.
type simPoll struct {
	p        *process
	from     int // the state that it was asked with
	cursor   int // as that state has it
	at, done time.Duration
	ok       bool
	unsure   bool // the process was being stopped, or the trigger changed
	dropped  bool // the trigger changed meanwhile, for certain, so that it does not count
	items    []*simItem
	unmapped map[*simItem]bool
}

// simItem is something that happened at a source.
type simItem struct {
	label, sourceID, typ string
	failMappings         int // so many mappings of it fail; many: all
	permanently          bool
	tries                int
	mapped               []time.Duration // when it was mapped, by processes that lived
}

const always = 1 << 30

// itemInput is an item as a poll gives it.
type itemInput struct {
	Source string `json:"source"`
	Item   int    `json:"item"`
}

// add has something happen at a source. w.mu is held.
func (w *world) add(s *simSource) {
	n := len(s.items)
	i := &simItem{label: fmt.Sprintf("%s/%d", s.name, n), sourceID: fmt.Sprintf("%s-%d", s.name, n)}
	r := w.dice("item", i.label)
	i.typ = pick(r, simTypes)
	if r.IntN(4) == 0 { // a long one is remembered by its digest
		i.sourceID += "-with-an-id-of-more-than-32-bytes"
	}
	switch x := r.Float64(); {
	case x < 0.005:
		i.failMappings = always
	case x < 0.02:
		i.failMappings, i.permanently = always, true
	case x < 0.10:
		i.failMappings = 1 + r.IntN(2)
	}
	s.items = append(s.items, i)
}

func (i *simItem) output() json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"label":%q}`, i.label))
}

func (p *process) provider() engine.Provider {
	trigger := func(key string, baseline engine.Baseline) engine.Trigger {
		return engine.Trigger{Key: key, Interval: simIntervals[key], Baseline: baseline,
			Poll: func(ctx context.Context, req engine.PollRequest) (engine.PollResult, error) {
				return p.poll(ctx, key, req)
			},
			Map: func(_ context.Context, req engine.MapRequest) (engine.Mapped, error) { return p.mapItem(req) }}
	}
	return engine.Provider{Key: "sim", Triggers: []engine.Trigger{trigger(byCursor, engine.BaselineEmit), trigger(byList, engine.BaselineSkip)}}
}

// source finds a source by its name, of which a config has the first part. w.mu is held.
func (w *world) source(name string) *simSource {
	i := slices.IndexFunc(w.sources, func(s *simSource) bool { return s.name == name })
	if i < 0 {
		return nil
	}
	return w.sources[i]
}

// poll answers one poll.
func (p *process) poll(ctx context.Context, key string, req engine.PollRequest) (engine.PollResult, error) {
	w := p.w
	var config struct {
		Name string `json:"name"`
	}
	var from struct {
		Poll   int `json:"poll"`
		Cursor int `json:"cursor"`
	}
	err := json.Unmarshal(req.Config, &config)
	if req.State != nil {
		err = errors.Join(err, json.Unmarshal(req.State, &from))
	}
	w.mu.Lock()
	s := w.source(config.Name + "." + key)
	if !p.lives() || s == nil || err != nil {
		if p.lives() {
			w.wrong("a poll of nobody knows what: %s, %v", config.Name, err)
		}
		w.mu.Unlock()
		return engine.PollResult{}, errors.New("nobody is there")
	}
	number := w.beginPoll(p, s, from.Poll, from.Cursor)
	this := s.polls[number-1]
	r := w.dice("poll", s.name, number)
	trouble := "ok"
	latency := between(r, time.Millisecond, 300*time.Millisecond)
	if !w.calm && r.Float64() < s.troubled {
		trouble = pick(r, []string{"error", "error", "limited", "permanent", "panic", "exit", "hang", "slow", "late"})
	}
	asked := between(r, simIntervals[key], 3*time.Minute)
	w.mu.Unlock()

	switch trouble {
	case "hang":
		<-ctx.Done()
	case "slow":
		sleepOr(ctx, between(r, time.Second, simPollTimeout))
	case "late": // past its deadline
		time.Sleep(simPollTimeout + latency)
	default:
		sleepOr(ctx, latency)
	}
	var result engine.PollResult
	failure := errors.New("because")
	switch {
	case trouble == "limited":
		failure = engine.RetryAfter(asked, failure)
	case trouble == "permanent":
		failure = engine.Permanent(failure)
	case ctx.Err() != nil && trouble != "late":
		failure = ctx.Err()
	case trouble == "ok" || trouble == "slow" || trouble == "late":
		failure = nil
	case trouble == "panic":
		defer panic("because")
	case trouble == "exit":
		defer runtime.Goexit()
	}

	w.mu.Lock()
	defer w.mu.Unlock()
	if !p.lives() {
		return result, failure
	}
	s.polling = false
	this.done, this.ok = w.now(), failure == nil
	this.unsure = errors.Is(ctx.Err(), context.Canceled) || s.disturbed >= this.at
	this.dropped = s.disturbed > this.at && s.disturbed < this.done && p.survived(s.disturbed)
	var cursor int
	if failure == nil {
		this.items, cursor = s.give(r, from.Cursor)
		for _, i := range this.items {
			n := slices.Index(s.items, i)
			input, _ := json.Marshal(itemInput{s.name, n}) // it always can be
			result.Inputs = append(result.Inputs, input)
		}
	} else {
		cursor = len(s.items) // a failed poll's state is to be ignored, too
	}
	result.State = json.RawMessage(fmt.Sprintf(`{"poll":%d,"cursor":%d}`, number, cursor))
	switch {
	case this.unsure:
		s.failures = -1
	case failure == nil:
		s.failures, s.paused = 0, false
	default:
		if s.failures >= 0 {
			s.failures++
		}
		s.limitedFor, _ = engine.RetryAfterOf(failure)
		s.paused = engine.IsPermanent(failure)
	}
	labels := make([]string, len(this.items))
	for n, i := range this.items {
		labels[n] = i.label
	}
	if failure == nil && cursor > from.Cursor {
		p.tempt("poll")
	}
	w.note("%s is polled, number %d with state %d, for %s: %s %q", s.name, number, from.Poll, this.done-this.at, trouble, labels)
	return result, failure
}

// beginPoll checks the state that a poll is made with, and returns its number. w.mu is held.
func (w *world) beginPoll(p *process, s *simSource, state, cursor int) int {
	if s.polling {
		w.wrong("%s is polled twice at a time", s.name)
	}
	s.polling = true
	if state > len(s.polls) || state > 0 && !s.polls[state-1].ok {
		w.wrong("%s is polled with the state of poll %d, which failed", s.name, state)
	}
	if state > 0 && state <= len(s.polls) && s.polls[state-1].dropped {
		w.wrong("%s is polled with the state of poll %d, during which it was changed", s.name, state)
	}
	if state < s.recorded {
		w.wrong("%s is polled with the state of poll %d, not %d", s.name, state, s.recorded)
	}
	s.recorded = max(s.recorded, state)
	for n, last := range slices.Backward(s.polls) {
		if !last.ok || last.unsure || !last.p.survived(last.done) {
			continue
		}
		if state < n+1 {
			w.wrong("%s is polled with the state of poll %d, although poll %d was recorded", s.name, state, n+1)
		}
		break
	}
	if n := len(s.polls); n > 0 && !s.polls[n-1].p.survived(s.polls[n-1].done) {
		s.failures = -1 // what came of it may be lost, and so may the count be
	}
	s.polls = append(s.polls, &simPoll{p: p, from: state, cursor: cursor, at: w.now(), unmapped: make(map[*simItem]bool)})
	return len(s.polls)
}

// give chooses what a poll finds.
func (s *simSource) give(r interface{ IntN(int) int }, cursor int) (items []*simItem, next int) {
	if s.trigger == byList {
		items = slices.Clone(s.items[max(0, len(s.items)-12):])
	} else {
		end := min(len(s.items), cursor+1+r.IntN(8))
		items, cursor = slices.Clone(s.items[max(0, cursor-r.IntN(3)):end]), end // some of them again
	}
	for n := range items {
		if r.IntN(3) == 0 { // in another order
			m := r.IntN(len(items))
			items[n], items[m] = items[m], items[n]
		}
	}
	if len(items) > 0 && r.IntN(4) == 0 { // twice
		items = append(items, items[r.IntN(len(items))])
	}
	return items, cursor
}

// mapItem maps one input.
func (p *process) mapItem(req engine.MapRequest) (engine.Mapped, error) {
	w := p.w
	w.mu.Lock()
	defer w.mu.Unlock()
	var input itemInput
	err := json.Unmarshal(req.Input, &input)
	s := w.source(input.Source)
	if !p.lives() || err != nil || s == nil || input.Item >= len(s.items) {
		return engine.Mapped{}, errors.New("nobody is there")
	}
	i := s.items[input.Item]
	if i.tries++; i.tries <= i.failMappings {
		if n := len(s.polls); n > 0 {
			s.polls[n-1].unmapped[i] = true
		}
		w.note("%s cannot be mapped, try %d", i.label, i.tries)
		if i.permanently {
			return engine.Mapped{}, engine.Permanent(errors.New("because"))
		}
		if i.tries%2 == 0 {
			panic("because")
		}
		return engine.Mapped{}, errors.New("because")
	}
	i.mapped = append(i.mapped, w.now())
	return engine.Mapped{Type: i.typ, SourceID: i.sourceID, Output: i.output()}, nil
}
