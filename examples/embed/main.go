// Command embed is a whole program with callbackd inside: it watches a folder for new files,
// and tells a Go function, and a webhook if one is given, of each. Run it, then put files
// into the folder:
//
//	go run ./examples/embed -folder /tmp/inbox [-webhook https://example.com/hook]
//
// Stop it, add a file, start it again: what was seen is not told twice, and what came
// meanwhile is told now.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/callbackd/callbackd/engine"
)

func main() {
	folder := flag.String("folder", ".", "folder to watch")
	webhook := flag.String("webhook", "", "URL to tell as well")
	db := flag.String("db", "embed.db", "database file")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *folder, *webhook, *db); err != nil {
		fmt.Fprintln(os.Stderr, "embed:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, folder, webhook, db string) error {
	eng, err := engine.Open(ctx, engine.Options{
		Path:                 db,
		Providers:            []engine.Provider{folderProvider()},
		Functions:            []engine.Function{{Name: "print", Handle: printFile}},
		AllowPrivateNetworks: true, // so that -webhook may be on this machine
		Logger:               slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return err
	}
	defer eng.Close()
	if err := setUp(ctx, eng, folder, webhook); err != nil {
		return err
	}
	fmt.Println("watching", folder)
	return eng.Run(ctx) // until Ctrl-C
}

// setUp makes the callback at the first start; it is there at every later one.
func setUp(ctx context.Context, eng *engine.Engine, folder, webhook string) error {
	callbacks, err := eng.ListCallbacks(ctx, engine.CallbackFilter{}, engine.Page{Limit: 1})
	if err != nil || len(callbacks.Items) > 0 {
		return err
	}
	value, err := json.Marshal(map[string]string{"folder": folder})
	if err != nil {
		return err
	}
	deployment, err := eng.CreateDeployment(ctx, engine.NewDeployment{Provider: "folder", Config: &engine.NewConfigValue{Value: value}})
	if err != nil {
		return err
	}
	destinations := []string{"func:print"}
	if webhook != "" {
		d, err := eng.CreateDestination(ctx, engine.NewDestination{DestinationSettings: engine.DestinationSettings{Name: "webhook", URL: webhook}})
		if err != nil {
			return err
		}
		fmt.Println("the webhook's signing secret is", d.SigningSecret)
		destinations = append(destinations, d.ID)
	}
	callback, err := eng.CreateCallback(ctx, engine.NewCallback{
		Details:        engine.Details{Name: "new files"},
		DeploymentID:   deployment.ID,
		DestinationIDs: destinations,
	})
	if err != nil {
		return err
	}
	_, err = eng.AttachInstance(ctx, callback.ID, engine.NewInstance{ConfigID: deployment.DefaultConfig.ID})
	return err
}

// printFile is a destination. It may be called more than once for an event, when the
// program was killed before the call's success was on the disk.
func printFile(_ context.Context, m engine.Message) error {
	var file file
	if err := json.Unmarshal(m.Data, &file); err != nil {
		return engine.Permanent(err)
	}
	fmt.Printf("%s: %s, %d bytes\n", m.Type, file.Name, file.Size)
	return nil
}

type file struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
}

// folderProvider finds files. The engine knows which of them are new: those whose source id
// it has not seen.
func folderProvider() engine.Provider {
	return engine.Provider{
		Key:          "folder",
		ConfigSchema: json.RawMessage(`{"type": "object", "required": ["folder"], "properties": {"folder": {"type": "string", "minLength": 1}}}`),
		Triggers: []engine.Trigger{{
			Key:      "file.created",
			Interval: 2 * time.Second,
			Poll:     pollFolder,
		}},
	}
}

func pollFolder(_ context.Context, req engine.PollRequest) (engine.PollResult, error) {
	var config struct{ Folder string }
	if err := json.Unmarshal(req.Config, &config); err != nil {
		return engine.PollResult{}, engine.Permanent(err)
	}
	entries, err := os.ReadDir(config.Folder)
	if err != nil {
		return engine.PollResult{}, err // shown at the instance, and tried again, less and less often
	}
	var result engine.PollResult
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue // gone already, or no file
		}
		input, err := mapped(config.Folder, info)
		if err != nil {
			return engine.PollResult{}, err
		}
		result.Inputs = append(result.Inputs, input)
	}
	return result, nil
}

// mapped is a file as an event. A file that is replaced by a newer one is another event.
func mapped(folder string, info fs.FileInfo) (json.RawMessage, error) {
	path := filepath.Join(folder, info.Name())
	output, err := json.Marshal(file{Name: path, Size: info.Size()})
	if err != nil {
		return nil, err
	}
	return json.Marshal(engine.Mapped{
		Type:     "file.created",
		SourceID: fmt.Sprintf("%s@%d", path, info.ModTime().UnixMilli()),
		Output:   output,
	})
}
