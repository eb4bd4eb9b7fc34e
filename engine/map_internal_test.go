package engine

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// Foreign code that panics, or ends its goroutine, at one input of a poll fails that input alone.
func TestMapAll(t *testing.T) {
	t.Parallel()
	e := &Engine{clock: newClock(time.Now), options: Options{}.withDefaults()}
	trigger := &Trigger{Map: func(_ context.Context, req MapRequest) (Mapped, error) {
		switch id := strings.Trim(string(req.Input), `"`); id {
		case "panics":
			panic("boo")
		case "exits":
			runtime.Goexit()
			return Mapped{}, nil
		case "fails":
			return Mapped{}, errors.New("no")
		default:
			return Mapped{Type: "t", SourceID: id}, nil
		}
	}}
	var inputs []json.RawMessage
	for _, text := range []string{"a", "panics", "panics", "b", "exits", "fails", "c", "exits"} {
		inputs = append(inputs, json.RawMessage(`"`+text+`"`))
	}
	items, err := e.mapAll(t.Context(), slog.New(slog.DiscardHandler), trigger, Source{}, inputs)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, i := range items {
		if i.Failure != nil {
			got = append(got, i.Failure.Message)
		} else {
			got = append(got, i.SourceID)
		}
	}
	if want := []string{"a", "panic: boo", "panic: boo", "b", "it ended its goroutine", "no", "c", "it ended its goroutine"}; !slices.Equal(got, want) {
		t.Errorf("they became %q, want %q", got, want)
	}
}
