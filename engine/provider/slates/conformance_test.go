package slates_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/engine/enginetest"
	"github.com/callbackd/callbackd/engine/provider/slates"
)

// shop is an integration with a token, whose triggers are polled and sent signed webhooks.
type shop struct {
	items    int
	requests int
	hook     string // that is registered; "": none
}

const shopToken, shopSecret = "open-sesame", "sign here"

func (s *shop) result(method string, params object) any {
	switch method {
	case "slates/auth.methods.list":
		return object{"authenticationMethods": []any{object{"id": "token", "name": "Token", "type": "auth.token",
			"inputSchema": object{"type": "object", "required": []string{"password"}, "properties": object{"password": object{"type": "string"}}}}}}
	case "slates/auth.output.get":
		return object{"output": object{"token": shopToken, "for": params["input"].(object)["password"]}}
	case "slates/action.trigger.poll_events":
		from := 0
		if state, ok := params["state"].(object); ok {
			last, _ := state["last"].(float64)
			from = max(int(min(last, 1e6)), 0)
		}
		inputs := []any{}
		for n := from + 1; n <= s.items; n++ {
			inputs = append(inputs, object{"n": n})
		}
		return object{"inputs": inputs, "updatedState": object{"last": s.items}}
	case "slates/action.trigger.map_event":
		input, _ := params["input"].(object)
		if n, ok := input["n"].(float64); ok {
			return object{"type": "item.created", "id": fmt.Sprintf("item_%v", n), "output": object{"n": n}}
		}
		return failure{"code": "input.invalid", "message": "that is no item"}
	case "slates/action.trigger.webhook_register":
		if !strings.HasPrefix(params["webhookBaseUrl"].(string), "http://") {
			return failure{"code": "input.invalid", "message": "that is no URL"}
		}
		s.hook = "hook_1"
		return object{"registrationDetails": object{"id": s.hook}}
	case "slates/action.trigger.webhook_unregister":
		id := params["registrationDetails"].(object)["id"] // no integration expects that there is none
		if id != s.hook {
			return failure{"code": "upstream.not_found", "message": "there is no such hook", "status": 404}
		}
		s.hook = ""
		return object{}
	case "slates/action.trigger.webhook_handle":
		var content []byte
		if body, ok := params["body"].(object); ok {
			content, _ = base64.StdEncoding.DecodeString(body["content"].(string))
		}
		headers := params["headers"].(object)
		var item struct{ N any }
		if headers["x-signature"] != signed(content) || json.Unmarshal(content, &item) != nil {
			return failure{"code": "webhook.invalid_signature", "message": "the signature is wrong", "status": 401}
		}
		return object{"inputs": []any{object{"n": item.N}}}
	}
	return nil
}

func signed(body []byte) string {
	m := hmac.New(sha256.New, []byte(shopSecret))
	m.Write(body)
	return hex.EncodeToString(m.Sum(nil))
}

func TestProviderConforms(t *testing.T) {
	t.Parallel()
	s := &shop{}
	p, err := slates.New(t.Context(), slates.Options{Name: "shop", Target: server(t, &fake{on: s.result})})
	if err != nil {
		t.Fatal(err)
	}
	auth := &engine.Auth{Method: "token", Value: json.RawMessage(`{"password": "please"}`)}
	enginetest.TestProvider(t, p, enginetest.Case{
		Trigger: "new_message", Auth: auth, Next: func() { s.items += 2 },
	}, enginetest.Case{
		Trigger: "hook", Auth: auth, AnyAge: true,
		Request: func(url string, _ json.RawMessage) *http.Request {
			s.requests++
			body := fmt.Sprintf(`{"n": %d}`, s.requests)
			r, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
			if err != nil {
				panic(err)
			}
			r.Header.Set("X-Signature", signed([]byte(body)))
			return r
		},
	})
}
