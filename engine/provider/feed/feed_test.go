package feed_test

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/engine/provider/feed"
)

var now = time.Date(2026, 1, 10, 14, 45, 0, 0, time.UTC)

var trigger = feed.New().Triggers[0]

type values = map[string]any

// source is a server, and what it was asked.
type source struct {
	*httptest.Server
	asked []*http.Request
}

func serve(t testing.TB, answer http.HandlerFunc) *source {
	t.Helper()
	s := &source{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked = append(s.asked, r)
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// answers gives the same answer to everything.
func answers(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Add(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

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
	if wrong := feed.New().Validate(text); len(wrong) > 0 {
		t.Fatalf("%s: %v", text, wrong)
	}
	client := s.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return engine.PollRequest{Source: engine.Source{Config: text, Now: now, HTTP: client, Log: slog.New(slog.DiscardHandler)}}
}

func mustPoll(t testing.TB, req engine.PollRequest) engine.PollResult {
	t.Helper()
	r, err := trigger.Poll(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func events(t testing.TB, r engine.PollResult) (found []engine.Mapped) {
	t.Helper()
	for _, input := range r.Inputs {
		var m engine.Mapped
		if err := json.Unmarshal(input, &m); err != nil {
			t.Fatal(err)
		}
		found = append(found, m)
	}
	return found
}

func ids(t testing.TB, r engine.PollResult) (ids []string) {
	t.Helper()
	for _, m := range events(t, r) {
		ids = append(ids, m.SourceID)
	}
	return ids
}

const rss = `<?xml version="1.0" encoding="UTF-8"?>
<rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/" xmlns:dc="http://purl.org/dc/elements/1.1/"><channel>
<title>News &amp; more</title><link>https://example.com/</link><description>d</description>
<item><title>Two</title><link>/2</link><guid isPermaLink="false">g2</guid></item>
<item><title>One</title><link>https://example.com/1</link><guid>g1</guid><pubDate>Sat, 10 Jan 2026 15:45:00 +0100</pubDate>
<dc:creator>Ada</dc:creator><category>a</category><category>b</category><description>short</description><content:encoded><![CDATA[<p>long</p>]]></content:encoded>
<enclosure url="/1.mp3" type="audio/mpeg" length="24986239"/></item>
</channel></rss>`

const rdf = `<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/">
<channel rdf:about="https://example.com/"><title>R</title><link>https://example.com/</link></channel>
<item rdf:about="https://example.com/2"><title>Two</title><link>https://example.com/2</link></item>
<item rdf:about="https://example.com/1"><title>One</title><link>https://example.com/1</link></item></rdf:RDF>`

const atom = `<feed xmlns="http://www.w3.org/2005/Atom"><title>A</title><link href="https://example.com/"/><author><name>Ada</name><email>ada@example.com</email></author>
<entry><id>urn:2</id><title type="html">&lt;b&gt;Two&lt;/b&gt;</title><link href="https://example.com/2"/><updated>2026-01-02T00:00:00.5Z</updated></entry>
<entry><id>urn:1</id><title>One</title><link href="https://example.com/1"/><published>2026-01-01T00:00:00Z</published><updated>2026-01-01T01:00:00+01:00</updated>
<summary>s</summary><content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml"><p>c</p></div></content></entry></feed>`

const jsonFeed = `{"version":"https://jsonfeed.org/version/1.1","title":"J","home_page_url":"https://example.com/","authors":[{"name":"Ada"}],"items":[
{"id":2,"url":"https://example.com/2","content_text":"two"},
{"id":"1","url":"https://example.com/1","title":"One","content_html":"<p>c</p>","summary":"s","date_published":"2026-01-01T00:00:00Z","date_modified":"2026-01-02T00:00:00Z",
"tags":["a"],"authors":[{"name":"Grace"}],"attachments":[{"url":"https://example.com/1.mp3","mime_type":"audio/mpeg","size_in_bytes":7}]}]}`

func TestFeedsOfEachKind(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body string
		want []string
	}{
		"RSS2": {rss, []string{
			`g1 {"id":"g1","title":"One","link":"https://example.com/1","published_at":"2026-01-10T14:45:00.000Z","updated_at":null,"authors":[{"name":"Ada","email":null}],"categories":["a","b"],"summary":"short","content":"<p>long</p>","enclosures":[{"url":"URL/1.mp3","type":"audio/mpeg","length":24986239}],"truncated":false,"feed":{"title":"News & more","link":"https://example.com/"}}`,
			`g2 {"id":"g2","title":"Two","link":"URL/2","published_at":null,"updated_at":null,"authors":[],"categories":[],"summary":null,"content":null,"enclosures":[],"truncated":false,"feed":{"title":"News & more","link":"https://example.com/"}}`,
		}},
		"RSS1": {rdf, []string{
			`https://example.com/1 {"id":"https://example.com/1","title":"One","link":"https://example.com/1","published_at":null,"updated_at":null,"authors":[],"categories":[],"summary":null,"content":null,"enclosures":[],"truncated":false,"feed":{"title":"R","link":"https://example.com/"}}`,
			`https://example.com/2 {"id":"https://example.com/2","title":"Two","link":"https://example.com/2","published_at":null,"updated_at":null,"authors":[],"categories":[],"summary":null,"content":null,"enclosures":[],"truncated":false,"feed":{"title":"R","link":"https://example.com/"}}`,
		}},
		"Atom": {atom, []string{
			`urn:1 {"id":"urn:1","title":"One","link":"https://example.com/1","published_at":"2026-01-01T00:00:00.000Z","updated_at":"2026-01-01T00:00:00.000Z","authors":[{"name":"Ada","email":"ada@example.com"}],"categories":[],"summary":"s","content":"<p>c</p>","enclosures":[],"truncated":false,"feed":{"title":"A","link":"https://example.com/"}}`,
			`urn:2 {"id":"urn:2","title":"<b>Two</b>","link":"https://example.com/2","published_at":"2026-01-02T00:00:00.500Z","updated_at":"2026-01-02T00:00:00.500Z","authors":[{"name":"Ada","email":"ada@example.com"}],"categories":[],"summary":null,"content":null,"enclosures":[],"truncated":false,"feed":{"title":"A","link":"https://example.com/"}}`,
		}},
		"JSON": {jsonFeed, []string{
			`1 {"id":"1","title":"One","link":"https://example.com/1","published_at":"2026-01-01T00:00:00.000Z","updated_at":"2026-01-02T00:00:00.000Z","authors":[{"name":"Grace","email":null}],"categories":["a"],"summary":"s","content":"<p>c</p>","enclosures":[{"url":"https://example.com/1.mp3","type":"audio/mpeg","length":7}],"truncated":false,"feed":{"title":"J","link":"https://example.com/"}}`,
			`2 {"id":"2","title":null,"link":"https://example.com/2","published_at":null,"updated_at":null,"authors":[{"name":"Ada","email":null}],"categories":[],"summary":null,"content":"two","enclosures":[],"truncated":false,"feed":{"title":"J","link":"https://example.com/"}}`,
		}},
		"OldRSS":         {`<rss version="0.91"><channel><title>x</title></channel></rss>`, nil},
		"EmptyJSON":      {`{"version":"https://jsonfeed.org/version/1","items":[]}`, nil},
		"AfterALongText": {"<!--" + strings.Repeat("-x", 5000) + "-->" + `<rss><channel></channel></rss> and more`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, answers(200, c.body, "Content-Type", "text/plain"))
			var got []string
			for _, m := range events(t, mustPoll(t, s.request(t, "/feed", nil))) {
				if m.Type != "entry.new" {
					t.Errorf("the type is %s", m.Type)
				}
				got = append(got, m.SourceID+" "+strings.ReplaceAll(string(m.Output), s.URL, "URL"))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %s\nwant %s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

func TestWhatIsNoFeedIsNamed(t *testing.T) {
	t.Parallel()
	const page = `<!DOCTYPE html><html><head><link rel=stylesheet href=x><link rel="alternate" type="application/rss+xml" href="/feed.xml?a=b"></head><body>&nbsp;<br></html>`
	for name, c := range map[string]struct{ path, body, want string }{
		"HTML":                  {"/", "\n<html><p>a<p>b", "it answered an HTML page, not a feed"},
		"HTMLThatKnowsItsFeed":  {"/", page, "it answered an HTML page, not a feed; the page says that its feed is at URL/feed.xml?a=b"},
		"HTMLOfAURLWithASecret": {"/?key=secret", page, "it answered an HTML page, not a feed; the page says that its feed is at URL/..."},
		"Empty":                 {"/", " \n", "the answer is empty, not a feed"},
		"Text":                  {"/", "no\nfeed", "the answer is neither XML nor JSON, so not a feed; it begins with: no feed"},
		"OtherXML":              {"/", "<urlset/>", "it answered XML whose root is <urlset>, not a feed"},
		"OtherJSON":             {"/", `{"items":[]}`, `it answered JSON that is not a JSON Feed; the provider "http" is for other JSON`},
		"List":                  {"/", `[]`, `it answered JSON that is not a JSON Feed; the provider "http" is for other JSON`},
		"BrokenJSON":            {"/", `{"items":`, "the answer begins as JSON, but is not: unexpected end of JSON input"},
		"Nulls":                 {"/", `{"version":"https://jsonfeed.org/version/1","items":[null]}`, "the feed is not readable: something is null, or missing, where it must not be"},
		"CutOff":                {"/", "<rss>\n<channel><item>", "the answer is not readable XML: XML syntax error on line 2: unexpected EOF"},
		"CutOffEarly":           {"/", "<?xml version='1.0'?><!-- a -->", "the XML ends too early"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, answers(200, c.body))
			_, err := trigger.Poll(t.Context(), s.request(t, c.path, nil))
			where := s.URL
			if c.path != "/" {
				where += "/..."
			}
			if want := "GET " + where + ": " + strings.ReplaceAll(c.want, "URL", s.URL); err == nil || err.Error() != want {
				t.Errorf("got %v\nwant %s", err, want)
			}
		})
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status    int
		header    []string
		want      string
		after     time.Duration
		permanent bool
	}{
		"ServerError":             {status: 500, want: "it answered 500 Internal Server Error"},
		"Gone":                    {status: 410, want: "it answered 410 Gone", permanent: true},
		"RetryAfter":              {status: 429, header: []string{"Retry-After", "120"}, want: "it answered 429 Too Many Requests", after: 2 * time.Minute},
		"RedirectsAreNotFollowed": {status: 301, header: []string{"Location", "https://example.com/new"}, want: "it answered 301, a redirect to https://example.com/...; redirects are not followed, so change url if that is the right place"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, answers(c.status, "", c.header...))
			_, err := trigger.Poll(t.Context(), s.request(t, "/feed", nil))
			if want := "GET " + s.URL + "/...: " + c.want; err == nil || err.Error() != want {
				t.Errorf("got %v\nwant %s", err, want)
			}
			if after, _ := engine.RetryAfterOf(err); after != c.after || engine.IsPermanent(err) != c.permanent || len(s.asked) != 1 {
				t.Errorf("after %s, permanent %t, asked %d times", after, engine.IsPermanent(err), len(s.asked))
			}
		})
	}
}

func TestAnUnchangedFeedIsNotReadAgain(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"v1"`)
		w.Header().Set("Last-Modified", "Sat, 10 Jan 2026 14:00:00 GMT")
		if r.Header.Get("If-None-Match") == `"v1"` && r.Header.Get("If-Modified-Since") != "" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = io.WriteString(w, rss)
	})
	req := s.request(t, "/feed", nil)
	req.State = mustPoll(t, req).State
	if r := mustPoll(t, req); r.Inputs != nil || r.State != nil {
		t.Errorf("got %v", r)
	}
	other := s.request(t, "/feed", values{"updates": true})
	other.State = req.State
	if r := mustPoll(t, other); len(r.Inputs) != 2 {
		t.Errorf("another config got %d entries", len(r.Inputs))
	}
	for _, state := range []string{"null", "7", "{", `{"config":1}`, `{"shared":[""]}`} {
		req.State = json.RawMessage(state)
		if r := mustPoll(t, req); len(r.Inputs) != 2 {
			t.Errorf("with the state %s, got %d entries", state, len(r.Inputs))
		}
	}
}

func TestTheRequest(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		packed := gzip.NewWriter(w)
		_, _ = io.WriteString(packed, rss)
		_ = packed.Close()
	})
	req := s.request(t, "/feed?a=b", values{"headers": values{"X-One": "1"}})
	req.Auth = &engine.Auth{Method: "basic", Value: json.RawMessage(`{"username":"ada","password":"p:w"}`)}
	if got := ids(t, mustPoll(t, req)); !slices.Equal(got, []string{"g1", "g2"}) {
		t.Errorf("got %v", got)
	}
	r := s.asked[0]
	if r.Method != "GET" || r.URL.RawQuery != "a=b" || r.Header.Get("X-One") != "1" || r.Header.Get("Authorization") != "Basic YWRhOnA6dw==" ||
		r.Header.Get("User-Agent") != "callbackd" || !strings.Contains(r.Header.Get("Accept"), "application/atom+xml") {
		t.Errorf("asked %s %v", r.URL, r.Header)
	}
	req.Auth = &engine.Auth{Method: "oauth", Value: json.RawMessage(`{"token":"secret"}`)}
	if _, err := trigger.Poll(t.Context(), req); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
}

func TestACancelledPollEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	if _, err := trigger.Poll(ctx, s.request(t, "/", nil)); err == nil {
		t.Error("no error")
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for config, want := range map[string][]string{
		`{"url":"https://a.example/x","updates":true}`:      nil,
		`{"url":"feed://a.example","headers":{"Host":"b"}}`: {"url: must be an absolute http or https URL", "headers.Host: is a header that cannot be set"},
		`[]`: {": read the config: json: cannot unmarshal array into Go value of type feed.config"},
	} {
		var got []string
		for _, e := range feed.New().Validate(json.RawMessage(config)) {
			got = append(got, strings.Join(e.Path, ".")+": "+e.Message)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s\n got %q\nwant %q", config, got, want)
		}
	}
	for _, s := range []json.RawMessage{feed.New().ConfigSchema, trigger.InputSchema, trigger.OutputSchema} {
		if !json.Valid(s) {
			t.Errorf("not JSON: %s", s)
		}
	}
}
