// Command run is a daemon of one's own: the example provider, a help desk for it to ask, and
// callbackd's HTTP API. A ticket is opened every few seconds, and the one before it closed.
//
//	go run ./examples/provider/run
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/examples/provider"
	"github.com/callbackd/callbackd/examples/provider/desk"
	"github.com/callbackd/callbackd/httpapi"
)

const (
	apiAddr  = "127.0.0.1:8420"
	deskAddr = "127.0.0.1:9100"
	apiKey   = "sesame" // of your own choice; in earnest, from the environment
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "desk-") // the desk forgets its tickets, too
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	eng, err := engine.Open(ctx, engine.Options{
		Path:                 filepath.Join(dir, "callbacks.db"),
		PublicURL:            "http://" + apiAddr,
		Providers:            []engine.Provider{provider.New()},
		Functions:            []engine.Function{{Name: "print", Handle: printMessage}},
		AllowPrivateNetworks: true, // the desk is on this machine
		Logger:               logger,
	})
	if err != nil {
		return err
	}
	defer eng.Close()
	var d desk.Desk
	defer serve(deskAddr, &d)()
	defer serve(apiAddr, httpapi.New(eng, httpapi.Options{APIKeys: []string{apiKey}, Logger: logger}))()
	if err := setUp(ctx, eng); err != nil {
		return err
	}
	fmt.Printf("API: http://%s with the key %q; desk: http://%s with the token %q\n", apiAddr, apiKey, deskAddr, desk.Token)
	go work(ctx, &d)
	return eng.Run(ctx)
}

func serve(addr string, h http.Handler) (stop func()) {
	server := &http.Server{Addr: addr, Handler: h, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			log.Fatal(err)
		}
	}()
	return func() { _ = server.Close() }
}

// work opens and closes tickets.
func work(ctx context.Context, d *desk.Desk) {
	for id := 1; ; id++ {
		d.Open("The printer is on fire")
		if id > 1 {
			if err := d.Close(ctx, id-1); err != nil {
				log.Print("the desk could not tell of a closed ticket: ", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(3 * time.Second):
		}
	}
}

func printMessage(_ context.Context, m engine.Message) error {
	fmt.Println(m.Type, m.SourceID, string(m.Data))
	return nil
}

// setUp has the desk watched.
func setUp(ctx context.Context, eng *engine.Engine) error {
	deployment, err := eng.CreateDeployment(ctx, engine.NewDeployment{
		Provider: "desk",
		Config:   &engine.NewConfigValue{Value: json.RawMessage(`{"url": "http://` + deskAddr + `"}`)},
	})
	if err != nil {
		return err
	}
	auth, err := eng.CreateAuthConfig(ctx, engine.NewAuthConfig{
		Details: engine.Details{Name: "desk"}, DeploymentID: deployment.ID, // as other providers may have a method "token"
		Method: "token", Value: json.RawMessage(`{"token": "` + desk.Token + `"}`),
	})
	if err != nil {
		return err
	}
	callback, err := eng.CreateCallback(ctx, engine.NewCallback{
		Details:              engine.Details{Name: "tickets"},
		DeploymentID:         deployment.ID,
		DestinationIDs:       []string{"func:print"},
		PollIntervalOverride: 2 * time.Second,
	})
	if err != nil {
		return err
	}
	_, err = eng.AttachInstance(ctx, callback.ID, engine.NewInstance{ConfigID: deployment.DefaultConfig.ID, AuthConfigID: auth.ID})
	return err
}
