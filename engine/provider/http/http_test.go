package http_test

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	nethttp "net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/engine/provider/http"
)

var now = time.Date(2026, 1, 10, 14, 45, 0, 123e6, time.UTC)

var trigger = http.New().Triggers[0]

// source is a server, and what it was asked.
type source struct {
	*httptest.Server
	asked []*nethttp.Request
	sent  []string
}

func serve(t testing.TB, answer nethttp.HandlerFunc) *source {
	t.Helper()
	s := &source{}
	s.Server = httptest.NewServer(nethttp.HandlerFunc(func(w nethttp.ResponseWriter, r *nethttp.Request) {
		body, _ := io.ReadAll(r.Body)
		s.asked, s.sent = append(s.asked, r), append(s.sent, string(body))
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// answers gives the same answer to everything.
func answers(status int, body string, header ...string) nethttp.HandlerFunc {
	return func(w nethttp.ResponseWriter, _ *nethttp.Request) {
		w.Header().Set("Content-Type", "application/json")
		for i := 0; i < len(header); i += 2 {
			w.Header().Add(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

type values = map[string]any

// request is a poll of s at path; config lacks the URL.
func (s *source) request(t testing.TB, path string, config values) engine.PollRequest {
	t.Helper()
	all := values{"url": s.URL + path}
	for k, v := range config {
		all[k] = v
	}
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	if wrong := http.New().Validate(text); len(wrong) > 0 {
		t.Fatalf("%s: %v", text, wrong)
	}
	client := s.Client()
	client.CheckRedirect = func(*nethttp.Request, []*nethttp.Request) error { return nethttp.ErrUseLastResponse }
	return engine.PollRequest{Source: engine.Source{
		Config: text, Now: now, HTTP: client, Log: slog.New(slog.DiscardHandler),
	}}
}

func inputs(r engine.PollResult) string {
	items := make([]string, len(r.Inputs))
	for i, input := range r.Inputs {
		items[i] = string(input)
	}
	return strings.Join(items, " ")
}

func mustPoll(t testing.TB, req engine.PollRequest) engine.PollResult {
	t.Helper()
	r, err := trigger.Poll(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestItems(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body, items, want, err string
	}{
		"AListIsTheItemsByteForByte": {body: ` [ {"b": 1.0, "a" :12345678901234567890},2 ] `, want: `{"b": 1.0, "a" :12345678901234567890} 2`},
		"AnEmptyListHasNone":         {body: `[]`},
		"AByteOrderMarkIsSkipped":    {body: "\uFEFF[1]", want: `1`},
		"OneArrayIsTheItems":         {body: `{"data":[{"n":1e400,"a":1.0},2]}`, items: ".data", want: `{"a":1.0,"n":1e400} 2`},
		"EachOutputIsAnItem":         {body: `{"data":[{"v":1},{"v":2}]}`, items: ".data[]", want: `{"v":1} {"v":2}`},
		"SeveralArraysAreItems":      {body: `{"data":[[1],[2]]}`, items: ".data[]", want: `[1] [2]`},
		"NoOutputIsNoItem":           {body: `{"data":[]}`, items: ".data[]"},
		"NullIsAnError":              {body: `{}`, items: ".data", err: `items: it gave null; is the path right? (if the source says null for none, write it as ".data // []")`},
		"NullCanBeNone":              {body: `{}`, items: ".data // []"},
		"AnObjectNeedsItems":         {body: `{"data":[],"meta":{},"more":[]}`, err: `the body is an object, not a list; set "items" to a jq program that gives the list (lists are in: data, more)`},
		"AnObjectWithoutLists":       {body: `{}`, err: `the body is an object, not a list; set "items" to a jq program that gives the list, such as ".data"`},
		"AScalarIsAnError":           {body: `7`, err: "the body is neither a list nor an object"},
		"NullIsNoList":               {body: `null`, err: "the body is neither a list nor an object"},
		"AFailingProgram":            {body: `[1]`, items: ".data", err: "items: jq `.data`: expected an object but got: array ([1])"},
		"BrokenJSON":                 {body: `[1,`, err: "the answer is not JSON: it ends too early, after byte 3"},
		"BrokenJSONInTheMiddle":      {body: `[1 2]`, err: "the answer is not JSON: byte 4: invalid character '2' after array element"},
		"NoBody":                     {body: ``, err: "the answer is not JSON: it is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, answers(200, c.body))
			config := values{}
			if c.items != "" {
				config["items"] = c.items
			}
			r, err := trigger.Poll(t.Context(), s.request(t, "/v1/list?key=secret", config))
			if c.err != "" {
				if want := "GET " + s.URL + "/...: " + c.err; err == nil || err.Error() != want {
					t.Fatalf("got %v\nwant %s", err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := inputs(r); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestAnswersThatAreNotJSONAreNamed(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w nethttp.ResponseWriter, _ *nethttp.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, "<!doctype html>")
	})
	_, err := trigger.Poll(t.Context(), s.request(t, "/", nil))
	if err == nil || !strings.HasSuffix(err.Error(), "it answered text/html, not JSON: byte 1: invalid character '<' looking for beginning of value") {
		t.Errorf("got %v", err)
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status    int
		body      string
		header    []string
		want      string
		after     time.Duration
		permanent bool
	}{
		"ServerErrorShowsItsBody": {status: 500, body: "out of\n\x00 paper", want: "it answered 500 Internal Server Error: out of paper"},
		"LongBodiesAreCut":        {status: 500, body: strings.Repeat("é", 200), want: "it answered 500 Internal Server Error: " + strings.Repeat("é", 100)},
		"UnknownStatus":           {status: 599, want: "it answered 599"},
		"Unauthorized":            {status: 401, want: "it answered 401 Unauthorized (are the credentials of the auth config right?)"},
		"Forbidden":               {status: 403, body: "no", want: "it answered 403 Forbidden: no (are the credentials of the auth config right?)"},
		"GoneIsPermanent":         {status: 410, want: "it answered 410 Gone", permanent: true},
		"TooManyWithSeconds":      {status: 429, header: []string{"Retry-After", "120"}, want: "it answered 429 Too Many Requests", after: 2 * time.Minute},
		"TooManyWithDate":         {status: 429, header: []string{"Retry-After", now.Add(time.Hour).Format(nethttp.TimeFormat)}, want: "it answered 429 Too Many Requests", after: time.Hour - 123*time.Millisecond},
		"TooManyAtMostADay":       {status: 429, header: []string{"Retry-After", "99999999999999999999999"}, want: "it answered 429 Too Many Requests", after: 24 * time.Hour},
		"TooManyWithout":          {status: 429, want: "it answered 429 Too Many Requests"},
		"TooManyWithNonsense":     {status: 429, header: []string{"Retry-After", "soon"}, want: "it answered 429 Too Many Requests"},
		"TooManyWithThePast":      {status: 429, header: []string{"Retry-After", now.Add(-time.Hour).Format(nethttp.TimeFormat)}, want: "it answered 429 Too Many Requests"},
		"UnavailableWithSeconds":  {status: 503, header: []string{"Retry-After", "5"}, want: "it answered 503 Service Unavailable", after: 5 * time.Second},
		"OthersIgnoreRetryAfter":  {status: 500, header: []string{"Retry-After", "5"}, want: "it answered 500 Internal Server Error"},
		"RedirectsAreNotFollowed": {status: 301, header: []string{"Location", "https://example.com/new?key=1"}, want: "it answered 301, a redirect to https://example.com/...; redirects are not followed, so change url if that is the right place"},
		"RedirectToNowhere":       {status: 302, want: "it answered 302 Found"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, answers(c.status, c.body, c.header...))
			_, err := trigger.Poll(t.Context(), s.request(t, "/list?key=secret", nil))
			if want := "GET " + s.URL + "/...: " + c.want; err == nil || err.Error() != want {
				t.Errorf("got %v\nwant %s", err, want)
			}
			if after, _ := engine.RetryAfterOf(err); after != c.after {
				t.Errorf("retry after %s, want %s", after, c.after)
			}
			if engine.IsPermanent(err) != c.permanent {
				t.Errorf("permanent is %t", !c.permanent)
			}
			if len(s.asked) != 1 {
				t.Errorf("asked %d times", len(s.asked))
			}
		})
	}
}

func TestAServerThatIsNotThereIsAnErrorWithoutItsQuery(t *testing.T) {
	t.Parallel()
	s := serve(t, answers(200, "[]"))
	req := s.request(t, "/list?key=secret", nil)
	s.Close()
	_, err := trigger.Poll(t.Context(), req)
	if err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("got %v", err)
	}
}

func TestACancelledPollEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	s := serve(t, func(_ nethttp.ResponseWriter, r *nethttp.Request) {
		cancel()
		<-r.Context().Done()
	})
	if _, err := trigger.Poll(ctx, s.request(t, "/", nil)); err == nil {
		t.Error("no error")
	}
}

// spaces writes n bytes.
func spaces(w io.Writer, n int) {
	space := []byte(strings.Repeat(" ", 64<<10))
	for ; n > 0; n -= len(space) {
		if _, err := w.Write(space); err != nil {
			return
		}
	}
}

func TestAPageIsAtMost10MiB(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]nethttp.HandlerFunc{
		"Plain":      func(w nethttp.ResponseWriter, _ *nethttp.Request) { spaces(w, 50<<20) },
		"WithLength": answers(200, "", "Content-Length", "50000000"),
		"Unpacked": func(w nethttp.ResponseWriter, _ *nethttp.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			packed := gzip.NewWriter(w)
			spaces(packed, 12<<20)
			_ = packed.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, answer)
			_, err := trigger.Poll(t.Context(), s.request(t, "/", nil))
			if err == nil || !strings.HasSuffix(err.Error(), "the answer is larger than 10 MiB; ask for smaller pages") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestPackedAnswersAreUnpacked(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		if r.Header.Get("Accept-Encoding") != "gzip" {
			return
		}
		w.Header().Set("Content-Encoding", "gzip")
		packed := gzip.NewWriter(w)
		_, _ = io.WriteString(packed, "[7]")
		_ = packed.Close()
	})
	if got := inputs(mustPoll(t, s.request(t, "/", nil))); got != "7" {
		t.Errorf("got %s", got)
	}
}
