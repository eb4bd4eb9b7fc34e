package engine

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/http/httpguts"

	"github.com/callbackd/callbackd/internal/jsontext"
	"github.com/callbackd/callbackd/store"
)

// FuzzInput has whatever a provider finds become an event that can be stored, delivered and
// read again, or one that says why not.
func FuzzInput(f *testing.F) {
	for _, seed := range []string{`{"type":"a","source_id":"1","output":{"n":9007199254740993}}`, `{"type":"a\n","source_id":"1"}`, `{"type":"a","source_id":"\u0000"}`, `{"type":"a","source_id":"b","output":[1e400]}`,
		`{"Type":"a","SOURCE_ID":"b","output":"\ud800"}`, `null`, `[]`, "\xff", `{"type":1}`, ` {"type":"\u202e","source_id":" "} `, strings.Repeat(`{"output":`, 600) + "1" + strings.Repeat("}", 600)} {
		f.Add([]byte(seed))
	}
	e := &Engine{clock: newClock(time.Now), options: Options{}.withDefaults()}
	log := slog.New(slog.DiscardHandler)
	f.Fuzz(func(t *testing.T, input []byte) {
		item := e.mapOne(t.Context(), log, &Trigger{}, Source{}, input, 1)
		if item.Type == "" || item.SourceID == "" || !utf8.ValidString(item.Type+item.SourceID) || strings.ContainsFunc(item.Type, unicode.IsControl) || strings.ContainsRune(item.SourceID, 0) {
			t.Errorf("%q became an event %q of the type %q", input, item.SourceID, item.Type)
		}
		if item.Input != nil && !json.Valid(item.Input) {
			t.Errorf("the input %q is kept as %q", input, item.Input)
		}
		if item.Failure != nil {
			if !utf8.ValidString(item.Failure.Message) || len(item.Failure.Message) > maxStoredError+len("...") {
				t.Errorf("%q fails with %q", input, item.Failure.Message)
			}
			return
		}
		if !isObject(item.Output) || jsontext.Look(item.Output).Levels > maxNesting+1 {
			t.Errorf("%q has the output %q", input, item.Output)
		}
		var sent struct {
			Type     string
			SourceID string `json:"source_id"`
			Data     json.RawMessage
		}
		err := json.Unmarshal(payload(store.Delivery{Type: item.Type, SourceID: item.SourceID, Output: item.Output}), &sent)
		if err != nil || sent.Type != item.Type || sent.SourceID != item.SourceID || !bytes.Equal(sent.Data, item.Output) {
			t.Errorf("%+v is sent as %+v (%v)", item, sent, err)
		}
	})
}

// FuzzDestination has a destination refused, or its request be one that can be sent.
func FuzzDestination(f *testing.F) {
	for _, seed := range [][3]string{{"http://a.test/x?y#z", "X-A", "b"}, {"https://\uff11\uff12\uff17.0.0.1:65536/", "Host", "a"}, {"http://[::1%25lo]/\r\n", "x\r\n", "\x00"}, {"HTTP://A.TEST", "webhook-ID", ""},
		{"http://a.test:0", "X-\u00e9", "\u00e9"}, {"http://a\\b@c/", "Transfer-Encoding", "chunked"}, {"//a", "", ""}, {"http://a.test/%zz", ":authority", "\t"}, {"http://xn--a.test/", "X", "\x7f"}} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, target, name, value string) {
		s := DestinationSettings{Name: "a", URL: target, Headers: map[string]string{name: value}}
		fillDestination(&s)
		if len(checkDestination(s)) > 0 {
			return
		}
		u, err := url.Parse(target)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || !utf8.ValidString(target) {
			t.Fatalf("%q was accepted: %+v, %v", target, u, err)
		}
		if strings.ContainsFunc(u.RequestURI(), func(r rune) bool { return r <= ' ' || r == 0x7f }) || strings.ContainsFunc(u.Host, unicode.IsSpace) {
			t.Errorf("%q asks %q for %q", target, u.Host, u.RequestURI())
		}
		h := http.Header{}
		h.Set(name, value)
		for name, values := range h {
			if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(values[0]) || ownHeader(name) {
				t.Errorf("the header %q: %q was accepted", name, values)
			}
		}
	})
}

// FuzzSchema has any value checked against a schema within a moment, and every error named in
// few words.
func FuzzSchema(f *testing.F) {
	compiled, err := compileSchema(json.RawMessage(`{"type":"object","required":["a"],"properties":{"a":{"type":"integer","minimum":1,"maximum":9},"n":{"type":"number","exclusiveMinimum":0,"multipleOf":0.5},
		"s":{"type":"string","format":"uri","pattern":"^a","maxLength":9},"l":{"type":"array","maxItems":3,"uniqueItems":true,"items":{"enum":[1,"a",null]}},"o":{"$ref":"#"}},"additionalProperties":{"const":1}}`))
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{`{"a":1}`, `{"a":1e999999,"n":1e-999999}`, `{"n":1e1000001}`, `{"n":1e400,"l":[1,1.0,10e-1]}`, `{"o":{"o":{"a":"x"}}}`, `{"s":"\ud800"}`, `{"l":[1e1000001,1e1000001]}`, `[]`, `{"x":{}}`, "{"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		began := time.Now()
		fields := compiled.check(text, "value")
		if took := time.Since(began); took > time.Second {
			t.Errorf("%q took %v", text, took)
		}
		for _, field := range fields {
			if field.Code == "" || field.Message == "" || len(field.Message)+len(field.Received) > 4000 || len(field.Path) == 0 || field.Path[0] != "value" {
				t.Errorf("%q: %+v", text, field)
			}
		}
		if len(fields) == 0 && json.Valid(text) && !json.Valid(compiled.fill(text)) {
			t.Errorf("%q is filled to %q", text, compiled.fill(text))
		}
	})
}
