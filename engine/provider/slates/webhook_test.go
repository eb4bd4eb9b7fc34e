package slates_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/callbackd/callbackd/engine"
)

func TestHandle(t *testing.T) {
	t.Parallel()
	body := []byte("a=1&b=\xff\x00")
	for _, c := range []struct {
		name   string
		mode   string
		result any
		want   engine.WebhookResponse
		status int // that it is refused with
		told   string
	}{
		{"answered by the integration", "match", object{"inputs": []any{object{"n": 3}}, "updatedState": object{"s": 2},
			"response": object{"status": 202, "headers": object{"Content-Type": "text/plain", "X-Many": []string{"a", "b"}}, "body": object{"encoding": "base64", "content": "aGk="}}},
			engine.WebhookResponse{Status: 202, Header: http.Header{"Content-Type": {"text/plain"}, "X-Many": {"a", "b"}}, Body: []byte("hi")}, 0, ""},
		{"answered without it", "never", object{"inputs": []any{object{"n": 3}}, "updatedState": object{"s": 2}, "response": object{"status": 500}}, engine.WebhookResponse{}, 0, ""},
		{"refused", "match", failure{"code": "webhook.signature_invalid", "message": "bad signature", "status": 401}, engine.WebhookResponse{}, 401, "bad signature"},
		{"failed", "match", failure{"code": "upstream.not_found", "message": "gone", "status": 404}, engine.WebhookResponse{}, 0, "gone"},
		{"refused without a status", "match", failure{"code": "request.invalid", "message": "bad body", "status": 500}, engine.WebhookResponse{}, 400, "bad body"},
		{"no inputs", "match", object{"updatedState": object{}}, engine.WebhookResponse{}, 0, "without inputs"},
		{"a wrong status", "always", object{"inputs": []any{}, "response": object{"status": 100}}, engine.WebhookResponse{}, 0, "its status is 100"},
		{"a wrong body", "always", object{"inputs": []any{}, "response": object{"body": object{"encoding": "base64", "content": "%"}}}, engine.WebhookResponse{}, 0, "not base64"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := &fake{on: func(method string, params object) any {
				switch {
				case method == "slates/actions.list":
					return object{"actions": []any{object{"id": "hook", "type": "action.trigger", "invocation": object{"type": "webhook", "http": object{"methods": []string{"POST"}, "sync": object{"mode": c.mode, "timeoutMs": 5000}}}}}}
				case strings.HasSuffix(method, "webhook_handle"):
					want := object{"actionId": "hook", "url": "https://in.example/webhooks/ctr_1/x?y=1", "method": "POST", "headers": object{"x-sign": "a, b", "cookie": "c=1; d=2"},
						"body": object{"encoding": "base64", "content": base64.StdEncoding.EncodeToString(body)}, "state": object{"s": 1.0}, "registrationDetails": object{"id": "r"}}
					if got, want := fmt.Sprint(params), fmt.Sprint(want); got != want {
						t.Errorf("sent %s, want %s", got, want)
					}
					return c.result
				}
				return nil
			}}
			hook := trigger(t, serve(t, f), "hook")
			if hook.Register != nil {
				t.Error("it registers")
			}
			req := engine.WebhookRequest{Source: source(), Method: "POST", URL: "https://in.example/webhooks/ctr_1/x?y=1", Body: body,
				Header: http.Header{"X-Sign": {"a", "b"}, "Cookie": {"c=1", "d=2"}}, State: json.RawMessage(`{"s":1}`), Registration: json.RawMessage(`{"id":"r"}`)}
			out, err := hook.Handle(t.Context(), req)
			if status, _ := engine.RefusedStatus(err); status != c.status || (err == nil) != (c.told == "") || err != nil && !strings.Contains(err.Error(), c.told) {
				t.Errorf("%v (%d), want one that says %q", err, status, c.told)
			}
			if err != nil {
				return
			}
			if string(out.State) != `{"s":2}` || len(out.Inputs) != 1 {
				t.Errorf("found %+v", out)
			}
			if r := out.Response; c.want.Status == 0 && r != nil || c.want.Status != 0 && fmt.Sprint(*r) != fmt.Sprint(c.want) {
				t.Errorf("answered %+v, want %+v", r, c.want)
			}
			req.Method = "GET"
			if _, err := hook.Handle(t.Context(), req); err == nil {
				t.Error("GET was taken")
			} else if status, _ := engine.RefusedStatus(err); status != http.StatusMethodNotAllowed {
				t.Errorf("GET: %v (%d)", err, status)
			}
		})
	}
}

// What may go well later is not refused: the source is asked to come again.
func TestHandleLater(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		fail  failure
		after time.Duration
	}{
		{failure{"code": "request.rate_limited", "message": "slow down", "status": 429}, 5 * time.Second},
		{failure{"code": "upstream.unavailable"}, 5 * time.Second},
		{failure{"code": "webhook.busy", "retryable": true, "status": 400}, 5 * time.Second},
		{failure{"code": "upstream.rate_limited", "retryAfter": 7}, 7 * time.Second},
	} {
		f := &fake{on: func(method string, _ object) any {
			if strings.HasSuffix(method, "webhook_handle") {
				return c.fail
			}
			return nil
		}}
		_, err := trigger(t, serve(t, f), "hook").Handle(t.Context(), engine.WebhookRequest{Source: source(), Method: "POST"})
		_, refused := engine.RefusedStatus(err)
		if after, _ := engine.RetryAfterOf(err); after != c.after || refused {
			t.Errorf("%v: after %s, refused %t; want %s", err, after, refused, c.after)
		}
	}
}

func TestRegister(t *testing.T) {
	t.Parallel()
	var calls []string
	f := &fake{on: func(method string, params object) any {
		_, action, _ := strings.Cut(method, "trigger.")
		switch action {
		case "webhook_register":
			calls = append(calls, fmt.Sprint("register ", params))
			return object{"registrationDetails": object{"id": "new", "expiresAt": "2026-01-17T12:00:00Z"}, "state": object{"from": 1}}
		case "webhook_unregister":
			calls = append(calls, fmt.Sprint("unregister ", params))
			return object{}
		}
		return nil
	}}
	hook := trigger(t, serve(t, f), "hook")
	req := engine.RegisterRequest{Source: source(), URL: "https://in.example/webhooks/ctr_1"}
	r, err := hook.Register(t.Context(), req)
	if err != nil || string(r.State) != `{"from":1}` || !strings.Contains(string(r.Details), "new") || !r.ExpiresAt.Equal(time.Date(2026, 1, 17, 12, 0, 0, 0, time.UTC)) {
		t.Errorf("%s %v", r, err)
	}
	req.Registration = json.RawMessage(`{"id":"old"}`)
	if _, err := hook.Register(t.Context(), req); err != nil {
		t.Error(err)
	}
	req.State = json.RawMessage(`{"s":1}`)
	if err := hook.Unregister(t.Context(), req); err != nil {
		t.Error(err)
	}
	want := []string{"register map[actionId:hook webhookBaseUrl:https://in.example/webhooks/ctr_1]",
		"unregister map[actionId:hook registrationDetails:map[id:old] webhookBaseUrl:https://in.example/webhooks/ctr_1]",
		"register map[actionId:hook webhookBaseUrl:https://in.example/webhooks/ctr_1]",
		"unregister map[actionId:hook registrationDetails:map[id:old] state:map[s:1] webhookBaseUrl:https://in.example/webhooks/ctr_1]"}
	if !slices.Equal(calls, want) {
		t.Errorf("called\n%s\nwant\n%s", strings.Join(calls, "\n"), strings.Join(want, "\n"))
	}
}

// Without a public URL, the integration gets one that JavaScript can read, and no body is null.
func TestHandleWithoutPublicURL(t *testing.T) {
	t.Parallel()
	f := &fake{on: func(method string, params object) any {
		if strings.HasSuffix(method, "webhook_handle") {
			if body, there := params["body"]; params["url"] != "http://callbackd.invalid/webhooks/ctr_1?a=b" || body != nil || !there {
				t.Errorf("sent %v", params)
			}
			return object{"inputs": []any{}}
		}
		return nil
	}}
	out, err := trigger(t, serve(t, f), "hook").Handle(t.Context(), engine.WebhookRequest{Source: source(), Method: "POST", URL: "/webhooks/ctr_1?a=b"})
	if err != nil || out.Response != nil || out.State != nil {
		t.Errorf("%+v %v", out, err)
	}
}
