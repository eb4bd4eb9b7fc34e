package http_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	nethttp "net/http"
	"strings"
	"testing"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/engine/provider/http"
)

// Ids that differ only in what cannot be read must not become one id: the second item would
// be taken for a repeat of the first, and lost.
func TestUnreadableIdsAreNoIds(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"[{\"id\":\"caf\xe9\"}]", `[{"id":"a\ud800"}]`, `[{"id":"\udfff"}]`, `[{"id":"\ufffd"}]`} {
		s := serve(t, answers(200, body))
		req := s.request(t, "/", nil)
		found := mustPoll(t, req)
		if len(found.Inputs) != 1 {
			t.Fatalf("%q: %d items", body, len(found.Inputs))
		}
		mapped, err := trigger.Map(t.Context(), engine.MapRequest{Source: req.Source, Input: found.Inputs[0]})
		if err == nil || !strings.Contains(err.Error(), "U+FFFD") {
			t.Errorf("%q: %+v, %v", body, mapped, err)
		}
	}
	s := serve(t, answers(200, `[{"id":"\ud83d\ude00","a":1,"a":"\ud800","n":9007199254740993,"x":"\u0000\r\n"}]`))
	req := s.request(t, "/", nil)
	input := mustPoll(t, req).Inputs[0]
	mapped, err := trigger.Map(t.Context(), engine.MapRequest{Source: req.Source, Input: input})
	if err != nil || mapped.SourceID != "\U0001F600" || string(mapped.Output) != `{"id":"\ud83d\ude00","a":1,"a":"\ud800","n":9007199254740993,"x":"\u0000\r\n"}` {
		t.Errorf("%+v, %v", mapped, err)
	}
}

// A page of a few megabytes can hold millions of items, each of which costs far more than its
// two bytes.
func TestItemsAreBounded(t *testing.T) {
	t.Parallel()
	most := strings.TrimSuffix(strings.Repeat("1,", 100_000), ",")
	s := serve(t, func(w nethttp.ResponseWriter, r *nethttp.Request) { answers(200, "["+most+"]")(w, r) })
	if n := len(mustPoll(t, s.request(t, "/", nil)).Inputs); n != 100_000 {
		t.Errorf("%d items", n)
	}
	for name, answer := range map[string]nethttp.HandlerFunc{
		"OnePage": answers(200, "["+most+",1]"),
		"TwoPages": func(w nethttp.ResponseWriter, r *nethttp.Request) {
			if r.URL.RawQuery != "" {
				answers(200, "[1]")(w, r)
				return
			}
			answers(200, "["+most+"]", "Link", `<?page=2>; rel="next"`)(w, r)
		},
	} {
		s := serve(t, answer)
		if _, err := trigger.Poll(t.Context(), s.request(t, "/", nil)); err == nil || !strings.Contains(err.Error(), "more than 100000 items") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Headers, validators and cursors that a source made cannot break the requests that follow:
// what it says is sent back as one value, or not at all.
func TestWhatASourceSaysIsSentBackAsOneValue(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"a\r\nX-Evil: 1", "a\nb", "\x00", "\x1b[31m", "\u202e", "a&evil=1#", "%0d%0a", "?/../", "\ufffd", "é"} {
		s := serve(t, func(w nethttp.ResponseWriter, _ *nethttp.Request) {
			w.Header().Set("ETag", `"`+strings.Map(func(r rune) rune {
				if r < ' ' {
					return -1
				}
				return r
			}, text)+`"`)
			_ = json.NewEncoder(w).Encode(values{"data": []int{}, "next": text})
		})
		req := s.request(t, "/list?fixed=1", values{"items": ".data", "cursor": ".next", "query": values{"since": "$cursor"}})
		for range 3 {
			r := mustPoll(t, req)
			req.State = r.State
		}
		for _, asked := range s.asked[1:] {
			if got := asked.URL.Query(); asked.Header.Get("X-Evil") != "" || got.Get("since") != text || len(got) != 2 || asked.URL.Path != "/list" {
				t.Errorf("%q became %s %v", text, asked.RequestURI, asked.Header)
			}
		}
	}
}

// FuzzPoll has any answer of a source end in items that are JSON and fit their mapping, or in
// an error that is one line, and in a state that the next poll understands.
func FuzzPoll(f *testing.F) {
	for _, seed := range []struct{ body, kind, link, etag, after string }{
		{`[{"id":1},{"id":"a"}]`, "application/json", `<?page=2>; rel="next"`, `"v1"`, ""},
		{`{"data":[1]}`, "text/html; charset=x", `<//elsewhere.test>; rel=next`, "W/\"\"", "120"},
		{"\xff[\"\\ud800\",{}]", "application/problem+json", `<http://[::1%25a]:x>;rel=next,<>`, "\x7f", "Sun, 06 Nov 1994 08:49:37 GMT"},
		{strings.Repeat("[", 200), ";", `<a`, "", "-1"},
	} {
		for _, status := range []int{200, 204, 301, 401, 410, 429} {
			f.Add(uint16(status), []byte(seed.body), seed.kind, seed.link, seed.etag, seed.after)
		}
	}
	provider := http.New().Triggers[0]
	f.Fuzz(func(t *testing.T, status uint16, body []byte, kind, link, etag, after string) {
		header := nethttp.Header{"Content-Type": {kind}, "Link": {link}, "Etag": {etag}, "Retry-After": {after}, "Location": {link}}
		client := &nethttp.Client{Transport: canned{200 + int(status)%400, header, body}, CheckRedirect: func(*nethttp.Request, []*nethttp.Request) error { return nethttp.ErrUseLastResponse }}
		source := engine.Source{Config: json.RawMessage(`{"url":"http://source.test/a?key=secret-in-query","max_pages":3}`), Now: now, HTTP: client, Log: slog.New(slog.DiscardHandler)}
		var state json.RawMessage
		for range 2 {
			found, err := provider.Poll(t.Context(), engine.PollRequest{Source: source, State: state})
			if err != nil {
				if text := err.Error(); strings.ContainsAny(text, "\r\n\x00\x1b") || len(text) > 4<<10 {
					t.Errorf("the error is %q", text)
				}
				return
			}
			if found.State != nil && !json.Valid(found.State) {
				t.Errorf("the state is %q", found.State)
			}
			for _, input := range found.Inputs {
				if !json.Valid(input) {
					t.Fatalf("the item is %q", input)
				}
				if m, err := provider.Map(t.Context(), engine.MapRequest{Source: source, Input: input}); err == nil && (m.SourceID == "" || m.Type == "") {
					t.Errorf("%q was mapped to %+v", input, m)
				}
			}
			state = found.State
		}
	})
}

// canned answers everything the same, without a network.
type canned struct {
	status int
	header nethttp.Header
	body   []byte
}

func (c canned) RoundTrip(r *nethttp.Request) (*nethttp.Response, error) {
	return &nethttp.Response{StatusCode: c.status, Header: c.header.Clone(), Body: io.NopCloser(bytes.NewReader(c.body)), ContentLength: int64(len(c.body)), Request: r}, nil
}
