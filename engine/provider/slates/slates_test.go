package slates_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/engine/provider/slates"
)

func TestNew(t *testing.T) {
	t.Parallel()
	odd := object{"id": "issues/created or changed, in any of the repositories that one has", "type": "action.trigger", "invocation": object{"type": "polling", "intervalSeconds": 5}}
	other := object{"id": "later", "type": "action.trigger", "invocation": object{"type": "carrier pigeon"}}
	f := &fake{on: func(method string, _ object) any {
		switch method {
		case "slates/actions.list":
			return object{"actions": []any{polling, webhook, odd, other, object{"id": "tool", "type": "action.tool"}}}
		case "slates/config.schema.get":
			return object{"schema": object{"type": "object", "required": []string{"mail"}, "properties": object{"mail": object{"type": "string", "pattern": `^(?!\.)x`}}}, "docs": ""}
		case "slates/auth.methods.list":
			return object{"authenticationMethods": []any{
				object{"id": "token", "name": "Token", "type": "auth.token", "inputSchema": object{"type": "object", "required": []string{"token"}}, "outputSchema": object{"type": "object"}},
				object{"id": "app", "type": "auth.oauth", "capabilities": object{"handleTokenRefresh": object{"enabled": true}}},
				object{"id": "account", "type": "auth.service_account", "inputSchema": object{"$ref": "https://elsewhere.example/schema"}},
				object{"id": "nobody", "type": "auth.none"}}}
		}
		return nil
	}}
	p := serve(t, f)
	if p.Key != "fake" || p.Name != "Fake" || p.Description != "Of a test." {
		t.Errorf("it is %q %q %q", p.Key, p.Name, p.Description)
	}
	var keys []string
	for _, tr := range p.Triggers {
		keys = append(keys, tr.Key)
	}
	if want := []string{"new_message", "hook", "issues-created-or-changed--in-any-of-the-repositories-tha"}; len(keys) != 3 || keys[0] != want[0] || keys[1] != want[1] || !strings.HasPrefix(keys[2], want[2][:40]) || len(keys[2]) > 64 {
		t.Errorf("triggers %q, want %q and eight digits", keys, want)
	}
	poll, hook := p.Triggers[0], p.Triggers[1]
	if poll.Interval != 900*time.Second || poll.MinInterval != 600*time.Second || poll.Poll == nil || poll.Handle != nil {
		t.Errorf("polling trigger: %+v", poll)
	}
	if p.Triggers[2].Interval != 600*time.Second {
		t.Errorf("an interval below the floor is %s", p.Triggers[2].Interval)
	}
	if hook.Handle == nil || hook.Register == nil || hook.Unregister == nil || hook.Poll != nil {
		t.Errorf("webhook trigger: %+v", hook)
	}
	if s := string(p.ConfigSchema); strings.Contains(s, "pattern") || !strings.Contains(s, "required") {
		t.Errorf("config schema %s: only the pattern that Go cannot read should be gone", s)
	}
	var methods []string
	for _, m := range p.AuthMethods {
		methods = append(methods, m.Key+" "+m.Type)
	}
	if want := []string{"token token", "app oauth", "account custom"}; !slices.Equal(methods, want) {
		t.Errorf("auth methods %q, want %q", methods, want)
	}
	if p.AuthMethods[2].InputSchema != nil {
		t.Error("a schema that cannot be compiled was kept")
	}
	if eng, err := engine.Open(t.Context(), engine.Options{Path: t.TempDir() + "/x.db", Providers: []engine.Provider{p}}); err != nil {
		t.Errorf("the engine does not take it: %v", err)
	} else if err := eng.Close(); err != nil {
		t.Error(err)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	none := server(t, &fake{on: func(method string, _ object) any {
		if method == "slates/actions.list" {
			return object{"actions": []any{}}
		}
		return nil
	}})
	page := server(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>hello</html>") }))
	for _, c := range []struct {
		o    slates.Options
		want string
	}{
		{slates.Options{Name: "", Target: none}, "Options.Name"},
		{slates.Options{Name: "a b", Target: none}, "Options.Name"},
		{slates.Options{Name: "x", Target: ""}, "Options.Target"},
		{slates.Options{Name: "x", Target: "ftp://host"}, "http or https"},
		{slates.Options{Name: "x", Target: "exec:  "}, "no command behind"},
		{slates.Options{Name: "x", Target: "exec:node 'x"}, "quote"},
		{slates.Options{Name: "x", Target: "exec:/nowhere/at/all"}, "cannot be started"},
		{slates.Options{Name: "x", Target: none, Timeout: -1}, "negative"},
		{slates.Options{Name: "x", Target: none}, "no triggers"},
		{slates.Options{Name: "x", Target: page, StartTimeout: time.Second / 2}, "<html>hello</html>"},
		{slates.Options{Name: "x", Target: "http://127.0.0.1:1", StartTimeout: time.Second / 2}, "cannot be reached"},
		{slates.Options{Name: "x", Target: child(t, "never"), StartTimeout: time.Second}, "cannot find module 'slates'"},
	} {
		if _, err := slates.New(t.Context(), c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.o, err, c.want)
		}
	}
}

// An integration that is slow to come up is waited for.
func TestNewWaits(t *testing.T) {
	t.Parallel()
	f := &fake{}
	var asked atomic.Int32
	provider(t, slates.Options{Target: server(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) < 3 {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		f.ServeHTTP(w, r)
	}))})
	if asked.Load() < 3 {
		t.Error("it was not asked again")
	}
}

func TestPoll(t *testing.T) {
	t.Parallel()
	t.Run("every batch carries the whole state, then the request", func(t *testing.T) {
		t.Parallel()
		f := &fake{}
		f.on = func(method string, _ object) any {
			if method == "slates/auth.methods.list" {
				return object{"authenticationMethods": []any{object{"id": "api token", "type": "auth.token"}}}
			}
			return nil
		}
		p := serve(t, f)
		s := source()
		s.Auth = &engine.Auth{Method: p.AuthMethods[0].Key, Value: json.RawMessage(`{}`), Prepared: json.RawMessage(`{"output":{"token":"t<&>"}}`)}
		out, err := trigger(t, p, "new_message").Poll(t.Context(), engine.PollRequest{Source: s, State: json.RawMessage(`{"last":12345678901234567890}`)})
		if err != nil {
			t.Fatal(err)
		}
		if string(out.State) != `{"last":1}` || len(out.Inputs) != 1 || string(out.Inputs[0]) != `{"n":1}` {
			t.Errorf("found %+v", out)
		}
		var methods []string
		batch := f.last()
		for i, m := range batch {
			methods = append(methods, m.Method)
			if (m.ID != nil) != (i == len(batch)-1) {
				t.Errorf("%s has the id %v", m.Method, m.ID)
			}
		}
		want := []string{"slates/hello", "slates/participant.set", "slates/config.set", "slates/auth.set", "slates/session.start", "slates/action.trigger.poll_events"}
		if !slices.Equal(methods, want) {
			t.Fatalf("sent %q, want %q", methods, want)
		}
		text, _ := json.Marshal(batch)
		for _, part := range []string{`{"protocol":"slates@2026-01-01"}`, `"name":"callbackd","type":"hub"`, `{"config":{"team":"a"}}`, `{"authenticationMethodId":"api token","output":{"token":"t\u003c\u0026\u003e"}}`, `"actionId":"new_message"`} {
			if !bytes.Contains(text, []byte(part)) {
				t.Errorf("the batch lacks %s: %s", part, text)
			}
		}
	})
	for _, absent := range []object{{"inputs": []any{}}, {"inputs": []any{}, "updatedState": nil}} {
		t.Run(fmt.Sprint("no updatedState keeps the old state: ", absent), func(t *testing.T) {
			t.Parallel()
			f := &fake{on: func(method string, params object) any {
				if strings.HasSuffix(method, "poll_events") {
					if state, there := params["state"]; state != nil || !there {
						t.Errorf("the first state is %v", params)
					}
					return absent
				}
				return nil
			}}
			out, err := trigger(t, serve(t, f), "new_message").Poll(t.Context(), engine.PollRequest{Source: source()})
			if err != nil || out.State != nil {
				t.Errorf("state %s, error %v", out.State, err)
			}
		})
	}
}

// An integration that takes requests only is spoken to with requests.
func TestIntegrationWithoutNotifications(t *testing.T) {
	t.Parallel()
	f := &fake{}
	f.on = func(method string, _ object) any {
		for _, m := range f.batches[len(f.batches)-1] {
			if m.ID == nil {
				return failure{"code": -32600, "message": "every message needs an id"}
			}
		}
		return nil
	}
	if _, err := trigger(t, serve(t, f), "new_message").Poll(t.Context(), engine.PollRequest{Source: source()}); err != nil {
		t.Error(err)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	retryable := []string{"request.rate_limited", "upstream.rate_limited", "upstream.timeout", "upstream.network_error", "upstream.unavailable", "upstream.error", "transport.invoke_failed", "internal.timeout"}
	for _, c := range []struct {
		name      string
		failure   failure
		permanent bool // for a mapping; a poll is never
		after     time.Duration
		told      string
	}{
		{"not found", failure{"code": "upstream.not_found", "kind": "upstream", "message": "no channel", "status": 404}, true, 0, "upstream.not_found: no channel (status 404)"},
		{"credentials", failure{"code": "auth.invalid", "message": "token revoked", "status": 401}, false, 0, "are the credentials of the auth config right?"},
		{"said to be retryable", failure{"code": "x", "message": "busy", "retryable": true}, false, 0, "busy"},
		{"said not to be", failure{"code": "upstream.error", "retryable": false}, true, 0, "no reason"},
		{"with a time", failure{"code": "upstream.rate_limited", "message": "slow down", "retryAfter": 7}, false, 7 * time.Second, "slow down"},
		{"with a time inside", failure{"code": "upstream.rate_limited", "message": "slow down", "data": object{"retryAfterMs": 1500}}, false, 1500 * time.Millisecond, "slow down"},
		{"numeric", failure{"code": -32601, "message": "no method"}, true, 0, "-32601: no method"},
		{"strange", failure{"code": object{"a": 1}, "message": []int{1}, "retryable": "yes", "status": "x"}, true, 0, `{"a":1}: [1]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			checkError(t, c.failure, c.permanent, c.after, c.told)
		})
	}
	for _, code := range retryable {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			checkError(t, failure{"code": code, "message": "later"}, false, 0, code+": later")
		})
	}
}

func checkError(t *testing.T, fail failure, permanent bool, after time.Duration, told string) {
	t.Helper()
	p := serve(t, &fake{on: func(method string, _ object) any {
		if strings.HasPrefix(method, "slates/action.") {
			return fail
		}
		return nil
	}})
	tr := trigger(t, p, "new_message")
	_, pollErr := tr.Poll(t.Context(), engine.PollRequest{Source: source()})
	_, mapErr := tr.Map(t.Context(), engine.MapRequest{Source: source(), Input: json.RawMessage(`{}`)})
	for _, err := range []error{pollErr, mapErr} {
		if _, ok := errors.AsType[*slates.Error](err); !ok || !strings.Contains(err.Error(), told) {
			t.Errorf("%v, want one that says %q", err, told)
		}
	}
	if engine.IsPermanent(pollErr) {
		t.Error("it pauses the trigger")
	}
	if d, _ := engine.RetryAfterOf(pollErr); d != after {
		t.Errorf("to be left alone for %s, want %s", d, after)
	}
	if engine.IsPermanent(mapErr) != permanent {
		t.Errorf("the mapping failed for good: %t, want %t", !permanent, permanent)
	}
}

// Who does not sign in is told so before the integration is asked, unless it need not.
func TestAuthConfigIsMissing(t *testing.T) {
	t.Parallel()
	for _, free := range []bool{false, true} {
		methods := []any{object{"id": "token", "type": "auth.token"}, object{"id": "app", "type": "auth.oauth"}}
		if free {
			methods = append(methods, object{"id": "nobody", "type": "auth.none"})
		}
		p := serve(t, &fake{on: func(method string, _ object) any {
			if method == "slates/auth.methods.list" {
				return object{"authenticationMethods": methods}
			}
			return nil
		}})
		_, err := trigger(t, p, "new_message").Poll(t.Context(), engine.PollRequest{Source: source()})
		if told := err != nil && strings.Contains(err.Error(), "no auth config is attached, and the integration is signed in to with the auth method app or token"); told == free || engine.IsPermanent(err) {
			t.Errorf("nobody needs to sign in: %t; %v", free, err)
		}
	}
}

// What will hardly be otherwise soon is asked for twice, or once.
func TestNewGivesUpOnTheHopeless(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	gone := server(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		http.NotFound(w, nil)
	}))
	for target, want := range map[string]string{gone: "answered 404 Not Found", child(t, "never"): "exit status 3; its last words on standard error: cannot find module", "exec:sh -c nosuchcommand": "exit status 127"} {
		_, err := slates.New(t.Context(), slates.Options{Name: "x", Target: target, StartTimeout: time.Minute})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "failures in a row") {
			t.Errorf("%s: %v, want %q", target, err, want)
		}
	}
	if asked.Load() > 2 {
		t.Errorf("asked %d times", asked.Load())
	}
}

func many(n int) []any {
	inputs := make([]any, n)
	for i := range inputs {
		inputs[i] = object{"n": i}
	}
	return inputs
}

// Many inputs are mapped with few batches, each once, and what failed is asked for again.
func TestMapping(t *testing.T) {
	t.Parallel()
	for _, single := range []bool{false, true} {
		t.Run(fmt.Sprint("the integration answers one request a batch: ", single), func(t *testing.T) {
			t.Parallel()
			failed := map[any]int{}
			f := &fake{on: func(method string, params object) any {
				switch {
				case strings.HasSuffix(method, "poll_events"):
					return object{"inputs": many(1000)}
				case strings.HasSuffix(method, "map_event"):
					if n := params["input"].(object)["n"]; n == float64(7) {
						if failed[n]++; failed[n] == 1 {
							return failure{"code": "upstream.timeout", "message": "slow"}
						}
					}
				}
				return nil
			}}
			p := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !single {
					f.ServeHTTP(w, r)
					return
				}
				var doc struct{ Messages []json.RawMessage }
				_ = json.NewDecoder(r.Body).Decode(&doc)
				first := slices.IndexFunc(doc.Messages, func(m json.RawMessage) bool {
					return bytes.Contains(m, []byte(`"id":"`)) && !bytes.Contains(m, []byte("hub"))
				})
				batch, _ := json.Marshal(object{"messages": doc.Messages[:first+1]})
				_, _ = w.Write(f.answer(batch))
			}))
			tr := trigger(t, p, "new_message")
			before := f.count()
			out, err := tr.Poll(t.Context(), engine.PollRequest{Source: source()})
			if err != nil || len(out.Inputs) != 1000 {
				t.Fatal(len(out.Inputs), err)
			}
			for i, input := range out.Inputs {
				m, err := tr.Map(t.Context(), engine.MapRequest{Source: source(), Input: input})
				if i == 7 && err != nil { // as it was the first time
					if engine.IsPermanent(err) {
						t.Fatal(err)
					}
					m, err = tr.Map(t.Context(), engine.MapRequest{Source: source(), Input: input})
				}
				if err != nil || m.SourceID != fmt.Sprint("msg_", i) || m.Type != "message.created" || string(m.Output) != fmt.Sprintf(`{"n":%d}`, i) {
					t.Fatalf("input %d: %+v %v", i, m, err)
				}
			}
			batches := f.count() - before
			if want := 1 + 20 + 1; !single && batches != want {
				t.Errorf("%d batches, want %d", batches, want)
			}
			if want := 1 + 1 + 1000 + 1; single && batches > want {
				t.Errorf("%d batches, want at most %d", batches, want)
			}
		})
	}
}

// An error that is of no request fails no input: each is asked for by itself.
func TestMappingSurvivesAnErrorOfTheBatch(t *testing.T) {
	t.Parallel()
	f := &fake{on: func(method string, _ object) any {
		if strings.HasSuffix(method, "poll_events") {
			return object{"inputs": many(3)}
		}
		return nil
	}}
	tr := trigger(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if bytes.Count(body, []byte("map_event")) > 1 {
			fmt.Fprint(w, `{"messages":[{"id":null,"error":{"code":"request.invalid","message":"one at a time"}}]}`)
			return
		}
		_, _ = w.Write(f.answer(body))
	})), "new_message")
	out, err := tr.Poll(t.Context(), engine.PollRequest{Source: source()})
	if err != nil {
		t.Fatal(err)
	}
	for i, input := range out.Inputs {
		if m, err := tr.Map(t.Context(), engine.MapRequest{Source: source(), Input: input}); err != nil || m.SourceID != fmt.Sprint("msg_", i) {
			t.Errorf("input %d: %+v %v", i, m, err)
		}
	}
}

// What one account's input was mapped to is not another's.
func TestMappingIsOfTheAccount(t *testing.T) {
	t.Parallel()
	f := &fake{}
	f.on = func(method string, _ object) any {
		if strings.HasSuffix(method, "poll_events") {
			return object{"inputs": many(2)}
		}
		if strings.HasSuffix(method, "map_event") {
			for _, m := range f.batches[len(f.batches)-1] {
				if m.Method == "slates/config.set" {
					return object{"type": "x", "id": m.Params["config"].(object)["team"], "output": object{}}
				}
			}
		}
		return nil
	}
	tr := trigger(t, serve(t, f), "new_message")
	out, err := tr.Poll(t.Context(), engine.PollRequest{Source: source()})
	if err != nil {
		t.Fatal(err)
	}
	other := source()
	other.Config = json.RawMessage(`{"team":"b"}`)
	if m, err := tr.Map(t.Context(), engine.MapRequest{Source: other, Input: out.Inputs[0]}); err != nil || m.SourceID != "b" {
		t.Errorf("%+v %v, want b's", m, err)
	}
}
