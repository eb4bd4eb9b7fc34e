package engine

import (
	"container/heap"
	"time"

	"github.com/callbackd/callbackd/store"
)

const (
	// queuePerAttempt is how many notifications wait in memory for each attempt that a
	// destination may have at a time. The rest waits in the table.
	queuePerAttempt = 4
	// maxShared is how many bytes may wait in memory beyond that, for all destinations that answer
	// together: what is found a thousand at a time is delivered without being read again.
	maxShared = 4 << 20
	// queuedCost is about how many bytes a notification takes in memory beside its output.
	queuedCost = 512
	// maxRead is how many notifications are read at a time where the shared memory seems to have room
	// for them, by the size of those that are in it.
	maxRead = 500
	// maxQueuedOutput is how many bytes an output may have to wait in memory. A larger one is
	// read when its turn comes.
	maxQueuedOutput = 16 << 10
)

// lane is one destination with open notifications. The table is the truth; a lane holds
// what of it is in hand, and when to look again.
type lane struct {
	destination int64 // row number
	queue       []store.Delivery
	bytes       int            // in the queue, about
	shared      *int           // the bytes of all queues
	inHand      map[int64]bool // queued, being attempted, or with an outcome not yet stored
	active      int            // attempts being made
	window      int            // attempts that may be made at a time: grows with answers, falls without
	due         time.Time      // when the table may have more to do; zero: it has not
	unanswered  int            // attempts without an answer since the last that got one
	pause       *time.Timer    // to go on after them; nil: there was none
	paused      bool           // no attempt is started
	ended       bool           // the destination takes nothing more
	ready       bool           // in the queue of lanes that can start an attempt

	reading bool           // the table is being read for it
	settled map[int64]bool // outcomes stored while reading: what was read of these is old

	heapIndex int // in the heap of lanes by due; -1: not in it
}

func newLane(destination int64, shared *int) *lane {
	return &lane{destination: destination, shared: shared, inHand: make(map[int64]bool), window: 1, heapIndex: -1}
}

// idle lanes are forgotten.
func (l *lane) idle() bool {
	return len(l.inHand) == 0 && l.active == 0 && l.due.IsZero() && !l.reading && !l.ended
}

// wantsReading tells whether the table is to be read once l.due has come.
func (l *lane) wantsReading() bool {
	return !l.due.IsZero() && !l.reading && 2*len(l.queue) <= l.room() && (!l.ended || len(l.inHand) == 0)
}

// room is how long the queue may be.
func (l *lane) room() int { return queuePerAttempt * l.window }

// toRead is how many notifications to read from the table: as many as there is room for, and more
// where they fit into the shared memory. What is in hand is read along each time, so the more the better.
func (l *lane) toRead() int {
	n := max(1, l.room()-len(l.queue))
	if len(l.queue) == 0 || !l.mayGrow() {
		return n
	}
	each := l.bytes / len(l.queue)
	return max(n, min((maxShared-*l.shared-l.bytes)/2/each, maxRead))
}

// An attempt waits for so much longer than the one before it when none of them gets an answer, and
// for maxPause at most. A destination that is dead for good still has fifty of them a second, so that
// what waits for it comes to an end.
const (
	morePause = 200 * time.Microsecond
	maxPause  = 20 * time.Millisecond
)

// silent tells whether the last attempt got no answer.
func (l *lane) silent() bool { return l.unanswered > 0 }

// canStart tells whether the next attempt can be started.
func (l *lane) canStart() bool {
	return len(l.queue) > 0 && l.active < l.window && !l.ended && !l.paused
}

// heard takes note of whether an attempt was answered, and is the pause to make before the next one,
// 0: none. Without pauses, a destination that refuses at once would be asked for a million
// notifications as fast as it can refuse them, at the cost of everybody else. An answer ends a pause.
func (l *lane) heard(answered bool) (pause time.Duration) {
	if answered {
		l.unanswered, l.paused = 0, false
		return 0
	}
	l.unanswered++
	l.paused = true
	return min(time.Duration(l.unanswered)*morePause, maxPause)
}

// behind tells whether the table has notifications that come before any new one.
func (l *lane) behind(now time.Time) bool { return !l.due.IsZero() && !l.due.After(now) }

// lookAt has the table read at t, or earlier if that was planned.
func (l *lane) lookAt(t time.Time) {
	if !t.IsZero() && (l.due.IsZero() || t.Before(l.due)) {
		l.due = t
	}
}

// end lets go of what waits and lets nothing more in.
func (l *lane) end() {
	l.ended = true
	l.trim(0)
}

// trim lets go of what waits behind the first n.
func (l *lane) trim(n int) (trimmed bool) {
	for len(l.queue) > n {
		last := len(l.queue) - 1
		l.count(l.queue[last], -1)
		delete(l.inHand, l.queue[last].Seq)
		l.queue[last] = store.Delivery{}
		l.queue = l.queue[:last]
		trimmed = true
	}
	return trimmed
}

// push takes a notification in hand; false if it is already, or there is no room.
func (l *lane) push(d store.Delivery) bool {
	if l.inHand[d.Seq] || len(l.queue) >= l.room() && !l.mayGrow() {
		return false
	}
	if len(d.Output) > maxQueuedOutput {
		d.Output = nil
	}
	l.count(d, 1)
	l.inHand[d.Seq] = true
	l.queue = append(l.queue, d)
	return true
}

// mayGrow tells whether the queue may be longer than its room. Each has at most as much as it
// leaves to the others.
func (l *lane) mayGrow() bool { return !l.silent() && l.bytes < maxShared-*l.shared }

// pop takes the first out of the queue, which stays in hand.
func (l *lane) pop() store.Delivery {
	d := l.queue[0]
	l.count(d, -1)
	l.queue[0] = store.Delivery{}
	l.queue = l.queue[1:]
	return d
}

func (l *lane) count(d store.Delivery, sign int) {
	n := sign * (queuedCost + len(d.Output))
	l.bytes += n
	*l.shared += n
}

// dueHeap has the lane whose table is to be read first on top.
type dueHeap []*lane

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].heapIndex, h[j].heapIndex = i, j
}
func (h *dueHeap) Push(x any) {
	l := x.(*lane)
	l.heapIndex = len(*h)
	*h = append(*h, l)
}
func (h *dueHeap) Pop() any {
	last := len(*h) - 1
	l := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	l.heapIndex = -1
	return l
}

// place puts a lane where its due time and its wish to be read say.
func (h *dueHeap) place(l *lane) {
	switch wants := l.wantsReading(); {
	case wants && l.heapIndex < 0:
		heap.Push(h, l)
	case wants:
		heap.Fix(h, l.heapIndex)
	case l.heapIndex >= 0:
		heap.Remove(h, l.heapIndex)
	}
}
