package httpapi_test

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/httpapi"
)

// writes are the calls that take a body, with {} for an id of the kind that fits.
var writes = []string{
	"POST /callbacks", "PATCH /callbacks/{callback}", "POST /callbacks/{callback}/instances", "POST /callbacks/{callback}/events", "POST /callbacks/{callback}/events/batch",
	"POST /callback-destinations", "PATCH /callback-destinations/{destination}", "POST /callbacks-destinations", "PATCH /callbacks-destinations/{destination}",
	"POST /provider-deployments", "PATCH /provider-deployments/{deployment}", "POST /provider-configs", "PATCH /provider-configs/{config}", "POST /provider-auth-configs", "PATCH /provider-auth-configs/{auth}",
}

// FuzzBody has any body answered with an object or with an error of the client, which is not
// much larger, and whatever was stored be readable.
func FuzzBody(f *testing.F) {
	for i := range writes {
		for _, seed := range []string{`{}`, `[]`, `{"name":"a","url":"http://a.test","headers":{"A":"b"},"event_types":["x"],"metadata":{"n":1e400},"retry":{"type":"linear","maxAttempts":1,"delaySeconds":1}}`,
			`{"provider_id":"crm","value":{"account":"a","max":1e999},"name":"\ud800"}`, `{"type":"a","output":{"a":1,"a":2},"source_id":"b","input":null}`, `{"events":[{"type":"a","output":{}},1]}`,
			`{"name":"a","callbacks":{"type":"selected","callback_id":["a"]},"url":"//"}`, `{"triggers":[{"trigger_id":"contact.created","event_types":[]}],"destination_ids":[],"poll_interval_seconds_override":1}`, "\xff", `{"name":"\u0000"} x`} {
			f.Add(uint8(i), []byte(seed))
		}
	}
	eng := openEngine(f)
	ids := strings.NewReplacer(replacements(f, eng)...)
	h := httpapi.New(eng, httpapi.Options{APIKeys: []string{rootKey}})
	call := func(method, path string, body []byte) *httptest.ResponseRecorder {
		req := httptest.NewRequest(method, ids.Replace(path), bytes.NewReader(body))
		req.Header.Set("Authorization", "Bearer "+rootKey)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		return w
	}
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		method, path, _ := strings.Cut(writes[int(which)%len(writes)], " ")
		w := call(method, path, body)
		if w.Code >= 500 || !json.Valid(w.Body.Bytes()) || !utf8.Valid(w.Body.Bytes()) {
			t.Errorf("%s %s %q: %d %s", method, path, body, w.Code, w.Body)
		}
		if w.Code >= 400 && w.Body.Len() > 64<<10+8*len(body) {
			t.Errorf("%q is answered with %d bytes", body, w.Body.Len())
		}
		if w.Code == 200 {
			list, _, _ := strings.Cut(path, "/{")
			if strings.Contains(path, "/events") {
				list = "/callbacks/{callback}/events"
			}
			if read := call("GET", list+"?order=desc&limit=3", nil); read.Code != 200 || !json.Valid(read.Body.Bytes()) {
				t.Errorf("%s after %q: %d %s", list, body, read.Code, read.Body)
			}
		}
	})
}

// replacements are the ids that stand in writes.
func replacements(f *testing.F, eng *engine.Engine) []string {
	f.Helper()
	ctx := f.Context()
	deployment, err := eng.CreateDeployment(ctx, engine.NewDeployment{Provider: "crm", Config: &engine.NewConfigValue{Value: json.RawMessage(`{"account":"a"}`)}})
	if err != nil {
		f.Fatal(err)
	}
	auth, err := eng.CreateAuthConfig(ctx, engine.NewAuthConfig{Method: "token", DeploymentID: deployment.ID, Value: json.RawMessage(`{"token":"t"}`)})
	if err != nil {
		f.Fatal(err)
	}
	destination, err := eng.CreateDestination(ctx, engine.NewDestination{DestinationSettings: engine.DestinationSettings{Name: "d", URL: "http://a.test"}})
	if err != nil {
		f.Fatal(err)
	}
	callback, err := eng.CreateCallback(ctx, engine.NewCallback{Details: engine.Details{Name: "c"}, DeploymentID: deployment.ID, DestinationIDs: []string{destination.ID}})
	if err != nil {
		f.Fatal(err)
	}
	return []string{"{callback}", callback.ID, "{destination}", destination.ID, "{deployment}", deployment.ID, "{config}", deployment.DefaultConfig.ID, "{auth}", auth.ID}
}

// FuzzPath has any path, with any key, answered with JSON and no error of ours, and with
// nothing of it in a header.
func FuzzPath(f *testing.F) {
	for _, seed := range []string{"/callbacks/x", "/callbacks//events/", "/callbacks/a/events/\x00", "/../health", "//", "/callbacks/\r\nX-Evil: 1", "/callback-destinations/func:a", "/provider-config-schema", "/\xff", "/callbacks/%2f", "*"} {
		f.Add(seed, "Bearer "+rootKey)
		f.Add(seed, "")
	}
	h := httpapi.New(openEngine(f), httpapi.Options{APIKeys: []string{rootKey}})
	f.Fuzz(func(t *testing.T, path, authorization string) {
		for _, method := range []string{"GET", "DELETE", "POST", "PUT"} {
			req := httptest.NewRequest(method, "/", nil)
			req.URL.Path = path
			if authorization != "" {
				req.Header.Set("Authorization", authorization)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, req)
			if w.Code >= 500 || w.Code < 200 || w.Code >= 300 && w.Code < 400 || method != "HEAD" && !json.Valid(w.Body.Bytes()) {
				t.Errorf("%s %q: %d %s", method, path, w.Code, w.Body)
			}
			if w.Code == 200 && authorization != "Bearer "+rootKey && !strings.EqualFold(authorization, "Bearer "+rootKey) && path != "/health" && path != "/openapi.json" {
				t.Errorf("%s %q was answered to %q", method, path, authorization)
			}
			for name, values := range w.Header() {
				if strings.ContainsAny(name+strings.Join(values, ""), "\r\n\x00") {
					t.Errorf("%s %q: header %q: %q", method, path, name, values)
				}
			}
		}
	})
}

// FuzzHalfPair has halves of surrogate pairs found just where decoding would put U+FFFD in
// their place.
func FuzzHalfPair(f *testing.F) {
	for _, seed := range []string{`\ud800`, `\ud83d\ude00`, `\\ud800`, `\ud83d\ud83d\ude00`, `\ufffd`, "\ufffd", `\uDBFF\uDFFF`, `a\n\ud800b`, `\udc00`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, inner string) {
		text := []byte(`"` + inner + `"`)
		var decoded string
		if !utf8.Valid(text) || json.Unmarshal(text, &decoded) != nil {
			return
		}
		escaped := 0 // of the character itself
		for rest := strings.ReplaceAll(strings.ToLower(inner), `\\`, ""); ; escaped++ {
			_, after, ok := strings.Cut(rest, `\ufffd`)
			if !ok {
				break
			}
			rest = after
		}
		own := strings.Count(inner, "\ufffd") + escaped
		if want := strings.Count(decoded, "\ufffd") > own; httpapi.HalfPair(text) != want {
			t.Errorf("%s: %v, want %v", text, !want, want)
		}
	})
}
