package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"
	"unicode"

	"github.com/lmittmann/tint"
)

// logFlags are what commands that log have in common.
type logFlags struct {
	LogLevel  string `default:"info" enum:"debug,info,warn,error" help:"Least level that is logged: debug, info, warn or error."`
	LogFormat string `default:"auto" enum:"auto,text,json" help:"auto is coloured text on a terminal and JSON elsewhere."`
}

func (f logFlags) logger(w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(f.LogLevel)) // one of the enum's
	if f.LogFormat == "json" || f.LogFormat == "auto" && !isTerminal(w) {
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: readable}))
	}
	return slog.New(textHandler(w, level))
}

// readable writes durations in milliseconds, and says so: slog's JSON would have bare
// nanoseconds.
func readable(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		return slog.Float64(a.Key+"_ms", float64(a.Value.Duration().Microseconds())/1000)
	}
	return a
}

func textHandler(w io.Writer, level slog.Level) slog.Handler { return coloured(w, level, colourful(w)) }

func coloured(w io.Writer, level slog.Level, colour bool) slog.Handler {
	return tint.NewTextHandler(w, &tint.Options{Level: level, TimeFormat: time.DateTime + ".000", NoColor: !colour, ReplaceAttr: harmless})
}

// harmless keeps what others wrote from commanding the terminal. tint quotes a value, and then
// makes escapes of every \x1b again when it has colours, also of one that is written out.
func harmless(_ []string, a slog.Attr) slog.Attr {
	switch a.Value.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(printable(a.Value.String()))
	case slog.KindAny:
		switch v := a.Value.Any().(type) {
		case slog.Level, *slog.Source, nil: // tint's own
		case error:
			a.Value = slog.StringValue(printable(v.Error()))
		default:
			a.Value = slog.StringValue(printable(fmt.Sprintf("%+v", v)))
		}
	}
	return a
}

// printable is a text on one line, in which nothing is a command to a terminal or turns the
// direction of writing: what cannot be printed is written out as \u....
func printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r == '\n' || r == '\t' || r == '\r':
			b.WriteByte(' ')
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return strings.ReplaceAll(b.String(), `\x1b`, `\u001b`)
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// colourful respects NO_COLOR (no-color.org).
func colourful(w io.Writer) bool { return isTerminal(w) && os.Getenv("NO_COLOR") == "" }
