package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// newSimulation draws a scenario.
func newSimulation(seed uint64, template, dir string, log *slog.Logger) *simulation {
	s := &simulation{world: newWorld(seed), ctx: context.Background(), template: template, dir: dir, log: log}
	s.rnd = s.dice("script")
	s.concurrent = s.rnd.IntN(4) == 0
	s.setClocks = s.dice("clock").IntN(4) == 0
	s.size = pick(s.rnd, []int{1, 1, 1, 1, 1, 1, 2, 2, 3}) // most are small: a thousand small runs find more than a hundred large ones
	if s.tiny = s.dice("tiny").IntN(10) > 0; s.tiny {      // and thousands of tiny ones find what is not rare at once
		s.size = 1
	}
	for n := range 1 + s.rnd.IntN(1+s.size) {
		s.drawDestination(n)
	}
	for n := range 1 + s.rnd.IntN(s.size) {
		c := &simCallback{name: fmt.Sprintf("c%d", n), eventTypes: make(map[string][]string), published: make(map[string]*simPublished)}
		c.archived.set(0, no)
		for _, key := range []string{byCursor, byList} {
			if s.rnd.IntN(4) == 0 {
				c.eventTypes[key] = []string{pick(s.rnd, simTypes), pick(s.rnd, simTypes)}
			}
		}
		s.callbacks = append(s.callbacks, c)
	}
	return s
}

func (s *simulation) drawDestination(n int) {
	r := s.rnd
	d := &simDestination{name: fmt.Sprintf("d%d", n), health: pick(r, []float64{1, 0.9, 0.7, 0.4}), troubles: httpTroubles}
	d.settings = engine.DestinationSettings{Name: d.name, URL: "http://" + d.name + ".test", Timeout: time.Duration(1+r.IntN(12)) * time.Second, MaxInFlight: pick(r, []int{1, 2, 32})}
	d.settings.Retry = pick(r, []engine.Retry{
		{Type: "schedule", MaxAttempts: 1 + r.IntN(3), Delay: 5 * time.Second},
		{Type: "linear", MaxAttempts: 1 + r.IntN(6), Delay: time.Duration(1+r.IntN(20)) * time.Second},
		{Type: "exponential", MaxAttempts: 1 + r.IntN(7), Delay: time.Duration(1+r.IntN(8)) * time.Second},
	})
	switch r.IntN(4) {
	case 0:
		d.settings.URL, d.troubles = "func:"+d.name, functionTroubles
	case 1:
		d.troubles = append(slices.Clone(httpTroubles), "410")
	}
	if r.IntN(3) == 0 {
		d.settings.EventTypes = []string{pick(r, simTypes), pick(r, simTypes)}
	}
	if r.IntN(3) == 0 {
		d.downFrom = between(r, 0, 3*time.Minute)
		d.downTo = d.downFrom + between(r, 0, 2*time.Minute)
	}
	if s.tiny {
		retry := &d.settings.Retry
		retry.MaxAttempts, retry.Delay = min(retry.MaxAttempts, 2), min(retry.Delay, 3*time.Second)
		if retry.Type == "schedule" {
			retry.Delay = 5 * time.Second
		}
		d.settings.Timeout, d.downFrom, d.downTo = min(d.settings.Timeout, 2*time.Second), 0, 0
	}
	if d.isFunction() || r.IntN(4) > 0 {
		d.linked = make(map[*simCallback]*timeline)
	} else {
		d.settings.Scope = engine.ScopeAll
	}
	d.active.set(0, yes)
	s.destinations = append(s.destinations, d)
}

// setUp makes the scenario's rows. Crashes come later.
func (s *simulation) setUp() {
	e := s.p.e
	deployment, err := e.CreateDeployment(s.ctx, engine.NewDeployment{Provider: "sim"})
	s.must(err)
	s.deployment = deployment.ID
	for _, d := range s.destinations {
		var made engine.Destination
		if d.isFunction() {
			made, err = e.Destination(s.ctx, d.settings.URL)
		} else {
			made, err = e.CreateDestination(s.ctx, engine.NewDestination{DestinationSettings: d.settings})
		}
		s.must(err)
		d.id, d.secret = made.ID, made.SigningSecret
	}
	for _, c := range s.callbacks {
		var ids []string
		for _, d := range s.destinations {
			if d.linked != nil && s.rnd.IntN(4) > 0 {
				ids = append(ids, d.id)
			}
		}
		choices := []engine.TriggerChoice{{Trigger: byCursor, EventTypes: c.eventTypes[byCursor]}, {Trigger: byList, EventTypes: c.eventTypes[byList]}}
		made, err := e.CreateCallback(s.ctx, engine.NewCallback{Details: engine.Details{Name: c.name}, DeploymentID: s.deployment, DestinationIDs: ids, Triggers: &choices})
		s.must(err)
		c.id = made.ID
		s.link(c, ids, yes)
		for n := range 1 + s.rnd.IntN(s.size) {
			s.attach(c, fmt.Sprintf("%s.i%d", c.name, n))
		}
	}
}

// attach makes an instance of a callback, with a source for each of its triggers.
func (s *simulation) attach(c *simCallback, name string) {
	config, err := s.p.e.CreateConfig(s.ctx, engine.NewConfig{Provider: "sim", DeploymentID: s.deployment, Value: json.RawMessage(fmt.Sprintf(`{"name":%q}`, name))})
	s.must(err)
	baseline := pick(s.rnd, []engine.Baseline{"", "", engine.BaselineEmit, engine.BaselineSkip})
	s.mu.Lock()
	var sources []*simSource
	for _, key := range []string{byCursor, byList} {
		source := &simSource{name: name + "." + key, trigger: key, callback: c, configID: config.ID, skip: baseline == engine.BaselineSkip || baseline == "" && key == byList,
			troubled: pick(s.rnd, []float64{0, 0.1, 0.4}), disturbed: -1}
		s.sources = append(s.sources, source)
		for range s.rnd.IntN(6) {
			s.add(source)
		}
		sources = append(sources, source)
	}
	s.mu.Unlock()
	instance, err := s.p.e.AttachInstance(s.ctx, c.id, engine.NewInstance{ConfigID: config.ID, Baseline: baseline})
	s.must(err)
	for _, source := range sources {
		source.instance = instance.ID
	}
}

// link notes which destinations a callback has.
func (s *simulation) link(c *simCallback, ids []string, is answerOf) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.destinations {
		if d.linked == nil {
			continue
		}
		l := d.linked[c]
		if l == nil {
			l = &timeline{}
			l.set(0, no)
			d.linked[c] = l
		}
		switch has := slices.Contains(ids, d.id); {
		case has == (l.last() == yes) && l.last() != unknown && is != unknown:
		case is == unknown:
			if has != (l.last() == yes) {
				l.set(s.now(), unknown)
			}
		case has:
			l.set(s.now(), yes)
		default:
			l.set(s.now(), no)
		}
	}
}
