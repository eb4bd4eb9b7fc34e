package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"time"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/httpapi"
)

// fullBodies are bodies that are right as far as can be told without the store.
var fullBodies = map[string]string{
	"POST /callbacks":                            `{"provider_deployment_id":"none","name":"a"}`,
	"POST /callbacks/{callback_id}/instances":    `{"provider_config_id":"none"}`,
	"POST /callbacks/{callback_id}/events":       `{"type":"a","output":{}}`,
	"POST /callbacks/{callback_id}/events/batch": `{"events":[{"type":"a","output":{}}]}`,
	"POST /callback-destinations":                `{"name":"a","url":"http://a.test"}`,
	"POST /callbacks-destinations":               `{"name":"a","url":"http://a.test","callbacks":{"type":"all"}}`,
	"POST /provider-deployments":                 `{"provider_id":"none"}`,
	"POST /provider-configs":                     `{"provider_id":"none","value":{}}`,
	"POST /provider-auth-configs":                `{"provider_auth_method_id":"none","value":{}}`,
}

// body is what an operation can be tried with.
func (o operation) body() string {
	switch {
	case o.RequestBody == nil:
		return ""
	case o.method == http.MethodPatch:
		return `{}`
	default:
		return fullBodies[o.String()]
	}
}

// query is what an operation cannot do without.
func (o operation) query() string {
	if o.path == "/provider-config-schema" {
		return "?provider_id=none"
	}
	return ""
}

// names are the parameters of the path.
func (o operation) names() (names []string) {
	for part := range strings.SplitSeq(o.path, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			names = append(names, strings.TrimSuffix(name, "}"))
		}
	}
	return names
}

// target is the path with ids.
func (o operation) target(ids map[string]string) string {
	path := o.path
	for _, name := range o.names() {
		path = strings.Replace(path, "{"+name+"}", ids[name], 1)
	}
	return path
}

// try makes a request and compares its answer, whose status must be the given one.
func (d *document) try(e *env, status int, method, target, body string, header ...string) answer {
	d.t.Helper()
	a := e.do(method, target, body, header...)
	if a.Status != status {
		d.t.Errorf("%s %s: status %d, want %d: %s", method, target, a.Status, status, a.Body)
		return a
	}
	d.compare(method, target, body, a)
	return a
}

// refusals makes an operation fail in each way that is the request's own fault.
func refusals(e *env, d *document, o operation, ids map[string]string) {
	target := o.target(ids)
	for _, method := range []string{"PUT", "OPTIONS"} {
		d.try(e, http.StatusMethodNotAllowed, method, target, "")
	}
	if o.public() {
		return
	}
	d.try(e, http.StatusUnauthorized, o.method, target+o.query(), o.body(), "Authorization", "")
	if o.method != http.MethodGet {
		_, readKey, err := e.eng.CreateAPIKey(e.t.Context(), "reader", "read")
		if err != nil {
			e.t.Fatal(err)
		}
		d.try(e, http.StatusForbidden, o.method, target, o.body(), "Authorization", "Bearer "+readKey)
	}
	for _, unknown := range o.names() {
		others := map[string]string{unknown: "none"}
		for _, name := range o.names() {
			if name != unknown {
				others[name] = ids[name]
			}
		}
		d.try(e, http.StatusNotFound, o.method, o.target(others), o.body())
	}
	if len(o.names()) == 0 { // found or not, as what it names is there or not
		d.compare(o.method, target+o.query(), o.body(), e.do(o.method, target+o.query(), o.body()))
	}
	if o.RequestBody != nil {
		d.try(e, http.StatusBadRequest, o.method, target, `[]`)
		d.try(e, http.StatusBadRequest, o.method, target, `{}`, "Content-Type", "text/plain")
		d.try(e, http.StatusBadRequest, o.method, target, `{"status":1,"name":1,"description":1,"metadata":1,"value":1,"type":1,"provider_config_id":1}`)
		d.try(e, http.StatusRequestEntityTooLarge, o.method, target, `{"name":"`+strings.Repeat("a", 1<<20)+`"}`)
	}
	if len(o.Parameters) > 0 {
		d.try(e, http.StatusBadRequest, o.method, target+"?limit=0&order=up&created_at[gt]=x", "")
		d.try(e, http.StatusBadRequest, o.method, target+"?limit=%zz", "")
	}
	if o.RequestBody != nil && len(o.names()) > 0 {
		body := o.body() // all that there is, is archived
		if strings.HasSuffix(o.path, "/instances") {
			body = `{"provider_config_id":"` + ids["provider_config_id"] + `"}`
		}
		d.try(e, http.StatusConflict, o.method, target, body)
	}
}

// answersInTrouble compares what success looks like when deliveries fail, and when a
// destination is a function.
func answersInTrouble(d *document) {
	e := newWalker(d.t).env
	refusing, called := receiver(e.t, http.StatusTeapot, 1)
	gone, told := receiver(e.t, http.StatusGone, 1)
	s := e.setup(refusing)
	closed := e.id("POST", "/callback-destinations", `{"name":"Gone","url":"`+gone+`"}`)
	nowhere := e.id("POST", "/callback-destinations", `{"name":"Nowhere","url":"http://127.0.0.1:1","retry":{"maxAttempts":1}}`)
	callback := "/callbacks/" + s.callback
	d.try(e, http.StatusOK, "PATCH", callback, `{"destination_ids":["`+s.destination+`","`+closed+`","`+nowhere+`","func:audit"]}`)
	d.try(e, http.StatusOK, "POST", callback+"/instances", `{"provider_config_id":"`+s.config+`","baseline":"skip"}`)
	d.try(e, http.StatusOK, "POST", callback+"/events", `{"type":"own","output":{"n":12345678901234567890.10},"input":{}}`)
	both := make(chan struct{})
	go func() { // ends with the two calls, which run waits for
		<-called
		<-told
		close(both)
	}()
	e.run(both)
	for _, path := range []string{"/notifications", "/events", "/instances"} {
		list := d.try(e, http.StatusOK, "GET", callback+path+"?limit=50&order=desc&created_at[gt]=2026-01-01T00:00:00Z&created_at[lt]=2027-01-01T00:00:00%2B01:00", "")
		for _, id := range list.ids() {
			d.try(e, http.StatusOK, "GET", callback+path+"/"+id, "")
		}
	}
	for _, id := range []string{s.destination, closed, nowhere, "func:audit"} {
		d.try(e, http.StatusOK, "GET", "/callback-destinations/"+id, "")
		d.try(e, http.StatusOK, "GET", "/callbacks-destinations/"+id, "")
	}
	d.try(e, http.StatusOK, "GET", "/callback-destinations?status=disabled&status=active&callback_id="+s.callback+"&callback_id=none", "")
	d.try(e, http.StatusOK, "PATCH", "/callback-destinations/"+closed, `{"status":"active","description":null,"metadata":null,"event_types":null,"headers":null,`+
		`"retry":{"type":null,"maxAttempts":null,"delaySeconds":null},"timeout_seconds":null,"max_in_flight":null,"method":null}`)
	function := e.id("GET", "/callback-destinations/func:audit", "")
	d.try(e, http.StatusConflict, "PATCH", "/callback-destinations/"+function, `{"name":"b"}`)
	d.try(e, http.StatusBadRequest, "PATCH", callback, `{"triggers":[{"trigger_id":"none"}],"poll_interval_seconds_override":0}`)
	d.try(e, http.StatusNotFound, "GET", "/nothing", "")
	running := newEnv(e.t)
	if err := running.eng.Start(e.t.Context()); err != nil {
		e.t.Fatal(err)
	}
	d.try(running, http.StatusOK, "GET", "/health/ready", "", "Authorization", "")
}

// pollsInTrouble compares the answers about triggers that cannot be polled now, or not soon.
func pollsInTrouble(d *document) {
	release := make(chan struct{})
	p := engine.Provider{Key: "slow", Triggers: []engine.Trigger{
		{Key: "polled", Poll: func(context.Context, engine.PollRequest) (engine.PollResult, error) {
			<-release
			return engine.PollResult{}, nil
		}},
		{Key: "received", Handle: func(context.Context, engine.WebhookRequest) (engine.WebhookResult, error) {
			return engine.WebhookResult{}, nil
		}}}}
	eng, err := engine.Open(d.t.Context(), engine.Options{Path: filepath.Join(d.t.TempDir(), "test.db"), NoSync: true, Providers: []engine.Provider{p}})
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = eng.Close() })
	d.t.Cleanup(func() { close(release) })
	e := serveWaiting(d.t, eng, 300*time.Millisecond)
	deployment := e.id("POST", "/provider-deployments", `{"provider_id":"slow"}`)
	config := e.id("POST", "/provider-configs", `{"provider_id":"slow","value":{}}`)
	callback := e.id("POST", "/callbacks", `{"provider_deployment_id":"`+deployment+`","name":"a"}`)
	instance := "/callbacks/" + callback + "/instances/" + e.id("POST", "/callbacks/"+callback+"/instances", `{"provider_config_id":"`+config+`"}`)
	d.try(e, http.StatusServiceUnavailable, "POST", instance+"/triggers/polled/poll", "")
	if err := eng.Start(d.t.Context()); err != nil {
		d.t.Fatal(err)
	}
	d.try(e, http.StatusAccepted, "POST", instance+"/triggers/polled/poll", "")
	d.try(e, http.StatusBadRequest, "POST", instance+"/triggers/received/poll", "")
	d.try(e, http.StatusBadRequest, "PATCH", instance+"/triggers/polled", `{"status":"failing"}`)
	d.try(e, http.StatusOK, "PATCH", instance+"/triggers/polled", `{"status":"paused"}`)
	d.try(e, http.StatusConflict, "POST", instance+"/triggers/polled/poll", "")
}

// conflicts compares the answers about providers of which the engine has more than one, or
// no code, or wrong code.
func conflicts(d *document) {
	path := filepath.Join(d.t.TempDir(), "test.db")
	open := func(providers ...engine.Provider) *env {
		eng, err := engine.Open(d.t.Context(), engine.Options{Path: path, NoSync: true, Providers: providers})
		if err != nil {
			d.t.Fatal(err)
		}
		d.t.Cleanup(func() { _ = eng.Close() })
		return serve(d.t, eng)
	}
	other, broken := crm(), crm()
	other.Key = "other"
	broken.Validate = func(json.RawMessage) []engine.FieldError { panic("a mistake of ours") }

	e := open(other, broken)
	d.try(e, http.StatusConflict, "POST", "/provider-auth-configs", `{"provider_auth_method_id":"token","value":{"token":"a"}}`)
	d.try(e, http.StatusInternalServerError, "POST", "/provider-configs", `{"provider_id":"crm","value":{"account":"a"}}`)
	if err := e.eng.Close(); err != nil {
		d.t.Fatal(err)
	}
	e = open(other)
	d.try(e, http.StatusOK, "GET", "/providers/crm", "")
	d.try(e, http.StatusConflict, "POST", "/provider-configs", `{"provider_id":"crm","value":{"account":"a"}}`)
	d.try(e, http.StatusConflict, "POST", "/provider-deployments", `{"provider_id":"crm"}`)
}

// outages makes every operation fail because of a panic, because the request is cut short,
// and because the engine is closed.
func outages(d *document, ids map[string]string) {
	broken, e := serve(d.t, nil), newEnv(d.t)
	cut, cancel := context.WithCancel(d.t.Context())
	cancel()
	for _, o := range d.operations() {
		if o.public() {
			continue
		}
		target := o.target(ids) + o.query()
		d.try(broken, http.StatusInternalServerError, o.method, target, o.body())
		req := httptest.NewRequestWithContext(cut, o.method, target, strings.NewReader(o.body()))
		req.Header.Set("Authorization", "Bearer "+rootKey)
		w := record(e, req)
		if w.Code != http.StatusServiceUnavailable {
			d.t.Errorf("%s, cut short: %d %s", o, w.Code, w.Body)
		}
		d.compare(o.method, target, o.body(), answer{t: d.t, Status: w.Code, Header: w.Header(), Body: w.Body.String()})
	}
	full, release := busy(e)
	for _, o := range d.operations() {
		if !o.public() {
			if a := d.try(full, http.StatusTooManyRequests, o.method, o.target(ids)+o.query(), o.body()); a.Header.Get("Retry-After") != "1" {
				d.t.Errorf("%s: Retry-After: %q", o, a.Header.Get("Retry-After"))
			}
		}
	}
	release()
	d.try(full, http.StatusOK, "GET", "/callbacks", "")
	if err := e.eng.Close(); err != nil {
		d.t.Fatal(err)
	}
	for _, o := range d.operations() {
		target := o.target(ids) + o.query()
		a := e.do(o.method, target, o.body())
		if !o.public() && a.Status != http.StatusServiceUnavailable {
			d.t.Errorf("%s, closed: %d %s", o, a.Status, a.Body)
		}
		d.compare(o.method, target, o.body(), a)
	}
}

// busy is the API of an engine with the one request that it takes at a time, until it is
// released.
func busy(e *env) (full *env, release func()) {
	e.t.Helper()
	full = &env{t: e.t, eng: e.eng, log: new(bytes.Buffer)}
	full.server = httptest.NewServer(httpapi.New(e.eng, httpapi.Options{APIKeys: []string{rootKey}, MaxRequests: 1}))
	e.t.Cleanup(full.server.Close)
	for {
		body, write := io.Pipe()
		status := make(chan int, 1)
		go func() { // release, or another round, waits for it
			code := 0
			defer func() { status <- code }()
			req, err := http.NewRequestWithContext(e.t.Context(), http.MethodPost, full.server.URL+"/callbacks", body)
			if err != nil {
				e.t.Error(err)
				return
			}
			req.Header.Set("Authorization", "Bearer "+rootKey)
			req.Close = true // or net/http would want the whole body before it lets a refusal be sent
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				e.t.Error(err)
				return
			}
			resp.Body.Close()
			code = resp.StatusCode
		}()
		_, _ = write.Write([]byte("{")) // fails if it is refused
		for len(status) == 0 {
			if full.do(http.MethodGet, "/callbacks", "").Status == http.StatusTooManyRequests {
				return full, func() {
					write.Close()
					<-status
				}
			}
		}
		// It was refused itself, because it came together with one of those that look.
		if code := <-status; code != http.StatusTooManyRequests {
			e.t.Fatalf("the request that is to be held up was answered %d", code)
		}
	}
}
