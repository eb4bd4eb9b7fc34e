package slates_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// What is no answer fails the poll, and says what it was.
func TestBadAnswers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer func(w http.ResponseWriter, r *http.Request)
		want   string
		after  time.Duration
	}{
		"a page":            {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }, "<html>", 0},
		"empty":             {func(http.ResponseWriter, *http.Request) {}, "not one of a Slates integration", 0},
		"no messages":       {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"ok":true}`) }, `no "messages"`, 0},
		"an answer missing": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"messages":[]}`) }, "did not answer", 0},
		"another id":        {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"messages":[{"id":"x","result":{}}]}`) }, "did not answer", 0},
		"an error, no id": {func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"messages":[{"id":null,"error":{"code":"a.b","message":"bad batch"}}]}`)
		}, "a.b: bad batch", 0},
		"a single error": {func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"jsonrpc":"2.0","error":{"code":"a.b","message":"bad batch"}}`)
		}, "a.b: bad batch", 0},
		"500": {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "oh\x00 no", 500) }, "500 Internal Server Error: oh  no", 0},
		"429": {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Retry-After", "12"); w.WriteHeader(429) }, "429", 12 * time.Second},
		"503": {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Retry-After", "5"); w.WriteHeader(503) }, "503", 5 * time.Second},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/other", http.StatusTemporaryRedirect)
		}, "redirects are not followed", 0},
		"inputs not a list":  {echo(`{"inputs":{"a":1}}`), "inputs must be a list, not object", 0},
		"a result that is 7": {echo(`7`), "the result must be an object, not number", 0},
		"a result of null":   {echo(`null`), "answered without inputs", 0},
		"no inputs":          {echo(`{"updatedState":{}}`), "answered without inputs", 0},
		"hung up": {func(http.ResponseWriter, *http.Request) {
			panic(http.ErrAbortHandler)
		}, "ended the connection", 0},
		"too large": {func(w http.ResponseWriter, _ *http.Request) {
			for line := bytes.Repeat([]byte("x"), 1<<20); ; {
				if _, err := w.Write(line); err != nil {
					return
				}
			}
		}, "more than 32 MiB", 0},
		"broken off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, `{"messages`)
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, "broke off", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fake{}
			var bad atomic.Bool
			p := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if bad.Load() {
					c.answer(w, r)
					return
				}
				f.ServeHTTP(w, r)
			}))
			bad.Store(true)
			_, err := trigger(t, p, "new_message").Poll(t.Context(), engine.PollRequest{Source: source()})
			if err == nil || !strings.Contains(err.Error(), c.want) || engine.IsPermanent(err) {
				t.Errorf("%v, want one that says %q", err, c.want)
			}
			if d, _ := engine.RetryAfterOf(err); d != c.after {
				t.Errorf("to be left alone for %s, want %s", d, c.after)
			}
		})
	}
}

// echo answers the last message of a batch with a result.
func echo(result string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		var doc struct{ Messages []sent }
		_ = json.NewDecoder(r.Body).Decode(&doc)
		fmt.Fprintf(w, `{"messages":[{"jsonrpc":"2.0","id":%q,"result":%s}]}`, doc.Messages[len(doc.Messages)-1].ID, result)
	}
}

// An integration that does not answer within the deadline does not hold the poll.
func TestDeadline(t *testing.T) {
	t.Parallel()
	f := &fake{}
	var hang atomic.Bool
	p := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if hang.Load() {
			_, _ = io.Copy(io.Discard, r.Body) // or the server does not see that we hang up
			<-r.Context().Done()
			return
		}
		f.ServeHTTP(w, r)
	}))
	hang.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := trigger(t, p, "new_message").Poll(ctx, engine.PollRequest{Source: source()}); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "gave no answer within ") {
		t.Errorf("%v, want that the deadline is over", err)
	}
}
