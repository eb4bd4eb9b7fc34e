package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// events reads lists of files with very many events, in every part and by every filter, and
// publishes to them.
func events(ctx context.Context, s *suite) error {
	t := &table{title: "Lists and single reads, by events in the file (each with two notifications)",
		note: "Pages of 20, the median of several reads, through the engine. \"before\" is the page that ends at that place. Accept and deliver: engine.Publish, of the rate that an empty file has in the same rounds.",
		head: []string{"what"}}
	lines := make(map[string][]string)
	var order []string
	put := func(what, value string) {
		if lines[what] == nil {
			order = append(order, what)
		}
		lines[what] = append(lines[what], value)
	}
	var slowest time.Duration // of GET by id
	var last comparison
	for _, n := range s.size.events {
		t.head = append(t.head, count(n))
		path, seed, err := s.eventFile(ctx, n)
		if err != nil {
			return fmt.Errorf("%s events: %w", count(n), err)
		}
		s.note("  %s events are in a file", count(n))
		reads, err := s.readAll(ctx, path, seed)
		if err != nil {
			return fmt.Errorf("%s events: %w", count(n), err)
		}
		slowest = 0
		for _, r := range reads {
			put(r.what, millis(r.took))
			if r.single {
				slowest = max(slowest, r.took)
			}
		}
		if last, err = s.compareFiles(ctx, path, "many events", n == largest(s.size.events)); err != nil {
			return fmt.Errorf("%s events: %w", count(n), err)
		}
		put("open and start the engine", millis(last.start))
		put("accept and deliver, of an empty file", ratio(last.ratio()))
		if n == largest(s.size.events) {
			if err := fullStart(ctx, s, path, n); err != nil {
				return err
			}
		}
		s.remove(path)
	}
	for _, what := range order {
		t.add(append([]string{what}, lines[what]...)...)
	}
	s.report.table(t)
	n := count(largest(s.size.events))
	s.report.add(row{what: "GET by id, " + n + " events, the slower of event and notification", goal: "< 5 ms", value: millis(slowest), met: yes(slowest < 5*time.Millisecond)},
		row{what: "accept and deliver, " + n + " events in the file", goal: ">= 0.90 of an empty file", value: last.String(), ratio: ratio(last.ratio()), met: yes(last.ratio() >= 0.9)})
	return nil
}

// read is one way to read, and how long it took.
type read struct {
	what   string
	single bool // one thing by its id
	do     func() error
	took   time.Duration
}

const readTimes = 7 // of which the first does not count

func (s *suite) readAll(ctx context.Context, path string, seed *eventSeed) (reads []read, err error) {
	p, err := s.open(ctx, path, "reads")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	if reads, err = p.reads(ctx, seed); err != nil {
		return nil, err
	}
	for i := range reads {
		var took []time.Duration
		for range readTimes {
			started := time.Now()
			if err := reads[i].do(); err != nil {
				return nil, fmt.Errorf("%s: %w", reads[i].what, err)
			}
			took = append(took, time.Since(started))
		}
		reads[i].took = median(took[1:])
	}
	return reads, nil
}

// reads are all the ways to read.
func (p *product) reads(ctx context.Context, seed *eventSeed) (out []read, err error) {
	events := func(f engine.EventFilter, page engine.Page) (engine.List[engine.Event], error) {
		return p.ListEvents(ctx, seed.callback, f, page)
	}
	notifications := func(f engine.NotificationFilter, page engine.Page) (engine.List[engine.Notification], error) {
		return p.ListNotifications(ctx, seed.callback, f, page)
	}
	es, ns, err := ends(events, notifications)
	if err != nil {
		return nil, err
	}
	addEvents := func(what string, f engine.EventFilter, page engine.Page) {
		out = append(out, read{what: "events: " + what, do: func() error { _, err := events(f, page); return err }})
	}
	addNotifications := func(what string, f engine.NotificationFilter, page engine.Page) {
		out = append(out, read{what: "notifications: " + what, do: func() error { _, err := notifications(f, page); return err }})
	}
	for _, page := range []struct {
		what string
		page func(place) engine.Page
	}{
		{"first page", func(place) engine.Page { return engine.Page{} }},
		{"first page, newest first", func(place) engine.Page { return engine.Page{Desc: true} }},
		{"after the middle", func(at place) engine.Page { return engine.Page{After: at.middle} }},
		{"before the middle", func(at place) engine.Page { return engine.Page{Before: at.middle} }},
		{"after the middle, newest first", func(at place) engine.Page { return engine.Page{After: at.middle, Desc: true} }},
		{"before the end", func(at place) engine.Page { return engine.Page{Before: at.last} }},
		{"before the end, newest first", func(at place) engine.Page { return engine.Page{Before: at.first, Desc: true} }},
	} {
		addEvents(page.what, engine.EventFilter{}, page.page(es))
		addNotifications(page.what, engine.NotificationFilter{}, page.page(ns))
	}
	newest := engine.Page{Desc: true}
	half := engine.Range{Before: es.middleAt}
	addEvents("type, of most", engine.EventFilter{Types: []string{eventType}}, newest)
	addEvents("type, of few", engine.EventFilter{Types: []string{rareType}}, newest)
	addEvents("status, of most", engine.EventFilter{Statuses: []string{"succeeded"}}, newest)
	addEvents("status, of none", engine.EventFilter{Statuses: []string{"retrying"}}, newest)
	addEvents("delivery_status, of most", engine.EventFilter{DeliveryStatuses: []string{"sent"}}, newest)
	addEvents("delivery_status, of few", engine.EventFilter{DeliveryStatuses: []string{"failed"}}, newest)
	addEvents("callback_instance_id", engine.EventFilter{Instances: []string{seed.instance}}, newest)
	addEvents("trigger_key", engine.EventFilter{TriggerKeys: []string{seedTrigger}}, newest)
	addEvents("id", engine.EventFilter{IDs: []string{es.middle}}, newest)
	addEvents("source_id", engine.EventFilter{SourceIDs: []string{es.middleSource}}, newest)
	addEvents("created_at, before the middle", engine.EventFilter{Created: half}, newest)
	addEvents("type, status and created_at", engine.EventFilter{Types: []string{rareType}, Statuses: []string{"succeeded"}, Created: half}, newest)
	addNotifications("destination_id", engine.NotificationFilter{Destinations: seed.destinations[:1]}, newest)
	addNotifications("status, of most", engine.NotificationFilter{Statuses: []string{"delivered"}}, newest)
	addNotifications("status, of few", engine.NotificationFilter{Statuses: []string{"failed"}}, newest)
	addNotifications("event_id", engine.NotificationFilter{Events: []string{es.middle}}, newest)
	addNotifications("created_at, before the middle", engine.NotificationFilter{Created: half}, newest)
	addNotifications("destination, status and created_at", engine.NotificationFilter{Destinations: seed.destinations[:1], Statuses: []string{"failed"}, Created: half}, newest)
	out = append(out,
		read{what: "event by id", single: true, do: func() error { _, err := p.Event(ctx, seed.callback, es.middle); return err }},
		read{what: "notification by id", single: true, do: func() error { _, err := p.Notification(ctx, seed.callback, ns.middle); return err }})
	return out, nil
}

// place is where a list begins, has its middle, and ends.
type place struct {
	first, middle, last string
	middleAt            time.Time
	middleSource        string // of events
}

func ends(events func(engine.EventFilter, engine.Page) (engine.List[engine.Event], error),
	notifications func(engine.NotificationFilter, engine.Page) (engine.List[engine.Notification], error)) (es, ns place, err error) {
	one := engine.Page{Limit: 1}
	first, err1 := events(engine.EventFilter{}, one)
	last, err2 := events(engine.EventFilter{}, engine.Page{Limit: 1, Desc: true})
	firstN, err3 := notifications(engine.NotificationFilter{}, one)
	lastN, err4 := notifications(engine.NotificationFilter{}, engine.Page{Limit: 1, Desc: true})
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return es, ns, err
	}
	if len(first.Items)*len(last.Items)*len(firstN.Items)*len(lastN.Items) == 0 {
		return es, ns, errors.New("the file is empty")
	}
	from, to := first.Items[0].CreatedAt, last.Items[0].CreatedAt
	after := engine.Range{After: from.Add(to.Sub(from) / 2)}
	middle, err1 := events(engine.EventFilter{Created: after}, one)
	middleN, err2 := notifications(engine.NotificationFilter{Created: after}, one)
	if err := errors.Join(err1, err2); err != nil {
		return es, ns, err
	}
	if len(middle.Items)*len(middleN.Items) == 0 {
		return es, ns, errors.New("the list by time finds nothing behind the middle")
	}
	es = place{first.Items[0].ID, middle.Items[0].ID, last.Items[0].ID, middle.Items[0].CreatedAt, middle.Items[0].SourceID}
	ns = place{first: firstN.Items[0].ID, middle: middleN.Items[0].ID, last: lastN.Items[0].ID}
	return es, ns, nil
}
