// Command smallest is a provider in a few lines, in a program that prints what it finds.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"os/signal"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// clock finds the time, to the five seconds. (A clock may: its event is the time.)
func clock() engine.Provider {
	return engine.Provider{
		Key: "clock",
		Triggers: []engine.Trigger{{
			Key:      "time.passed",
			Interval: time.Second,
			Poll: func(_ context.Context, req engine.PollRequest) (engine.PollResult, error) {
				now := req.Now.Truncate(5 * time.Second).Format(time.TimeOnly)
				input, err := json.Marshal(engine.Mapped{Type: "time.passed", SourceID: now})
				return engine.PollResult{Inputs: []json.RawMessage{input}}, err
			},
		}},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	eng, err := engine.Open(ctx, engine.Options{
		Path:      "smallest.db",
		Providers: []engine.Provider{clock()},
		Functions: []engine.Function{{Name: "print", Handle: func(_ context.Context, m engine.Message) error {
			fmt.Println(m.Type, m.SourceID)
			return nil
		}}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer eng.Close()
	if err := setUp(ctx, eng); err != nil {
		log.Fatal(err)
	}
	if err := eng.Run(ctx); err != nil { // until Ctrl-C
		log.Fatal(err)
	}
}

// setUp joins the provider to the function, at the first start. It is in the file from then on.
func setUp(ctx context.Context, eng *engine.Engine) error {
	if l, err := eng.ListCallbacks(ctx, engine.CallbackFilter{}, engine.Page{}); err != nil || len(l.Items) > 0 {
		return err
	}
	deployment, err := eng.CreateDeployment(ctx, engine.NewDeployment{Provider: "clock", Config: &engine.NewConfigValue{Value: json.RawMessage(`{}`)}})
	if err != nil {
		return err
	}
	callback, err := eng.CreateCallback(ctx, engine.NewCallback{
		Details: engine.Details{Name: "time"}, DeploymentID: deployment.ID, DestinationIDs: []string{"func:print"},
	})
	if err != nil {
		return err
	}
	_, err = eng.AttachInstance(ctx, callback.ID, engine.NewInstance{ConfigID: deployment.DefaultConfig.ID})
	return err
}
