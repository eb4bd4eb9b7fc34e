package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"
)

// screen is what a person sees of the sandbox: a line for each thing that happens, in the
// order of a message's way.
type screen struct {
	mu     sync.Mutex
	w      io.Writer
	colour bool
}

func newScreen(w io.Writer) *screen { return &screen{w: w, colour: colourful(w)} }

// Colours of a step's name.
const (
	cyan   = "\x1b[36m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	red    = "\x1b[31m"
	reset  = "\x1b[0m"
)

func (s *screen) line(colour, step, format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	step = fmt.Sprintf("%-10s", step)
	if s.colour {
		step = colour + step + reset
	}
	for i, arg := range args {
		switch arg := arg.(type) {
		case string:
			args[i] = printable(arg)
		case error:
			args[i] = printable(arg.Error())
		}
	}
	fmt.Fprintf(s.w, "%s  %s  %s\n", time.Now().Format("15:04:05.000"), step, fmt.Sprintf(format, args...))
}

func (s *screen) received(id, eventType string, data json.RawMessage, attempt int) {
	suffix := ""
	if attempt > 1 {
		suffix = fmt.Sprintf(" (attempt %d)", attempt)
	}
	s.line(green, "received", "%s  both signatures verify%s\n%26s%s  %s", id, suffix, "", eventType, clip(string(data), 160))
}

func (s *screen) pretended() {
	s.line(yellow, "receiver", "pretends to be down: answers 500, so that you see a retry")
}

func (s *screen) refused(header string, err error) {
	s.line(red, "refused", "%s: %v", header, err)
}

// introduction is what a person needs to look around.
type introduction struct{ API, Key, Callback, Receiver, Kept string }

func (s *screen) introduce(i introduction) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := "in a temporary folder, removed when you press Ctrl-C"
	if i.Kept != "" {
		kept = i.Kept
	}
	fmt.Fprintf(s.w, `callbackd sandbox

  API       %[1]s
  API key   %[2]s
  receiver  %[4]s
  database  %[5]s

The demo provider is polled every 5 seconds. What it finds becomes an event, and is sent to the
receiver, which verifies it. In another terminal:

  # the newest events
  curl -s -H 'Authorization: Bearer %[2]s' '%[1]s/callbacks/%[3]s/events?order=desc&limit=3'

  # how the newest were delivered
  curl -s -H 'Authorization: Bearer %[2]s' '%[1]s/callbacks/%[3]s/notifications?order=desc&limit=3'

  # send an event of your own
  curl -s -H 'Authorization: Bearer %[2]s' -H 'Content-Type: application/json' '%[1]s/callbacks/%[3]s/events' \
    -d '{"type": "greeting", "output": {"text": "hello from curl"}}'

`, i.API, i.Key, i.Callback, i.Receiver, kept)
}

func (s *screen) farewell(kept string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if kept == "" {
		fmt.Fprintln(s.w, "\nstopped; everything is cleaned up")
	} else {
		fmt.Fprintf(s.w, "\nstopped; the database is %s\n", kept)
	}
}

// logger shows the engine's records of what the sandbox is about as steps, and others of
// consequence as they are.
func (s *screen) logger() *slog.Logger {
	return slog.New(&stepHandler{screen: s, rest: textHandler(lockedWriter{s}, slog.LevelWarn)})
}

// lockedWriter keeps log lines and steps apart.
type lockedWriter struct{ s *screen }

func (w lockedWriter) Write(p []byte) (int, error) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	return w.s.w.Write(p)
}

// stepHandler turns records into steps.
type stepHandler struct {
	screen *screen
	rest   slog.Handler
	attrs  []slog.Attr
}

func (h *stepHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h *stepHandler) Handle(ctx context.Context, r slog.Record) error {
	facts := make(map[string]slog.Value, r.NumAttrs()+len(h.attrs))
	for _, a := range h.attrs {
		facts[a.Key] = a.Value
	}
	r.Attrs(func(a slog.Attr) bool {
		facts[a.Key] = a.Value
		return true
	})
	fact := func(key string) string { return facts[key].String() }
	switch r.Message {
	case "polled":
		if fact("events") != "0" {
			h.screen.line(cyan, "polled", "%s: %s new", fact("provider"), fact("events"))
		}
	case "delivered":
		h.screen.line(green, "delivered", "%s  attempt %s answered %s in %s", fact("event"), fact("attempt"), fact("status"), fact("duration"))
	case "delivery failed, will be tried again":
		h.screen.line(yellow, "failed", "%s  attempt %s: %s; the next one at %s", fact("event"), fact("attempt"), fact("err"), facts["next"].Time().Local().Format("15:04:05"))
	case "delivery failed for good":
		h.screen.line(red, "gave up", "%s  attempt %s: %s", fact("event"), fact("attempt"), fact("err"))
	default:
		if h.rest.Enabled(ctx, r.Level) {
			return h.rest.Handle(ctx, r)
		}
	}
	return nil
}

func (h *stepHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &stepHandler{screen: h.screen, rest: h.rest.WithAttrs(attrs), attrs: append(h.attrs[:len(h.attrs):len(h.attrs)], attrs...)}
}

func (h *stepHandler) WithGroup(name string) slog.Handler {
	return &stepHandler{screen: h.screen, rest: h.rest.WithGroup(name), attrs: h.attrs}
}

// clip bounds what a person is shown, at the border of a character.
func clip(s string, limit int) string {
	if r := []rune(s); len(r) > limit {
		return string(r[:limit]) + "..."
	}
	return s
}
