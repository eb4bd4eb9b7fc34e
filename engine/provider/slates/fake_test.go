package slates_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/engine/provider/slates"
)

// object is a JSON object.
type object = map[string]any

// sent is a message that a fake got.
type sent struct {
	ID     any    `json:"id"`
	Method string `json:"method"`
	Params object `json:"params"`
}

// failure is an error of the protocol.
type failure object

// fake is an integration. Its methods are answered by functions; those that every
// integration has are answered anyway.
type fake struct {
	on func(method string, params object) any // a result, a failure, or nil: none of its own

	mu      sync.Mutex
	batches [][]sent
}

var polling = object{"id": "new_message", "type": "action.trigger", "name": "New message", "description": "Somebody wrote.",
	"inputSchema": object{"type": "object"}, "outputSchema": object{"type": "object"},
	"invocation": object{"type": "polling", "intervalSeconds": 900}}

var webhook = object{"id": "hook", "type": "action.trigger", "name": "Hook",
	"invocation": object{"type": "webhook", "autoRegistration": true, "autoUnregistration": true,
		"http": object{"methods": []string{"POST"}, "sync": object{"mode": "match", "timeoutMs": 5000}}}}

func (f *fake) result(method string, params object) any {
	if f.on != nil {
		if r := f.on(method, params); r != nil {
			return r
		}
	}
	switch method {
	case "slates/provider.identify":
		return object{"provider": object{"name": "Fake", "description": "Of a test."}}
	case "slates/actions.list":
		return object{"actions": []any{object{"id": "send", "type": "action.tool"}, polling, webhook}}
	case "slates/config.schema.get":
		return object{"schema": nil}
	case "slates/auth.methods.list":
		return object{"authenticationMethods": []any{}}
	case "slates/action.trigger.poll_events":
		return object{"inputs": []any{object{"n": 1}}, "updatedState": object{"last": 1}}
	case "slates/action.trigger.map_event":
		n := params["input"].(object)["n"]
		return object{"type": "message.created", "id": fmt.Sprint("msg_", n), "output": object{"n": n}}
	}
	return failure{"code": "method.unknown", "kind": "protocol", "message": "no such method: " + method}
}

// answer answers a batch.
func (f *fake) answer(batch []byte) []byte {
	var doc struct{ Messages []sent }
	if err := json.Unmarshal(batch, &doc); err != nil {
		panic(err)
	}
	f.mu.Lock()
	f.batches = append(f.batches, doc.Messages)
	f.mu.Unlock()
	answers := []any{}
	for _, m := range doc.Messages {
		if m.ID == nil {
			continue
		}
		switch r := f.result(m.Method, m.Params).(type) {
		case failure:
			answers = append(answers, object{"jsonrpc": "2.0", "id": m.ID, "error": object(r)})
		default:
			answers = append(answers, object{"jsonrpc": "2.0", "id": m.ID, "result": r})
		}
	}
	text, err := json.Marshal(object{"messages": answers})
	if err != nil {
		panic(err)
	}
	return text
}

// last is the last batch.
func (f *fake) last() []sent {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.batches[len(f.batches)-1]
}

func (f *fake) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.batches)
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || r.Method != http.MethodPost {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(f.answer(body))
}

// serve makes a provider of a fake over HTTP.
func serve(t *testing.T, h http.Handler) engine.Provider {
	t.Helper()
	return provider(t, slates.Options{Target: server(t, h)})
}

func server(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func provider(t *testing.T, o slates.Options) engine.Provider {
	t.Helper()
	o.Name = "fake"
	p, err := slates.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func trigger(t *testing.T, p engine.Provider, key string) engine.Trigger {
	t.Helper()
	for _, tr := range p.Triggers {
		if tr.Key == key {
			return tr
		}
	}
	t.Fatalf("there is no trigger %s", key)
	panic("unreachable")
}

func source() engine.Source {
	return engine.Source{Config: json.RawMessage(`{"team":"a"}`), Now: time.Date(2026, 1, 10, 12, 0, 0, 0, time.UTC), Log: slog.New(slog.DiscardHandler)}
}

// child is a Target: this test's own program, which then behaves in some way.
func child(t *testing.T, mode string, env ...string) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("exec:env SLATES_TEST_CHILD=%s %s '%s'", mode, strings.Join(env, " "), path)
}

func TestMain(m *testing.M) {
	if mode := os.Getenv("SLATES_TEST_CHILD"); mode != "" {
		behave(mode)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// behave is a child's life. It serves the fake well until it is polled.
func behave(mode string) {
	f := &fake{}
	switch mode {
	case "stays": // holds a connection for as long as it lives
		hold()
		select {}
	case "forks":
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), "SLATES_TEST_CHILD=stays")
		c.Stdout, c.Stderr = os.Stdout, os.Stderr // and its parent's output
		if err := c.Start(); err != nil {
			panic(err)
		}
	case "held":
		hold()
	case "parent", "parent-of-wrapper": // an engine's program, with an integration
		target := "env SLATES_TEST_CHILD=held-deaf '" + os.Args[0] + "'"
		if mode != "parent" {
			target = `sh -c "` + target + `; true"`
		}
		p, err := slates.New(context.Background(), slates.Options{Name: "x", Target: "exec:" + target})
		if err != nil {
			panic(err)
		}
		fmt.Println("ready", len(p.Triggers))
		select {}
	case "held-deaf": // does not end when its input does
		hold()
		defer func() { select {} }()
	case "noise":
		fmt.Println("starting up on {port}")
		fmt.Println(`{"level":"info"}`)
		fmt.Print("\n\n{\n")
		fmt.Fprintln(os.Stderr, "something is deprecated")
	case "never":
		fmt.Fprintln(os.Stderr, "cannot find module 'slates'")
		os.Exit(3)
	}
	if mode == "requests" { // takes requests only, and ends a batch at what it does not like
		f.on = func(string, object) any {
			for _, m := range f.last() {
				if m.ID == nil {
					return failure{"code": "request.invalid", "message": "every message needs an id"}
				}
			}
			return nil
		}
	}
	in := bufio.NewReader(os.Stdin)
	for {
		batch, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		polled := bytes.Contains(batch, []byte("poll_events"))
		switch {
		case mode == "environment" && polled:
			f.on = func(method string, _ object) any {
				return object{"inputs": []any{object{"key": os.Getenv("CALLBACKD_API_KEY"), "home": os.Getenv("HOME") != ""}}}
			}
		case mode == "flood" && polled:
			for range 500 {
				fmt.Println(`{"messages":[{"jsonrpc":"2.0","id":"0","result":{"token":"not yours"}}]}`)
			}
		case mode == "requests" && polled:
			var doc struct{ Messages []sent }
			_ = json.Unmarshal(batch, &doc)
			fmt.Printf(`{"messages":[{"jsonrpc":"2.0","id":%q,"error":{"code":"config.invalid","message":"no such team"}}]}`+"\n", doc.Messages[2].ID)
			continue
		case mode == "leaks":
			f.on = func(method string, _ object) any {
				if method == "slates/auth.methods.list" {
					return object{"authenticationMethods": []any{object{"id": "m", "type": "auth.token"}}}
				}
				return nil
			}
			if polled {
				fmt.Println("sent BEGIN KEY")
				fmt.Fprintf(os.Stderr, "abcdefgh\ndebug: %sopen-\"sesame\nit has open-\\\"sesame in it\n", strings.Repeat("x", 990))
				os.Exit(1)
			}
		case mode == "hang" && bytes.Contains(batch, []byte("webhook_handle")):
			if bytes.Contains(batch, []byte(`"content":"aGFuZw=="`)) {
				hold()
				select {}
			}
			f.on = func(method string, _ object) any {
				if strings.HasSuffix(method, "webhook_handle") {
					return object{"inputs": []any{object{"n": 9}}}
				}
				return nil
			}
		case mode == "crash" && polled:
			fmt.Println("panic at x.c:1")
			fmt.Fprintln(os.Stderr, "TypeError: x is undefined")
			os.Exit(7)
		case mode == "half" && polled:
			fmt.Print(string(f.answer(batch)[:20]))
			os.Exit(0)
		case mode == "hang" && polled:
			if os.Getenv("SLATES_TEST_HOLD") != "" {
				hold()
			}
			select {}
		case mode == "huge" && polled:
			for line := strings.Repeat("x", 1<<20); ; {
				if _, err := fmt.Print(line); err != nil {
					return
				}
			}
		case mode == "deaf" && polled:
			os.Stdin.Close()
			select {}
		case mode == "pid":
			f.on = func(method string, _ object) any {
				if strings.HasSuffix(method, "poll_events") {
					return object{"inputs": []any{object{"n": os.Getpid()}}}
				}
				return nil
			}
		case mode == "twice":
			fmt.Println(`{"messages":[{"jsonrpc":"2.0","id":"0","result":{"inputs":[{"n":"wrong"}]}}]}`)
		}
		answer := f.answer(batch)
		fmt.Println(string(answer))
		if mode == "twice" {
			fmt.Println(string(answer))
		}
		if mode == "once" {
			return
		}
	}
}

// hold connects to the test, which sees the connection end with the process.
func hold() {
	c, err := net.Dial("tcp", os.Getenv("SLATES_TEST_HOLD"))
	if err != nil {
		panic(err)
	}
	go func() {
		_, _ = io.Copy(io.Discard, c)
	}()
}
