//go:build unix

package slates_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/engine/provider/slates"
)

func poll(ctx context.Context, p engine.Provider) (engine.PollResult, error) {
	return p.Triggers[0].Poll(ctx, engine.PollRequest{Source: source()})
}

// A child that prints this and that, ends after each answer, or answers twice, serves well.
func TestStdio(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"serve", "noise", "once", "twice"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			p := provider(t, slates.Options{Target: child(t, mode)})
			for range 3 {
				out, err := poll(t.Context(), p)
				if err != nil || len(out.Inputs) != 1 || string(out.Inputs[0]) != `{"n":1}` {
					t.Fatalf("%s %v", out.Inputs, err)
				}
			}
		})
	}
}

// A batch is one line, also for what reads lines as JavaScript has them.
func TestBatchIsOneLine(t *testing.T) {
	t.Parallel()
	f := &fake{}
	p := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if bytes.ContainsAny(bytes.TrimRight(body, "\n"), "\r\n\u2028\u2029") {
			t.Errorf("sent %q", body)
		}
		_, _ = w.Write(f.answer(body))
	}))
	state := "{\"text\":\n\"a\u2028b\u2029c\"}"
	if _, err := trigger(t, p, "new_message").Poll(t.Context(), engine.PollRequest{Source: source(), State: json.RawMessage(state)}); err != nil {
		t.Fatal(err)
	}
	batch := f.last()
	if got := batch[len(batch)-1].Params["state"].(object)["text"]; got != "a\u2028b\u2029c" {
		t.Errorf("the integration reads %q", got)
	}
}

// A child that takes requests only may refuse the state, in place of an answer to the request.
func TestChildThatRefusesTheState(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := poll(ctx, provider(t, slates.Options{Target: child(t, "requests")})); err == nil || !strings.Contains(err.Error(), "config.invalid: no such team") {
		t.Errorf("%v, want what the child said", err)
	}
}

// Answers that nobody asked for do not fill the log, nor are they shown.
func TestUnaskedAnswersAreLoggedSparingly(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	p, err := slates.New(t.Context(), slates.Options{Name: "fake", Target: child(t, "flood"), Log: slog.New(slog.NewTextHandler(&text, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if out, err := poll(t.Context(), p); err != nil || len(out.Inputs) != 1 {
		t.Errorf("%s %v", out.Inputs, err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(text.String(), "not asked"); n == 0 || n > 100 || strings.Contains(text.String(), "not yours") {
		t.Errorf("%d records: %.500s", n, &text)
	}
}

// A child lives from one poll to the next, and polls at a time have a child each.
func TestChildrenLiveOn(t *testing.T) {
	t.Parallel()
	p := provider(t, slates.Options{Target: child(t, "pid"), MaxProcesses: 2})
	pids := map[string]bool{}
	for range 3 {
		out, err := poll(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		pids[string(out.Inputs[0])] = true
	}
	if len(pids) != 1 {
		t.Errorf("polls one after the other took the processes %v", pids)
	}
	var mu sync.Mutex
	var polls sync.WaitGroup
	for range 20 {
		polls.Go(func() {
			out, err := poll(t.Context(), p)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			pids[string(out.Inputs[0])] = true
		})
	}
	polls.Wait()
	if len(pids) > 2 {
		t.Errorf("polls at a time took the processes %v, more than two", pids)
	}
}

// A child that fails costs the poll that it was to answer, and no other.
func TestChildThatFails(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string]string{
		"crash": "its last words on standard error: TypeError: x is undefined; its last words on standard output: panic at x.c:1",
		"half":  "ended before it answered: exit status 0",
		"hang":  "gave no answer within ",
		"huge":  "more than 32 MiB",
		"deaf":  "gave no answer within ",
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			p := provider(t, slates.Options{Target: child(t, mode)})
			ctx := t.Context()
			if mode == "hang" || mode == "deaf" {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, 300*time.Millisecond)
				defer cancel()
			}
			_, err := poll(ctx, p)
			if err == nil || !strings.Contains(err.Error(), want) || engine.IsPermanent(err) {
				t.Fatalf("%v, want one that says %q", err, want)
			}
			if ctx.Err() != nil {
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%v is not that the deadline is over", err)
				}
			} else if _, err := poll(t.Context(), p); err == nil || !strings.Contains(err.Error(), "not started again for") || !strings.Contains(err.Error(), want) {
				t.Errorf("at once after: %v, want a pause", err)
			} else if _, limited := engine.RetryAfterOf(err); limited {
				t.Error("it counts as rate limited")
			}
			if ctx.Err() != nil && strings.Contains(err.Error(), "words") {
				t.Errorf("%v repeats words that have nothing to do with it", err)
			}
			// Mapping works with the next child; the pause after the first failure is a second.
			asked := time.Now()
			for {
				_, err = p.Triggers[0].Map(t.Context(), engine.MapRequest{Source: source(), Input: json.RawMessage(`{"n":2}`)})
				if err == nil {
					break
				}
				if !strings.Contains(err.Error(), "not started again for") || time.Since(asked) > 10*time.Second {
					t.Fatal(err)
				}
				<-time.After(20 * time.Millisecond)
			}
		})
	}
}

// A batch larger than a pipe does not block on a child that does not read it.
func TestLargeBatchToDeafChild(t *testing.T) {
	t.Parallel()
	p := provider(t, slates.Options{Target: child(t, "hang")})
	s := source()
	s.Config = json.RawMessage(`"` + strings.Repeat("x", 1<<20) + `"`)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := p.Triggers[0].Poll(ctx, engine.PollRequest{Source: s}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want that the deadline is over", err)
	}
}

// Standard error is logged, at debug what says so, and noise on standard output too.
func TestStandardErrorIsLogged(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var log bytes.Buffer
	p := provider(t, slates.Options{Target: child(t, "noise"), Log: slog.New(slog.NewTextHandler(locked{&mu, &log}, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err := p.Close(); err != nil { // which waits until all is read
		t.Fatal(err)
	}
	for _, want := range []string{`level=WARN msg="the integration says on standard error" provider=fake`, "something is deprecated", "starting up on {port}"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %s:\n%s", want, log.String())
		}
	}
}

type locked struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// What is signed in with is left out of what a child's words become.
func TestStandardErrorIsRedacted(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var log bytes.Buffer
	p, err := slates.New(t.Context(), slates.Options{Name: "fake", Target: child(t, "leaks"), Log: slog.New(slog.NewTextHandler(locked{&mu, &log}, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	s := source()
	s.Auth = &engine.Auth{Method: "m", Value: json.RawMessage(`{"token":"open-\"sesame"}`), Prepared: json.RawMessage(`{"output":{"key":"BEGIN KEY\nabcdefgh\nEND KEY"}}`)}
	_, polled := p.Triggers[0].Poll(t.Context(), engine.PollRequest{Source: s})
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprint(polled), log.String()} {
		if strings.Contains(text, "sesame") || strings.Contains(text, "abcdefgh") || !strings.Contains(text, "[secret]") {
			t.Errorf("%s", text)
		}
	}
}

// Polls that hang do not keep webhooks out, and a source that would wait is asked to come again.
func TestHungPollsLeaveRoomForWebhooks(t *testing.T) {
	t.Parallel()
	env, accept := holder(t)
	p := provider(t, slates.Options{Target: child(t, "hang", env), MaxProcesses: 1})
	ctx, cancel := context.WithCancel(t.Context())
	var hung sync.WaitGroup
	defer hung.Wait()
	defer cancel()
	hung.Go(func() {
		if _, err := poll(ctx, p); err == nil {
			t.Error("the poll did not hang")
		}
	})
	accept() // it hangs
	request := engine.WebhookRequest{Source: source(), Method: "POST"}
	out, err := trigger(t, p, "hook").Handle(t.Context(), request)
	if err != nil || len(out.Inputs) != 1 {
		t.Fatalf("%s %v", out.Inputs, err)
	}
	short, stop := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer stop()
	if _, err := trigger(t, p, "hook").Map(short, engine.MapRequest{Source: source(), Input: out.Inputs[0]}); err != nil {
		t.Errorf("what the webhook brought is not mapped: %v", err)
	}
	request.Body = []byte("hang")
	hung.Go(func() {
		if _, err := trigger(t, p, "hook").Handle(ctx, request); err == nil {
			t.Error("the webhook did not hang")
		}
	})
	accept()
	if _, err := trigger(t, p, "hook").Handle(short, request); err == nil || !strings.Contains(err.Error(), "all 2 processes") {
		t.Errorf("%v, want that all are busy", err)
	} else if after, ok := engine.RetryAfterOf(err); !ok || after <= 0 {
		t.Errorf("to come again after %s", after)
	}
}

// A child is told nothing that is callbackd's own.
func TestChildDoesNotSeeOurSettings(t *testing.T) {
	t.Setenv("CALLBACKD_API_KEY", "sesame")
	t.Setenv("HOME", "/home")
	out, err := poll(t.Context(), provider(t, slates.Options{Target: child(t, "environment")}))
	if err != nil || string(out.Inputs[0]) != `{"home":true,"key":""}` {
		t.Errorf("%s %v", out.Inputs, err)
	}
}

// holder accepts the connection that a process holds for as long as it lives.
func holder(t *testing.T) (env string, accept func() net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return "SLATES_TEST_HOLD=" + l.Addr().String(), func() net.Conn {
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
}

// gone waits until the other end is closed.
func gone(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the process lives on")
	}
}

// Close ends children, and what they started, also those that do not end by themselves.
func TestCloseLeavesNoOrphans(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"held", "forks", "held-deaf"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			env, accept := holder(t)
			p := provider(t, slates.Options{Target: child(t, mode, env)})
			c := accept()
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
			gone(t, c)
			if _, err := poll(t.Context(), p); err == nil || !strings.Contains(err.Error(), "closed") {
				t.Errorf("a poll after Close: %v", err)
			}
		})
	}
}

// Nobody is left either when we are killed, not even behind a wrapper.
func TestChildEndsWithUs(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"parent", "parent-of-wrapper"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			endsWithUs(t, mode)
		})
	}
}

func endsWithUs(t *testing.T, mode string) {
	env, accept := holder(t)
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), "SLATES_TEST_CHILD="+mode, env)
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	c := accept()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready 2\n" {
		t.Errorf("%q %v", line, err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	gone(t, c)
}

// From a child's line to an event in the file, through the engine.
func TestThroughTheEngine(t *testing.T) {
	t.Parallel()
	p := provider(t, slates.Options{Target: child(t, "serve"), MinPollInterval: time.Second})
	delivered := make(chan engine.Message, 1)
	eng, err := engine.Open(t.Context(), engine.Options{Path: t.TempDir() + "/x.db", Providers: []engine.Provider{p},
		Functions: []engine.Function{{Name: "test", Handle: func(_ context.Context, m engine.Message) error { delivered <- m; return nil }}}})
	if err != nil {
		t.Fatal(err)
	}
	defer eng.Close()
	ctx := t.Context()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	d, err := eng.CreateDeployment(ctx, engine.NewDeployment{Details: engine.Details{Name: "d"}, Provider: "fake", Config: &engine.NewConfigValue{Name: "c", Value: json.RawMessage(`{}`)}})
	check(err)
	cb, err := eng.CreateCallback(ctx, engine.NewCallback{Details: engine.Details{Name: "cb"}, DeploymentID: d.ID, DestinationIDs: []string{"func:test"}})
	check(err)
	_, err = eng.AttachInstance(ctx, cb.ID, engine.NewInstance{ConfigID: d.DefaultConfig.ID})
	check(err)
	check(eng.Start(ctx))
	if m := <-delivered; m.Type != "message.created" || m.SourceID != "msg_1" || string(m.Data) != `{"n":1}` {
		t.Errorf("delivered %+v", m)
	}
}
