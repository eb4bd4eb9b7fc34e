package main

import (
	"fmt"
	"time"
)

// sizes say how much is measured.
type sizes struct {
	name       string
	rounds     int           // of each thing that is compared
	span       time.Duration // how long a round publishes
	feeds      int           // that are polled every second, each with 1,000 new items
	diskEvents int           // to weigh a file by

	events       []int // in a file whose lists are read; each has two notifications
	triggers     []int
	waiting      []int // notifications for a dead destination
	destinations []int
	readerEvents int // in the file that is read beside full load
	oldEvents    int // in the file from which events are removed beside full load

	pollSpan  time.Duration // how long triggers are watched
	catchUp   time.Duration // how long at most triggers that are all overdue are
	hangSpan  time.Duration // how long events go to destinations that hang
	watchSpan time.Duration // how long a process's memory is watched
}

var whole = sizes{
	name: "whole", rounds: 3, span: 5 * time.Second, feeds: 16, diskEvents: 20_000,
	events: []int{1_000, 10_000, 100_000, 1_000_000, 5_000_000}, triggers: []int{1_000, 10_000, 100_000, 1_000_000},
	waiting: []int{1_000, 10_000, 100_000, 1_000_000}, destinations: []int{1_000, 10_000}, readerEvents: 100_000, oldEvents: 200_000,
	pollSpan: 20 * time.Second, catchUp: 40 * time.Second, hangSpan: 20 * time.Second, watchSpan: 8 * time.Second,
}

var small = sizes{
	name: "short", rounds: 1, span: time.Second, feeds: 16, diskEvents: 2_000,
	events: []int{1_000, 10_000}, triggers: []int{1_000, 10_000},
	waiting: []int{1_000, 10_000}, destinations: []int{1_000}, readerEvents: 10_000, oldEvents: 10_000,
	pollSpan: 3 * time.Second, catchUp: 5 * time.Second, hangSpan: 3 * time.Second, watchSpan: time.Second,
}

// upTo has the scale tables end at n.
func (s sizes) upTo(n int) sizes {
	for _, list := range []*[]int{&s.events, &s.triggers, &s.waiting, &s.destinations} {
		var kept []int
		for _, size := range *list {
			if size < n {
				kept = append(kept, size)
			}
		}
		*list = append(kept, n)
	}
	s.readerEvents, s.oldEvents = min(s.readerEvents, n), min(s.oldEvents, n)
	return s
}

// describe says it to readers of the report.
func (s sizes) describe() string {
	text := fmt.Sprintf("%s, %d rounds of %s of each thing that is compared", s.name, s.rounds, s.span)
	if s.rounds == 1 {
		text = fmt.Sprintf("%s, one round of %s of each thing that is compared: the ratios are rough, and the larger sizes of the scale tables are left out", s.name, s.span)
	}
	return text
}

func largest(list []int) int { return list[len(list)-1] }
