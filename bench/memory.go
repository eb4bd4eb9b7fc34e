package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/callbackd/callbackd/engine/provider/demo"
)

// memory is what the real daemon has of the machine's (RSS) in several states. The generator
// and the receiver are this process, and not counted.
func memory(ctx context.Context, s *suite) error {
	n := largest(s.size.waiting)
	m := largest(s.size.triggers)
	for _, state := range []struct {
		what  string
		goal  int64 // bytes
		watch func(context.Context, *suite) (int64, error)
	}{
		{"memory (RSS) of callbackd serve, idle", 25e6, idleMemory},
		{"memory (RSS) of callbackd serve, at saturation over the API", 100e6, busyMemory},
		{fmt.Sprintf("memory (RSS) of callbackd serve, %s notifications waiting for a dead destination", count(n)), 200e6, waitingMemory},
		{fmt.Sprintf("memory (RSS) of callbackd serve, %s triggers, each due once an hour", count(m)), 200e6, triggerMemory},
	} {
		goal := "< " + megabytes(state.goal)
		most, err := state.watch(ctx, s)
		switch {
		case errors.Is(err, errNoRSS):
			s.report.skip(state.what, goal, err.Error())
		case err != nil:
			return fmt.Errorf("%s: %w", state.what, err)
		default:
			s.report.add(row{what: state.what, goal: goal, value: megabytes(most), met: yes(most < state.goal)})
		}
	}
	return nil
}

// watched serves a file and watches the daemon's memory for a while.
func (s *suite) watched(ctx context.Context, path, when string) (int64, error) {
	d, err := s.serve(ctx, path, when)
	if err != nil {
		return 0, err
	}
	most, err := d.watchRSS(ctx, s.size.watchSpan)
	return most, errors.Join(err, d.stop())
}

func idleMemory(ctx context.Context, s *suite) (int64, error) {
	path, err := s.file()
	if err != nil {
		return 0, err
	}
	defer s.remove(path)
	return s.watched(ctx, path, "idle")
}

func busyMemory(ctx context.Context, s *suite) (most int64, err error) {
	path, err := s.file()
	if err != nil {
		return 0, err
	}
	defer s.remove(path)
	d, err := s.serve(ctx, path, "daemon at saturation")
	if err != nil {
		return 0, err
	}
	to := s.receiver.sink(1, false)
	defer s.receiver.forget(to)
	c := newClient(d.url)
	callback, err := remoteCallback(ctx, c, to)
	if err == nil {
		most, err = s.saturate(ctx, d, c, callback, to)
	}
	c.close()
	return most, errors.Join(err, d.stop())
}

func (s *suite) saturate(ctx context.Context, d *daemon, c *client, callback string, to *sink) (most int64, err error) {
	l := load{workers: apiConnections, to: to, publish: func(ctx context.Context, number int) error {
		return c.post(ctx, "/callbacks/"+callback+"/events", eventBody(number), nil)
	}}
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan struct{})
	var noRSS error
	go func() {
		defer close(ended)
		var err error
		if most, err = d.watchRSS(watching, time.Hour); watching.Err() == nil {
			noRSS = err
		}
	}()
	got, err := l.measure(ctx, s.size.watchSpan)
	cancel()
	<-ended
	if err == nil {
		s.note("  the daemon: %s events/s", count(int(got.rate())))
	}
	return most, errors.Join(err, noRSS)
}

var secretRE = regexp.MustCompile(`whsec_[A-Za-z0-9+/=]+`)

// remoteCallback makes a destination and a callback over the API.
func remoteCallback(ctx context.Context, c *client, to *sink) (id string, err error) {
	var deployment, destination, callback struct{ ID string }
	if err := c.post(ctx, "/provider-deployments", encode(map[string]any{"provider_id": "demo"}), &deployment); err != nil {
		return "", err
	}
	var answer json.RawMessage
	if err := c.post(ctx, "/callback-destinations", encode(map[string]any{"name": "bench", "url": to.url + "0"}), &answer); err != nil {
		return "", err
	}
	if err := json.Unmarshal(answer, &destination); err != nil {
		return "", err
	}
	if to.secrets[0] = secretRE.FindString(string(answer)); to.secrets[0] == "" {
		return "", errors.New("the answer about a new destination holds no signing secret")
	}
	err = c.post(ctx, "/callbacks", encode(map[string]any{"provider_deployment_id": deployment.ID, "name": "bench", "destination_ids": []string{destination.ID}}), &callback)
	return callback.ID, err
}

func waitingMemory(ctx context.Context, s *suite) (int64, error) {
	path, err := s.waitingFile(ctx, largest(s.size.waiting))
	if err != nil {
		return 0, err
	}
	defer s.remove(path)
	return s.watched(ctx, path, "daemon with many waiting")
}

func triggerMemory(ctx context.Context, s *suite) (int64, error) {
	n := largest(s.size.triggers)
	path, err := s.triggerFile(ctx, n, "demo", demo.New(), time.Hour)
	if err != nil {
		return 0, err
	}
	defer s.remove(path)
	if err := s.plantTriggers(ctx, path, n, plan{first: time.Now().Add(time.Second), over: time.Hour}); err != nil {
		return 0, err
	}
	return s.watched(ctx, path, "daemon with many triggers")
}
