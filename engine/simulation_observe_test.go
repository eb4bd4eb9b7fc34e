package engine_test

import (
	"fmt"
	"slices"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// patience is how long everything may take to come to its end once the sources are well; the
// slowest is an input that cannot be mapped.
const patience = 2 * time.Hour

// settle lets everything come to its end.
func (s *simulation) settle() {
	s.mu.Lock()
	s.calm = true
	s.note("the sources are well from now on")
	s.mu.Unlock()
	begun, pause := s.now(), 20*time.Second
	if s.tiny {
		pause = 6 * time.Second
	}
	for {
		if !s.wait(between(s.rnd, time.Second, pause)) {
			continue
		}
		why := s.unsettled(begun)
		if why == "" {
			break
		}
		if s.now() > begun+patience {
			s.mu.Lock()
			s.wrong("after %s, %s", patience, why)
			s.mu.Unlock()
			break
		}
	}
	s.observe()
	s.tell("everything has ended")
	s.must(s.p.stop(time.Minute))
	if s.rnd.IntN(4) > 0 && !s.crashedAtStop() {
		return // what it says now is what it will say when it is opened again
	}
	s.must(s.p.close())
	if s.crashedAtStop() {
		s.revive()
	} else {
		s.open(s.p.path)
	}
}

// unsettled says what is not at its end yet, and helps where a person has to.
func (s *simulation) unsettled(calmAt time.Duration) string {
	for _, source := range s.sources {
		if source.callback.archived.last() != no {
			continue
		}
		s.mu.Lock()
		done := slices.ContainsFunc(source.polls, func(p *simPoll) bool {
			return p.at > calmAt && p.ok && p.from > 0 && (source.trigger == byList || p.cursor == len(source.items)) && source.recorded > p.from
		})
		s.mu.Unlock()
		if done {
			continue
		}
		i, err := s.p.e.Instance(s.ctx, source.callback.id, source.instance)
		s.must(err)
		if i.Status == "detached" {
			s.mu.Lock()
			s.disturb(func(other *simSource) bool { return other.instance == source.instance })
			s.mu.Unlock()
			_, err := s.p.e.AttachInstance(s.ctx, source.callback.id, engine.NewInstance{ConfigID: source.configID})
			s.must(err)
		}
		if slices.ContainsFunc(i.Triggers, func(t engine.InstanceTrigger) bool { return t.Status == "paused" }) {
			s.changeConfig(source)
		}
		for _, t := range i.Triggers {
			if i.Status == "attached" && t.Status == "paused" && t.LastError == nil {
				s.steer(source)
			}
		}
		return "not all of " + source.name + " is polled"
	}
	for _, c := range s.callbacks {
		open, err := s.p.e.ListNotifications(s.ctx, c.id, engine.NotificationFilter{Statuses: []string{"pending", "retrying"}}, engine.Page{Limit: 1})
		s.must(err)
		if len(open.Items) > 0 {
			return "a notification of " + c.name + " is open"
		}
		mapping, err := s.p.e.ListEvents(s.ctx, c.id, engine.EventFilter{Statuses: []string{"pending", "processing", "retrying"}}, engine.Page{Limit: 1})
		s.must(err)
		if len(mapping.Items) > 0 {
			return "an event of " + c.name + " is not mapped"
		}
	}
	return ""
}

// observe looks into a running engine, while it waits: what is open is planned as it should
// be, and nothing waits that could go on.
func (s *simulation) observe() {
	s.refresh()
	if s.isDead() {
		return
	}
	for _, c := range s.callbacks {
		open, err := s.p.e.ListNotifications(s.ctx, c.id, engine.NotificationFilter{Statuses: []string{"pending", "retrying"}}, engine.Page{Limit: 100})
		s.must(err)
		for _, n := range open.Items {
			s.observeNotification(n)
		}
	}
	for n := 0; n < len(s.sources); n += len(simIntervals) {
		first := s.sources[n]
		i, err := s.p.e.Instance(s.ctx, first.callback.id, first.instance)
		s.must(err)
		for _, t := range i.Triggers {
			s.observeTrigger(s.sources[n:n+len(simIntervals)], t)
		}
	}
}

// slack is how late something may be begun that nothing keeps from it.
const slack = 2 * time.Second

func (s *simulation) observeNotification(n engine.Notification) {
	s.mu.Lock()
	defer s.mu.Unlock()
	due := s.planned(n.NextAttemptAt)
	v := s.deliveries[n.ID]
	i := slices.IndexFunc(s.destinations, func(d *simDestination) bool { return d.id == n.Destination.ID })
	d := s.destinations[i]
	about := fmt.Sprintf("%s at %s", n.ID, d.name)
	var last *receipt
	if v != nil {
		about = fmt.Sprintf("%s at %s", v.label, d.name)
		for _, r := range v.receipts {
			if r.open {
				return
			}
			if r.heard && r.number == n.AttemptCount {
				last = r
			}
		}
	}
	if since := max(due, d.idle, s.p.opened); d.inFlight == 0 && s.now() > since+slack {
		s.wrong("%s waits since %s, and nothing is in its way", about, since)
	}
	if n.Status == "pending" && n.AttemptCount == 0 {
		return
	}
	if last == nil {
		s.wrong("%s is %s with %d attempts, of which nobody knows", about, n.Status, n.AttemptCount)
		return
	}
	least, most := retryBounds(d.settings.Retry, last.number, last.verdict)
	if due < last.ended+least-s.exact() || due > last.ended+most+s.exact() {
		s.wrong("%s: attempt %d, of type %s, follows %s after attempt %d, which came to %q, not %s to %s", about, last.number+1, d.settings.Retry.Type, due-last.ended, last.number, last.verdict.code, least, most)
	}
}

func (s *simulation) observeTrigger(of []*simSource, t engine.InstanceTrigger) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(of, func(source *simSource) bool { return source.trigger == t.Trigger.Key })
	source := of[i]
	if t.NextPollAt.IsZero() || source.polling {
		return
	}
	due := s.planned(t.NextPollAt)
	since := max(due, s.p.opened)
	if n := len(source.polls); n > 0 {
		since = max(since, source.polls[n-1].done)
	}
	if s.now() > since+slack {
		s.wrong("%s is to be polled since %s, and is not", source.name, since)
	}
	if len(source.polls) == 0 || source.failures < 0 || source.disturbed >= 0 && source.disturbed >= source.polls[len(source.polls)-1].at {
		return
	}
	last := source.polls[len(source.polls)-1]
	if last.unsure || !last.p.survived(last.done) {
		return
	}
	interval := simIntervals[source.trigger]
	least, most := last.done-time.Second, last.done+interval*105/100
	switch {
	case source.limitedFor > 0 && source.failures > 0:
		least, most = last.done+source.limitedFor-time.Millisecond, last.done+source.limitedFor
	case source.failures > 0:
		delay := min(interval<<(source.failures-1), time.Hour)
		least, most = last.done+delay*95/100-time.Second, last.done+delay*105/100
	}
	if due < least || due > most {
		s.wrong("%s is polled again at %s, not at %s to %s, after %d failures", source.name, due, least, most, source.failures)
	}
	if status := map[bool]string{true: "failing", false: "active"}[source.failures > 0]; t.Status != status || t.ConsecutiveFailures != source.failures {
		s.wrong("%s is %s after %d failures, not %s after %d", source.name, t.Status, t.ConsecutiveFailures, status, source.failures)
	}
}
