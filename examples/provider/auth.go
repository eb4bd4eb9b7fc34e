package provider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// authMethods are a token that the user has, and a user and password for which the desk gives one.
func authMethods() []engine.AuthMethod {
	return []engine.AuthMethod{{
		Key:         "token",
		Type:        "token",
		InputSchema: json.RawMessage(`{"type": "object", "required": ["token"], "properties": {"token": {"type": "string", "minLength": 1}}}`),
	}, {
		Key:         "password",
		Type:        "custom",
		InputSchema: json.RawMessage(`{"type": "object", "required": ["user", "password"], "properties": {"user": {"type": "string"}, "password": {"type": "string"}}}`),
		Prepare:     signIn,
	}}
}

func signIn(ctx context.Context, req engine.PrepareRequest) (engine.Prepared, error) {
	var answer struct {
		Token     string `json:"token"`
		ExpiresIn int    `json:"expires_in"` // seconds
	}
	err := call(ctx, req.Source, http.MethodPost, "/login", req.Value, &answer) // its Source has no Auth yet
	switch {
	case engine.IsPermanent(err):
		return engine.Prepared{}, engine.Permanent(errors.New("the desk does not accept the user and password"))
	case err != nil:
		return engine.Prepared{}, err // which may be a RetryAfter
	case answer.Token == "" || answer.ExpiresIn <= 0:
		return engine.Prepared{}, errors.New("the desk gave no token")
	}
	life := time.Duration(answer.ExpiresIn) * time.Second
	value, err := json.Marshal(map[string]string{"token": answer.Token})
	return engine.Prepared{Value: value, RenewAt: req.Now.Add(life * 9 / 10)}, err
}

// authorize adds the token: the one that was prepared, or the one that the user gave.
func authorize(req *http.Request, auth *engine.Auth) error {
	if auth == nil {
		return nil
	}
	value := auth.Value
	if auth.Method == "password" {
		value = auth.Prepared
	}
	var has struct{ Token string }
	if err := json.Unmarshal(value, &has); err != nil {
		return engine.Permanent(fmt.Errorf("read the auth config: %w", err))
	}
	req.Header.Set("Authorization", "Bearer "+has.Token)
	return nil
}
