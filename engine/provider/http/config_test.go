package http_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/engine/provider/http"
)

func TestMap(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config values
		item   string
		want   string // type and id
		err    string
	}{
		"Defaults":          {item: `{"id":"a"}`, want: "item.new a"},
		"NumbersAsTheyCame": {item: `{"id":12345678901234567890}`, want: "item.new 12345678901234567890"},
		"DecimalsToo":       {item: `{"id":1.0}`, want: "item.new 1.0"},
		"OtherPrograms":     {config: values{"id": ".a.b + 1", "event_type": `"order." + .status`}, item: `{"a":{"b":6},"status":"paid"}`, want: "order.paid 7"},
		"NoID":              {item: `{"name":"x"}`, err: `id: the item has none; set "id" to a jq program that gives a string or number of its own to each item (item: {"name":"x"})`},
		"AnEmptyID":         {item: `{"id":""}`, err: `id: it is an empty string (item: {"id":""})`},
		"AnObjectAsID":      {item: `{"id":{}}`, err: `id: it must give a string or a number (item: {"id":{}})`},
		"AnItemThatIsText":  {item: `"x"`, err: "id: jq `.id`: expected an object but got: string (\"x\") (item: \"x\")"},
		"NoEventType":       {config: values{"event_type": ".kind"}, item: `{"id":1}`, err: `event_type: it must give a string that is not empty (item: {"id":1})`},
		"LongItemsAreCut":   {item: `{"name":"` + strings.Repeat("x", 500) + `"}`, err: strings.Repeat("x", 111) + "...)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := values{"url": "http://source.example"}
			for k, v := range c.config {
				all[k] = v
			}
			config, err := json.Marshal(all)
			if err != nil {
				t.Fatal(err)
			}
			m, err := trigger.Map(t.Context(), engine.MapRequest{
				Source: engine.Source{Config: config, Now: now}, Input: json.RawMessage(c.item),
			})
			if c.err != "" {
				if err == nil || !strings.HasSuffix(err.Error(), c.err) {
					t.Errorf("got %v\nwant %s", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := m.Type + " " + m.SourceID; got != c.want || string(m.Output) != c.item {
				t.Errorf("got %s %s, want %s", got, m.Output, c.want)
			}
		})
	}
}

// example is the one of the package's documentation.
const example = `{
	"url": "https://api.example.com/v1/orders",
	"query": {
		"limit": "100",
		"updated_since": "($cursor // ($now - 86400)) | todate"
	},
	"items": ".data",
	"id": ".id",
	"event_type": "\"order.\" + .status",
	"cursor": ".data | map(.updated_at | fromdate) | max"
}`

func TestTheExampleWorks(t *testing.T) {
	t.Parallel()
	s := serve(t, answers(200, `{"data":[
		{"id":7,"status":"paid","updated_at":"2026-01-10T12:00:00Z"},
		{"id":8,"status":"sent","updated_at":"2026-01-10T11:00:00Z"}
	]}`))
	req := s.request(t, "/v1/orders", nil)
	req.Config = json.RawMessage(strings.Replace(example, "https://api.example.com", s.URL, 1))
	r := mustPoll(t, req)
	if got := s.asked[0].URL.RawQuery; got != "limit=100&updated_since=2026-01-09T14%3A45%3A00Z" {
		t.Errorf("asked for %s", got)
	}
	req.State = r.State
	mustPoll(t, req)
	if got := s.asked[1].URL.RawQuery; got != "limit=100&updated_since=2026-01-10T12%3A00%3A00Z" {
		t.Errorf("then asked for %s", got)
	}
	m, err := trigger.Map(t.Context(), engine.MapRequest{Source: req.Source, Input: r.Inputs[0]})
	if err != nil || m.Type != "order.paid" || m.SourceID != "7" {
		t.Errorf("got %+v, %v", m, err)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for config, want := range map[string][]string{
		`{"url":"https://a.example/x"}`:                                    nil,
		example:                                                            nil,
		`{"url":"HTTPS://a.example"}`:                                      nil,
		`{"url":"ftp://a.example"}`:                                        {"url: must be an absolute http or https URL"},
		`{"url":"http://"}`:                                                {"url: must have a host"},
		`{"url":"http://a b"}`:                                             {`url: is not a URL: invalid character " " in host name`},
		`{"url":"http://u:p@a.example"}`:                                   {`url: must not hold a user and password; use an auth config with the method "basic"`},
		`{"url":"http://a","body":{}}`:                                     {`method: must be "POST" when there is a body`},
		`{"url":"http://a","headers":{"Host":"b"}}`:                        {"headers.Host: is a header that cannot be set"},
		`{"url":"http://a","headers":{"A b":"b","c":"d\n"}}`:               {"headers.A b: must not have ' ' in its name", "headers.c: must not contain control characters or line breaks"},
		`{"url":"http://a","items":".a[","id":"$now"}`:                     {"items: is not a jq program: column 4: unexpected EOF", "id: is not a jq program: column 1: variable not defined: $now"},
		`{"url":"http://a","query":{"a":"$cursor","b":"foo"}}`:             {`query.b: is not a jq program: column 1: function not defined: foo/0; if you mean the text itself, it needs quotes of its own: "\"foo\""`},
		`{"url":"http://a","cursor":"$headers.x + $now","next_page":"$x"}`: {"next_page: is not a jq program: column 1: variable not defined: $x"},
		`{"url":"http://a","headers":{"X-Team":"a","x-team":"b"}}`:         {"headers.x-team: is there twice, in upper and lower case"},
		`[]`: {": read the config: json: cannot unmarshal array into Go value of type http.config"},
	} {
		var got []string
		for _, e := range http.New().Validate(json.RawMessage(config)) {
			got = append(got, strings.Join(e.Path, ".")+": "+e.Message)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s\n got %q\nwant %q", config, got, want)
		}
	}
}

func FuzzValidateConfig(f *testing.F) {
	f.Add(`{"url":"https://a.example/x","items":".data[]","query":{"a":"$now"},"headers":{"A":"b"},"body":[1],"max_pages":1e9}`)
	f.Add(`{"url":"http://[::1]:80%zz","items":".a[","id":7}`)
	f.Add(`[]`)
	f.Fuzz(func(t *testing.T, config string) {
		for _, e := range http.New().Validate(json.RawMessage(config)) {
			if e.Message == "" || e.Code == "" {
				t.Errorf("an error without a word: %+v", e)
			}
		}
	})
}

func TestSchemasAreJSON(t *testing.T) {
	t.Parallel()
	p := http.New()
	schemas := []json.RawMessage{p.ConfigSchema}
	for _, m := range p.AuthMethods {
		schemas = append(schemas, m.InputSchema)
	}
	for _, s := range schemas {
		if !json.Valid(s) {
			t.Errorf("not JSON: %s", s)
		}
	}
}
