package slates_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// What an integration makes of the user's value is asked for once, and renewed before it ends.
func TestPrepare(t *testing.T) {
	t.Parallel()
	now := source().Now
	iso := func(d time.Duration) string { return now.Add(d).Format(time.RFC3339) }
	for _, c := range []struct {
		name, kind, value, prepared string
		refreshes                   bool
		output                      object // that auth.output.get gives
		want                        string // the prepared output
		renew                       time.Duration
		calls                       string
		told                        string
	}{
		{name: "a token that does not end", kind: "auth.token", value: `{"token":"abc"}`, output: object{"token": "ABC"}, want: `{"token":"ABC"}`, calls: "get map[token:abc]"},
		{name: "a service account whose token ends", kind: "auth.service_account", value: `{"key":"k"}`, output: object{"token": "T", "expiresAt": iso(time.Hour)},
			want: `{"expiresAt":"` + iso(time.Hour) + `","token":"T"}`, renew: 55 * time.Minute, calls: "get map[key:k]"},
		{name: "which is got again", kind: "auth.service_account", value: `{"key":"k"}`, prepared: `{"output":{"token":"old"}}`, output: object{"token": "T2", "expires_in": 100},
			want: `{"expires_in":100,"token":"T2"}`, renew: 80 * time.Second, calls: "get map[key:k]"},
		{name: "oauth as given", kind: "auth.oauth", refreshes: true, value: `{"output":{"token":"o","expiresAt":"` + iso(time.Hour) + `"},"client_id":"i","client_secret":"s","scopes":["a"]}`,
			want: `{"token":"o","expiresAt":"` + iso(time.Hour) + `"}`, renew: 55 * time.Minute},
		{name: "oauth without end", kind: "auth.oauth", refreshes: true, value: `{"output":{"token":"o"}}`, want: `{"token":"o"}`},
		{name: "oauth without refresh", kind: "auth.oauth", value: `{"output":{"token":"o","expiresAt":"` + iso(time.Minute) + `"}}`, want: `{"token":"o","expiresAt":"` + iso(time.Minute) + `"}`},
		{name: "oauth that ended", kind: "auth.oauth", refreshes: true, value: `{"output":{"token":"o","expiresAt":` + fmt.Sprint(now.Add(-time.Hour).UnixMilli()) + `},"client_id":"i","client_secret":"s","scopes":["a"],"input":{"tenant":"t"}}`,
			want: `{"expiresAt":"` + iso(2*time.Hour) + `","token":"fresh"}`, renew: 115 * time.Minute, calls: "refresh i s [a] map[tenant:t] o"},
		{name: "oauth to be renewed", kind: "auth.oauth", refreshes: true, value: `{"output":{"token":"o"},"client_id":"i","client_secret":"s"}`, prepared: `{"output":{"token":"o2"},"input":{"x":1},"scopes":["b"]}`,
			want: `{"expiresAt":"` + iso(2*time.Hour) + `","token":"fresh"}`, renew: 115 * time.Minute, calls: "refresh i s [b] map[x:1] o2"},
		{name: "oauth whose input is null", kind: "auth.oauth", refreshes: true, value: `{"output":{"token":"o"},"input":null}`, prepared: `{"output":{"token":"o2"}}`,
			want: `{"expiresAt":"` + iso(2*time.Hour) + `","token":"fresh"}`, renew: 115 * time.Minute, calls: "refresh   [] map[] o2"},
		{name: "no output", kind: "auth.token", value: `{}`, output: nil, calls: "get map[]", told: "there is no output"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var calls []string
			f := &fake{on: func(method string, params object) any {
				switch method {
				case "slates/auth.methods.list":
					return object{"authenticationMethods": []any{object{"id": "m", "type": c.kind, "capabilities": object{"handleTokenRefresh": object{"enabled": c.refreshes}}}}}
				case "slates/auth.output.get":
					calls = append(calls, fmt.Sprint("get ", params["input"]))
					return object{"output": c.output, "scopes": []string{"x"}}
				case "slates/auth.token_refresh.handle":
					calls = append(calls, fmt.Sprint("refresh ", params["clientId"], " ", params["clientSecret"], " ", params["scopes"], " ", params["input"], " ", params["output"].(object)["token"]))
					return object{"output": object{"token": "fresh", "expiresAt": iso(2 * time.Hour)}}
				}
				return nil
			}}
			req := engine.PrepareRequest{Source: source(), Value: json.RawMessage(c.value)}
			if c.prepared != "" {
				req.Prepared = json.RawMessage(c.prepared)
			}
			out, err := serve(t, f).AuthMethods[0].Prepare(t.Context(), req)
			if got := strings.Join(calls, ", "); got != c.calls {
				t.Errorf("called %q, want %q", got, c.calls)
			}
			if c.told != "" {
				if err == nil || !strings.Contains(err.Error(), c.told) {
					t.Errorf("%v, want one that says %q", err, c.told)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var p struct{ Output json.RawMessage }
			if err := json.Unmarshal(out.Value, &p); err != nil || string(p.Output) != c.want {
				t.Errorf("output %s, want %s", p.Output, c.want)
			}
			if out.RenewAt.IsZero() != (c.renew == 0) || c.renew != 0 && !out.RenewAt.Equal(now.Add(c.renew)) {
				t.Errorf("renewed at %s, want %s after %s", out.RenewAt, c.renew, now)
			}
		})
	}
}

// What was not prepared, or for a method that is gone, is an error, and nothing is sent.
func TestUnusableAuth(t *testing.T) {
	t.Parallel()
	f := &fake{on: func(method string, _ object) any {
		if method == "slates/auth.methods.list" {
			return object{"authenticationMethods": []any{object{"id": "m", "type": "auth.token"}}}
		}
		return nil
	}}
	p := serve(t, f)
	before := f.count()
	for want, auth := range map[string]*engine.Auth{
		"no longer has the auth method": {Method: "gone", Prepared: json.RawMessage(`{"output":{}}`)},
		"was not prepared":              {Method: "m"},
		"cannot be read":                {Method: "m", Prepared: json.RawMessage(`[]`)},
	} {
		s := source()
		s.Auth = auth
		if _, err := trigger(t, p, "new_message").Poll(t.Context(), engine.PollRequest{Source: s}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want one that says %q", err, want)
		}
	}
	if f.count() != before {
		t.Error("something was sent")
	}
}

// What requests of the integration say is logged at debug, without secrets, also those that they brought.
func TestTracesHaveNoSecrets(t *testing.T) {
	t.Parallel()
	const short, long = "secret-1", "secret-1-and-more"
	f := &fake{on: func(method string, params object) any {
		switch method {
		case "slates/auth.methods.list":
			return object{"authenticationMethods": []any{object{"id": "m", "type": "auth.token"}}}
		case "slates/auth.output.get":
			return object{"output": object{"token": "made-of-it"}, "requestTraces": []any{object{"url": "/token", "response": `{"t":"made-of-it"}`}}}
		case "slates/action.trigger.webhook_register":
			return object{"registrationDetails": object{"secret": "of-the-hook"}, "requestTraces": []any{"/hooks of-the-hook"}}
		case "slates/action.trigger.poll_events":
			return object{"inputs": []any{}, "requestTraces": []any{"/items " + long + " " + short}}
		}
		return nil
	}}
	p := serve(t, f)
	var text bytes.Buffer
	s := source()
	s.Log = slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if _, err := p.AuthMethods[0].Prepare(t.Context(), engine.PrepareRequest{Source: s, Value: json.RawMessage(`{}`)}); err != nil {
		t.Fatal(err)
	}
	s.Auth = &engine.Auth{Method: "m", Value: json.RawMessage(`{"a":"` + short + `","b":"` + long + `"}`), Prepared: json.RawMessage(`{"output":{}}`)}
	if _, err := trigger(t, p, "new_message").Poll(t.Context(), engine.PollRequest{Source: s}); err != nil {
		t.Fatal(err)
	}
	if _, err := trigger(t, p, "hook").Register(t.Context(), engine.RegisterRequest{Source: s, URL: "https://in.example"}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"/token", "/items [secret] [secret]", "/hooks [secret]"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the log lacks %q: %s", want, &text)
		}
	}
	if strings.Contains(text.String(), "made-of-it") {
		t.Errorf("the log has what the token was made into: %s", &text)
	}
}
