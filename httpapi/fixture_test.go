package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/httpapi"
)

// rootKey is a bootstrap key.
const rootKey = "cbk_root"

// now is when every test takes place.
var now = time.Date(2026, 1, 10, 14, 45, 0, 123e6, time.UTC)

// env is an engine and its API on loopback.
type env struct {
	t      *testing.T
	eng    *engine.Engine
	server *httptest.Server
	log    *bytes.Buffer // complete once the server is closed
}

// newEnv makes an engine that does not run, with the provider "crm".
func newEnv(t *testing.T, functions ...engine.Function) *env {
	t.Helper()
	return serve(t, openEngine(t, functions...))
}

// serve is the API of an engine.
func serve(t *testing.T, eng *engine.Engine) *env { return serveWaiting(t, eng, 0) }

// serveWaiting is the API of an engine that waits for a poll for so long; 0: as usual.
func serveWaiting(t *testing.T, eng *engine.Engine, pollWait time.Duration) *env {
	e := &env{t: t, eng: eng, log: new(bytes.Buffer)}
	e.server = httptest.NewServer(httpapi.New(e.eng, httpapi.PollingFor(httpapi.Options{APIKeys: []string{"", rootKey},
		Logger: slog.New(slog.NewJSONHandler(e.log, &slog.HandlerOptions{Level: slog.LevelDebug}))}, pollWait)))
	t.Cleanup(e.server.Close)
	return e
}

// with is the same engine for a subtest, which must not be parallel: it ends with its parent.
func (e *env) with(t *testing.T) *env {
	return &env{t: t, eng: e.eng, server: e.server, log: e.log}
}

func openEngine(t testing.TB, functions ...engine.Function) *engine.Engine {
	t.Helper()
	eng, err := engine.Open(t.Context(), engine.Options{Path: filepath.Join(t.TempDir(), "test.db"), NoSync: true, AllowPrivateNetworks: true,
		Providers: []engine.Provider{crm()}, Functions: functions, Now: func() time.Time { return now }, Random: func() float64 { return 0.5 }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = eng.Close() })
	return eng
}

// crm is a provider whose first poll finds one contact.
func crm() engine.Provider {
	return engine.Provider{
		Key: "crm", Name: "CRM", Description: "Contacts.",
		ConfigSchema: json.RawMessage(`{"type":"object","properties":{"account":{"type":"string"},"max":{"type":"integer"}},"required":["account"],"additionalProperties":false}`),
		AuthMethods: []engine.AuthMethod{{Key: "token", Type: "token", Name: "Token", Description: "An access token.",
			InputSchema: json.RawMessage(`{"type":"object","properties":{"token":{"type":"string"}},"required":["token"]}`)}},
		Triggers: []engine.Trigger{
			{Key: "contact.created", Name: "Contact created", Description: "Somebody new.", Interval: time.Minute,
				InputSchema: json.RawMessage(`{"type":"object"}`), OutputSchema: json.RawMessage(`{"type":"object"}`), Poll: pollContact},
			{Key: "contact.deleted", Interval: 5 * time.Minute, Poll: pollNothing},
		},
	}
}

func pollContact(_ context.Context, req engine.PollRequest) (engine.PollResult, error) {
	if req.State != nil {
		return engine.PollResult{}, nil
	}
	return engine.PollResult{State: json.RawMessage(`1`), Inputs: []json.RawMessage{
		json.RawMessage(`{"type":"contact.created","source_id":"c_1","output":{"id":"c_1","balance":12345678901234567890.10}}`)}}, nil
}

func pollNothing(context.Context, engine.PollRequest) (engine.PollResult, error) {
	return engine.PollResult{}, nil
}

// answer is what the API said.
type answer struct {
	t      *testing.T
	Status int
	Header http.Header
	Body   string
}

// do makes a request with the root key, and with a body if it is not empty.
func (e *env) do(method, path, body string, header ...string) answer {
	e.t.Helper()
	req, err := http.NewRequestWithContext(e.t.Context(), method, e.server.URL+path, strings.NewReader(body))
	if err != nil {
		e.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+rootKey)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		if req.Header.Del(header[i]); header[i+1] != "" {
			req.Header.Set(header[i], header[i+1])
		}
	}
	res, err := e.server.Client().Do(req)
	if err != nil {
		e.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		e.t.Fatal(err)
	}
	return answer{t: e.t, Status: res.StatusCode, Header: res.Header, Body: string(text)}
}

// must makes a request that has to succeed.
func (e *env) must(method, path, body string) answer {
	e.t.Helper()
	a := e.do(method, path, body)
	if a.Status != http.StatusOK {
		e.t.Fatalf("%s %s: %d %s", method, path, a.Status, a.Body)
	}
	return a
}

// id makes a request that has to succeed, and is the id in its answer.
func (e *env) id(method, path, body string) string {
	e.t.Helper()
	return e.must(method, path, body).decode().str("id")
}

// object is a JSON object, number by number as it was written.
type object map[string]any

func (a answer) decode() object {
	a.t.Helper()
	d := json.NewDecoder(strings.NewReader(a.Body))
	d.UseNumber()
	var o object
	if err := d.Decode(&o); err != nil {
		a.t.Fatalf("the answer is not an object: %v: %q", err, a.Body)
	}
	return o
}

// at walks into an object by keys.
func (o object) at(keys ...string) any {
	var v any = map[string]any(o)
	for _, key := range keys {
		inner, _ := v.(map[string]any)
		v = inner[key]
	}
	return v
}

func (o object) str(keys ...string) string {
	s, _ := o.at(keys...).(string)
	return s
}

// ids are the ids of a list.
func (a answer) ids() []string {
	a.t.Helper()
	items, ok := a.decode()["items"].([]any)
	if !ok {
		a.t.Fatalf("no items: %s", a.Body)
	}
	ids := []string{}
	for _, item := range items {
		ids = append(ids, object(item.(map[string]any)).str("id"))
	}
	return ids
}

// fieldError is an entry of an error's errors, as CODE PATH.
func (a answer) fieldErrors() []string {
	a.t.Helper()
	var body struct {
		Errors []struct {
			Code string
			Path []string
		}
	}
	if err := json.Unmarshal([]byte(a.Body), &body); err != nil {
		a.t.Fatalf("%v: %q", err, a.Body)
	}
	found := []string{}
	for _, f := range body.Errors {
		found = append(found, f.Code+" "+strings.Join(f.Path, "."))
	}
	return found
}

// setup is a callback of a deployment of crm, with one destination.
type setup struct{ deployment, config, authConfig, destination, callback string }

func (e *env) setup(url string) (s setup) {
	e.t.Helper()
	s.deployment = e.id("POST", "/provider-deployments", `{"provider_id":"crm","name":"Production"}`)
	s.config = e.id("POST", "/provider-configs", `{"provider_id":"crm","provider_deployment_id":"`+s.deployment+`","name":"Main","metadata":{"a":1},"value":{"account":"acme"}}`)
	s.authConfig = e.id("POST", "/provider-auth-configs", `{"provider_auth_method_id":"token","provider_deployment_id":"`+s.deployment+`","name":"Robot","value":{"token":"t0p"}}`)
	s.destination = e.id("POST", "/callback-destinations", `{"name":"Receiver","url":"`+url+`"}`)
	s.callback = e.id("POST", "/callbacks", `{"provider_deployment_id":"`+s.deployment+`","name":"Contacts","destination_ids":["`+s.destination+`"]}`)
	return s
}

// run has the engine work until done is closed, or answers once, and meanwhile then.
func (e *env) run(done <-chan struct{}, then ...func()) {
	e.t.Helper()
	if err := e.eng.Start(e.t.Context()); err != nil {
		e.t.Fatal(err)
	}
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		e.t.Fatal("nothing was delivered")
	}
	for _, do := range then {
		do()
	}
	if err := e.eng.Stop(e.t.Context()); err != nil {
		e.t.Fatal(err)
	}
}

// receiver is a destination that answers with a status, and says when it has been called count times.
func receiver(t *testing.T, status, count int) (url string, called <-chan struct{}) {
	t.Helper()
	calls := make(chan struct{})
	left := make(chan int, 1)
	left <- count
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/plain")
		w.Header()["Date"] = nil
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "thanks")
		n := <-left - 1
		if n == 0 {
			close(calls)
		}
		left <- n
	}))
	t.Cleanup(s.Close)
	return s.URL, calls
}
