package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/callbackd/callbackd/engine/signature"
)

// receiver is a plain server that reads what it gets and answers 200. It has a sink for
// each run, at a path of its own.
type receiver struct {
	server *http.Server
	base   string
	note   func(format string, args ...any) // says what no figure shows

	mu    sync.RWMutex
	sinks []*sink
}

func newReceiver(note func(string, ...any)) (*receiver, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &receiver{note: note, base: "http://" + listener.Addr().String()}
	r.server = &http.Server{Handler: r, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = r.server.Serve(listener) }() // ends with close
	return r, nil
}

func (r *receiver) close() { _ = r.server.Close() }

// sink makes a sink with a number of destinations. With fanOut, each of them is to get
// every payload; without, each payload goes to one.
func (r *receiver) sink(destinations int, fanOut bool) *sink {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &sink{url: fmt.Sprintf("%s/%d/", r.base, len(r.sinks)), secrets: make([]string, destinations), fanOut: fanOut, note: r.note}
	r.sinks = append(r.sinks, s)
	return s
}

// forget lets go of a sink; what still comes for it is answered 404.
func (r *receiver) forget(s *sink) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.sinks {
		if r.sinks[i] == s {
			r.sinks[i] = nil
		}
	}
}

func (r *receiver) find(path string) (s *sink, destination int) {
	first, second, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	i, err := strconv.Atoi(first)
	if err != nil {
		return nil, 0
	}
	if destination, err = strconv.Atoi(second); err != nil {
		return nil, 0
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	if i < 0 || i >= len(r.sinks) || r.sinks[i] == nil || destination < 0 || destination >= len(r.sinks[i].secrets) {
		return nil, 0
	}
	return r.sinks[i], destination
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	s, destination := r.find(req.URL.Path)
	if s == nil {
		http.NotFound(w, req)
		return
	}
	body, err := readAll(req)
	if err != nil {
		return // the sender gave up
	}
	if s.hangs != nil && s.hangs(destination) {
		<-req.Context().Done()
		return
	}
	if s.refuses != nil && s.refuses(destination, body) {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	s.take(destination, req.Header, body)
}

func readAll(req *http.Request) ([]byte, error) {
	if req.ContentLength < 0 {
		return io.ReadAll(req.Body)
	}
	body := make([]byte, req.ContentLength)
	_, err := io.ReadFull(req.Body, body)
	return body, err
}

// sink is where one run's payloads arrive. It knows each by its number.
type sink struct {
	url     string   // a destination's number goes behind it
	secrets []string // of the destinations; set before anything is sent
	fanOut  bool
	note    func(format string, args ...any)

	hangs    func(destination int) bool                  // nil: none does
	refuses  func(destination int, body []byte) bool     // nil: none does
	received func(destination, number int, at time.Time) // told of first receipts, one at a time; nil: nobody is

	mu    sync.Mutex
	seen  []uint64
	first int // receipts that were not repeats
	all   int
	last  time.Time // of the last first receipt
	wrong error
}

const verifyEvery = 100

func (s *sink) take(destination int, header http.Header, body []byte) {
	number, err := numberOf(body)
	at := time.Now()
	s.mu.Lock()
	s.all++
	verify := s.all%verifyEvery == 1
	if err == nil {
		key := number
		if s.fanOut {
			key = number*len(s.secrets) + destination
		}
		for key/64 >= len(s.seen) {
			s.seen = append(s.seen, 0)
		}
		if bit := uint64(1) << (key % 64); s.seen[key/64]&bit == 0 {
			s.seen[key/64] |= bit
			s.first++
			s.last = at
			if s.received != nil {
				s.received(destination, number, at)
			}
		}
	}
	s.mu.Unlock()
	if err == nil && verify {
		err = signature.Verify(header, body, signature.Options{Secrets: []string{s.secrets[destination]}})
	}
	if err != nil {
		s.mu.Lock()
		s.wrong = errors.Join(s.wrong, err)
		s.mu.Unlock()
	}
}

// worthANote is how long nothing may arrive without being said.
const worthANote = 4 * time.Second

// stalled is how long nothing may arrive until what is missing counts as lost.
const stalled = 45 * time.Second

// wait returns when n payloads have arrived, each counted once, with the time of the last.
func (s *sink) wait(ctx context.Context, n int) (last time.Time, err error) {
	had, since := -1, time.Now()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		s.mu.Lock()
		first, wrong := s.first, s.wrong
		last = s.last
		s.mu.Unlock()
		if gap := time.Since(since); first > had && had >= 0 && gap > worthANote {
			s.note("  nothing arrived for %s, then it went on", gap.Round(time.Millisecond))
		}
		switch {
		case wrong != nil:
			return last, wrong
		case first > n:
			return last, fmt.Errorf("%d events were received and only %d published", first, n)
		case first == n:
			return last, nil
		case first > had:
			had, since = first, time.Now()
		case time.Since(since) > stalled:
			return last, fmt.Errorf("lost: %d of %d events did not arrive", n-first, n)
		}
		select {
		case <-ctx.Done():
			return last, ctx.Err()
		case <-tick.C:
		}
	}
}
