package store

import (
	"database/sql"
	"errors"
	"slices"
)

// routing is what storing an event of a callback needs to know. It is read once and kept
// by the writer, which forgets all of it whenever a callback or a destination changes:
// every change passes through the same goroutine, so none is missed.
type routing struct {
	seq      int64
	active   bool
	routes   []route
	triggers map[int64][]string  // event types by row number of the provider's trigger; empty: all
	types    map[[2]string]int64 // row numbers of kinds of events, by type and trigger key
}

// maxRoutings bounds how many callbacks the writer knows the routing of.
const maxRoutings = 10_000

// maxKnownTypes bounds how many kinds of a callback's events are kept.
const maxKnownTypes = 1000

// route is one destination of a callback.
type route struct {
	destination int64
	eventTypes  []string // empty: all
}

func (tx *tx) routing(callbackID string) (*routing, error) {
	if r, ok := tx.w.routings[callbackID]; ok {
		return r, nil
	}
	row, err := tx.q.CallbackSeq(tx.ctx, callbackID)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, &NotFoundError{Entity: "callback", ID: callbackID}
	}
	if err != nil {
		return nil, err
	}
	r := &routing{seq: row.Seq, active: row.Status == "active", triggers: make(map[int64][]string), types: make(map[[2]string]int64)}
	destinations, err := tx.q.DestinationsOfCallback(tx.ctx, row.Seq)
	if err != nil {
		return nil, err
	}
	rows, err := tx.q.DestinationsBySeq(tx.ctx, seqsJSON(destinations))
	if err != nil {
		return nil, err
	}
	for _, d := range rows {
		if d.Status != "active" {
			continue
		}
		types, err := readStringList(d.EventTypes)
		if err != nil {
			return nil, err
		}
		r.routes = append(r.routes, route{destination: d.Seq, eventTypes: types})
	}
	triggers, err := tx.q.CallbackTriggers(tx.ctx, seqsJSON([]int64{row.Seq}))
	if err != nil {
		return nil, err
	}
	for _, t := range triggers {
		if r.triggers[t.ProviderTriggerSeq], err = readStringList(t.EventTypes); err != nil {
			return nil, err
		}
	}
	if len(tx.w.routings) >= maxRoutings {
		clear(tx.w.routings)
	}
	tx.w.routings[callbackID] = r
	return r, nil
}

// wants tells whether a list of event types, of which an empty one means all, has one.
func wants(types []string, eventType string) bool {
	return len(types) == 0 || slices.Contains(types, eventType)
}

// destinations are those that want an event of this type.
func (r *routing) destinations(eventType string) []int64 {
	var out []int64
	for _, route := range r.routes {
		if wants(route.eventTypes, eventType) {
			out = append(out, route.destination)
		}
	}
	return out
}
