package provider_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/engine/enginetest"
	"github.com/callbackd/callbackd/examples/provider"
	"github.com/callbackd/callbackd/examples/provider/desk"
)

// password is another way to sign in: a token is had for it, for an hour.
func password() engine.AuthMethod {
	return engine.AuthMethod{
		Key:         "password",
		InputSchema: json.RawMessage(`{"type": "object", "required": ["user", "password"]}`),
		Prepare: func(ctx context.Context, req engine.PrepareRequest) (engine.Prepared, error) {
			var given struct{ User, Password string }
			if err := json.Unmarshal(req.Value, &given); err != nil {
				return engine.Prepared{}, engine.Permanent(err)
			}
			form := url.Values{"user": {given.User}, "password": {given.Password}}
			r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://desk.example.com/login", strings.NewReader(form.Encode()))
			if err != nil {
				return engine.Prepared{}, err
			}
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			res, err := req.HTTP.Do(r)
			if err != nil {
				return engine.Prepared{}, err
			}
			defer res.Body.Close()
			if res.StatusCode != http.StatusOK {
				return engine.Prepared{}, fmt.Errorf("the desk answered %s", res.Status)
			}
			var answer struct {
				Token string `json:"token"`
			}
			if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || answer.Token == "" {
				return engine.Prepared{}, errors.New("the desk gave no token")
			}
			value, err := json.Marshal(answer)
			return engine.Prepared{Value: value, RenewAt: req.Now.Add(time.Hour)}, err
		},
	}
}

func TestPrepare(t *testing.T) {
	t.Parallel()
	p := provider.New()
	p.AuthMethods = append(p.AuthMethods, password())
	poll := p.Triggers[0].Poll
	p.Triggers = p.Triggers[:1]
	p.Triggers[0].Poll = func(ctx context.Context, req engine.PollRequest) (engine.PollResult, error) {
		if req.Auth.Prepared != nil { // what a provider reads when it has such a method
			req.Auth.Value = req.Auth.Prepared
		}
		return poll(ctx, req)
	}
	var d desk.Desk
	source := http.NewServeMux()
	source.Handle("/", &d)
	source.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("password") != "letmein" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		fmt.Fprintf(w, `{"token": %q}`, desk.Token)
	})
	enginetest.TestProvider(t, p, enginetest.Case{
		Config: `{"url": "$SOURCE"}`,
		Auth:   &engine.Auth{Method: "password", Value: json.RawMessage(`{"user": "ada", "password": "letmein"}`)},
		Source: source,
		Next:   func() { d.Open("The printer is on fire") },
	})
}
