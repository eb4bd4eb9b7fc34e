package httpapi_test

import (
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// list is n times one entry, as JSON.
func list(n int, entry string) string {
	return "[" + strings.TrimSuffix(strings.Repeat(entry+",", n), ",") + "]"
}

// nested is an object of n levels, at most.
func nested(n int) string {
	return strings.Repeat(`{"a":`, n-1) + "{}" + strings.Repeat("}", n-1)
}

// Everything that a client sends is bounded: what is at the bound is not refused for its
// size, and what is one past it is.
func TestBounds(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.setup("http://127.0.0.1:1")
	callback, destination, config := "/callbacks/"+s.callback, "/callback-destinations/"+s.destination, "/provider-configs/"+s.config
	word := func(n int) string { return `"` + strings.Repeat("é", n) + `"` }
	field := func(name string, value func(int) string) func(int) string {
		return func(n int) string { return `{"` + name + `":` + value(n) + `}` }
	}
	number := func(n int) string { return fmt.Sprint(n) }
	entries := func(entry string) func(int) string { return func(n int) string { return list(n, entry) } }
	event := func(name string, value func(int) string) func(int) string {
		return func(n int) string {
			return `{"type":"a","output":{},` + strings.TrimPrefix(field(name, value)(n), "{")
		}
	}
	names := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"X-%d":"v"`, i)
		}
		return "{" + strings.TrimPrefix(b.String(), ",") + "}"
	}
	for _, tt := range []struct {
		name, method, path string
		body               func(n int) string
		bound              int
		code               string // of the error, as CODE PATH
	}{
		{"Name", "PATCH", callback, field("name", word), 100_000, "max_length name"},
		{"Description", "PATCH", callback, field("description", word), 100_000, "max_length description"},
		{"Metadata", "PATCH", callback, field("metadata", func(n int) string { return `{"a":"` + strings.Repeat("x", n-8) + `"}` }), 64 << 10, "max_length metadata"},
		{"MetadataNesting", "PATCH", callback, field("metadata", nested), 500, "invalid_max metadata"},
		{"MetadataOfADestination", "PATCH", destination, field("metadata", nested), 500, "invalid_max metadata"},
		{"PollInterval", "PATCH", callback, field("poll_interval_seconds_override", number), 31_536_000, "invalid_poll_interval poll_interval_seconds_override"},
		{"Destinations", "PATCH", callback, field("destination_ids", entries(`"a"`)), 100, "callback_destination_limit_exceeded destination_ids"},
		{"Triggers", "PATCH", callback, field("triggers", entries(`{"trigger_id":"a"}`)), 100, "callback_trigger_limit_exceeded triggers"},
		{"EventTypesOfATrigger", "PATCH", callback, func(n int) string {
			return `{"triggers":[{"trigger_id":"contact.created","event_types":` + list(n, `"a"`) + `}]}`
		}, 100, "max_length triggers.0.event_types"},
		{"EventTypes", "PATCH", destination, field("event_types", entries(`"a"`)), 100, "max_length event_types"},
		{"EventTypeOfADestination", "PATCH", destination, func(n int) string { return `{"event_types":[` + word(n) + `]}` }, 200, "max_length event_types.0"},
		{"URL", "PATCH", destination, field("url", func(n int) string { return `"http://a.test/` + strings.Repeat("x", n-14) + `"` }), 4096, "invalid_callback_destination_url url"},
		{"Headers", "PATCH", destination, field("headers", names), 50, "max_length headers"},
		{"HeaderValue", "PATCH", destination, func(n int) string { return `{"headers":{"X-A":"` + strings.Repeat("x", n) + `"}}` }, 8192, "invalid_type headers.X-A"},
		{"Timeout", "PATCH", destination, field("timeout_seconds", number), 60, "invalid_max timeout_seconds"},
		{"InFlight", "PATCH", destination, field("max_in_flight", number), 1000, "invalid_max max_in_flight"},
		{"Attempts", "PATCH", destination, func(n int) string { return fmt.Sprintf(`{"retry":{"type":"linear","maxAttempts":%d}}`, n) }, 100, "invalid_max retry.maxAttempts"},
		{"Delay", "PATCH", destination, func(n int) string { return fmt.Sprintf(`{"retry":{"type":"linear","delaySeconds":%d}}`, n) }, 86400, "invalid_max retry.delaySeconds"},
		{"CallbacksOfADestination", "POST", "/callbacks-destinations", func(n int) string {
			return `{"name":"a","url":"http://a.test","callbacks":{"type":"selected","callback_ids":` + list(n, `"a"`) + `}}`
		}, 100, "max_length callbacks.callback_ids"},
		{"Type", "POST", callback + "/events", func(n int) string { return `{"output":{},"type":` + word(n) + `}` }, 200, "max_length type"},
		{"SourceID", "POST", callback + "/events", event("source_id", word), 1000, "max_length source_id"},
		{"OutputNesting", "POST", callback + "/events", func(n int) string { return `{"type":"a","output":` + nested(n) + `}` }, 500, "invalid_max output"},
		{"InputNesting", "POST", callback + "/events", event("input", nested), 500, "invalid_max input"},
		{"Batch", "POST", callback + "/events/batch", field("events", entries(`{"type":"a","output":{}}`)), 100, "invalid_max events"},
		{"ConfigNesting", "PATCH", config, field("value", nested), 500, "invalid_max value"},
		{"ConfigExponent", "PATCH", config, func(n int) string { return fmt.Sprintf(`{"value":{"account":"a","max":1e%d}}`, n) }, 1000, "invalid_max value.max"},
		{"ConfigSmallExponent", "PATCH", config, func(n int) string { return fmt.Sprintf(`{"value":{"account":"a","max":1E-%d}}`, n) }, 1000, "invalid_max value.max"},
		{"ConfigDigits", "PATCH", config, func(n int) string { return `{"value":{"account":"a","max":` + strings.Repeat("9", n) + `}}` }, 1000, "invalid_max value.max"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := e.with(t)
			if at := e.do(tt.method, tt.path, tt.body(tt.bound)); slices.Contains(at.fieldErrors(), tt.code) || at.Status >= 500 {
				t.Errorf("at the bound of %d: %d %.300s", tt.bound, at.Status, at.Body)
			}
			if past := e.do(tt.method, tt.path, tt.body(tt.bound+1)); past.Status != 400 || !slices.Contains(past.fieldErrors(), tt.code) {
				t.Errorf("past the bound of %d: %d %.300s", tt.bound, past.Status, past.Body)
			}
		})
	}
	t.Run("Body", func(t *testing.T) {
		body := func(n int) string { return `{"x":"` + strings.Repeat("x", n-8) + `"}` }
		if a := e.with(t).do("PATCH", callback, body(1<<20)); a.Status != 200 {
			t.Errorf("1 MiB: %d %.300s", a.Status, a.Body)
		}
		if a := e.with(t).do("PATCH", callback, body(1<<20+1)); a.Status != 413 {
			t.Errorf("one byte more: %d %.300s", a.Status, a.Body)
		}
	})
	t.Run("Query", func(t *testing.T) {
		query := func(n int) string { return "?id=" + strings.Repeat("x", n-3) }
		for _, path := range []string{"/callbacks", callback + "/events", "/provider-config-schema"} {
			if a := e.with(t).do("GET", path+query(64<<10), ""); strings.Contains(a.Body, "invalid_query_string") {
				t.Errorf("%s with 64 KiB: %d %.300s", path, a.Status, a.Body)
			}
			if a := e.with(t).do("GET", path+query(64<<10+1), ""); a.Status != 400 || a.decode().str("reason") != "invalid_query_string" {
				t.Errorf("%s with one byte more: %d %.300s", path, a.Status, a.Body)
			}
		}
		many := "?" + strings.Repeat("id=aaaaaaaaaaaaaaaaaaaaaaaaaa&", 2000)
		for _, path := range []string{"/callbacks", "/callback-destinations", "/providers", "/provider-configs", callback + "/instances", callback + "/events"} {
			if a := e.with(t).do("GET", path+many, ""); a.Status != 200 {
				t.Errorf("%s with 2,000 ids: %d %.300s", path, a.Status, a.Body)
			}
		}
	})
}

// A request of a megabyte is not answered, or logged, with many: errors are so many that a
// person can read them, and the entries of a list that is too long are not looked at.
func TestErrorsAreBounded(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.setup("http://127.0.0.1:1")
	callback := "/callbacks/" + s.callback
	var headers strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&headers, `"h%d":1,`, i)
	}
	wrongs := strings.TrimSuffix(headers.String(), ",")
	for _, tt := range []struct{ name, method, path, body string }{
		{"ListOfNoIds", "PATCH", callback, `{"destination_ids":` + list(60_000, "1") + `}`},
		{"ListOfNoTriggers", "PATCH", callback, `{"triggers":` + list(60_000, "{}") + `}`},
		{"ListOfEmptyTypes", "PATCH", "/callback-destinations/" + s.destination, `{"event_types":` + list(60_000, `""`) + `}`},
		{"HeadersThatAreNumbers", "PATCH", "/callback-destinations/" + s.destination, `{"headers":{` + wrongs + `}}`},
		{"EventsThatAreNone", "POST", callback + "/events/batch", `{"events":` + list(60_000, "{}") + `}`},
		{"ConfigOfUnknownFields", "PATCH", "/provider-configs/" + s.config, `{"value":{` + wrongs + `}}`},
		{"NumberOfAMillionDigits", "PATCH", "/provider-configs/" + s.config, `{"value":{"account":"a","max":1e999999}}`},
		{"QueryOfNoStatuses", "GET", "/callbacks?" + strings.Repeat("status=x&", 7000), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := serve(t, e.eng)
			a := e.do(tt.method, tt.path, tt.body)
			if n := len(a.fieldErrors()); a.Status != 400 || n == 0 || n > 101 {
				t.Errorf("%d with %d errors", a.Status, n)
			}
			if len(a.Body) > 64<<10 {
				t.Errorf("the answer has %d bytes", len(a.Body))
			}
			e.server.Close()
			if e.log.Len() > 4<<10 {
				t.Errorf("the log has %d bytes", e.log.Len())
			}
		})
	}
	t.Run("NameOfAField", func(t *testing.T) {
		e := serve(t, e.eng)
		e.do("PATCH", "/callback-destinations/"+s.destination, `{"headers":{"`+strings.Repeat("é", 400_000)+`":"v"}}`)
		e.server.Close()
		if e.log.Len() > 4<<10 {
			t.Errorf("the log has %d bytes", e.log.Len())
		}
	})
}

// A string with half of a surrogate pair would be stored with U+FFFD in its place: two source
// ids that differ in nothing else would be one, and the second event would be lost.
func TestHalvesOfSurrogatePairsAreRefused(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.setup("http://127.0.0.1:1")
	events := "/callbacks/" + s.callback + "/events"
	for _, half := range []string{`\ud800`, `\uDFFF`, `a\ud83d`, `\ud83da`, `\ud83d\n`, `\ud83d\ud83d\ude00`, `\ude00\ud83d`, `\\\ud800`, `\ud83d\u0041`} {
		for _, body := range []string{`{"type":"a","source_id":"` + half + `","output":{}}`, `{"type":"` + half + `","output":{}}`} {
			if a := e.do("POST", events, body); a.Status != 400 || len(a.fieldErrors()) == 0 || !strings.HasPrefix(a.fieldErrors()[0], "invalid_type ") {
				t.Errorf("%s: %d %s", body, a.Status, a.Body)
			}
		}
	}
	for sent, want := range map[string]string{`\ud83d\ude00`: "\U0001F600", `\ufffd`: "\uFFFD", "\uFFFD": "\uFFFD", `\\ud800`: `\ud800`, `\\\\ud800`: `\\ud800`, `\ud7ff\ue000`: "\ud7ff\ue000"} {
		a := e.must("POST", events, `{"type":"a","source_id":"`+sent+`","output":{"kept":"\ud800"}}`)
		if got := a.decode().str("source_id"); got != want {
			t.Errorf("%s: source_id %q, want %q", sent, got, want)
		}
		if !strings.Contains(a.Body, `{"kept":"\ud800"}`) {
			t.Errorf("the output is not what was sent: %s", a.Body)
		}
	}
}

// What is no valid UTF-8, or has NUL in it, finds nothing and breaks nothing.
func TestStrangeTextsFindNothing(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.setup("http://127.0.0.1:1")
	for _, text := range []string{"%00", "%ff", "%ed%a0%80", "%e2%80%ae", "%0d%0aX-Evil:%201", "%1b%5b31m", "'%20OR%201=1--", "%ef%bc%91", strings.Repeat("x", 20_000)} {
		for _, path := range []string{"/callbacks/" + text, "/callbacks/" + s.callback + "/events/" + text, "/callback-destinations/" + text, "/providers/" + text, "/" + text} {
			if a := e.do("GET", path, ""); a.Status != 404 || len(a.Body) > 2000 || a.Header.Get("X-Evil") != "" {
				t.Errorf("%s: %d %.300s", path, a.Status, a.Body)
			}
		}
		for _, query := range []string{"?id=" + text, "?id[]=" + text + "&id[]=b", "?after=" + text} {
			if a := e.do("GET", "/callbacks"+query, ""); a.Status != 200 || len(a.ids()) > 0 {
				t.Errorf("%s: %d %.300s", query, a.Status, a.Body)
			}
		}
	}
	for _, body := range []string{"{\"name\":\"a\x00b\"}", `{"name":"a\u0000b"}`, "{\"name\":\"\xff\"}", `{"description":"\u0000"}`} {
		if a := e.do("PATCH", "/callbacks/"+s.callback, body); a.Status != 400 {
			t.Errorf("%q: %d %s", body, a.Status, a.Body)
		}
	}
	req := httptest.NewRequest("GET", "/callbacks", nil)
	req.URL.RawQuery = "id=\x00\xff&\x00"
	req.Header.Set("Authorization", "Bearer "+rootKey)
	if w := record(e, req); w.Code != 200 {
		t.Errorf("raw bytes in the query: %d %s", w.Code, w.Body)
	}
}

// Of a name that stands twice in an object, the last one counts, as everywhere in Go; what is
// kept as it came keeps both.
func TestOfDuplicateKeysTheLastCounts(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.setup("http://127.0.0.1:1")
	a := e.must("POST", "/callbacks/"+s.callback+"/events", `{"type":"first","TYPE":"other","type":"last","output":{"a":1,"a":9007199254740993,"A":1e400}}`)
	if a.decode().str("type") != "last" || !strings.Contains(a.Body, `"output":{"a":1,"a":9007199254740993,"A":1e400}`) {
		t.Errorf("%s", a.Body)
	}
}
