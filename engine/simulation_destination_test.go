package engine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/engine/signature"
)

// simDestination is a destination, and how it behaves.
type simDestination struct {
	name, id, secret string
	settings         engine.DestinationSettings
	health           float64 // how often it answers well
	troubles         []string
	downFrom, downTo time.Duration // nothing is well in between
	active           timeline
	linked           map[*simCallback]*timeline // nil: every callback is

	inFlight int
	idle     time.Duration // since when nothing is in flight
}

func (d *simDestination) isFunction() bool { return strings.HasPrefix(d.settings.URL, "func:") }

// simDelivery is what a destination saw of one notification.
type simDelivery struct {
	destination *simDestination
	label       string
	content     string // the same at every attempt
	receipts    []*receipt
}

// receipt is one attempt, as its destination saw it.
type receipt struct {
	p         *process
	number    int
	at, ended time.Duration
	open      bool
	heard     bool // a living process heard what came of it
	verdict   verdict
}

// certain tells whether an attempt is in the file for certain. w.mu is held.
func (r *receipt) certain() bool { return r.heard && r.p.survived(r.ended) }

// verdict is what an attempt came to.
type verdict struct {
	code   string // "": delivered
	status int    // 0: there was no answer
	after  time.Duration
	final  bool // not to be tried again
}

// arrive is called when an attempt reaches its destination. It returns false for one of a
// process that is dead: nobody sees that.
func (p *process) arrive(d *simDestination, notification, label, content string, number int) (*receipt, bool) {
	w := p.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if !p.lives() {
		return nil, false
	}
	v := w.deliveries[notification]
	if v == nil {
		v = &simDelivery{destination: d, label: label, content: content}
		w.deliveries[notification] = v
	}
	about := fmt.Sprintf("%s at %s, attempt %d", label, d.name, number)
	if v.destination != d || v.content != content {
		w.wrong("%s: it is not what was sent before under the same id", about)
	}
	recorded, most := 0, 0 // attempts that are in the file, at least and at most
	for _, r := range v.receipts {
		if r.open && r.p == p {
			w.wrong("%s: an attempt is in flight already", about)
		}
		if r.certain() {
			recorded++
		}
		if r.heard {
			most++
		}
		if r.certain() && r.verdict.code == "" {
			w.wrong("%s: it was delivered before", about)
		}
		if r.certain() && (r.verdict.final || r.number >= d.settings.Retry.MaxAttempts) {
			w.wrong("%s: attempt %d was its last", about, r.number)
		}
		if r.certain() && r.verdict.code != "" {
			if least, _ := retryBounds(d.settings.Retry, r.number, r.verdict); w.now() < r.ended+least-w.exact() {
				w.wrong("%s: %s after attempt %d, not %s", about, w.now()-r.ended, r.number, least)
			}
		}
	}
	if number < recorded+1 || number > most+1 {
		w.wrong("%s: %d attempts were made before", about, recorded)
	}
	if n := len(v.receipts); n > 0 && d.inFlight == 0 && v.receipts[n-1].certain() {
		last := v.receipts[n-1]
		_, most := retryBounds(d.settings.Retry, last.number, last.verdict)
		if since := max(last.ended+most, d.idle, d.active[len(d.active)-1].from, p.opened); w.now() > since+slack {
			w.wrong("%s: nothing was in its way since %s", about, since)
		}
	}
	if d.inFlight++; d.inFlight > d.settings.MaxInFlight {
		w.wrong("%s: %d are in flight, not %d", about, d.inFlight, d.settings.MaxInFlight)
	}
	r := &receipt{p: p, number: number, at: w.now(), open: true}
	v.receipts = append(v.receipts, r)
	return r, true
}

// leave ends an attempt with what came of it. ctx is the attempt's.
func (d *simDestination) leave(ctx context.Context, r *receipt, label string, v verdict) {
	w := r.p.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.open, r.ended, r.verdict = false, w.now(), v; !r.p.lives() {
		return // who comes next has begun anew
	}
	if d.inFlight--; d.inFlight == 0 {
		d.idle = w.now()
	}
	word := v.code
	if word == "" {
		word = "delivered"
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		w.note("%s gets %s, attempt %d: cut short", d.name, label, r.number)
		return
	}
	r.heard = true
	r.p.tempt("attempt")
	w.note("%s gets %s, attempt %d, for %s: %s", d.name, label, r.number, r.ended-r.at, word)
	if v.status == http.StatusGone {
		d.active.set(w.now(), unknown)
	}
}

// sleepOr waits, or until ctx is done.
func sleepOr(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// behave decides how a destination takes an attempt: a word of its troubles, or "ok".
func (p *process) behave(d *simDestination, label string, attempt int) (trouble string, latency time.Duration, after int) {
	w := p.w
	r := w.dice("deliver", d.name, label, attempt, p.number)
	latency, after = between(r, time.Millisecond, 400*time.Millisecond), r.IntN(150)
	trouble = "ok"
	if down := w.now() >= d.downFrom && w.now() < d.downTo; down || r.Float64() >= d.health {
		trouble = pick(r, d.troubles)
	}
	return trouble, latency, after
}

// httpTroubles are the ways in which a destination over HTTP can fail.
var httpTroubles = []string{"500", "404", "302", "429", "503", "refuse", "hang", "halfway"}

// RoundTrip is the network: it brings an attempt to its destination.
func (p *process) RoundTrip(req *http.Request) (*http.Response, error) {
	w := p.w
	var d *simDestination
	for _, other := range w.destinations {
		if "http://"+req.URL.Host == other.settings.URL {
			d = other
		}
	}
	body, err := io.ReadAll(req.Body)
	if err != nil || d == nil {
		return nil, fmt.Errorf("no such destination, or %w", err)
	}
	var message struct {
		Type     string `json:"type"`
		SourceID string `json:"source_id"`
		Data     struct {
			Label string `json:"label"`
		} `json:"data"`
	}
	err = json.Unmarshal(body, &message)
	trusted := signature.Options{Secrets: []string{d.secret}}
	if w.setClocks {
		trusted.Tolerance = -1 // what is on its way when the clock is set was signed by the old one
	}
	if signed := signature.Verify(req.Header, body, trusted); err != nil || signed != nil {
		w.mu.Lock()
		w.wrong("%s gets a request that it cannot trust: %v, %v", d.name, err, signed)
		w.mu.Unlock()
	}
	number, _ := strconv.Atoi(req.Header.Get("Metorial-Delivery-Attempt"))
	label := message.Data.Label
	r, ok := p.arrive(d, req.Header.Get("webhook-id"), label, string(body), number)
	if !ok {
		return nil, errors.New("the process is dead")
	}
	ctx := req.Context()
	trouble, latency, after := p.behave(d, label, number)
	if trouble == "hang" {
		<-ctx.Done()
		d.leave(ctx, r, label, verdict{code: "timeout"})
		return nil, ctx.Err()
	}
	if sleepOr(ctx, latency); ctx.Err() != nil {
		d.leave(ctx, r, label, verdict{code: "timeout"})
		return nil, ctx.Err()
	}
	header := http.Header{}
	switch trouble {
	case "refuse":
		d.leave(ctx, r, label, verdict{code: "network"})
		return nil, errors.New("refused")
	case "halfway":
		return &http.Response{StatusCode: 200, Header: header, Body: &neverEnds{ctx, func() {
			d.leave(ctx, r, label, verdict{code: "timeout", status: 200})
		}}}, nil
	case "ok":
		d.leave(ctx, r, label, verdict{status: 204})
		return &http.Response{StatusCode: 204, Header: header, Body: http.NoBody}, nil
	}
	v := verdict{code: "http_" + trouble}
	v.status, _ = strconv.Atoi(trouble)
	switch v.status {
	case 302:
		v.code = "redirect"
	case 410:
		v.final = true
	case 429, 503:
		header.Set("Retry-After", strconv.Itoa(after))
		v.after = max(time.Minute, time.Duration(after)*time.Second)
	}
	d.leave(ctx, r, label, v)
	return &http.Response{StatusCode: v.status, Header: header, Body: io.NopCloser(bytes.NewBufferString("because"))}, nil
}

// neverEnds is the body of an answer that does not end.
type neverEnds struct {
	ctx   context.Context
	ended func()
}

func (e *neverEnds) Read([]byte) (int, error) {
	<-e.ctx.Done()
	if e.ended != nil {
		e.ended()
		e.ended = nil
	}
	return 0, e.ctx.Err()
}

func (e *neverEnds) Close() error { return nil }

// functionTroubles are the ways in which a destination inside the program can fail.
var functionTroubles = []string{"error", "error", "permanent", "busy", "panic", "exit", "hang", "late"}

// functions are the destinations inside the program.
func (p *process) functions() []engine.Function {
	var out []engine.Function
	for _, d := range p.w.destinations {
		if !d.isFunction() {
			continue
		}
		s := d.settings
		out = append(out, engine.Function{Name: strings.TrimPrefix(s.URL, "func:"), EventTypes: s.EventTypes, Retry: s.Retry, Timeout: s.Timeout, MaxInFlight: s.MaxInFlight,
			Handle: func(ctx context.Context, m engine.Message) error { return p.handle(ctx, d, m) }})
	}
	return out
}

func (p *process) handle(ctx context.Context, d *simDestination, m engine.Message) error {
	var data struct {
		Label string `json:"label"`
	}
	if err := json.Unmarshal(m.Data, &data); err != nil {
		return err
	}
	r, ok := p.arrive(d, m.NotificationID, data.Label, m.EventID+m.Type+m.SourceID+string(m.Data), m.Attempt)
	if !ok {
		return errors.New("the process is dead")
	}
	trouble, latency, after := p.behave(d, data.Label, m.Attempt)
	switch trouble {
	case "hang":
		<-ctx.Done()
		d.leave(ctx, r, data.Label, verdict{code: "timeout"})
		return ctx.Err()
	case "late": // it does not heed its deadline, and succeeds
		time.Sleep(d.settings.Timeout + latency)
		d.leave(context.Background(), r, data.Label, verdict{})
		return nil
	}
	if sleepOr(ctx, latency); ctx.Err() != nil {
		d.leave(ctx, r, data.Label, verdict{code: "timeout"})
		return ctx.Err()
	}
	err := errors.New("because")
	v := verdict{code: "function_error"}
	switch trouble {
	case "ok":
		v, err = verdict{}, nil
	case "permanent":
		v.final, err = true, engine.Permanent(err)
	case "busy":
		v.after = time.Duration(after) * time.Second
		err = engine.RetryAfter(v.after, err)
	case "panic":
		defer panic("because")
	case "exit":
		defer runtime.Goexit()
	}
	d.leave(ctx, r, data.Label, v)
	return err
}

// retryBounds are the shortest and the longest time from the end of a failed attempt to the
// next one, as the contract has it.
func retryBounds(retry engine.Retry, attempt int, v verdict) (least, most time.Duration) {
	const day = 24 * time.Hour
	var delay time.Duration
	jitter := 0.0
	switch retry.Type {
	case "linear":
		delay = time.Duration(attempt) * retry.Delay
	case "exponential":
		delay = retry.Delay
		for range attempt - 1 {
			delay = min(2*delay, day)
		}
	default:
		minutes := []float64{5.0 / 60, 5, 30, 120, 300, 600, 840, 1200, 1440}
		delay = time.Duration(minutes[min(attempt, 9)-1] * float64(time.Minute))
		jitter = 0.1
	}
	clamp := func(d time.Duration) time.Duration { return max(min(max(d, time.Second), day), v.after) }
	return clamp(time.Duration((1 - jitter) * float64(delay))), clamp(time.Duration((1 + jitter) * float64(delay)))
}
