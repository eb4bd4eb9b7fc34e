package engine_test

import (
	"encoding/json"
	"fmt"

	"github.com/callbackd/callbackd/engine"
)

// publish publishes some events together.
func (s *simulation) publish(n int) { s.planPublish(n)() }

// planPublish draws what is to be published, and returns how.
func (s *simulation) planPublish(n int) func() {
	c := pick(s.rnd, s.callbacks)
	s.mu.Lock()
	together := c.labels%3 == 0 // with rows of the host's
	var events []engine.NewEvent
	var of []*simPublished
	for range n {
		var e *simPublished
		switch x := s.rnd.IntN(10); {
		case x < 3 && c.labels > 0: // one of before, perhaps
			e = c.published[fmt.Sprintf("%s/p%d", c.name, s.rnd.IntN(c.labels))]
		case x < 5:
			e = &simPublished{}
		default:
			e = &simPublished{sourceID: fmt.Sprintf("p%d", c.labels)}
		}
		if e.sourceID == "" {
			e = &simPublished{} // it cannot be repeated
		}
		if e.label == "" {
			e.label, e.typ = fmt.Sprintf("%s/p%d", c.name, c.labels), pick(s.rnd, simTypes)
			c.labels++
			c.published[e.label] = e
		}
		of = append(of, e)
		events = append(events, engine.NewEvent{Type: e.typ, SourceID: e.sourceID, Output: json.RawMessage(fmt.Sprintf(`{"label":%q,"row":%t}`, e.label, together))})
	}
	for _, e := range of {
		e.tried = append(e.tried, s.now())
		if len(e.tried) == 1 {
			e.batch = fmt.Sprintf("%s at %s", of[0].label, e.tried[0])
		}
	}
	s.mu.Unlock()
	return func() {
		var stored []engine.Event
		var err error
		if together {
			stored, err = s.publishRows(c.id, events)
		} else {
			stored, err = s.p.e.PublishEvents(s.ctx, c.id, engine.NewEvents{Events: events})
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		labels := make([]string, len(of))
		for i, e := range of {
			labels[i] = e.label
		}
		switch {
		case s.p.dead:
			s.note("publish %q: no answer", labels)
			return
		case err != nil && c.archived.last() == yes:
			s.note("publish %q: refused", labels)
			for _, e := range of {
				e.tried = e.tried[:len(e.tried)-1]
			}
			return
		case err != nil:
			s.wrong("publish %q: %v", labels, err)
			return
		case c.archived.last() == yes:
			s.wrong("publish %q: accepted by an archived callback", labels)
		}
		s.note("publish %q: accepted", labels)
		for i, e := range of {
			if e.accepted = true; e.id == "" {
				e.id = stored[i].ID
			}
			if got := stored[i]; got.ID != e.id || got.Type != e.typ || e.sourceID != "" && got.SourceID != e.sourceID {
				s.wrong("publish %s: it is %s before and %s now, of type %s", e.label, e.id, got.ID, got.Type)
			}
		}
	}
}

// publishRows publishes events together with a row of the host's for each.
func (s *simulation) publishRows(callbackID string, events []engine.NewEvent) (stored []engine.Event, err error) {
	err = s.p.e.Transact(s.ctx, func(tx *engine.Tx) error {
		if _, err := tx.ExecContext(s.ctx, "CREATE TABLE IF NOT EXISTS app_row (event TEXT PRIMARY KEY) STRICT"); err != nil {
			return err
		}
		if stored, err = tx.Publish(callbackID, events...); err != nil {
			return err
		}
		for _, e := range stored {
			if _, err := tx.ExecContext(s.ctx, "INSERT OR IGNORE INTO app_row (event) VALUES (?)", e.ID); err != nil {
				return err
			}
		}
		return nil
	})
	return stored, err
}
