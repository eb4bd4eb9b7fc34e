package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"github.com/callbackd/callbackd/engine"
)

var simTypes = []string{"a.made", "a.changed", "b.made"}

// simulation is one run: a world, and a script of what people do in it.
type simulation struct {
	*world
	ctx           context.Context
	dir, template string
	rnd           *rand.Rand // the script's own
	log           *slog.Logger
	p             *process
	runs          int // processes so far

	size       int // from 1
	deployment string
	concurrent bool // several publish at the same instant
	tiny       bool // few steps, and short retries
}

// fatal ends a run that cannot go on.
type fatal struct{ error }

func (s *simulation) must(err error) {
	if err != nil {
		panic(fatal{err})
	}
}

// run is the whole of a simulation.
func (s *simulation) run() {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case fatal:
			s.mu.Lock()
			s.wrong("the run cannot go on: %v", r.error)
			s.mu.Unlock()
			s.kill()
		default:
			panic(r)
		}
	}()
	path, err := copyImage(s.template, filepath.Join(s.dir, "0"))
	s.must(err)
	s.open(path)
	s.setUp()
	s.must(s.p.start())
	steps, pauses := 8+s.rnd.IntN(12*s.size), []time.Duration{100 * time.Millisecond, 5 * time.Second, 20 * time.Second}
	if s.tiny {
		steps, pauses = 2+s.rnd.IntN(5), pauses[:2]
	}
	for range steps {
		if !s.wait(between(s.rnd, time.Millisecond, pick(s.rnd, pauses))) {
			continue
		}
		s.step()
	}
	s.settle()
	s.checkEnd()
}

// open has the next process open a file. It may crash in doing so.
func (s *simulation) open(path string) {
	var err error
	s.p, err = openProcess(s.world, s.runs, path, engine.Options{Logger: s.log})
	s.runs++
	s.must(err)
}

// wait lets time pass. It returns false if the process crashed meanwhile, and another one runs.
func (s *simulation) wait(d time.Duration) bool {
	select {
	case <-s.p.crashed:
		s.revive()
		return false
	case <-time.After(d):
	}
	synctest.Wait()
	if s.isDead() {
		s.revive()
		return false
	}
	return true
}

func (s *simulation) isDead() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.p.dead
}

// revive opens what a crashed process left, after a while, until one does not crash in doing so.
func (s *simulation) revive() {
	for {
		synctest.Wait()
		path := s.p.bury()
		time.Sleep(between(s.rnd, time.Millisecond, pick(s.rnd, []time.Duration{time.Second, time.Minute, 5 * time.Minute})))
		s.tell("process %d opens the file", s.runs)
		s.open(path)
		if s.rnd.IntN(10) == 0 {
			s.mu.Lock()
			s.p.crashAt, s.p.before = s.now(), s.rnd.IntN(2) == 0
			s.mu.Unlock()
		}
		if !s.isDead() {
			s.must(s.p.start())
		}
		if !s.isDead() {
			break
		}
	}
	s.refresh()
}

// kill ends the process that there is.
func (s *simulation) kill() {
	if s.p != nil && s.p.e != nil {
		s.mu.Lock()
		if !s.p.dead {
			s.p.die()
		}
		s.mu.Unlock()
		synctest.Wait()
		s.p.bury()
	}
}

// tell is note, for those who do not hold s.mu.
func (s *simulation) tell(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note(format, args...)
}

// forget is called when a process has ended: nothing is in flight. w.mu is held.
func (w *world) forget() {
	for _, s := range w.sources {
		if s.polling {
			s.polling, s.failures = false, -1
		}
	}
	for _, d := range w.destinations {
		d.inFlight = 0
	}
	for _, v := range w.deliveries {
		for _, r := range v.receipts {
			r.open = false
		}
	}
}

// step does one thing.
func (s *simulation) step() {
	switch x := s.rnd.IntN(100); {
	case x < 25:
		s.publish(1)
	case x < 32:
		s.publish(2 + s.rnd.IntN(4))
	case x < 36 && s.concurrent:
		var group sync.WaitGroup
		for range 2 + s.rnd.IntN(4) {
			call := s.planPublish(1 + s.rnd.IntN(2))
			group.Go(call)
		}
		group.Wait()
	case x < 62:
		s.mu.Lock()
		source := pick(s.rnd, s.sources)
		for range 1 + s.rnd.IntN(4) {
			s.add(source)
		}
		s.note("%s has %d items", source.name, len(source.items))
		s.mu.Unlock()
	case x < 77 && s.setClocks:
		s.setClock(pick(s.rnd, []time.Duration{time.Hour, -time.Hour, 24 * time.Hour, -time.Minute, 10 * time.Second}))
	case x < 74:
		s.planCrash(between(s.rnd, time.Millisecond, 10*time.Second))
	case x < 77:
		s.mu.Lock()
		s.p.die()
		s.note("process %d crashes", s.p.number)
		s.mu.Unlock()
	case x < 82:
		s.restart()
	case x < 84:
		s.detachAndAttach()
	case x < 85:
		s.changeConfig(pick(s.rnd, s.sources))
	case x < 88:
		s.steer(pick(s.rnd, s.sources))
	case x < 90:
		s.reviveDestination()
	case x < 91:
		s.archiveDestination()
	case x < 92:
		s.archiveCallback()
	case x < 94:
		s.relink()
	default:
		s.observe()
	}
}

// setClock sets the clock on the wall, and gives the engine time to notice.
func (s *simulation) setClock(by time.Duration) {
	s.mu.Lock()
	s.clockSet++
	s.note("the clock is set by %s", by)
	s.mu.Unlock()
	s.clock.Add(int64(by))
	s.wait(5 * time.Second)
}

// planCrash has the process crash at a commit to come: the first one after a while, or one
// that much depends on.
func (s *simulation) planCrash(in time.Duration) {
	s.mu.Lock()
	what := pick(s.rnd, []string{"time", "poll", "attempt", "publish"})
	s.p.crashOn, s.p.before = what, s.rnd.IntN(2) == 0
	switch what {
	case "time":
		s.p.crashAt = s.now() + in
	case "publish":
		s.p.crashAt = s.now()
	case "poll":
		s.add(pick(s.rnd, s.sources)) // so that there is something to lose
	}
	s.mu.Unlock()
	if what == "publish" {
		s.publish(1 + s.rnd.IntN(3))
	}
}

// restart stops the process and starts another one on its file.
func (s *simulation) restart() {
	grace := pick(s.rnd, []time.Duration{0, 500 * time.Millisecond, 30 * time.Second})
	s.tell("process %d stops, within %s", s.p.number, grace)
	begun := s.now()
	s.must(s.p.stop(grace))
	if took := s.now() - begun; took > grace+time.Second {
		s.mu.Lock()
		s.wrong("it took %s to stop, not %s", took, grace)
		s.mu.Unlock()
	}
	s.must(s.p.close())
	if s.crashedAtStop() {
		s.revive()
		return
	}
	time.Sleep(between(s.rnd, time.Millisecond, pick(s.rnd, []time.Duration{time.Second, 3 * time.Minute})))
	s.tell("process %d opens the file", s.runs)
	s.open(s.p.path)
	s.must(s.p.start())
	s.refresh()
}

// crashedAtStop tells whether the process crashed in stopping.
func (s *simulation) crashedAtStop() bool {
	select {
	case <-s.p.crashed:
		return true
	default:
		return false
	}
}

// disturb notes that the triggers of an instance may have changed. s.mu is held.
func (s *simulation) disturb(of func(*simSource) bool) {
	for _, source := range s.sources {
		if of(source) {
			source.disturbed, source.failures, source.paused = s.now(), -1, false
			source.pokes++
		}
	}
}

func (s *simulation) detachAndAttach() {
	source := pick(s.rnd, s.sources)
	c := source.callback
	if c.archived.last() != no {
		return
	}
	s.mu.Lock()
	s.note("%s is detached or attached", source.name)
	s.disturb(func(other *simSource) bool { return other.instance == source.instance })
	s.mu.Unlock()
	i, err := s.p.e.Instance(s.ctx, c.id, source.instance)
	s.must(err)
	if i.Status == "attached" {
		_, err = s.p.e.DetachInstance(s.ctx, c.id, i.ID)
	} else {
		_, err = s.p.e.AttachInstance(s.ctx, c.id, engine.NewInstance{ConfigID: source.configID})
	}
	s.must(err)
}

// changeConfig gives a config a new value, so that what polls with it does so at once.
func (s *simulation) changeConfig(source *simSource) {
	name := strings.TrimSuffix(source.name, "."+source.trigger)
	s.mu.Lock()
	s.note("the config of %s is changed", name)
	s.disturb(func(other *simSource) bool { return other.configID == source.configID })
	s.mu.Unlock()
	_, err := s.p.e.UpdateConfig(s.ctx, source.configID, engine.UpdateConfig{Value: json.RawMessage(fmt.Sprintf(`{"name":%q,"turn":%d}`, name, s.rnd.IntN(1000)))})
	s.must(err)
}

// steer has a trigger polled now, or pauses or resumes it.
func (s *simulation) steer(source *simSource) {
	if source.callback.archived.last() != no {
		return
	}
	if s.rnd.IntN(2) == 0 {
		s.tell("%s is to be polled now", source.name)
		impatient, cancel := context.WithTimeout(s.ctx, between(s.rnd, time.Millisecond, time.Second))
		defer cancel()
		_, err := s.p.e.PollNow(impatient, source.callback.id, source.instance, source.trigger)
		if code := engine.CodeOf(err); err != nil && code != engine.CodeConflict && code != engine.CodeUnavailable && impatient.Err() == nil {
			s.must(err)
		}
		return
	}
	t, err := s.p.e.InstanceTrigger(s.ctx, source.callback.id, source.instance, source.trigger)
	s.must(err)
	status := "paused"
	if t.NextPollAt.IsZero() {
		status = "active"
	}
	s.mu.Lock()
	s.note("%s is to be %s", source.name, status)
	s.disturb(func(other *simSource) bool { return other == source })
	s.mu.Unlock()
	_, err = s.p.e.UpdateInstanceTrigger(s.ctx, source.callback.id, source.instance, source.trigger, engine.UpdateInstanceTrigger{Status: &status})
	if engine.CodeOf(err) != engine.CodeConflict { // it is detached
		s.must(err)
	}
}

// reviveDestination revives those that answered 410.
func (s *simulation) reviveDestination() {
	for _, d := range s.destinations {
		if d.isFunction() || d.active.last() == yes || d.status(s) != "disabled" {
			continue
		}
		s.tell("%s is revived", d.name)
		_, err := s.p.e.UpdateDestination(s.ctx, d.id, engine.UpdateDestination{Active: true})
		s.must(err)
		s.mu.Lock()
		if s.p.dead {
			d.active.set(s.now(), unknown)
		} else {
			d.active.set(s.now(), yes)
		}
		s.mu.Unlock()
	}
}

func (s *simulation) archiveDestination() {
	d := pick(s.rnd, s.destinations)
	if d.isFunction() {
		return
	}
	s.tell("%s is archived", d.name)
	_, err := s.p.e.ArchiveDestination(s.ctx, d.id)
	s.must(err)
	s.mu.Lock()
	defer s.mu.Unlock()
	d.active.set(s.now(), unknown)
	if !s.p.dead {
		d.active.set(s.now(), no)
	}
}

func (s *simulation) archiveCallback() {
	c := pick(s.rnd, s.callbacks)
	if c.archived.last() != no {
		return
	}
	s.mu.Lock()
	s.note("%s is archived", c.name)
	s.disturb(func(source *simSource) bool { return source.callback == c })
	s.mu.Unlock()
	_, err := s.p.e.ArchiveCallback(s.ctx, c.id)
	s.must(err)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.archived.set(s.now(), yes); s.p.dead {
		c.archived.set(s.now(), unknown)
	}
}

// relink gives a callback other destinations.
func (s *simulation) relink() {
	c := pick(s.rnd, s.callbacks)
	if c.archived.last() != no {
		return
	}
	var ids []string
	for _, d := range s.destinations {
		if d.linked != nil && d.active.last() == yes && s.rnd.IntN(3) > 0 {
			ids = append(ids, d.id)
		}
	}
	s.tell("%s has other destinations", c.name)
	_, err := s.p.e.UpdateCallback(s.ctx, c.id, engine.UpdateCallback{DestinationIDs: &ids})
	s.must(err)
	is := yes
	if s.isDead() {
		is = unknown
	}
	s.link(c, ids, is)
}

// status is what the engine says of a destination.
func (d *simDestination) status(s *simulation) string {
	now, err := s.p.e.Destination(s.ctx, d.id)
	s.must(err)
	return now.Status
}

// refresh asks the engine for what the world cannot know after a crash, or a 410.
func (s *simulation) refresh() {
	if synctest.Wait(); s.isDead() {
		return // what it says is not in the file
	}
	for _, d := range s.destinations {
		if d.active.last() != unknown {
			continue
		}
		is := no
		if d.status(s) == "active" {
			is = yes
		}
		s.mu.Lock()
		d.active.set(s.now(), is)
		s.mu.Unlock()
	}
	for _, c := range s.callbacks {
		known, err := s.p.e.Callback(s.ctx, c.id)
		s.must(err)
		if c.archived.last() == unknown {
			is := no
			if known.Status == "archived" {
				is = yes
			}
			s.mu.Lock()
			c.archived.set(s.now(), is)
			s.mu.Unlock()
		}
		var ids []string
		for _, d := range known.Destinations {
			ids = append(ids, d.ID)
		}
		s.link(c, ids, yes)
	}
}
