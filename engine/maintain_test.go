package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// A backup that is made while the engine accepts and delivers is an engine's file: all that
// was accepted before it began is in it, and what was still to be delivered is delivered from it.
func TestBackupUnderLoadIsAFileToGoOnWith(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "callbacks.db")
	// An engine whose function fails half of what it is given, until the receiver is mended.
	openAt := func(path string, mended bool, now func() time.Time) (e *engine.Engine, delivered func(sourceID string) bool) {
		var mu sync.Mutex
		got := make(map[string]bool)
		e = open(t, engine.Options{Path: path, Providers: []engine.Provider{new(source).provider()}, Now: now,
			Functions: []engine.Function{{Name: "f", Handle: func(_ context.Context, m engine.Message) error {
				if !mended && strings.HasSuffix(m.SourceID, "7") {
					return errors.New("try again")
				}
				mu.Lock()
				defer mu.Unlock()
				got[m.SourceID] = true
				return nil
			}}}})
		return e, func(sourceID string) bool {
			mu.Lock()
			defer mu.Unlock()
			return got[sourceID]
		}
	}
	e, delivered := openAt(path, false, nil)
	callback := functionCallback(t, e, "source", "f")
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	name := func(publisher, i int) string { return fmt.Sprintf("%d-%d", publisher, i) }
	const publishers, before = 4, 60
	var reached, over sync.WaitGroup
	reached.Add(publishers)
	stop := make(chan struct{})
	for p := range publishers {
		over.Go(func() {
			for i := 0; ; i++ {
				if i == before {
					reached.Done()
				}
				select {
				case <-stop:
					if i > before {
						return
					}
				default:
				}
				n := engine.NewEvent{Type: "thing.made", SourceID: name(p, i), Output: json.RawMessage(`{}`)}
				if err := e.Publish(t.Context(), callback.ID, n); err != nil {
					t.Errorf("publish: %v", err)
					return
				}
			}
		})
	}
	reached.Wait()
	dest := filepath.Join(t.TempDir(), "copy.db")
	if err := e.Backup(t.Context(), dest, true); err != nil {
		t.Fatal(err)
	}
	r := must(e.Check(t.Context(), false))(t) // of the engine's own file, still under load
	if len(r.Problems) > 0 || r.Events < publishers*before {
		t.Errorf("check says %+v", r)
	}
	close(stop)
	over.Wait()

	copied, again := openAt(dest, true, func() time.Time { return time.Now().Add(24 * time.Hour) }) // all retries are due
	if r := must(copied.Check(t.Context(), false))(t); len(r.Problems) > 0 {
		t.Errorf("check of the copy says %+v", r)
	}
	if err := copied.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all that the copy has is delivered", func() bool {
		open := must(copied.ListNotifications(t.Context(), callback.ID, engine.NotificationFilter{Statuses: []string{"pending", "retrying"}}, engine.Page{Limit: 1}))(t)
		return len(open.Items) == 0
	})
	for p := range publishers {
		for i := range before {
			found := must(copied.ListEvents(t.Context(), callback.ID, engine.EventFilter{SourceIDs: []string{name(p, i)}}, engine.Page{}))(t)
			if len(found.Items) != 1 || found.Items[0].DeliveryStatus != "sent" {
				t.Fatalf("event %s is %+v in the copy", name(p, i), found.Items)
			}
			if strings.HasSuffix(name(p, i), "7") != !delivered(name(p, i)) || !delivered(name(p, i)) && !again(name(p, i)) {
				t.Errorf("event %s: delivered by the first engine: %v, by the copy's: %v", name(p, i), delivered(name(p, i)), again(name(p, i)))
			}
		}
	}
}

func TestRotatedKeyOpensWhatTheFormerOneSealed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "callbacks.db")
	e := open(t, engine.Options{Path: path})
	d := must(e.CreateDestination(t.Context(), engine.NewDestination{DestinationSettings: engine.DestinationSettings{Name: "d", URL: "https://example.com/"}}))(t)
	if _, err := engine.RotateKey(t.Context(), engine.Options{Path: path}, nil); err == nil || !strings.Contains(err.Error(), "in use by another callbackd process") {
		t.Errorf("with the engine open: %v", err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	former := must(engine.RotateKey(t.Context(), engine.Options{Path: path}, nil))(t)
	if !strings.HasPrefix(former, path+".key.") {
		t.Errorf("the former key is in %q", former)
	}
	if again := must(open(t, engine.Options{Path: path}).Destination(t.Context(), d.ID))(t); again.SigningSecret != d.SigningSecret {
		t.Error("the signing secret is another one")
	}
}
