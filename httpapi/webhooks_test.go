package httpapi_test

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/httpapi"
)

type handleFunc = func(context.Context, engine.WebhookRequest) (engine.WebhookResult, error)

// hookEnv is an API with one webhook, which a test handles.
type hookEnv struct {
	*env
	path     string // of the file
	callback string
	instance string
	id       string // of the trigger
	hook     string // its path
}

func newHookEnv(t *testing.T, o httpapi.Options, handle handleFunc) *hookEnv {
	t.Helper()
	return newHookEnvWith(t, func(eng *engine.Engine) *httptest.Server { return httptest.NewServer(httpapi.New(eng, o)) }, &o, handle)
}

func newHookEnvWith(t *testing.T, server func(*engine.Engine) *httptest.Server, o *httpapi.Options, handle handleFunc) *hookEnv {
	t.Helper()
	h := &hookEnv{path: filepath.Join(t.TempDir(), "test.db")}
	log := new(bytes.Buffer)
	o.APIKeys, o.Logger = []string{rootKey}, slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	eng, err := engine.Open(t.Context(), engine.Options{Path: h.path, NoSync: true, AllowPrivateNetworks: true, PublicURL: "https://hooks.test",
		Providers: []engine.Provider{{Key: "hooks", Triggers: []engine.Trigger{{Key: "sent", Handle: handle}}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = eng.Close() })
	h.env = &env{t: t, eng: eng, server: server(eng), log: log}
	t.Cleanup(h.server.Close)
	deployment := h.id2("POST", "/provider-deployments", `{"provider_id":"hooks"}`)
	config := h.id2("POST", "/provider-configs", `{"provider_id":"hooks","provider_deployment_id":"`+deployment+`","value":{}}`)
	h.callback = "/callbacks/" + h.id2("POST", "/callbacks", `{"provider_deployment_id":"`+deployment+`","name":"Hooks"}`)
	a := h.must("POST", h.callback+"/instances", `{"provider_config_id":"`+config+`"}`).decode()
	h.instance = h.callback + "/instances/" + a.str("id")
	h.id = object(a["triggers"].([]any)[0].(map[string]any)).str("id")
	h.hook = "/webhooks/" + h.id
	return h
}

func (h *hookEnv) id2(method, path, body string) string { return h.env.id(method, path, body) }

// send sends what a source would: without a key.
func (h *hookEnv) send(method, suffix, body string, header ...string) answer {
	h.t.Helper()
	return h.do(method, h.hook+suffix, body, append([]string{"Authorization", "", "Content-Type", "text/plain"}, header...)...)
}

func (h *hookEnv) events() int { return len(h.must("GET", h.callback+"/events?limit=100", "").ids()) }

func event(id string) json.RawMessage {
	text, _ := json.Marshal(engine.Mapped{Type: "sent", SourceID: id}) // texts always marshal
	return text
}

// script does what a request's body says.
func script(_ context.Context, req engine.WebhookRequest) (engine.WebhookResult, error) {
	word, rest, _ := strings.Cut(string(req.Body), " ")
	switch word {
	case "refuse":
		status, _ := strconv.Atoi(rest)
		return engine.WebhookResult{}, engine.Refuse(status, errors.New("a reason for us"))
	case "fail":
		return engine.WebhookResult{}, errors.New("a reason for us")
	case "wait":
		return engine.WebhookResult{}, engine.RetryAfter(1500*time.Millisecond, errors.New("a reason for us"))
	case "permanent":
		return engine.WebhookResult{}, engine.Permanent(errors.New("a reason for us"))
	case "panic":
		panic("a reason for us")
	case "inject":
		return engine.WebhookResult{Response: &engine.WebhookResponse{Header: http.Header{"X-A": {"b\r\nX-Evil: 1"}}}}, nil
	case "answer":
		return engine.WebhookResult{Response: &engine.WebhookResponse{Status: 202, Body: []byte("<b>" + rest), Header: http.Header{"Set-Cookie": {"a=b", "c=d"}, "x-own": {"1"},
			"Connection": {"X-Hop"}, "X-Hop": {"1"}, "Content-Length": {"1"}, "Transfer-Encoding": {"chunked"}, "X-Request-Id": {"theirs"}}}}, nil
	case "empty":
		return engine.WebhookResult{Response: &engine.WebhookResponse{Status: 204}}, nil
	}
	return engine.WebhookResult{Inputs: []json.RawMessage{event(string(req.Body))}}, nil
}

func TestWebhookAnswers(t *testing.T) {
	t.Parallel()
	h := newHookEnv(t, httpapi.Options{}, script)
	for _, tt := range []struct {
		body   string
		status int
		code   string
	}{
		{"one", 200, ""}, {"one", 200, ""}, {"refuse 401", 401, "unauthorized"}, {"refuse 403", 403, "forbidden"}, {"refuse 410", 410, "gone"},
		{"refuse 418", 418, "bad_request"}, {"refuse 999", 400, "bad_request"}, {"refuse 400", 400, "bad_request"}, {"fail", 500, "internal_server_error"},
		{"permanent", 400, "bad_request"}, {"panic", 500, "internal_server_error"}, {"inject", 500, "internal_server_error"}, {"wait", 503, "unavailable"}, {"", 200, ""},
	} {
		a := h.send("POST", "", tt.body)
		if a.Status != tt.status || a.decode().str("code") != tt.code || strings.Contains(a.Body, "reason for us") || a.Header.Get("X-Request-ID") == "" {
			t.Errorf("%s: %d %s", tt.body, a.Status, a.Body)
		}
		if a.Header.Get("X-Evil") != "" || a.Header.Get("WWW-Authenticate") != "" {
			t.Errorf("%s: %v", tt.body, a.Header)
		}
		if retry := a.Header.Get("Retry-After"); tt.body == "wait" && retry != "2" || tt.body != "wait" && retry != "" {
			t.Errorf("%s: Retry-After: %q", tt.body, retry)
		}
	}
	if n := h.events(); n != 2 { // that of the empty body has no source id, and cannot be mapped
		t.Errorf("%d events", n)
	}
	a := h.send("POST", "", "answer x")
	if a.Status != 202 || a.Body != "<b>x" || len(a.Header["Set-Cookie"]) != 2 || a.Header.Get("X-Own") != "1" || a.Header.Get("X-Hop") != "" ||
		a.Header.Get("X-Request-ID") == "theirs" || !strings.HasPrefix(a.Header.Get("Content-Type"), "text/plain") || a.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%d %v %s", a.Status, a.Header, a.Body)
	}
	if a := h.send("POST", "", "empty"); a.Status != 204 || a.Body != "" || a.Header.Get("Content-Type") != "" {
		t.Errorf("%d %v %s", a.Status, a.Header, a.Body)
	}
	h.server.Close()
	log := h.log.String()
	if !strings.Contains(log, "a reason for us") {
		t.Error("the reason is not in the log")
	}
	for _, status := range []string{`"status":202`, `"status":204`} { // as the provider chose it
		if !regexp.MustCompile(`"msg":"request".*"path":"` + h.hook + `".*` + status).MatchString(log) {
			t.Errorf("no request is logged with %s", status)
		}
	}
}

func TestWebhookTakesAnyMethodPathAndBody(t *testing.T) {
	t.Parallel()
	got := make(chan engine.WebhookRequest, 1)
	h := newHookEnv(t, httpapi.Options{}, func(_ context.Context, req engine.WebhookRequest) (engine.WebhookResult, error) {
		got <- req
		return engine.WebhookResult{Response: &engine.WebhookResponse{Body: []byte("hello")}}, nil
	})
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
		for _, suffix := range []string{"", "/", "?", "?hub.challenge=1&b=%20%2f+", "/a%2Fb//c/../%ff?x", "/%61?a=;"} {
			a := h.send(method, suffix, "", "Content-Encoding", "gzip")
			if a.Status != 200 || method != "HEAD" && a.Body != "hello" {
				t.Fatalf("%s %q: %d %s", method, suffix, a.Status, a.Body)
			}
			if req := <-got; req.Method != method || req.URL != "https://hooks.test"+h.hook+suffix || req.Header.Get("Content-Encoding") != "gzip" {
				t.Errorf("%s %q: %s %s", method, suffix, req.Method, req.URL)
			}
		}
	}
	for _, body := range []string{"\x1f\x8b\x08\x00 no JSON", strings.Repeat("x", 1<<20)} {
		if a := h.send("POST", "", body); a.Status != 200 {
			t.Errorf("%d %s", a.Status, a.Body)
		}
		if req := <-got; string(req.Body) != body {
			t.Errorf("%d bytes of %d arrived", len(req.Body), len(body))
		}
	}
	for _, path := range []string{"/webhooks/" + strings.Replace(h.id, "ctr", "%63tr", 1), "/webhooks/" + h.id + "%2Fa", "/webhooks/", "/webhooks/ctr_none/a", "/webhooks"} {
		if a := h.do("POST", path, ""); a.Status != 404 {
			t.Errorf("%s: %d %s", path, a.Status, a.Body)
		}
	}
	if a := h.send("TRACE", "", ""); a.Status != 405 || a.Header.Get("Allow") != "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT" {
		t.Errorf("TRACE: %d %v", a.Status, a.Header)
	}
}

func TestWebhookOfWhatHasEndedIsGone(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*hookEnv){
		"Detached": func(h *hookEnv) { h.must("DELETE", h.instance, "") },
		"Archived": func(h *hookEnv) { h.must("DELETE", h.callback, "") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHookEnv(t, httpapi.Options{}, script)
			end(h)
			// Who sends more than anybody wants is told so without having it read.
			if a := h.send("POST", "", strings.Repeat("x", 2<<20)); a.Status != 410 || a.decode().str("code") != "gone" {
				t.Errorf("%d %s", a.Status, a.Body)
			}
		})
	}
}

// raw speaks HTTP by hand, and returns the status of the answer.
func (h *hookEnv) raw(t *testing.T, send func(net.Conn)) int {
	t.Helper()
	conn, err := net.Dial("tcp", h.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	go send(conn) // ends with the connection
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return res.StatusCode
}

// Bodies that come slowly keep no other source out, nor an API call, and do not fill the memory.
func TestSlowWebhooksKeepNobodyOut(t *testing.T) {
	t.Parallel()
	h := newHookEnvWith(t, func(eng *engine.Engine) *httptest.Server { // none is given up before all are there
		return httptest.NewServer(httpapi.NewWithBodyTime(eng, httpapi.Options{APIKeys: []string{rootKey}, MaxRequests: 1}, time.Minute))
	}, new(httpapi.Options), script)
	other := h.must("POST", h.callback+"/instances", `{"provider_config_id":"`+h.id2("POST", "/provider-configs", `{"provider_id":"hooks","value":{}}`)+`"}`).decode()
	path := "/webhooks/" + object(other["triggers"].([]any)[0].(map[string]any)).str("id")
	size, refused := 512<<10, 0
	for range httpapi.MaxBufferedEach/(1<<20) + 10 { // each holds a buffer of 1 MiB in the end
		conn, err := net.Dial("tcp", h.server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n%s", h.hook, strings.Repeat("x", size+1)); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(50 * time.Second); refused < 3; { // the bodies are on their way
		if time.Now().After(deadline) {
			t.Fatal("none was turned away")
		}
		a := h.send("POST", "", strings.Repeat("y", 1<<20))
		switch {
		case a.Status == 429 && a.Header.Get("Retry-After") == "1" && a.decode().str("code") == "rate_limit_exceeded":
			refused++
		case a.Status != 200:
			t.Fatalf("%d %.200s", a.Status, a.Body)
		}
	}
	if a := h.do("POST", path, strings.Repeat("x", 1<<20), "Authorization", ""); a.Status != 200 {
		t.Errorf("another's: %d %.200s", a.Status, a.Body)
	}
	h.must("GET", "/callbacks", "")
}

func TestTooManyWebhooksAtATimeAreTurnedAway(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	h := newHookEnv(t, httpapi.Options{MaxRequests: 1}, func(ctx context.Context, req engine.WebhookRequest) (engine.WebhookResult, error) {
		if string(req.Body) == "slow" {
			close(entered)
			<-release
		}
		return script(ctx, req)
	})
	done := make(chan int, 1)
	go func() { done <- h.send("POST", "", "slow").Status }() // awaited below
	<-entered
	if a := h.send("POST", "", "x"); a.Status != 429 || a.Header.Get("Retry-After") != "1" {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	h.must("GET", "/callbacks", "") // calls of the API are counted apart
	close(release)
	if status := <-done; status != 200 {
		t.Error(status)
	}
	if a := h.send("POST", "", "x"); a.Status != 200 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}

// A source that hangs up, because it waits for too short a time, does not end what it began.
func TestWebhookOfASourceThatHangsUpIsStored(t *testing.T) {
	t.Parallel()
	entered, release, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	h := newHookEnv(t, httpapi.Options{}, func(ctx context.Context, req engine.WebhookRequest) (engine.WebhookResult, error) {
		close(entered)
		<-release
		ended <- ctx.Err()
		return script(ctx, req)
	})
	conn, err := net.Dial("tcp", h.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\none", h.hook); err != nil {
		t.Fatal(err)
	}
	<-entered
	conn.Close()
	close(release)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	h.server.Close() // waits for it
	if err := h.eng.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", h.path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var n int
	if err := db.QueryRow("SELECT count(*) FROM event").Scan(&n); err != nil || n != 1 {
		t.Errorf("%d events, %v", n, err)
	}
}

// webhooksAtATime is how many sources send at the same time in a test.
var webhooksAtATime = 1000

func TestManyWebhooksAtATime(t *testing.T) {
	t.Parallel()
	h := newHookEnv(t, httpapi.Options{}, script)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: webhooksAtATime}}
	defer client.CloseIdleConnections()
	var wg sync.WaitGroup
	for i := range webhooksAtATime {
		wg.Go(func() {
			res, err := client.Post(h.server.URL+h.hook, "", strings.NewReader(strconv.Itoa(i/2))) // each one twice
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, res.Body)
			res.Body.Close()
			if res.StatusCode != 200 {
				t.Error(res.Status)
			}
		})
	}
	wg.Wait()
	total, after := 0, ""
	for more := true; more; {
		a := h.must("GET", h.callback+"/events?limit=100&order=asc"+after, "")
		ids := a.ids()
		total += len(ids)
		more = strings.Contains(a.Body, `"has_more_after":true`)
		after = "&after=" + ids[len(ids)-1]
	}
	if total != webhooksAtATime/2 {
		t.Errorf("%d events", total)
	}
}

// The URL is a secret of a kind: what follows the trigger's own is not logged, nor is a query.
func TestWebhookURLsAreNotLoggedWhole(t *testing.T) {
	t.Parallel()
	h := newHookEnv(t, httpapi.Options{}, script)
	h.send("POST", "/path-token?query-token=1", "x")
	h.send("POST", "/path-token?query-token=1", "refuse 401")
	h.send("POST", "/path-token?query-token=1", "fail")
	h.server.Close()
	if log := h.log.String(); strings.Contains(log, "path-token") || strings.Contains(log, "query-token") || !strings.Contains(log, h.hook) {
		t.Error(log)
	}
}

func TestTriggerShowsItsWebhook(t *testing.T) {
	t.Parallel()
	h := newHookEnv(t, httpapi.Options{}, script)
	for _, path := range []string{h.instance, h.callback + "/instances"} {
		a := h.must("GET", path, "").Body
		for _, want := range []string{`"webhook_url":"https://hooks.test` + h.hook + `"`, `"is_webhook_registered":false`, `"poll_interval_seconds":null`, `"next_poll_at":null`,
			`"invocation":{"type":"webhook","auto_registration":{"status":"unsupported"},"auto_unregistration":{"status":"unsupported"}}`} {
			if !strings.Contains(a, want) {
				t.Errorf("%s: no %s in %s", path, want, a)
			}
		}
	}
	d := readDocument(h.env)
	for _, path := range []string{h.instance, h.callback + "/instances", "/provider-triggers"} {
		d.try(h.env, http.StatusOK, "GET", path, "")
	}
}

// webhookAnswers compares the answers to sources with the document.
func webhookAnswers(d *document, o operation) {
	entered, release := make(chan struct{}), make(chan struct{})
	handle := func(ctx context.Context, req engine.WebhookRequest) (engine.WebhookResult, error) {
		if req.Header.Get("X-Do") == "slow" {
			close(entered)
			<-release
		}
		return script(ctx, engine.WebhookRequest{Body: []byte(strings.ReplaceAll(req.Header.Get("X-Do"), "_", " "))})
	}
	h := newHookEnv(d.t, httpapi.Options{MaxRequests: 1}, handle)
	try := func(status int, path, body string, header ...string) {
		d.t.Helper()
		d.try(h.env, status, o.method, path, body, append(header, "Authorization", "")...)
	}
	try(200, h.hook, "", "X-Do", "x")
	try(401, h.hook, "", "X-Do", "refuse_401")
	try(500, h.hook, "", "X-Do", "fail")
	try(503, h.hook, "", "X-Do", "wait")
	try(404, "/webhooks/ctr_none", "")
	try(413, h.hook, strings.Repeat("x", 1<<20+1))
	done := make(chan int, 1)
	go func() { done <- h.send("POST", "", "", "X-Do", "slow").Status }() // awaited below
	<-entered
	try(429, h.hook, "", "X-Do", "x")
	close(release)
	if status := <-done; status != 200 {
		d.t.Errorf("the one that was in hand: %d", status)
	}
	h.must("DELETE", h.instance, "")
	try(410, h.hook, "")
}

// FuzzWebhookPath has what follows a trigger's URL come as it was sent, whatever it is.
func FuzzWebhookPath(f *testing.F) {
	for _, target := range []string{"/webhooks/ctr_1", "/webhooks/ctr_1/", "/webhooks/ctr_1?a=%zz", "/webhooks/ctr_1/a%2fb?c", "/webhooks/ctr_1%2fb", "/webhooks/ctr%5f1", "/webhooks//a", "/webhooks/ctr_1//..?", "/webhooks/ctr_1/%00%ff"} {
		f.Add(target)
	}
	h := httpapi.New(openEngine(f), httpapi.Options{})
	f.Fuzz(func(t *testing.T, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || !strings.HasPrefix(target, "/") {
			return
		}
		req := &http.Request{Method: "POST", URL: u, Header: http.Header{}, Body: http.NoBody, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req.WithContext(t.Context()))
		if w.Code >= 500 || !json.Valid(w.Body.Bytes()) {
			t.Errorf("%q: %d %s", target, w.Code, w.Body)
		}
		const id = "ctr_1"
		suffix, ok := httpapi.WebhookSuffix(req, id)
		if want, had := strings.CutPrefix(target, "/webhooks/"+id); ok && (!had || suffix != want) {
			t.Errorf("%q: %q", target, suffix)
		}
	})
}
