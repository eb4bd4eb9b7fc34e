package feed_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"

	"github.com/callbackd/callbackd/engine"
)

// canned answers everything the same, without a network.
type canned struct {
	status int
	header http.Header
	body   []byte
}

func (c canned) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: c.status, Header: c.header.Clone(), Body: io.NopCloser(bytes.NewReader(c.body)), ContentLength: int64(len(c.body)), Request: r}, nil
}

func (c canned) request(config string) engine.PollRequest {
	client := &http.Client{Transport: c, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return engine.PollRequest{Source: engine.Source{Config: json.RawMessage(config), Now: now, HTTP: client, Log: slog.New(slog.DiscardHandler)}}
}

func TestEncodings(t *testing.T) {
	t.Parallel()
	const title = "Привет, мир"
	feed := func(declaration, title string) string {
		return declaration + "<rss><channel><item><guid>g</guid><title>" + title + "</title></item></channel></rss>"
	}
	declared := func(name string) string { return `<?xml version="1.0" encoding="` + name + `"?>` + "\n" }
	windows := func(text string) string {
		encoded, err := charmap.Windows1251.NewEncoder().String(text)
		if err != nil {
			t.Fatal(err)
		}
		return encoded
	}
	wide := func(text string, big bool) string {
		var b strings.Builder
		for _, unit := range utf16.Encode([]rune(text)) {
			low, high := byte(unit), byte(unit>>8)
			if big {
				low, high = high, low
			}
			b.WriteByte(low)
			b.WriteByte(high)
		}
		return b.String()
	}
	for name, c := range map[string]struct{ contentType, body, want string }{
		"UTF8":               {"", feed("", title), title},
		"ByteOrderMark":      {"", "\xEF\xBB\xBF" + feed(declared("utf-8"), title), title},
		"Declared":           {"text/xml", windows(feed(declared("windows-1251"), title)), title},
		"SingleQuotes":       {"", windows(feed("<?xml version='1.0' encoding='CP1251' ?>", title)), title},
		"ByContentType":      {"application/rss+xml; charset=windows-1251", windows(feed("", title)), title},
		"DeclarationWins":    {"text/xml; charset=iso-8859-1", windows(feed(declared("windows-1251"), title)), title},
		"ValidUTF8Wins":      {"text/xml; charset=iso-8859-1", feed(declared("utf-8"), title), title},
		"UTF16LE":            {"", wide("\uFEFF"+feed(declared("utf-16"), title), false), title},
		"UTF16BE":            {"", wide("\uFEFF"+feed(declared("utf-16"), title), true), title},
		"UTF16WithoutAMark":  {"", wide(feed(declared("utf-16"), title), false), title},
		"NotReallyUTF16":     {"", feed(declared("utf-16"), title), title},
		"Unknown":            {"text/xml; charset=x-none", feed(declared("klingon"), title), title},
		"InvalidBytes":       {"", feed("", "a\xffb"), "a\uFFFDb"},
		"ControlCharacters":  {"", feed("", "a\x00\x0b\x1b\uFFFFb"), "ab"},
		"HTMLEntities":       {"", feed("", "a&nbsp;&amp;&eacute; &unknown; & b"), "a\u00a0&é &unknown; & b"},
		"OwnEntitiesAreKept": {"", feed(`<!DOCTYPE rss [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY x SYSTEM "file:///etc/passwd">]>`, "&b;&x;"), "&b;&x;"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := mustPoll(t, canned{200, http.Header{"Content-Type": {c.contentType}}, []byte(c.body)}.request(`{"url":"http://source.test/"}`))
			var got struct{ Title string }
			if found := events(t, r); len(found) != 1 || json.Unmarshal(found[0].Output, &got) != nil || got.Title != c.want {
				t.Errorf("got %q", found)
			}
		})
	}
}

// pollError is the error of a poll that is answered with body, without where it was.
func pollError(t *testing.T, body string) string {
	t.Helper()
	_, err := trigger.Poll(t.Context(), canned{200, nil, []byte(body)}.request(`{"url":"http://source.test/"}`))
	if err == nil {
		return ""
	}
	return strings.TrimPrefix(err.Error(), "GET http://source.test: ")
}

// At a limit a feed is read, and beyond it refused.
func TestLimits(t *testing.T) {
	t.Parallel()
	const jsonVersion = `{"version":"https://jsonfeed.org/version/1","items":[`
	const nodes = "the feed has more than 300000 elements and attributes"
	const entries = "the feed has more than 10000 entries"
	namespaces := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, ` xmlns:p%d="u"`, i)
		}
		return b.String()
	}
	for name, c := range map[string]struct {
		feed  func(n int) string
		limit int
		want  string
	}{
		"Bytes":        {func(n int) string { return "<rss></rss>" + strings.Repeat(" ", n-11) }, 10 << 20, "the feed is larger than 10 MiB"},
		"Entries":      {func(n int) string { return "<rss><channel>" + strings.Repeat("<item/>", n) + "</channel></rss>" }, 10_000, entries},
		"AtomEntries":  {func(n int) string { return "<feed>" + strings.Repeat("<entry/>", n) + "</feed>" }, 10_000, entries},
		"JSONEntries":  {func(n int) string { return jsonVersion + strings.Repeat("{},", n-1) + "{}]}" }, 10_000, entries},
		"Elements":     {func(n int) string { return "<rss><channel>" + strings.Repeat("<a/>", n-2) + "</channel></rss>" }, 300_000, nodes},
		"Attributes":   {func(n int) string { return "<rss" + strings.Repeat(" a=''", n-1) + "></rss>" }, 300_000, nodes},
		"JSONElements": {func(n int) string { return jsonVersion + `{"attachments":[` + strings.Repeat("{},", n-3) + "{}]}]}" }, 300_000, nodes},
		"Depth": {func(n int) string {
			return "<rss><channel>" + strings.Repeat("<a:b>", n-2) + strings.Repeat("</a:b>", n-2) + "</channel></rss>"
		}, 200, "the feed has more than 200 elements within each other"},
		"Namespaces": {func(n int) string {
			return "<rss" + namespaces(n-1) + "><channel xmlns:x='y'/><channel xmlns:x='y'/></rss>"
		}, 100, "the feed has more than 100 namespaces"},
		"Pieces": {func(n int) string { return "<feed><x:a>" + strings.Repeat("x<![CDATA[y]]>", n) + "</x:a></feed>" }, 11_584, "the feed has texts in too many pieces"},
		"PiecesInItems": {func(n int) string {
			return "<rss><channel><item><x:channel>" + strings.Repeat("xy<!---->", n) + "</x:channel></item></channel></rss>"
		}, 16_383, "the feed has texts in too many pieces"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.limit < 100_000 || os.Getenv("CALLBACKD_LONG") != "" { // to read them takes seconds
				if got := pollError(t, c.feed(c.limit)); got != "" {
					t.Errorf("at the limit: %s", got)
				}
			}
			if got := pollError(t, c.feed(c.limit+1)); got != c.want {
				t.Errorf("beyond it: %q, want %q", got, c.want)
			}
		})
	}
	// Between the items of a channel there may be as much as there is room for.
	if got := pollError(t, "<rss><channel>"+strings.Repeat(strings.Repeat(" ", 200)+"<item/>", 10_000)+"</channel></rss>"); got != "" {
		t.Error(got)
	}
}

// Whatever a source answers, a poll is over soon.
func TestTheLargestFeedsTakeLittleTime(t *testing.T) {
	if os.Getenv("CALLBACKD_LONG") == "" {
		t.Skip("it takes a minute: set CALLBACKD_LONG=1")
	}
	const size = 10<<20 - 1000
	fill := func(before, piece, after string) string {
		return before + strings.Repeat(piece, (size-len(before)-len(after))/len(piece)) + after
	}
	const jsonVersion = `{"version":"https://jsonfeed.org/version/1","items":[`
	for name, body := range map[string]string{
		"Deep":           fill("<rss><channel>", "<a:b>", ""),
		"Entries":        fill("<rss><channel>", "<item/>", "</channel></rss>"),
		"JSONEntries":    fill(jsonVersion+"{}", ",{}", "]}"),
		"JSONElements":   fill(jsonVersion+`{"attachments":[{}`, ",{}", "]}]}"),
		"JSONDepth":      fill(jsonVersion, "[", ""),
		"Elements":       fill("<rss><channel>", "<x:y/>", "</channel></rss>"),
		"Attributes":     fill("<rss><channel><a ", "a='' ", "/></channel></rss>"),
		"Pieces":         fill("<feed><x:a>", "x<![CDATA[y]]>", "</x:a></feed>"),
		"NeverEnds":      fill("<rss><channel><item><title>", "a", ""),
		"Comments":       fill("<rss><channel>", "<!-- -->", "</channel></rss>"),
		"Ampersands":     fill("<rss><channel><item><title>", "&amp", "</title></item></channel></rss>"),
		"OneText":        fill("<feed><entry><content type='html'>", "&lt;p&gt;", "</content></entry></feed>"),
		"HTML":           fill("<feed xml:base='http://a.test/'><entry><content type='html'><![CDATA[", "<a href=x><table>", "]]></content></entry></feed>"),
		"HTMLFormatting": fill("<feed xml:base='http://a.test/'><entry><content type='html'><![CDATA[", "<b><i></p>", "]]></content></entry></feed>"),
		"XHTML":          fill("<feed xml:base='http://a.test/'><entry><content type='xhtml'><div>", "&lt;a", "</div></content></entry></feed>"),
		"Spaces":         fill("<rss><channel>", "\n", "</channel></rss>"),
	} {
		began := time.Now()
		got := pollError(t, body)
		t.Logf("%s: %s, %s", name, time.Since(began), got)
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%s: it took %s", name, took)
		}
	}
}

// An output fits an event, and says whether something was cut.
func TestLongTextsAreCut(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body      string
		truncated bool
	}{
		"Short":        {"<item><guid>g</guid><description>d</description></item>", false},
		"AtTheLimit":   {"<item><guid>g</guid><description>" + strings.Repeat("é", 128<<10) + "</description></item>", false},
		"Beyond":       {"<item><guid>g</guid><description>" + strings.Repeat("é", 128<<10) + "x</description></item>", true},
		"InTheMiddle":  {"<item><guid>g</guid><description>x" + strings.Repeat("é", 128<<10) + "</description></item>", true},
		"Escaped":      {"<item><guid>g</guid><description>" + strings.Repeat("x\u2028", 60<<10) + "</description><author>" + strings.Repeat("x\u2028", 60<<10) + "</author></item>", true},
		"Title":        {"<item><guid>g</guid><title>" + strings.Repeat("t", 9<<10) + "</title></item>", true},
		"Categories":   {"<item><guid>g</guid>" + strings.Repeat("<category>c</category>", 51) + "</item>", true},
		"ManyAndLarge": {"<item><guid>g</guid>" + strings.Repeat("<category>"+strings.Repeat("x\u2028", 2000)+"</category>", 50) + strings.Repeat("<enclosure url='"+strings.Repeat("/", 9000)+"'/>", 50) + "</item>", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := mustPoll(t, canned{200, nil, []byte("<rss><channel>" + c.body + "</channel></rss>")}.request(`{"url":"http://source.test/"}`))
			found := events(t, r)
			if len(found) != 1 {
				t.Fatalf("got %d events", len(found))
			}
			var got struct {
				Truncated  bool
				Categories []string
			}
			if err := json.Unmarshal(found[0].Output, &got); err != nil || got.Truncated != c.truncated || len(got.Categories) > 50 || len(found[0].Output) > 1<<20-4<<10 {
				t.Errorf("truncated: %t, %d bytes, %v", got.Truncated, len(found[0].Output), err)
			}
			if strings.Contains(string(found[0].Output), "\uFFFD") {
				t.Error("a character was cut in two")
			}
		})
	}
}

// FuzzPoll has any answer of a source end in events that the engine takes, or in an error that is
// one line, and in a state that the next poll understands.
func FuzzPoll(f *testing.F) {
	for _, body := range []string{rss, rdf, atom, jsonFeed, "<!doctype html><link rel=alternate type=application/rss+xml href=//x>", `{"version":"jsonfeed.org","items":[null]}`, "\xff\xfe<\x00r\x00",
		`<?xml version="1.0" encoding="iso-2022-jp"?><rss><channel><item><guid>` + "\x1b$B</guid></item></channel></rss>", `<feed xml:base="%"><entry><id>` + strings.Repeat("x", 1001) + `</id><updated>0000-01-01T00:00:00+23:59</updated></entry></feed>`} {
		for _, status := range []uint16{0, 4, 101} {
			f.Add(status, []byte(body), "text/xml; charset=utf-8", true)
		}
	}
	f.Fuzz(func(t *testing.T, status uint16, body []byte, kind string, updates bool) {
		c := canned{200 + int(status)%400, http.Header{"Content-Type": {kind}, "Location": {kind}}, body}
		req := c.request(fmt.Sprintf(`{"url":"http://source.test/a?key=secret-in-query","updates":%t}`, updates))
		for range 2 {
			found, err := trigger.Poll(t.Context(), req)
			if err != nil {
				if text := err.Error(); strings.ContainsAny(text, "\r\n\x00\x1b") || len(text) > 4<<10 {
					t.Errorf("the error is %q", text)
				}
				return
			}
			if found.State != nil && !json.Valid(found.State) {
				t.Errorf("the state is %q", found.State)
			}
			seen := map[string]bool{}
			for _, m := range events(t, found) {
				if m.SourceID == "" || seen[m.SourceID] || utf8.RuneCountInString(m.SourceID) > 1000 || strings.ContainsRune(m.SourceID, 0) || m.Type != "entry.new" || len(m.Output) > 1<<20 {
					t.Errorf("%+v", m)
				}
				seen[m.SourceID] = true
			}
			req.State = found.State
		}
	})
}
