package http_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/callbackd/callbackd/engine"
)

func TestRequest(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config values
		auth   *engine.Auth
		method string
		query  string
		header map[string]string
		body   string
	}{
		"Defaults": {
			header: map[string]string{"Accept": "application/json", "User-Agent": "callbackd", "Authorization": "", "Content-Type": "", "If-None-Match": ""},
		},
		"HeadersReplaceDefaults": {
			config: values{"headers": values{"accept": "text/x", "X-One": "1"}},
			header: map[string]string{"Accept": "text/x", "X-One": "1"},
		},
		"Query": {
			config: values{"query": values{
				"a": `"x y"`, "b": "1.0, empty | . * 2", "c": "null", "d": "[1, \"z\", null]", "e": "true",
				"from": "$now | todate", "cursor": "$cursor", "url": `"replaced"`,
			}},
			query: "a=x+y&b=2&d=1&d=z&e=true&from=2026-01-10T14%3A45%3A00Z&url=replaced",
		},
		"JSONBody": {
			config: values{"method": "POST", "body": values{"q": []int{1}}},
			method: "POST", body: `{"q":[1]}`, header: map[string]string{"Content-Type": "application/json"},
		},
		"TextBody": {
			config: values{"method": "POST", "body": "a=1&b=2", "headers": values{"Content-Type": "application/x-www-form-urlencoded"}},
			method: "POST", body: `a=1&b=2`, header: map[string]string{"Content-Type": "application/x-www-form-urlencoded"},
		},
		"PlainTextBody": {
			config: values{"method": "POST", "body": "hi"},
			method: "POST", body: `hi`, header: map[string]string{"Content-Type": "text/plain; charset=utf-8"},
		},
		"NoBody": {config: values{"method": "POST", "body": nil}, method: "POST", header: map[string]string{"Content-Type": ""}},
		"Bearer": {
			auth:   &engine.Auth{Method: "bearer", Value: json.RawMessage(`{"token": "t0"}`)},
			header: map[string]string{"Authorization": "Bearer t0"},
		},
		"Basic": {
			auth:   &engine.Auth{Method: "basic", Value: json.RawMessage(`{"username": "ada", "password": "p:w"}`)},
			header: map[string]string{"Authorization": "Basic YWRhOnA6dw=="},
		},
		"Header": {
			config: values{"headers": values{"X-API-Key": "public"}},
			auth:   &engine.Auth{Method: "header", Value: json.RawMessage(`{"name": "x-api-key", "value": "k"}`)},
			header: map[string]string{"X-Api-Key": "k"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, answers(200, "[]"))
			path := "/p"
			if c.query != "" {
				path += "?url=1"
			}
			req := s.request(t, path, c.config)
			req.Auth = c.auth
			mustPoll(t, req)
			r := s.asked[0]
			if c.method == "" {
				c.method = "GET"
			}
			if r.Method != c.method || r.URL.RawQuery != c.query || s.sent[0] != c.body {
				t.Errorf("got %s ?%s %q", r.Method, r.URL.RawQuery, s.sent[0])
			}
			for name, want := range c.header {
				if got := r.Header.Get(name); got != want {
					t.Errorf("%s: got %q, want %q", name, got, want)
				}
			}
		})
	}
}

func TestUnknownAuthIsAnErrorWithoutItsValue(t *testing.T) {
	t.Parallel()
	s := serve(t, answers(200, "[]"))
	for _, auth := range []engine.Auth{
		{Method: "oauth", Value: json.RawMessage(`{"token": "secret"}`)},
		{Method: "bearer", Value: json.RawMessage(`"secret"`)},
		{Method: "bearer", Value: json.RawMessage(`{"token": "secret\n"}`)},
	} {
		req := s.request(t, "/", nil)
		req.Auth = &auth
		if _, err := trigger.Poll(t.Context(), req); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("got %v", err)
		}
	}
	if len(s.asked) > 0 {
		t.Error("the source was asked")
	}
}
