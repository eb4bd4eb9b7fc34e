package source

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/callbackd/callbackd/engine"
)

// AuthMethods are the ways to sign in: "bearer", "basic" and "header".
func AuthMethods() []engine.AuthMethod {
	return []engine.AuthMethod{
		{
			Key: "bearer", Type: "token", Name: "Bearer token",
			Description: "Sends the token as Authorization: Bearer.",
			InputSchema: json.RawMessage(bearerSchema),
		},
		{
			Key: "basic", Type: "custom", Name: "User and password",
			Description: "Sends Authorization: Basic.",
			InputSchema: json.RawMessage(basicSchema),
		},
		{
			Key: "header", Type: "custom", Name: "Header",
			Description: "Sends a secret in a header of your choice, such as X-API-Key.",
			InputSchema: json.RawMessage(headerSchema),
		},
	}
}

// Authorize adds to r the credentials of auth, which may be nil. Its error holds no secret.
func Authorize(r *http.Request, auth *engine.Auth) error {
	if auth == nil {
		return nil
	}
	var value struct{ Token, Username, Password, Name, Value string }
	if json.Unmarshal(auth.Value, &value) != nil { // whose text could hold a secret
		return errors.New("the auth config is not readable")
	}
	switch auth.Method {
	case "bearer":
		r.Header.Set("Authorization", "Bearer "+value.Token)
	case "basic":
		r.SetBasicAuth(value.Username, value.Password)
	case "header":
		r.Header.Set(value.Name, value.Value)
	default:
		return fmt.Errorf("the auth method %q is not one of this provider", auth.Method)
	}
	return nil
}

const bearerSchema = `{
	"$schema": "https://json-schema.org/draft/2020-12/schema",
	"title": "Bearer token",
	"type": "object",
	"additionalProperties": false,
	"required": ["token"],
	"properties": {
		"token": {
			"title": "Token",
			"description": "Without the word Bearer: printable characters and no spaces.",
			"type": "string",
			"minLength": 1,
			"maxLength": 8192,
			"pattern": "^[!-~]+$"
		}
	}
}`

const basicSchema = `{
	"$schema": "https://json-schema.org/draft/2020-12/schema",
	"title": "User and password",
	"type": "object",
	"additionalProperties": false,
	"required": ["username", "password"],
	"properties": {
		"username": {
			"title": "User name",
			"description": "Must not contain a colon.",
			"type": "string",
			"maxLength": 1024,
			"pattern": "^[^:]*$"
		},
		"password": {
			"title": "Password",
			"description": "May be empty.",
			"type": "string",
			"maxLength": 8192
		}
	}
}`

const headerSchema = `{
	"$schema": "https://json-schema.org/draft/2020-12/schema",
	"title": "Header",
	"type": "object",
	"additionalProperties": false,
	"required": ["name", "value"],
	"properties": {
		"name": {
			"title": "Name",
			"description": "The header's name, such as X-API-Key.",
			"type": "string",
			"minLength": 1,
			"maxLength": 256,
			"pattern": "^[0-9A-Za-z!#$%&'*+.^_|~-]+$"
		},
		"value": {
			"title": "Value",
			"description": "The header's value, on one line.",
			"type": "string",
			"minLength": 1,
			"maxLength": 8192,
			"pattern": "^[^\\x00-\\x1f\\x7f]+$"
		}
	}
}`
