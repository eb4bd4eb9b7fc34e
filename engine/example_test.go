package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// exampleFile is a database that an example can throw away.
func exampleFile() (path string, remove func()) {
	dir, err := os.MkdirTemp("", "callbackd-example-")
	if err != nil {
		log.Fatal(err)
	}
	return filepath.Join(dir, "callbacks.db"), func() { os.RemoveAll(dir) }
}

// counter is a provider in some thirty lines: its source counts up, and it finds every
// number once.
func counter() engine.Provider {
	return engine.Provider{
		Key:          "counter",
		ConfigSchema: json.RawMessage(`{"type": "object", "properties": {"step": {"type": "integer", "minimum": 1}}, "required": ["step"]}`),
		Triggers: []engine.Trigger{{
			Key:      "number.counted",
			Interval: time.Second,
			Poll: func(ctx context.Context, req engine.PollRequest) (engine.PollResult, error) {
				var config struct{ Step int }
				if err := json.Unmarshal(req.Config, &config); err != nil {
					return engine.PollResult{}, engine.Permanent(err)
				}
				last := 0
				if req.State != nil {
					if err := json.Unmarshal(req.State, &last); err != nil {
						return engine.PollResult{}, engine.Permanent(err)
					}
				}
				last += config.Step
				return engine.PollResult{
					Inputs: []json.RawMessage{json.RawMessage(strconv.Itoa(last))},
					State:  json.RawMessage(strconv.Itoa(last)),
				}, nil
			},
			Map: func(ctx context.Context, req engine.MapRequest) (engine.Mapped, error) {
				number := string(req.Input)
				return engine.Mapped{Type: "number.counted", SourceID: number, Output: json.RawMessage(`{"number":` + number + `}`)}, nil
			},
		}},
	}
}

// A provider is data and functions; what it finds is an event once, however often it finds
// it, and is delivered here to a Go function.
func Example() {
	path, remove := exampleFile()
	defer remove()
	ctx := context.Background()
	delivered := make(chan engine.Message)
	eng, err := engine.Open(ctx, engine.Options{
		Path:      path,
		Providers: []engine.Provider{counter()},
		Functions: []engine.Function{{Name: "print", Handle: func(ctx context.Context, m engine.Message) error {
			select {
			case delivered <- m:
				return nil
			case <-ctx.Done():
				return ctx.Err() // it is delivered again later
			}
		}}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer eng.Close()

	deployment, err := eng.CreateDeployment(ctx, engine.NewDeployment{
		Provider: "counter",
		Config:   &engine.NewConfigValue{Value: json.RawMessage(`{"step": 5}`)},
	})
	if err != nil {
		log.Fatal(err)
	}
	callback, err := eng.CreateCallback(ctx, engine.NewCallback{
		Details:        engine.Details{Name: "numbers"},
		DeploymentID:   deployment.ID,
		DestinationIDs: []string{"func:print"},
	})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := eng.AttachInstance(ctx, callback.ID, engine.NewInstance{ConfigID: deployment.DefaultConfig.ID}); err != nil {
		log.Fatal(err)
	}
	if err := eng.Start(ctx); err != nil {
		log.Fatal(err)
	}
	m := <-delivered
	fmt.Println(m.Type, m.SourceID, string(m.Data))
	// Output: number.counted 5 {"number":5}
}

// Publish stores an event of your own; its source id makes repeating it harmless. Events can
// be read back with what became of them.
func ExampleEngine_Publish() {
	path, remove := exampleFile()
	defer remove()
	ctx := context.Background()
	eng, err := engine.Open(ctx, engine.Options{Path: path, Providers: []engine.Provider{counter()}})
	if err != nil {
		log.Fatal(err)
	}
	defer eng.Close()
	deployment, err := eng.CreateDeployment(ctx, engine.NewDeployment{Provider: "counter"})
	if err != nil {
		log.Fatal(err)
	}
	callback, err := eng.CreateCallback(ctx, engine.NewCallback{Details: engine.Details{Name: "invoices"}, DeploymentID: deployment.ID})
	if err != nil {
		log.Fatal(err)
	}
	for range 2 { // the second time changes nothing
		err := eng.Publish(ctx, callback.ID, engine.NewEvent{Type: "invoice.paid", SourceID: "inv_42", Output: json.RawMessage(`{"amount": 990}`)})
		if err != nil {
			log.Fatal(err)
		}
	}
	events, err := eng.ListEvents(ctx, callback.ID, engine.EventFilter{}, engine.Page{})
	if err != nil {
		log.Fatal(err)
	}
	for _, e := range events.Items {
		fmt.Println(e.Type, e.SourceID, string(e.Output), e.DeliveryStatus)
	}
	// Output: invoice.paid inv_42 {"amount":990} skipped
}

// A function that fails is called again, by its retry settings, until it succeeds or its
// attempts are used up. The notification tells the story.
func ExampleFunction() {
	path, remove := exampleFile()
	defer remove()
	ctx := context.Background()
	done := make(chan struct{})
	eng, err := engine.Open(ctx, engine.Options{
		Path:      path,
		Providers: []engine.Provider{counter()},
		Functions: []engine.Function{{
			Name:  "bookkeeping",
			Retry: engine.Retry{Type: engine.RetryLinear, MaxAttempts: 5, Delay: time.Second},
			Handle: func(ctx context.Context, m engine.Message) error {
				if m.Attempt == 1 {
					return fmt.Errorf("the ledger is locked")
				}
				defer close(done)
				fmt.Println(m.Type, "booked at attempt", m.Attempt)
				return nil
			},
		}},
	})
	if err != nil {
		log.Fatal(err)
	}
	deployment, err := eng.CreateDeployment(ctx, engine.NewDeployment{Provider: "counter"})
	if err != nil {
		log.Fatal(err)
	}
	callback, err := eng.CreateCallback(ctx, engine.NewCallback{Details: engine.Details{Name: "invoices"}, DeploymentID: deployment.ID, DestinationIDs: []string{"func:bookkeeping"}})
	if err != nil {
		log.Fatal(err)
	}
	if err := eng.Start(ctx); err != nil {
		log.Fatal(err)
	}
	if err := eng.Publish(ctx, callback.ID, engine.NewEvent{Type: "invoice.paid", Output: json.RawMessage(`{}`)}); err != nil {
		log.Fatal(err)
	}
	<-done
	if err := eng.Stop(ctx); err != nil { // waits for the outcome to be recorded
		log.Fatal(err)
	}
	notifications, err := eng.ListNotifications(ctx, callback.ID, engine.NotificationFilter{}, engine.Page{})
	if err != nil {
		log.Fatal(err)
	}
	n, err := eng.Notification(ctx, callback.ID, notifications.Items[0].ID)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(n.Status, "after", n.Attempts[0].Failure.Message)
	if err := eng.Close(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// invoice.paid booked at attempt 2
	// delivered after the ledger is locked
}

// Run is for programs that have nothing else to wait for: it returns when its context ends,
// after what was in flight is done.
func ExampleEngine_Run() {
	path, remove := exampleFile()
	defer remove()
	ctx := context.Background()
	eng, err := engine.Open(ctx, engine.Options{Path: path, Providers: []engine.Provider{counter()}})
	if err != nil {
		log.Fatal(err)
	}
	defer eng.Close()
	ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond) // in earnest: signal.NotifyContext
	defer cancel()
	fmt.Println(eng.Run(ctx))
	// Output: <nil>
}
