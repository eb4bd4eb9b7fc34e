package engine_test

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// world is everything outside of the engine, in virtual time: the sources that it polls, the
// destinations that it tells, those who publish, and what all of them saw. What happens is a
// function of the seed and of names, never of the order in which goroutines come.
type world struct {
	seed  uint64
	begun time.Time

	mu           sync.Mutex
	history      []moment
	violations   []string
	callbacks    []*simCallback
	destinations []*simDestination
	sources      []*simSource
	deliveries   map[string]*simDelivery // by notification id
	calm         bool                    // sources are well from now on

	setClocks bool         // in this run the clock is set, and nobody crashes: a crash may make a due time inexact
	clock     atomic.Int64 // by how much it was set, in nanoseconds
	clockSet  int          // how often
}

// wallNow is what the clock on the wall says.
func (w *world) wallNow() time.Time { return time.Now().Add(time.Duration(w.clock.Load())) }

// planned is when something is to happen that is due at a time by the clock as it is set now.
func (w *world) planned(at time.Time) time.Duration {
	return at.Sub(w.begun) - time.Duration(w.clock.Load())
}

// exact is how exact due times are: they are whole milliseconds, also after they were moved.
func (w *world) exact() time.Duration { return time.Duration(1+w.clockSet) * time.Millisecond }

// moment is a line of a run's history.
type moment struct {
	at   time.Duration
	text string
}

func newWorld(seed uint64) *world {
	return &world{seed: seed, begun: time.Now(), deliveries: make(map[string]*simDelivery)}
}

// now is the time since the run began.
func (w *world) now() time.Duration { return time.Since(w.begun) }

// dice are the same for the same seed and words.
func (w *world) dice(words ...any) *rand.Rand {
	h := fnv.New64a()
	fmt.Fprint(h, words...)
	return rand.New(rand.NewPCG(w.seed, h.Sum64()))
}

// note adds to the history. w.mu is held.
func (w *world) note(format string, args ...any) {
	w.history = append(w.history, moment{w.now(), fmt.Sprintf(format, args...)})
}

// wrong says that an invariant does not hold. w.mu is held.
func (w *world) wrong(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.violations = append(w.violations, text)
	w.note("VIOLATION: %s", text)
}

// story is the history in order. What happened in one instant has no order but that of the
// alphabet: goroutines race for it.
func (w *world) story() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	lines := slices.Clone(w.history)
	slices.SortStableFunc(lines, func(a, b moment) int {
		if a.at != b.at {
			return int(a.at - b.at)
		}
		return strings.Compare(a.text, b.text)
	})
	var b strings.Builder
	for _, m := range lines {
		fmt.Fprintf(&b, "%16s  %s\n", m.at, m.text)
	}
	return b.String()
}

// between draws a duration of whole milliseconds, as the file has its times: it then makes no
// difference whether the engine goes by the file or by what it has in memory.
func between(r *rand.Rand, from, to time.Duration) time.Duration {
	return from + time.Duration(r.Int64N(int64((to-from)/time.Millisecond)))*time.Millisecond
}

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// answerOf is what is known of a fact at a time.
type answerOf int

const (
	no answerOf = iota
	yes
	unknown // a crash, or an answer of 410, has made it either
)

// timeline is a fact that changes. Times ascend.
type timeline []struct {
	from time.Duration
	is   answerOf
}

func (l *timeline) set(from time.Duration, is answerOf) {
	*l = append(*l, struct {
		from time.Duration
		is   answerOf
	}{from, is})
}

func (l timeline) at(t time.Duration) answerOf {
	is := no
	for _, change := range l {
		if change.from > t {
			break
		}
		if change.from == t && len(l) > 1 && change.is != is && change.from > 0 {
			return unknown // in the same instant, either may come first
		}
		is = change.is
	}
	return is
}

func (l timeline) last() answerOf { return l[len(l)-1].is }

// mayBeFalseSince tells whether a fact may have been false at a time or later.
func (l timeline) mayBeFalseSince(t time.Duration) bool {
	if l.at(t) != yes {
		return true
	}
	return slices.ContainsFunc(l, func(c struct {
		from time.Duration
		is   answerOf
	}) bool {
		return c.from >= t && c.is != yes
	})
}

// simCallback is a callback and what was published to it.
type simCallback struct {
	name, id   string
	archived   timeline
	eventTypes map[string][]string // by trigger key
	published  map[string]*simPublished
	labels     int // published so far
}

// simPublished is an event of ours.
type simPublished struct {
	label, typ string
	sourceID   string // "": none was given
	id         string // "": not known
	tried      []time.Duration
	accepted   bool
	batch      string // of the first try
}
