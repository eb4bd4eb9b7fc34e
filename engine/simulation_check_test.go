package engine_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// checkEnd compares what the file says at the end with what the world saw.
func (s *simulation) checkEnd() {
	known := make(map[string]bool)
	for _, c := range s.callbacks {
		events := s.walkEvents(c)
		notifications := s.walkNotifications(c)
		s.mu.Lock()
		stored := s.checkPublished(c, events)
		for _, source := range s.sources {
			if source.callback == c {
				s.checkSource(source, events, stored)
			}
		}
		s.mu.Unlock()
		for _, e := range events {
			s.checkEvent(c, e, stored[e.ID], notifications[e.ID])
			delete(notifications, e.ID)
			for _, n := range notifications[e.ID] {
				known[n.ID] = true
			}
		}
		for id := range notifications {
			s.mu.Lock()
			s.wrong("notifications of an event that is not there: %s", id)
			s.mu.Unlock()
		}
	}
	s.must(s.p.stop(time.Minute))
	s.must(s.p.close())
	s.checkFile()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, source := range s.sources {
		if most := 3 + source.pokes + s.runs + int(s.now()*100/95/simIntervals[source.trigger]); len(source.polls) > most {
			s.wrong("%s was polled %d times in %s, not %d", source.name, len(source.polls), s.now(), most)
		}
	}
}

// walkEvents reads all of a callback's events, page by page, from both ends.
func (s *simulation) walkEvents(c *simCallback) []engine.Event {
	read := func(p engine.Page) []engine.Event {
		l, err := s.p.e.ListEvents(s.ctx, c.id, engine.EventFilter{}, p)
		s.must(err)
		return l.Items
	}
	return walk(s, read, func(e engine.Event) string { return e.ID })
}

// walkNotifications reads all of a callback's notifications, with their attempts, by event.
func (s *simulation) walkNotifications(c *simCallback) map[string][]engine.Notification {
	read := func(p engine.Page) []engine.Notification {
		l, err := s.p.e.ListNotifications(s.ctx, c.id, engine.NotificationFilter{}, p)
		s.must(err)
		return l.Items
	}
	out := make(map[string][]engine.Notification)
	for _, n := range walk(s, read, func(n engine.Notification) string { return n.ID }) {
		whole, err := s.p.e.Notification(s.ctx, c.id, n.ID)
		s.must(err)
		out[n.Event.ID] = append(out[n.Event.ID], whole)
	}
	return out
}

// walk reads a whole list, and checks that it is the same from both ends.
func walk[T any](s *simulation, read func(engine.Page) []T, id func(T) string) []T {
	all := func(desc bool, limit int) (items []T) {
		p := engine.Page{Limit: limit, Desc: desc}
		for {
			found := read(p)
			if items = append(items, found...); len(found) < limit {
				return items
			}
			p.After = id(found[len(found)-1])
		}
	}
	items, back := all(false, 37), all(true, 100)
	slices.Reverse(back)
	if !slices.EqualFunc(items, back, func(a, b T) bool { return id(a) == id(b) }) {
		s.mu.Lock()
		s.wrong("a list has %d items from one end and %d, or others, from the other", len(items), len(back))
		s.mu.Unlock()
	}
	return items
}

// checkPublished: what was accepted is stored once, what was not is stored once or not at all,
// and nothing else is. It returns when each event may have been stored. s.mu is held.
func (s *simulation) checkPublished(c *simCallback, events []engine.Event) map[string][]time.Duration {
	stored := make(map[string][]time.Duration)
	count := make(map[string]int)
	for _, e := range events {
		if e.InstanceID != "" {
			continue
		}
		var data struct {
			Label string `json:"label"`
		}
		err := json.Unmarshal(e.Output, &data)
		p := c.published[data.Label]
		if err != nil || p == nil {
			s.wrong("%s: nobody published %s", c.name, e.Output)
			continue
		}
		count[p.label]++
		if p.accepted && p.id != e.ID || p.typ != e.Type || p.sourceID != "" && p.sourceID != e.SourceID || e.Status != "succeeded" {
			s.wrong("%s was published as %s and is stored as %s, of type %s and source id %s, %s", p.label, p.id, e.ID, e.Type, e.SourceID, e.Status)
		}
		stored[e.ID] = p.tried
	}
	batches := make(map[string]int)
	for _, p := range c.published {
		if n := count[p.label]; n > 1 || p.accepted && n != 1 || n > 0 && len(p.tried) == 0 {
			s.wrong("%s is stored %d times; accepted: %t", p.label, n, p.accepted)
		}
		if !p.accepted && len(p.tried) == 1 { // its batch had no answer: all or none of it
			if n, ok := batches[p.batch]; ok && n != count[p.label] {
				s.wrong("of the batch with %s, only a part is stored", p.batch)
			}
			batches[p.batch] = count[p.label]
		}
	}
	return stored
}

// checkSource: each of a source's items that a recorded poll gave is stored once, and nothing
// else is. s.mu is held.
func (s *simulation) checkSource(source *simSource, events []engine.Event, stored map[string][]time.Duration) {
	type tally struct{ good, filtered, failed, repeated int }
	count := make(map[*simItem]*tally)
	for _, i := range source.items {
		count[i] = &tally{}
	}
	for _, e := range events {
		if e.InstanceID != source.instance || e.TriggerKey != source.trigger {
			continue
		}
		var input itemInput
		if err := json.Unmarshal(e.Input, &input); err != nil || input.Source != source.name || input.Item >= len(source.items) {
			s.wrong("%s: an event of the input %s", source.name, e.Input)
			continue
		}
		i := source.items[input.Item]
		t := count[i]
		switch {
		case e.Status == "succeeded", e.Status == "skipped" && e.Error == nil:
			stored[e.ID] = i.mapped
			if e.Status == "succeeded" {
				t.good++
			} else {
				t.filtered++
			}
			if e.Type != i.typ || e.SourceID != i.sourceID || string(e.Output) != string(i.output()) {
				s.wrong("%s is stored as %s of type %s: %s", i.label, e.SourceID, e.Type, e.Output)
			}
		case e.Status == "failed":
			if t.failed++; !i.permanently && i.tries < 5 {
				s.wrong("%s has failed after %d tries", i.label, i.tries)
			}
		case e.Status == "skipped" && e.Error.Code == "duplicate":
			t.repeated++
		default:
			s.wrong("%s is %s at the end", i.label, e.Status)
		}
	}
	// A poll is recorded if a later one was made with its state. The first of them is the one
	// whose items a baseline of "skip" leaves out.
	given := make(map[*simItem]bool)
	baseline := make(map[*simItem]bool)
	maybe := make(map[*simItem]bool)
	for n, p := range source.polls {
		recorded := slices.ContainsFunc(source.polls, func(later *simPoll) bool { return later.from == n+1 })
		for _, i := range p.items {
			switch {
			case !recorded:
				maybe[i] = true
			case source.skip && p.from == 0 && p.unmapped[i]:
				maybe[i] = true // it could not be remembered
			case source.skip && p.from == 0:
				baseline[i] = true
			default:
				given[i] = true
			}
		}
	}
	filter := source.callback.eventTypes[source.trigger]
	for _, i := range source.items {
		t := *count[i]
		var want []tally
		switch {
		case i.failMappings == always:
			want = append(want, tally{failed: 1})
		case len(filter) > 0 && !slices.Contains(filter, i.typ):
			want = append(want, tally{filtered: 1}, tally{filtered: 1, repeated: 1})
		default:
			want = append(want, tally{good: 1}, tally{good: 1, repeated: 1})
		}
		switch {
		case baseline[i]:
			want = []tally{{}}
			if i.failMappings > 0 {
				want = append(want, tally{repeated: 1})
			}
		case given[i]:
		case maybe[i]:
			want = append(want, tally{})
		default:
			want = []tally{{}}
		}
		if source.skip && i.failMappings > 0 {
			want = append(want, tally{}) // the baseline may have left it out
		}
		if !slices.Contains(want, t) {
			s.wrong("%s, of type %s: stored as %+v, not as %+v", i.label, i.typ, t, want)
		}
	}
}

// wants tells whether a destination wanted an event of a callback at a time.
func (d *simDestination) wants(c *simCallback, typ string, at time.Duration) answerOf {
	if len(d.settings.EventTypes) > 0 && !slices.Contains(d.settings.EventTypes, typ) {
		return no
	}
	is := d.active.at(at)
	if d.linked != nil {
		linked := d.linked[c].at(at)
		if is == no || linked == no {
			return no
		}
		is = max(is, linked) // unknown is more than yes
	}
	return is
}

// checkEvent: an event has one notification for each destination that wanted it when it was
// stored, and counts them right.
func (s *simulation) checkEvent(c *simCallback, e engine.Event, stored []time.Duration, notifications []engine.Notification) {
	s.mu.Lock()
	defer s.mu.Unlock()
	about := fmt.Sprintf("event %s of %s", e.Output, c.name)
	successes, failures := 0, 0
	for _, d := range s.destinations {
		var of []engine.Notification
		for _, n := range notifications {
			if n.Destination.ID == d.id {
				of = append(of, n)
			}
		}
		least, most := 1, 0 // over all the times at which it may have been stored
		for _, at := range stored {
			switch d.wants(c, e.Type, at) {
			case yes:
				most = 1
			case no:
				least = 0
			default:
				least, most = 0, 1
			}
		}
		if e.Status != "succeeded" {
			least, most = 0, 0
		}
		if len(of) < min(least, most) || len(of) > most {
			s.wrong("%s has %d notifications for %s, not %d to %d", about, len(of), d.name, least, most)
		}
		for _, n := range of {
			if n.Status == "delivered" {
				successes++
			} else {
				failures++
			}
			s.checkNotification(d, e, n)
		}
	}
	status := "sent"
	switch {
	case len(notifications) == 0:
		status = "skipped"
	case failures > 0:
		status = "failed"
	}
	if e.DestinationCount != len(notifications) || e.SuccessCount != successes || e.FailureCount != failures || e.DeliveryStatus != status {
		s.wrong("%s is %s, with %d notifications, %d delivered, %d failed; it should be %s, %d, %d, %d", about, e.DeliveryStatus, e.DestinationCount, e.SuccessCount, e.FailureCount,
			status, len(notifications), successes, failures)
	}
}

// checkNotification: its attempts are those that its destination saw, and it ended for a reason.
func (s *simulation) checkNotification(d *simDestination, e engine.Event, n engine.Notification) {
	about := fmt.Sprintf("%s at %s", e.Output, d.name)
	if n.AttemptCount != len(n.Attempts) || !n.NextAttemptAt.IsZero() || n.Event.DestinationCount != e.DestinationCount || n.Event.DeliveryStatus != e.DeliveryStatus {
		s.wrong("%s is %s, with %d attempts of %d, the next at %s, event %+v", about, n.Status, len(n.Attempts), n.AttemptCount, n.NextAttemptAt, n.Event)
	}
	var receipts []*receipt
	if v := s.deliveries[n.ID]; v != nil {
		receipts = v.receipts
	}
	code := func(f *engine.Failure) string {
		if f == nil {
			return ""
		}
		return f.Code
	}
	for i, a := range n.Attempts {
		if a.Number != i+1 {
			s.wrong("%s: attempt %d is number %d", about, i+1, a.Number)
		}
		if !slices.ContainsFunc(receipts, func(r *receipt) bool {
			status := 0
			if a.Response != nil {
				status = a.Response.StatusCode
			}
			off := a.StartedAt.Sub(s.begun) - r.at
			took := a.Duration - (r.ended - r.at)
			return r.heard && r.number == a.Number && r.verdict.code == code(a.Failure) && r.verdict.status == status && (off.Abs() <= time.Millisecond || s.clockSet > 0) && took.Abs() <= time.Millisecond
		}) {
			s.wrong("%s: no receipt of attempt %d at %s, for %s: %s", about, a.Number, a.StartedAt.Sub(s.begun), a.Duration, code(a.Failure))
		}
	}
	for _, r := range receipts {
		if r.certain() && r.number > len(n.Attempts) {
			s.wrong("%s: attempt %d at %s is not recorded", about, r.number, r.at)
		}
	}
	ended := (s.clockSet > 0 || d.active.mayBeFalseSince(n.CreatedAt.Sub(s.begun))) && strings.HasPrefix(code(n.Error), "destination_")
	switch last := len(n.Attempts) - 1; {
	case last >= 0 && n.Attempts[last].Failure == nil:
		if n.Status != "delivered" || n.Error != nil {
			s.wrong("%s was delivered, and is %s: %v", about, n.Status, n.Error)
		}
	case n.Status != "failed":
		s.wrong("%s was not delivered, and is %s", about, n.Status)
	case ended:
	case last < 0 || code(n.Error) != code(n.Attempts[last].Failure):
		s.wrong("%s failed with %q after %d attempts", about, code(n.Error), last+1)
	default:
		final := slices.ContainsFunc(receipts, func(r *receipt) bool { return r.heard && r.number == last+1 && r.verdict.final })
		if !final && last+1 != d.settings.Retry.MaxAttempts {
			s.wrong("%s was given up after %d attempts, not %d", about, last+1, d.settings.Retry.MaxAttempts)
		}
	}
}

// checkFile has SQLite check the file itself.
func (s *simulation) checkFile() {
	file, err := sql.Open("sqlite", s.p.path)
	s.must(err)
	defer file.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	wanted := map[string]string{
		"PRAGMA integrity_check":                        "ok",
		"SELECT count(*) FROM pragma_foreign_key_check": "0",
		// The keys are those of events, or of what was left out.
		"SELECT count(*) FROM event_key AS k LEFT JOIN event AS e ON e.seq = k.event_seq WHERE k.event_seq IS NOT NULL AND e.seq IS NULL":                                           "0",
		"SELECT count(*) FROM event AS e WHERE (e.instance_trigger_seq IS NOT NULL OR e.source_id <> e.id) AND (SELECT count(*) FROM event_key AS k WHERE k.event_seq = e.seq) = 0": "0",
	}
	var rows int
	s.must(file.QueryRowContext(s.ctx, "SELECT count(*) FROM sqlite_schema WHERE name = 'app_row'").Scan(&rows))
	if rows > 0 { // the host's rows and their events are never apart
		wanted["SELECT count(*) FROM app_row WHERE event NOT IN (SELECT id FROM event)"] = "0"
		wanted["SELECT count(*) FROM event AS e JOIN event_payload AS p ON p.event_seq = e.seq WHERE p.output ->> 'row' = 1 AND e.id NOT IN (SELECT event FROM app_row)"] = "0"
	}
	for query, want := range wanted {
		var got string
		if err := file.QueryRowContext(s.ctx, query).Scan(&got); err != nil || got != want {
			s.wrong("%s: %s, %v", query, got, err)
		}
	}
}
