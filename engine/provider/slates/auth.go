package slates

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// authMethod is one of slates/auth.methods.list.
type authMethod struct {
	ID           string          `json:"id"`
	Name         string          `json:"name"`
	Description  string          `json:"description"`
	Type         string          `json:"type"` // auth.oauth, auth.token, auth.service_account, auth.custom
	InputSchema  json.RawMessage `json:"inputSchema"`
	OutputSchema json.RawMessage `json:"outputSchema"`
	Capabilities struct {
		HandleTokenRefresh flag `json:"handleTokenRefresh"`
	} `json:"capabilities"`
}

// oauthSchema is of what a person who has been through a consent page can give.
const oauthSchema = `{
	"type": "object",
	"required": ["output"],
	"additionalProperties": false,
	"properties": {
		"output": {"type": "object", "title": "Output", "description": "What the authorization gave: the tokens, and when they end, as the method's output schema has it."},
		"client_id": {"type": "string", "title": "Client id", "description": "Of the OAuth app that was authorized; needed to refresh the token."},
		"client_secret": {"type": "string", "title": "Client secret", "description": "Of the OAuth app that was authorized; needed to refresh the token."},
		"scopes": {"type": "array", "items": {"type": "string"}, "title": "Scopes", "description": "That were granted."},
		"input": {"title": "Input", "description": "What the method's input schema asks for, such as a tenant."}
	}
}`

// oauthValue is a value of oauthSchema.
type oauthValue struct {
	Output       json.RawMessage `json:"output"`
	ClientID     string          `json:"client_id"`
	ClientSecret string          `json:"client_secret"`
	Scopes       json.RawMessage `json:"scopes"`
	Input        json.RawMessage `json:"input"`
}

// prepared is what an integration signs in with, as the engine keeps it.
type prepared struct {
	Output json.RawMessage `json:"output"`
	Input  json.RawMessage `json:"input,omitzero"` // as a refresh changed it
	Scopes json.RawMessage `json:"scopes,omitzero"`
}

func (i *integration) authMethod(key string, m authMethod) engine.AuthMethod {
	a := engine.AuthMethod{Key: key, Name: m.Name, Description: m.Description, Type: "custom",
		InputSchema: i.schema("input of auth method "+key, m.InputSchema), OutputSchema: jsonOrNil(m.OutputSchema)}
	switch strings.TrimPrefix(m.Type, "auth.") {
	case "token":
		a.Type = "token"
	case "oauth":
		a.Type, a.InputSchema = "oauth", json.RawMessage(oauthSchema)
	}
	a.Prepare = func(ctx context.Context, req engine.PrepareRequest) (engine.Prepared, error) {
		return i.prepare(ctx, m, req)
	}
	return a
}

func readPrepared(text json.RawMessage) (p prepared, err error) {
	if len(text) == 0 {
		return p, errors.New("the auth config was not prepared for the integration")
	}
	if err := json.Unmarshal(text, &p); err != nil || len(p.Output) == 0 {
		return p, errors.New("what was prepared of the auth config cannot be read: set its value again")
	}
	return p, nil
}

// prepare gets what the integration signs in with, or renews it.
func (i *integration) prepare(ctx context.Context, m authMethod, req engine.PrepareRequest) (engine.Prepared, error) {
	set := setting{config: req.Config, log: req.Log, secrets: secretsOf(req.Value, req.Prepared)}
	var p prepared
	var err error
	oauth := strings.TrimPrefix(m.Type, "auth.") == "oauth"
	given := oauthValue{Input: req.Value}
	if oauth {
		given = oauthValue{}
		if err := json.Unmarshal(req.Value, &given); err != nil {
			return engine.Prepared{}, fmt.Errorf("read the auth config: %w", err)
		}
	}
	if len(req.Prepared) > 0 {
		if p, err = readPrepared(req.Prepared); err != nil {
			p = prepared{} // it is made anew
		}
	}
	fresh := len(p.Output) == 0
	switch {
	case fresh && oauth:
		p = prepared{Output: given.Output, Scopes: given.Scopes}
	case fresh, !bool(m.Capabilities.HandleTokenRefresh) && !oauth:
		if p, err = i.authOutput(ctx, set, m, given.Input); err != nil {
			return engine.Prepared{}, err
		}
		fresh = true
	}
	ends := expiry(p.Output, req.Now)
	refreshes := bool(m.Capabilities.HandleTokenRefresh)
	if refreshes && (!fresh || oauth && !ends.IsZero() && ends.Sub(req.Now) < expiryMargin) {
		if p, err = i.refresh(ctx, set, m, p, given); err != nil {
			return engine.Prepared{}, err
		}
		ends = expiry(p.Output, req.Now)
	}
	value, err := json.Marshal(p)
	if err != nil {
		return engine.Prepared{}, fmt.Errorf("%s: %w", methodAuthOutput, err)
	}
	out := engine.Prepared{Value: value}
	if !ends.IsZero() && (refreshes || !oauth) {
		out.RenewAt = renewal(ends, req.Now)
	}
	return out, nil
}

// renewal is some time before the end: of what ends soon, a fifth of what is left.
func renewal(ends, now time.Time) time.Time {
	left := max(ends.Sub(now), 0)
	return now.Add(max(left-min(expiryMargin, left/5), shortestRenew))
}

func (i *integration) authOutput(ctx context.Context, set setting, m authMethod, input json.RawMessage) (p prepared, err error) {
	err = i.client.call(ctx, set, methodAuthOutput, map[string]any{"authenticationMethodId": m.ID, "input": orEmpty(input)}, &p)
	if err == nil && len(jsonOrNil(p.Output)) == 0 {
		err = fmt.Errorf("%s: %w: there is no output", methodAuthOutput, errBadAnswer)
	}
	p.Input = nil // it is the user's
	return p, err
}

func (i *integration) refresh(ctx context.Context, set setting, m authMethod, p prepared, given oauthValue) (prepared, error) {
	input := p.Input
	if len(input) == 0 {
		input = given.Input
	}
	scopes := p.Scopes
	if jsonOrNil(scopes) == nil {
		scopes = json.RawMessage("[]")
	}
	var renewed prepared
	err := i.client.call(ctx, set, methodTokenRefresh, map[string]any{"authenticationMethodId": m.ID, "output": p.Output, "input": orEmpty(jsonOrNil(input)),
		"clientId": given.ClientID, "clientSecret": given.ClientSecret, "scopes": scopes}, &renewed)
	if err != nil {
		return p, err
	}
	if len(jsonOrNil(renewed.Output)) == 0 {
		return p, fmt.Errorf("%s: %w: there is no output", methodTokenRefresh, errBadAnswer)
	}
	p.Output = renewed.Output
	if jsonOrNil(renewed.Input) != nil {
		p.Input = renewed.Input
	}
	if jsonOrNil(renewed.Scopes) != nil {
		p.Scopes = renewed.Scopes
	}
	return p, nil
}

// expiryNames are the fields, in lower case and without '_', that say when something ends.
var expiryNames = map[string]bool{"expiresat": true, "expiry": true, "expirydate": true, "expiration": true, "expirationdate": true,
	"expirationtime": true, "expirationdatetime": true, "expireson": true, "tokenexpiresat": true, "accesstokenexpiresat": true, "tokenexpiry": true}

// lifetimeNames are those that say in how many seconds.
var lifetimeNames = map[string]bool{"expiresin": true, "expiresinseconds": true}

// expiry is the earliest end that an object of an integration tells; zero: none. A time that is not
// RFC 3339 is a number of seconds or, when that would be far away, milliseconds.
func expiry(object json.RawMessage, now time.Time) (ends time.Time) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(object, &fields) != nil {
		return ends
	}
	for name, value := range fields {
		name = strings.ToLower(strings.ReplaceAll(name, "_", ""))
		var at time.Time
		switch text := strings.TrimSpace(plain(value)); {
		case expiryNames[name]:
			at = timeOf(text)
		case lifetimeNames[name]:
			if n, err := strconv.ParseFloat(text, 64); err == nil && n > 0 && n < 1e9 {
				at = now.Add(time.Duration(n * float64(time.Second)))
			}
		}
		if !at.IsZero() && (ends.IsZero() || at.Before(ends)) {
			ends = at
		}
	}
	return ends
}

func timeOf(text string) time.Time {
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at
	}
	n, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil || n <= 0 || n > 1e14:
		return time.Time{}
	case n > 1e11: // in seconds, the year 5138
		return time.UnixMilli(int64(n))
	}
	return time.Unix(int64(n), 0)
}
