package webhook_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/callbackd/callbackd/engine"
)

// FuzzHeaders has any header refused unless it holds the signature, whatever else is in it.
func FuzzHeaders(f *testing.F) {
	for _, s := range senders {
		header := s.sign(s.secrets[0], now.Unix(), "{}")
		header = append(header, "", "", "", "")
		f.Add(header[1], header[3], header[5], "{}")
	}
	for _, value := range []string{"t=1,v1=", "v1,", "v1a,=", "v1, v1, v1,", "t=1e9,v1=00", "t=-1,t=1", "sha256=", "\xff", ",,,", "====", "v0=\u0130"} {
		f.Add(value, "1e9", "", `{"challenge":"x"}`)
	}
	f.Fuzz(func(t *testing.T, signature, timestamp, id, body string) {
		for name, s := range senders {
			names := s.sign(s.secrets[0], now.Unix(), body)
			req := request(t, s.config, s.secrets[:], body)
			given := []string{signature, timestamp, id}
			for i := 0; i < len(names); i += 2 {
				req.Header.Set(names[i], given[i/2])
			}
			result, err := trigger.Handle(t.Context(), req)
			if err != nil {
				if status(err) != 401 || len(result.Inputs) > 0 || result.Response != nil {
					t.Fatalf("%s: %v", name, err)
				}
				continue
			}
			// It is there as the sender wrote it, or the sender signed another time or id.
			right := names[1][strings.LastIndexAny(strings.TrimRight(names[1], "="), ",= ")+1:]
			if !strings.Contains(strings.ToLower(signature), strings.ToLower(strings.TrimRight(right, "="))) {
				t.Fatalf("%s: %q is believed of %q", name, signature, body)
			}
		}
	})
}

// FuzzRequests has any request that nobody signed made an event or refused, and what is kept of
// it valid.
func FuzzRequests(f *testing.F) {
	f.Add("POST", "/webhooks/ctr_1?a=1&a=2", "application/json", `{"a":1}`)
	f.Add("GET", "?validationToken=%zz", "application/x-www-form-urlencoded", "a=b&a;c")
	f.Add("\xff", "%", "; charset", "\uFEFF[1e400]")
	f.Fuzz(func(t *testing.T, method, url, kind, body string) {
		for _, config := range []string{`{"verify":"none"}`, `{"verify":"none","handshake":"challenge"}`, `{"verify":"none","handshake":"validation-token"}`, `{"verify":"none","handshake":"hub","verify_token":"x"}`} {
			req := engine.WebhookRequest{Source: engine.Source{Config: json.RawMessage(config), Now: now}, Method: method, URL: url, Header: http.Header{"Content-Type": {kind}}, Body: []byte(body)}
			result, err := trigger.Handle(t.Context(), req)
			if err != nil && status(err) == 500 {
				t.Fatal(err)
			}
			for _, input := range result.Inputs {
				m, err := trigger.Map(t.Context(), engine.MapRequest{Source: req.Source, Input: input})
				if err != nil && !strings.Contains(err.Error(), "a number is longer") {
					t.Fatal(err)
				}
				if err == nil && (!json.Valid(m.Output) || m.Type == "" || m.SourceID == "") {
					t.Fatalf("%+v", m)
				}
			}
		}
	})
}
