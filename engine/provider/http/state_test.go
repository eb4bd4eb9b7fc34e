package http_test

import (
	"encoding/json"
	"io"
	nethttp "net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/callbackd/callbackd/engine"
)

func TestCursor(t *testing.T) {
	t.Parallel()
	config := values{"query": values{"since": "$cursor"}, "items": ".data", "cursor": ".next // $headers[\"x-cursor\"]"}
	poll := func(t *testing.T, state json.RawMessage, answer nethttp.HandlerFunc) (string, json.RawMessage) {
		s := serve(t, answer)
		req := s.request(t, "/", config)
		req.Config = json.RawMessage(strings.ReplaceAll(string(req.Config), s.URL, "http://source.example"))
		req.HTTP.Transport = s
		req.State = state
		r := mustPoll(t, req)
		return s.asked[0].URL.RawQuery, r.State
	}
	query, state := poll(t, nil, answers(200, `{"data":[],"next":12345678901234567890}`))
	if query != "" {
		t.Errorf("the first poll asked for %s", query)
	}
	if query, state = poll(t, state, answers(200, `{"data":[]}`)); query != "since=12345678901234567890" {
		t.Errorf("the second poll asked for %s", query)
	}
	if query, state = poll(t, state, answers(200, `{"data":[]}`, "X-Cursor", "abc")); query != "since=12345678901234567890" {
		t.Errorf("null did not keep the cursor: %s", query)
	}
	if query, state = poll(t, state, answers(200, `{"data":[],"next":{"a":1}}`)); query != "since=abc" {
		t.Errorf("the fourth poll asked for %s", query)
	}
	config["cursor"] = ".next"
	if query, _ = poll(t, state, answers(200, `{"data":[]}`)); query != "" {
		t.Errorf("a cursor of another config was used: %s", query)
	}
	for _, state := range []string{"", "null", "7", "{", `{"config": 1}`, `{"config":"x","cursor":7}`} {
		if query, _ = poll(t, json.RawMessage(state), answers(200, `{"data":[]}`)); query != "" {
			t.Errorf("state %q: %s", state, query)
		}
	}
}

func TestCursorIsBounded(t *testing.T) {
	t.Parallel()
	s := serve(t, answers(200, `[]`))
	_, err := trigger.Poll(t.Context(), s.request(t, "/", values{"cursor": `"x" * 70000`}))
	if err == nil || !strings.Contains(err.Error(), "cursor: it is larger than 64 KiB") {
		t.Errorf("got %v", err)
	}
}

func TestValidators(t *testing.T) {
	t.Parallel()
	const date = "Sat, 10 Jan 2026 14:00:00 GMT"
	etag, link := `"v1"`, ""
	s := serve(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		w.Header().Set("ETag", etag)
		w.Header().Set("Last-Modified", date)
		if link != "" && r.URL.Query().Get("page") == "" {
			w.Header().Set("Link", link)
		}
		if r.Header.Get("If-None-Match") == etag {
			w.WriteHeader(nethttp.StatusNotModified)
			return
		}
		_, _ = io.WriteString(w, `[{"id":1}]`)
	})
	sent := func() string {
		r := s.asked[len(s.asked)-1]
		return r.Header.Get("If-None-Match") + " " + r.Header.Get("If-Modified-Since")
	}
	poll := func(state json.RawMessage, config values) engine.PollResult {
		req := s.request(t, "/", config)
		req.State = state
		return mustPoll(t, req)
	}

	first := poll(nil, nil)
	if sent() != " " || len(first.Inputs) != 1 {
		t.Errorf("first: sent %s", sent())
	}
	if r := poll(first.State, nil); sent() != `"v1" `+date || len(r.Inputs) != 0 || r.State != nil {
		t.Errorf("second: sent %s, got %s, %s", sent(), inputs(r), r.State)
	}
	if poll(first.State, values{"id": ".x", "max_pages": 3}); sent() != `"v1" `+date {
		t.Errorf("a config that asks the same: sent %s", sent())
	}
	for name, config := range map[string]values{
		"items":   {"items": "."},
		"headers": {"headers": values{"X-A": "b"}},
		"query":   {"query": values{"a": "1"}},
		"method":  {"method": "POST"},
	} {
		if poll(first.State, config); sent() != " " {
			t.Errorf("%s changed: sent %s", name, sent())
		}
	}

	byCursor := values{"cursor": "1", "query": values{"c": "$cursor"}}
	second := poll(poll(nil, byCursor).State, byCursor)
	if sent() != " " {
		t.Errorf("another URL by its cursor: sent %s", sent())
	}
	if poll(second.State, byCursor); sent() != `"v1" `+date {
		t.Errorf("the same URL again: sent %s", sent())
	}

	link = `<?page=2>; rel="next"`
	several := poll(nil, nil)
	if len(several.Inputs) != 2 {
		t.Fatalf("got %s", inputs(several))
	}
	if poll(several.State, nil); sent() != " " || s.asked[len(s.asked)-2].Header.Get("If-None-Match") != "" {
		t.Error("validators were sent although there are several pages")
	}

	post := values{"method": "POST"}
	if poll(poll(nil, post).State, post); sent() != " " {
		t.Errorf("POST: sent %s", sent())
	}
}

func TestNoContentIsNothingNew(t *testing.T) {
	t.Parallel()
	s := serve(t, answers(204, ""))
	if r := mustPoll(t, s.request(t, "/", nil)); len(r.Inputs) > 0 || r.State != nil {
		t.Errorf("got %s, %s", inputs(r), r.State)
	}
}

// RoundTrip sends every request to the server, whatever its host is.
func (s *source) RoundTrip(r *nethttp.Request) (*nethttp.Response, error) {
	u, err := url.Parse(s.URL)
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.URL.Host = u.Host
	return nethttp.DefaultTransport.RoundTrip(r)
}
