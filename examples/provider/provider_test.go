package provider_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/engine/enginetest"
	"github.com/callbackd/callbackd/examples/provider"
	"github.com/callbackd/callbackd/examples/provider/desk"
)

func TestProvider(t *testing.T) {
	t.Parallel()
	var d desk.Desk
	token := &engine.Auth{Method: "token", Value: json.RawMessage(`{"token": "` + desk.Token + `"}`)}
	password := &engine.Auth{Method: "password", Value: json.RawMessage(`{"user": "ada", "password": "` + desk.Password + `"}`)}
	enginetest.TestProvider(t, provider.New(), enginetest.Case{
		Trigger: "ticket.opened",
		Config:  `{"url": "$SOURCE", "queue": "support"}`,
		Auth:    password,
		Source:  &d,
		Next:    func() { d.Open("The printer is on fire") },
		Forget:  d.Forget,
	}, enginetest.Case{
		Trigger: "ticket.closed",
		Config:  `{"url": "$SOURCE"}`,
		Auth:    token,
		Source:  &d,
		Request: func(url string, registration json.RawMessage) *http.Request {
			var hook struct{ Secret string }
			_ = json.Unmarshal(registration, &hook) // a wrong one makes a wrong request
			return d.Message(url, hook.Secret, 1, time.Now())
		},
		Registered: d.Registered,
	})
}
