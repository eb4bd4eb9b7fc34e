package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"unicode"
)

// hostile are texts that a provider, a receiver or a client can put where they are logged.
var hostile = []string{
	"\x1b[2J\x1b[31mowned", "\x1b]0;title\x07", `\x1b[31mwritten out`, `\\x1b[31m`, "two\nlines level=ERROR msg=forged", "\r\x00\b\x7f", "\u009b31m", "\u202etxt.exe", "\u2028\u2029", "\xff\xfe\x1b[0m",
	`"} {"level":"ERROR","msg":"forged"}`,
}

// Nothing that others wrote begins a line of the log, commands the terminal, or turns the
// direction of writing.
func TestLogCannotBeForged(t *testing.T) {
	t.Parallel()
	for name, colour := range map[string]bool{"Colour": true, "NoColour": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out, plain bytes.Buffer
			log := slog.New(coloured(&out, slog.LevelDebug, colour))
			harmless := slog.New(coloured(&plain, slog.LevelDebug, colour))
			for _, text := range hostile {
				out.Reset()
				plain.Reset()
				write := func(log *slog.Logger, text string) {
					log.With("name", text).Warn("message", "type", text, "err", errors.New(text), slog.Group("g", "any", struct{ Text string }{text}), "stack", []string{text})
				}
				write(log, text)
				write(harmless, "x y")
				if n := strings.Count(out.String(), "\n"); n != 1 || !strings.HasSuffix(out.String(), "\n") {
					t.Errorf("%q makes %d lines: %q", text, n, out.String())
				}
				// tint's own colours are as many as for a harmless text.
				if got, want := strings.Count(out.String(), "\x1b"), strings.Count(plain.String(), "\x1b"); got != want {
					t.Errorf("%q has %d escapes, want %d: %q", text, got, want, out.String())
				}
				for _, r := range strings.ReplaceAll(strings.TrimSuffix(out.String(), "\n"), "\x1b", "") {
					if !unicode.IsPrint(r) {
						t.Errorf("%q puts %U into the log", text, r)
					}
				}
			}
		})
	}
	t.Run("JSON", func(t *testing.T) {
		t.Parallel()
		var out bytes.Buffer
		log := logFlags{LogLevel: "debug", LogFormat: "auto"}.logger(&out)
		for _, text := range hostile {
			out.Reset()
			log.With("name", text).Warn("message", "err", errors.New(text), "any", fmt.Sprint(text))
			if n := strings.Count(out.String(), "\n"); n != 1 || !json.Valid(out.Bytes()) || strings.ContainsAny(out.String(), "\x1b\x00\r") {
				t.Errorf("%q: %q", text, out.String())
			}
		}
	})
}

func TestScreenCannotBeForged(t *testing.T) {
	t.Parallel()
	for _, text := range hostile {
		var out bytes.Buffer
		s := newScreen(&out)
		s.received("cte_1", text, json.RawMessage(text), 1)
		s.refused("webhook-signature", errors.New(text))
		s.logger().Warn("delivery failed for good", "event", "cte_1", "attempt", 1, "err", text)
		s.logger().Warn("something else", "err", text)
		if n := strings.Count(out.String(), "\n"); n != 5 { // received has two
			t.Errorf("%q makes %d lines: %q", text, n, out.String())
		}
		for _, r := range strings.ReplaceAll(out.String(), "\n", "") {
			if !unicode.IsPrint(r) {
				t.Errorf("%q puts %U on the screen", text, r)
			}
		}
	}
}
