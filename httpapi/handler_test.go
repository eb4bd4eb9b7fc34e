package httpapi_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/callbackd/callbackd/httpapi"
)

func TestServing(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	t.Run("Authorization", func(t *testing.T) { testAuthorization(t, e.with(t)) })
	t.Run("EveryAnswerHasARequestID", func(t *testing.T) { testRequestID(t, e.with(t)) })
	t.Run("HeadIsGetWithoutBody", func(t *testing.T) {
		e := e.with(t)
		get, head := e.do("GET", "/providers", ""), e.do("HEAD", "/providers", "")
		if head.Status != 200 || head.Body != "" || head.Header.Get("Content-Length") != get.Header.Get("Content-Length") {
			t.Errorf("HEAD: %d %q, %v; GET: %v", head.Status, head.Body, head.Header, get.Header)
		}
	})
	t.Run("BelowAPath", func(t *testing.T) {
		mux := http.NewServeMux()
		mux.Handle("/hooks/", http.StripPrefix("/hooks", httpapi.New(e.eng, httpapi.Options{APIKeys: []string{rootKey}})))
		req := httptest.NewRequest("GET", "/hooks/providers/crm", nil)
		req.Header.Set("Authorization", "Bearer "+rootKey)
		w := httptest.NewRecorder()
		if mux.ServeHTTP(w, req); w.Code != 200 {
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
	})
	t.Run("NoBootstrapKeys", func(t *testing.T) {
		req := httptest.NewRequest("GET", "/callbacks", nil)
		req.Header.Set("Authorization", "Bearer "+rootKey)
		w := httptest.NewRecorder()
		if httpapi.New(e.eng, httpapi.Options{}).ServeHTTP(w, req); w.Code != 401 {
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
	})
}

func testRequestID(t *testing.T, e *env) {
	form := regexp.MustCompile(`^req_[0-9a-z]{9}[0-9A-Za-z]{13}$`)
	seen := make(map[string]bool)
	for _, a := range []answer{
		e.do("GET", "/health", ""),
		e.do("GET", "/callbacks", "", "Authorization", ""),
		e.do("GET", "/nothing", ""),
		e.do("PUT", "/callbacks", ""),
		e.do("POST", "/callbacks", "{"),
		e.do("GET", "/callbacks", "", "X-Request-ID", "mine"),
	} {
		id := a.Header.Get("X-Request-ID")
		if !form.MatchString(id) || a.Header.Get("metorial-req-id") != id || seen[id] {
			t.Errorf("%d: X-Request-ID %q, metorial-req-id %q", a.Status, id, a.Header.Get("metorial-req-id"))
		}
		seen[id] = true
	}
}

func testAuthorization(t *testing.T, e *env) {
	_, readKey, err := e.eng.CreateAPIKey(t.Context(), "reader", "read")
	if err != nil {
		t.Fatal(err)
	}
	_, writeKey, err := e.eng.CreateAPIKey(t.Context(), "writer", "write")
	if err != nil {
		t.Fatal(err)
	}
	destination := e.id("POST", "/callback-destinations", `{"name":"a","url":"http://a.test"}`)
	for _, tt := range []struct {
		name, method, path, header string
		status                     int
		code                       string
	}{
		{"NoHeader", "GET", "/callbacks", "", 401, "unauthorized"},
		{"NoScheme", "GET", "/callbacks", rootKey, 401, "unauthorized"},
		{"OtherScheme", "GET", "/callbacks", "Basic " + rootKey, 401, "unauthorized"},
		{"NoKey", "GET", "/callbacks", "Bearer ", 401, "unauthorized"},
		{"TwoSpaces", "GET", "/callbacks", "Bearer  " + rootKey, 401, "unauthorized"},
		{"ThreeParts", "GET", "/callbacks", "Bearer " + rootKey + " x", 401, "unauthorized"},
		{"UnknownKey", "GET", "/callbacks", "Bearer " + rootKey + "x", 401, "unauthorized"},
		{"BootstrapKeyWrites", "POST", "/callbacks", "Bearer " + rootKey, 400, "invalid_data"},
		{"SchemeInAnyCase", "GET", "/callbacks", "bearer " + rootKey, 200, ""},
		{"StoredKeyWrites", "POST", "/callbacks", "Bearer " + writeKey, 400, "invalid_data"},
		{"ReadKeyReads", "GET", "/callbacks", "Bearer " + readKey, 200, ""},
		{"ReadKeyMayHead", "HEAD", "/callbacks", "Bearer " + readKey, 200, ""},
		{"ReadKeyMayNotPost", "POST", "/callbacks", "Bearer " + readKey, 403, "forbidden"},
		{"ReadKeyMayNotPatch", "PATCH", "/callback-destinations/" + destination, "Bearer " + readKey, 403, "forbidden"},
		{"ReadKeyMayNotDelete", "DELETE", "/callback-destinations/" + destination, "Bearer " + readKey, 403, "forbidden"},
		{"HealthNeedsNone", "GET", "/health", "", 200, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := e.with(t)
			a := e.do(tt.method, tt.path, "", "Authorization", tt.header)
			if a.Status != tt.status {
				t.Fatalf("status %d: %s", a.Status, a.Body)
			}
			if tt.code != "" && a.decode().str("code") != tt.code {
				t.Errorf("answer: %s", a.Body)
			}
			if got := a.Header.Get("WWW-Authenticate"); (got == "Bearer") != (tt.status == 401) {
				t.Errorf("WWW-Authenticate: %q", got)
			}
		})
	}

	t.Run("TwoHeaders", func(t *testing.T) {
		req := httptest.NewRequest("GET", "/callbacks", nil)
		req.Header["Authorization"] = []string{"Bearer " + rootKey, "Bearer " + rootKey}
		if w := record(e, req); w.Code != 401 {
			t.Errorf("status %d", w.Code)
		}
	})
}

// record serves one request without a network.
func record(e *env, req *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	e.server.Config.Handler.ServeHTTP(w, req)
	return w
}

func TestLog(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id, key, err := e.eng.CreateAPIKey(t.Context(), "reader", "read")
	if err != nil {
		t.Fatal(err)
	}
	s := e.setup("http://127.0.0.1:1")
	e.server.Config.Handler.ServeHTTP(httptest.NewRecorder(), gone(t))
	ok := e.do("GET", "/callbacks/"+s.callback+"?id=secret-looking", "", "Authorization", "Bearer "+key)
	missing := e.do("GET", "/callbacks/clb_none", "")
	if err := e.eng.Close(); err != nil {
		t.Fatal(err)
	}
	broken := e.do("GET", "/callbacks", "")
	e.server.Close() // waits for what is being logged

	records := make(map[string]object)
	var canceled object
	for line := range strings.Lines(e.log.String()) {
		var o object
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			t.Fatal(err)
		}
		records[o.str("request_id")] = o
		if o["status"] == 499.0 {
			canceled = o
		}
	}
	for _, tt := range []struct {
		name   string
		record object
		want   object
	}{
		{"Success", records[ok.Header.Get("X-Request-ID")], object{"level": "DEBUG", "method": "GET", "route": "/callbacks/:callback_id", "path": "/callbacks/" + s.callback, "status": 200.0, "key": id}},
		{"ClientError", records[missing.Header.Get("X-Request-ID")], object{"level": "INFO", "status": 404.0, "key": "bootstrap", "code": "not_found"}},
		{"OurError", records[broken.Header.Get("X-Request-ID")], object{"level": "ERROR", "status": float64(broken.Status)}},
		{"ClientGone", canceled, object{"level": "INFO", "method": "POST"}},
	} {
		for key, want := range tt.want {
			if tt.record[key] != want {
				t.Errorf("%s: %s is %v, want %v", tt.name, key, tt.record[key], want)
			}
		}
	}
	for _, secret := range []string{rootKey, key, "secret-looking"} {
		if strings.Contains(e.log.String(), secret) {
			t.Errorf("the log has %s", secret)
		}
	}
}

// gone is a request whose client has gone away.
func gone(t *testing.T) *http.Request {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	req := httptest.NewRequestWithContext(ctx, "POST", "/callback-destinations", strings.NewReader(`{"name":"a","url":"http://a.test"}`))
	req.Header.Set("Authorization", "Bearer "+rootKey)
	return req
}

func TestPanicIsAnsweredAndLogged(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	h := httpapi.New(nil, httpapi.Options{APIKeys: []string{rootKey}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	req := httptest.NewRequest("GET", "/callbacks", nil)
	req.Header.Set("Authorization", "Bearer "+rootKey)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	body := answer{t: t, Body: w.Body.String()}.decode()
	if w.Code != 500 || body.str("code") != "internal_server_error" || strings.Contains(w.Body.String(), "nil pointer") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if !strings.Contains(body.str("message"), w.Header().Get("X-Request-ID")) {
		t.Errorf("the message does not name the request: %s", w.Body)
	}
	for _, part := range []string{"nil pointer", "stack=", w.Header().Get("X-Request-ID")} {
		if !strings.Contains(log.String(), part) {
			t.Errorf("the log lacks %q: %s", part, log.String())
		}
	}
}
