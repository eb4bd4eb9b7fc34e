package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/httpapi"
)

// product is an engine of ours on a file.
type product struct {
	*engine.Engine
	path       string
	deployment string // of the provider that finds nothing
	unwatch    func()
	note       func(format string, args ...any)
}

// idle is a provider that finds nothing: callbacks need one.
func idle() engine.Provider {
	return engine.Provider{Key: "idle", Triggers: []engine.Trigger{{Key: "never", Interval: time.Hour,
		Poll: func(context.Context, engine.PollRequest) (engine.PollResult, error) { return engine.PollResult{}, nil }}}}
}

// open opens an engine with its defaults, but for what a receiver on this machine needs.
// It is started by its caller.
func (s *suite) open(ctx context.Context, path, when string, with ...engine.Provider) (*product, error) {
	return s.openWith(ctx, path, when, nil, with...)
}

// openWith is open with other options.
func (s *suite) openWith(ctx context.Context, path, when string, change func(*engine.Options), with ...engine.Provider) (*product, error) {
	o := engine.Options{Path: path, AllowPrivateNetworks: true, Providers: append(with, idle())}
	if change != nil {
		change(&o)
	}
	eng, err := engine.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	p := &product{Engine: eng, path: path, unwatch: s.watchWAL(path, when), note: s.note}
	d, err := eng.CreateDeployment(ctx, engine.NewDeployment{Provider: "idle"})
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	p.deployment = d.ID
	return p, nil
}

// fresh is a started engine on a new file.
func (s *suite) fresh(ctx context.Context, when string, with ...engine.Provider) (*product, error) {
	path, err := s.file()
	if err != nil {
		return nil, err
	}
	p, err := s.open(ctx, path, when, with...)
	if err != nil {
		return nil, err
	}
	if err := p.Start(ctx); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *product) close() error {
	started := time.Now()
	err := p.Close()
	if took := time.Since(started); took > worthANote {
		p.note("  the engine took %s to close", took.Round(time.Millisecond))
	}
	p.unwatch()
	return err
}

// destination makes a destination of a sink's, with the defaults.
func (p *product) destination(ctx context.Context, to *sink, i int) (string, error) {
	d, err := p.CreateDestination(ctx, engine.NewDestination{DestinationSettings: engine.DestinationSettings{Name: "bench", URL: to.url + strconv.Itoa(i)}})
	to.secrets[i] = d.SigningSecret
	return d.ID, err
}

// callback makes a callback whose events go to all destinations of a sink.
func (p *product) callback(ctx context.Context, to *sink) (id string, err error) {
	ids := make([]string, len(to.secrets))
	for i := range ids {
		if ids[i], err = p.destination(ctx, to, i); err != nil {
			return "", err
		}
	}
	c, err := p.CreateCallback(ctx, engine.NewCallback{Details: engine.Details{Name: "bench"}, DeploymentID: p.deployment, DestinationIDs: ids})
	return c.ID, err
}

const eventType = "bench.event"

// publisher publishes payloads to a callback.
func (p *product) publisher(callback string) func(context.Context, int) error {
	return func(ctx context.Context, number int) error {
		return p.Publish(ctx, callback, engine.NewEvent{Type: eventType, Output: payload(number)})
	}
}

// apiKey is what the API is called with.
const apiKey = "bench-key-of-this-run-only"

// serveAPI serves the engine's API on a loopback port.
func (p *product) serveAPI() (url string, stop func(), err error) {
	return serveLoopback(httpapi.New(p.Engine, httpapi.Options{APIKeys: []string{apiKey}}))
}

func serveLoopback(h http.Handler) (url string, stop func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener)
	}()
	return "http://" + listener.Addr().String(), func() { _ = server.Close(); <-served }, nil
}

// eventBody is a payload as the API takes it.
func eventBody(number int) []byte {
	return fmt.Appendf(nil, `{"type":%q,"output":%s}`, eventType, payload(number))
}

// encode makes JSON of what always can be.
func encode(v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}
