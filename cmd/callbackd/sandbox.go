package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/httpapi"
)

type sandboxCommand struct {
	slateFlags
	Addr string `env:"CALLBACKD_SANDBOX_ADDR" default:"127.0.0.1:0" help:"Address of the API; port 0 takes a free one."`
	DB   string `name:"db" env:"CALLBACKD_SANDBOX_DB" help:"Keep the database in this file. Default: a temporary one, removed at the end." type:"path"`
}

func (s sandboxCommand) Run(ctx context.Context, c console) (err error) {
	path := s.DB
	if path == "" {
		dir, err := os.MkdirTemp("", "callbackd-sandbox-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		path = filepath.Join(dir, "sandbox.db")
	}
	screen := newScreen(c.out)
	receiver, err := newReceiver(screen)
	if err != nil {
		return err
	}
	defer receiver.close()
	log := screen.logger()
	integrations, err := s.connect(ctx, log)
	if err != nil {
		return err
	}
	eng, err := engine.Open(ctx, engine.Options{Path: path, Providers: append(builtin(), integrations...), AllowPrivateNetworks: true, Logger: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, eng.Close()) }()
	callback, err := furnish(ctx, eng, receiver)
	if err != nil {
		return err
	}
	key := "sandbox-" + rand.Text() // for this run alone, so it is not stored
	listener, err := net.Listen("tcp", s.Addr)
	if err != nil {
		return err
	}
	api := newServer(httpapi.New(eng, httpapi.Options{APIKeys: []string{key}, Logger: log}), log)
	served := make(chan error, 1)
	go func() { served <- api.Serve(listener) }()
	screen.introduce(introduction{API: "http://" + listener.Addr().String(), Key: key, Callback: callback, Receiver: receiver.url, Kept: s.DB})
	if err := eng.Start(ctx); err != nil {
		return errors.Join(err, api.Close())
	}
	select {
	case err = <-served:
	case <-ctx.Done():
		err = stop(api, eng)
		screen.farewell(s.DB)
	}
	return err
}

// sandboxName is what everything that the sandbox makes is called; by it a kept database is
// known again.
const sandboxName = "sandbox"

// furnish makes a callback of the demo provider that tells the receiver, or finds the one
// that a kept database has and points it to the receiver of this time.
func furnish(ctx context.Context, eng *engine.Engine, r *receiver) (callbackID string, err error) {
	callbacks, err := eng.ListCallbacks(ctx, engine.CallbackFilter{}, engine.Page{Limit: 100})
	if err != nil {
		return "", err
	}
	for _, cb := range callbacks.Items {
		if cb.Name != sandboxName || len(cb.Destinations) == 0 {
			continue
		}
		d, err := eng.UpdateDestination(ctx, cb.Destinations[0].ID, engine.UpdateDestination{URL: &r.url})
		if err != nil {
			return "", err
		}
		r.secret.Store(&d.SigningSecret)
		return cb.ID, nil
	}
	d, err := eng.CreateDestination(ctx, engine.NewDestination{DestinationSettings: engine.DestinationSettings{Name: sandboxName, URL: r.url,
		Retry: engine.Retry{Type: engine.RetryLinear, MaxAttempts: 10, Delay: time.Second}}})
	if err != nil {
		return "", err
	}
	r.secret.Store(&d.SigningSecret)
	deployment, err := eng.CreateDeployment(ctx, engine.NewDeployment{Details: engine.Details{Name: sandboxName}, Provider: "demo",
		Config: &engine.NewConfigValue{Name: sandboxName, Value: json.RawMessage(`{}`)}})
	if err != nil {
		return "", err
	}
	callback, err := eng.CreateCallback(ctx, engine.NewCallback{Details: engine.Details{Name: sandboxName}, DeploymentID: deployment.ID, DestinationIDs: []string{d.ID}})
	if err != nil {
		return "", err
	}
	if deployment.DefaultConfig == nil {
		return "", fmt.Errorf("deployment %s has no config", deployment.ID)
	}
	_, err = eng.AttachInstance(ctx, callback.ID, engine.NewInstance{ConfigID: deployment.DefaultConfig.ID})
	return callback.ID, err
}
