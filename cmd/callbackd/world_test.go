package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// world is what a daemon deals with, and what that has seen of it: sources that are polled,
// receivers, and publishers. It survives the daemon, which has many lives in it.
type world struct {
	t        *testing.T
	callback string
	sources  *httptest.Server
	sinks    *httptest.Server
	instants chan struct{} // something happens, at a source, a receiver or a publisher
	orderly  bool          // the daemon is only stopped in order: nothing is repeated, and no source hangs for longer than that takes

	mu       sync.Mutex
	random   *rand.Rand
	calm     bool   // all answer at once, and nothing new happens
	life     int    // of the daemon, from 1
	url      string // of the daemon; "" while it is down
	up       *sync.Cond
	feeds    [3]feed
	requests map[attempt][]request
	shown    map[string]int    // notifications that the API showed as delivered, and the life it did
	events   map[string]string // source ids by the ids of accepted events; "" where there was none
	own      []string          // source ids that were published, with or without an answer
	known    map[string]string // ids of events by their source ids, as far as answers came
	unheard  int               // events without a source id that were published without an answer
}

// feed is a source's list. Items are numbered from 1; what is asked for after one is followed
// by a later one only if the item was stored.
type feed struct {
	items int
	asked int // the highest number that was asked after
}

// attempt is one attempt at a notification, which is made again if it was in flight when the
// daemon died.
type attempt struct {
	notification string
	number       int
}

// request is what a receiver saw of an attempt.
type request struct {
	life   int
	sink   string
	event  string
	status int // 0: none was given
}

// sinks are the destinations: name, what is wrong with it, and the event types it wants.
var sinks = map[string]struct {
	fails, hangs float64
	types        []string
}{
	"good":  {},
	"flaky": {fails: 0.15},
	"slow":  {hangs: 0.1},
	"picky": {fails: 0.05, types: []string{"own.a"}},
}

// newWorld makes a world whose chances come from a seed.
func newWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, random: rand.New(rand.NewPCG(seed, 0)), instants: make(chan struct{}, 1), requests: make(map[attempt][]request),
		shown: make(map[string]int), events: make(map[string]string), known: make(map[string]string)}
	w.up = sync.NewCond(&w.mu)
	w.sources = w.server(w.serveItems)
	w.sinks = w.server(w.receive)
	return w
}

// seed is $CALLBACKD_SEED, to have a run again, or a new one. Chances are the same then; how
// they fall together is the machine's.
func seed(t *testing.T) uint64 {
	s := uint64(time.Now().UnixNano())
	if text := os.Getenv("CALLBACKD_SEED"); text != "" {
		var err error
		if s, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("CALLBACKD_SEED=%d", s)
	return s
}

type lifeKey struct{}

// server tells handlers in which of the daemon's lives their connection was made.
func (w *world) server(h http.HandlerFunc) *httptest.Server {
	s := httptest.NewUnstartedServer(h)
	s.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		w.mu.Lock()
		defer w.mu.Unlock()
		return context.WithValue(ctx, lifeKey{}, w.life)
	}
	s.Start()
	w.t.Cleanup(s.Close)
	return s
}

// nextLife begins another life of the daemon. Connections of the last one that wait to be
// accepted are made to count as its own.
func (w *world) nextLife() {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, s := range []*httptest.Server{w.sources, w.sinks} {
		resp, err := client.Get(s.URL + "/barrier") // it is accepted after them
		if err != nil {
			w.t.Fatal(err)
		}
		resp.Body.Close()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.life++
}

// setURL says where the daemon is; "": nowhere.
func (w *world) setURL(url string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.url = url
	w.up.Broadcast()
}

// settle ends the chaos.
func (w *world) settle() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calm = true
	w.up.Broadcast()
}

// happens tells who waits for an instant that there is one.
func (w *world) happens() {
	select {
	case w.instants <- struct{}{}:
	default:
	}
}

// chance is a number in [0, 1). w.mu is held.
func (w *world) chance() float64 { return w.random.Float64() }

// pause waits for a random time.
func (w *world) pause(most time.Duration) {
	w.mu.Lock()
	d := time.Duration(w.chance() * float64(most))
	w.mu.Unlock()
	<-time.After(d)
}

// setUp makes a callback with all sinks, and an instance for each feed.
func (w *world) setUp(p *process) {
	w.t.Helper()
	var ids []string
	for _, name := range slices.Sorted(maps.Keys(sinks)) {
		d := p.call("POST", "/callback-destinations", object{"name": name, "url": w.sinks.URL + "/" + name, "max_in_flight": 4, "timeout_seconds": 1,
			"event_types": sinks[name].types, "retry": object{"type": "linear", "maxAttempts": 50, "delaySeconds": 1}})
		ids = append(ids, id(d))
	}
	deployment := p.call("POST", "/provider-deployments", object{"provider_id": "http", "name": "feeds"})
	c := p.call("POST", "/callbacks", object{"name": "c", "provider_deployment_id": id(deployment), "poll_interval_seconds_override": 1, "destination_ids": ids})
	w.callback = id(c)
	for i := range w.feeds {
		config := p.call("POST", "/provider-configs", object{"provider_id": "http", "provider_deployment_id": id(deployment), "name": fmt.Sprint("feed ", i),
			"value": object{"url": fmt.Sprint(w.sources.URL, "/", i), "query": object{"after": "$cursor // 0"}, "items": ".items", "cursor": ".last"}})
		p.call("POST", "/callbacks/"+w.callback+"/instances", object{"provider_config_id": id(config), "baseline": "emit"})
	}
}

// serveItems answers a poll: what comes after the cursor, with a few from before it.
func (w *world) serveItems(rw http.ResponseWriter, r *http.Request) {
	defer w.happens()
	i, err := strconv.Atoi(r.URL.Path[1:])
	if err != nil {
		return // the barrier
	}
	after, err := strconv.Atoi(r.URL.Query().Get("after"))
	if err != nil {
		w.t.Errorf("poll with %q: %v", r.URL.RawQuery, err)
		return
	}
	w.happens()
	w.mu.Lock()
	f := &w.feeds[i]
	if after > f.items {
		w.t.Errorf("asked for what comes after %d of %d", after, f.items)
	}
	f.asked = max(f.asked, after)
	var fails, hangs bool
	if !w.calm {
		f.items += w.random.IntN(12)
		fails, hangs = w.chance() < 0.05, !w.orderly && w.chance() < 0.03
	}
	last := min(after+20, f.items)
	items := []object{}
	for n := max(after-3, 1); n <= last; n++ {
		items = append(items, object{"id": fmt.Sprintf("feed-%d-%d", i, n)})
	}
	w.mu.Unlock()
	switch {
	case hangs:
		<-r.Context().Done()
	case fails:
		rw.WriteHeader(http.StatusInternalServerError)
	default:
		rw.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(rw).Encode(object{"items": items, "last": last})
	}
}

// receive answers a delivery as its sink does.
func (w *world) receive(rw http.ResponseWriter, r *http.Request) {
	defer w.happens()
	sink, ok := sinks[r.URL.Path[1:]]
	if !ok {
		return // the barrier
	}
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return // the daemon died
	}
	number, err := strconv.Atoi(r.Header.Get("Metorial-Delivery-Attempt"))
	if err != nil {
		w.t.Errorf("attempt number: %v", err)
	}
	w.happens()
	seen := request{life: r.Context().Value(lifeKey{}).(int), sink: r.URL.Path[1:], event: r.Header.Get("Metorial-Event-Id"), status: http.StatusOK}
	w.mu.Lock()
	if !w.calm {
		switch c := w.chance(); {
		case c < sink.hangs:
			seen.status = 0
		case c < sink.hangs+sink.fails:
			seen.status = http.StatusInternalServerError
		}
	}
	key := attempt{r.Header.Get("webhook-id"), number}
	w.requests[key] = append(w.requests[key], seen)
	w.mu.Unlock()
	if seen.status == 0 {
		<-r.Context().Done()
		return
	}
	w.pause(5 * time.Millisecond)
	rw.WriteHeader(seen.status)
}

// publish publishes until there is calm.
func (w *world) publish(publisher int) {
	for n := 0; ; n++ {
		w.pause(40 * time.Millisecond)
		w.mu.Lock()
		for w.url == "" && !w.calm {
			w.up.Wait()
		}
		if w.calm {
			w.mu.Unlock()
			return
		}
		url := w.url
		var batch []object
		for i := range 1 + max(0, w.random.IntN(10)-5) {
			batch = append(batch, w.newEvent(fmt.Sprintf("own-%d-%d-%d", publisher, n, i)))
		}
		w.mu.Unlock()
		w.happens()
		w.accept(url, batch)
		w.happens()
	}
}

// newEvent is an event with a new source id, or one that was used before, or none. w.mu is held.
func (w *world) newEvent(sourceID string) object {
	e := object{"type": []string{"own.a", "own.b"}[w.random.IntN(2)], "output": object{"of": sourceID}}
	switch c := w.chance(); {
	case c < 0.15:
		return e
	case c < 0.4 && len(w.own) > 0:
		e["source_id"] = w.own[w.random.IntN(len(w.own))]
	default:
		e["source_id"] = sourceID
		w.own = append(w.own, sourceID)
	}
	return e
}

// accept publishes a batch, or a single event, and keeps what was accepted.
func (w *world) accept(url string, batch []object) {
	path, body := "/callbacks/"+w.callback+"/events", any(batch[0])
	if len(batch) > 1 {
		path, body = path+"/batch", object{"events": batch}
	}
	status, answer := w.post(url+path, body)
	w.mu.Lock()
	defer w.mu.Unlock()
	if status == 0 {
		for _, e := range batch {
			if e["source_id"] == nil {
				w.unheard++
			}
		}
		return
	}
	stored := []any{answer}
	if len(batch) > 1 {
		stored, _ = answer["items"].([]any)
	}
	if status != http.StatusOK || len(stored) != len(batch) {
		w.t.Errorf("publish %v: %d %v", batch, status, answer)
		return
	}
	for i, e := range batch {
		event := id(stored[i].(object))
		sourceID, _ := e["source_id"].(string)
		if before, ok := w.known[sourceID]; ok && before != event {
			w.t.Errorf("source id %s was accepted as %s, and again as %s", sourceID, before, event)
		}
		if sourceID != "" {
			w.known[sourceID] = event
		}
		w.events[event] = sourceID
	}
}

// post makes a request whose answer may not come: then the status is 0.
func (w *world) post(url string, body any) (status int, answer object) {
	text, err := json.Marshal(body)
	if err != nil {
		w.t.Error(err)
	}
	req, err := http.NewRequest("POST", url, bytes.NewReader(text))
	if err != nil {
		w.t.Error(err)
		return 0, nil
	}
	req.Header.Set("Authorization", "Bearer "+testKey)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil
	}
	defer resp.Body.Close()
	// A 2xx counts although its body did not come: but what it accepted is not known then.
	if json.NewDecoder(resp.Body).Decode(&answer) != nil {
		return 0, nil
	}
	return resp.StatusCode, answer
}
