package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/callbackd/callbackd/engine"
)

const (
	maxSeed     = 1_000 // events that are made for real, and then copied
	seedRare    = 2     // of these, of another type
	seedTrigger = "item.found"
	rareType    = "bench.rare"
)

// eventSeed is what is known of a file with many events.
type eventSeed struct {
	callback     string
	instance     string
	destinations []string
}

// eventFile makes a closed file of n events, all delivered to one destination and nearly all
// to a second: one of two hundred failed there.
func (s *suite) eventFile(ctx context.Context, n int) (path string, seed *eventSeed, err error) {
	if path, err = s.file(); err != nil {
		return "", nil, err
	}
	real := min(maxSeed, n/2)
	p, err := s.open(ctx, path, "set-up", seedProvider(real/10))
	if err != nil {
		return "", nil, err
	}
	to := s.receiver.sink(2, true)
	defer s.receiver.forget(to)
	to.refuses = func(destination int, body []byte) bool {
		number, err := numberOf(body)
		return destination == 1 && err == nil && isRefused(number)
	}
	err = p.Start(ctx)
	if err == nil {
		seed, err = p.seedEvents(ctx, to, real)
	}
	if err := errors.Join(err, p.close()); err != nil {
		return "", nil, err
	}
	c, err := eventTables(ctx, path)
	if err != nil {
		return "", nil, err
	}
	return path, seed, multiply(ctx, path, c, n/real)
}

// isRefused says which payloads the second destination refuses.
func isRefused(number int) bool { return number%200 == 7 }

// seedProvider finds the first n payloads of the seed, once.
func seedProvider(n int) engine.Provider {
	return engine.Provider{Key: "seed", Triggers: []engine.Trigger{{Key: seedTrigger, Interval: time.Hour, Poll: func(_ context.Context, req engine.PollRequest) (engine.PollResult, error) {
		var found engine.PollResult
		if req.State == nil {
			for i := range n {
				found.Inputs = append(found.Inputs, encode(engine.Mapped{Type: "bench.found", SourceID: fmt.Sprintf("item-%010d", i), Output: payload(i)}))
			}
			found.State = json.RawMessage(`{}`)
		}
		return found, nil
	}}}}
}

func (p *product) seedEvents(ctx context.Context, to *sink, n int) (*eventSeed, error) {
	deployment, err := p.CreateDeployment(ctx, engine.NewDeployment{Provider: "seed", Config: &engine.NewConfigValue{Value: json.RawMessage(`{}`)}})
	if err != nil {
		return nil, err
	}
	first, err := p.destination(ctx, to, 0)
	if err != nil {
		return nil, err
	}
	second, err := p.CreateDestination(ctx, engine.NewDestination{DestinationSettings: engine.DestinationSettings{Name: "second", URL: to.url + "1", Retry: engine.Retry{MaxAttempts: 1}}})
	if err != nil {
		return nil, err
	}
	to.secrets[1] = second.SigningSecret
	c, err := p.CreateCallback(ctx, engine.NewCallback{Details: engine.Details{Name: "seed"}, DeploymentID: deployment.ID, DestinationIDs: []string{first, second.ID}})
	if err != nil {
		return nil, err
	}
	instance, err := p.AttachInstance(ctx, c.ID, engine.NewInstance{ConfigID: deployment.DefaultConfig.ID})
	if err != nil {
		return nil, err
	}
	seed := &eventSeed{callback: c.ID, instance: instance.ID, destinations: []string{first, second.ID}}
	if err := each(ctx, publishers, n-n/10, func(ctx context.Context, i int) error {
		kind := eventType
		if i < seedRare {
			kind = rareType
		}
		return p.Publish(ctx, c.ID, engine.NewEvent{Type: kind, Output: payload(n/10 + i)})
	}); err != nil {
		return nil, err
	}
	receipts := 2 * n
	for i := range n {
		if isRefused(i) {
			receipts--
		}
	}
	if _, err := to.wait(ctx, receipts); err != nil {
		return nil, err
	}
	return seed, p.settled(ctx, c.ID)
}

// settled waits until no notification of a callback is open: outcomes are stored a little
// after the receipt.
func (p *product) settled(ctx context.Context, callback string) error {
	for deadline := time.Now().Add(stalled); ; {
		open, err := p.ListNotifications(ctx, callback, engine.NotificationFilter{Statuses: []string{"pending", "retrying"}}, engine.Page{Limit: 1})
		if err != nil {
			return err
		}
		if len(open.Items) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.New("some outcomes were not stored")
		}
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
}
