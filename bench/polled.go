package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/callbackd/callbackd/engine"
	httpprovider "github.com/callbackd/callbackd/engine/provider/http"
)

const feedItems = 1_000

// feedServer has feeds with 1,000 new items at each poll. What it shows next depends on the
// ETag that the poller got with its last success, so a poll that failed is shown the same again.
type feedServer struct {
	mu    sync.Mutex
	until time.Time // when nothing new comes any more
	next  []int     // by feed: batches that were shown at least once
}

func (f *feedServer) shown() (batches int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range f.next {
		batches += n
	}
	return batches
}

func (f *feedServer) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	feed, err := strconv.Atoi(strings.TrimPrefix(req.URL.Path, "/"))
	if err != nil || feed < 0 || feed >= len(f.next) {
		http.NotFound(w, req)
		return
	}
	batch := 0
	if last, err := strconv.Atoi(strings.Trim(req.Header.Get("If-None-Match"), `"`)); err == nil {
		batch = last + 1
	}
	f.mu.Lock()
	if batch == f.next[feed] && !time.Now().Before(f.until) {
		f.mu.Unlock()
		w.WriteHeader(http.StatusNotModified)
		return
	}
	f.next[feed] = max(f.next[feed], batch+1)
	f.mu.Unlock()
	first := (batch*len(f.next) + feed) * feedItems
	body := make([]byte, 0, feedItems*(payloadSize+1)+1)
	for i := range feedItems {
		body = append(append(body, "[,"[min(i, 1)]), payload(first+i)...)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("ETag", `"`+strconv.Itoa(batch)+`"`)
	_, _ = w.Write(append(body, ']'))
}

// polledRound is from the attaching of feeds to the receipt of all that they have shown.
// It takes longer than the others, so that the wait for the first second weighs less.
func polledRound(ctx context.Context, s *suite) (got sample, err error) {
	p, err := s.fresh(ctx, "polled throughput", httpprovider.New())
	if err != nil {
		return got, err
	}
	to := s.receiver.sink(1, false)
	defer s.receiver.forget(to)
	defer s.remove(p.path)
	source := &feedServer{next: make([]int, s.size.feeds)}
	url, stop, err := serveLoopback(source)
	if err != nil {
		return got, errors.Join(err, p.close())
	}
	got, err = polled(ctx, s, p, to, source, url)
	err = errors.Join(err, p.close())
	stop()
	return got, err
}

func polled(ctx context.Context, s *suite, p *product, to *sink, source *feedServer, url string) (got sample, err error) {
	destination, err := p.destination(ctx, to, 0)
	if err != nil {
		return got, err
	}
	deployment, err := p.CreateDeployment(ctx, engine.NewDeployment{Provider: "http"})
	if err != nil {
		return got, err
	}
	callback, err := p.CreateCallback(ctx, engine.NewCallback{Details: engine.Details{Name: "feeds"}, DeploymentID: deployment.ID,
		PollIntervalOverride: time.Second, DestinationIDs: []string{destination}})
	if err != nil {
		return got, err
	}
	configs := make([]string, s.size.feeds)
	for i := range configs {
		c, err := p.CreateConfig(ctx, engine.NewConfig{Provider: "http", DeploymentID: deployment.ID,
			Value: encode(map[string]string{"url": fmt.Sprintf("%s/%d", url, i), "id": ".seq"})})
		if err != nil {
			return got, err
		}
		configs[i] = c.ID
	}
	cpu, started := cpuTime(), time.Now()
	source.mu.Lock()
	source.until = started.Add(2 * s.size.span)
	source.mu.Unlock()
	for _, id := range configs {
		if _, err := p.AttachInstance(ctx, callback.ID, engine.NewInstance{ConfigID: id, Baseline: engine.BaselineEmit}); err != nil {
			return got, err
		}
	}
	select {
	case <-ctx.Done():
		return got, ctx.Err()
	case <-time.After(time.Until(source.until)):
	}
	// A poll that began before may still show a batch.
	var last time.Time
	for before := -1; source.shown() != before; {
		before = source.shown()
		if last, err = to.wait(ctx, before*feedItems); err != nil && before == source.shown() {
			return got, err
		}
	}
	return sample{events: source.shown() * feedItems, elapsed: last.Sub(started), cpu: cpuTime() - cpu}, nil
}
