package http

import (
	"encoding/json"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// New returns the provider "http". It holds nothing, and may be given to several engines.
func New() engine.Provider {
	return engine.Provider{
		Key:          "http",
		Name:         "HTTP",
		Description:  "Polls a URL that answers JSON, and makes an event of each new item.",
		ConfigSchema: json.RawMessage(configSchema),
		Validate:     validateConfig,
		AuthMethods: []engine.AuthMethod{
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
		},
		Triggers: []engine.Trigger{{
			Key:          "item.new",
			Name:         "New item",
			Description:  "An item whose id was not seen before.",
			InputSchema:  json.RawMessage(`{"description": "An item as the source gave it."}`),
			OutputSchema: json.RawMessage(`{"description": "The item as the source gave it."}`),
			Interval:     time.Minute,
			Baseline:     engine.BaselineSkip,
			Poll:         poll,
			Map:          mapItem,
		}},
	}
}

const configSchema = `{
	"$schema": "https://json-schema.org/draft/2020-12/schema",
	"title": "HTTP source",
	"type": "object",
	"additionalProperties": false,
	"required": ["url"],
	"properties": {
		"url": {
			"title": "URL",
			"description": "Where to ask: an absolute http or https URL that answers JSON.",
			"type": "string",
			"format": "uri",
			"maxLength": 4096
		},
		"method": {
			"title": "Method",
			"description": "The request method.",
			"enum": ["GET", "POST"],
			"default": "GET"
		},
		"headers": {
			"title": "Headers",
			"description": "Further request headers. Put credentials into an auth config instead.",
			"type": "object",
			"maxProperties": 50,
			"additionalProperties": {"type": "string", "maxLength": 8192}
		},
		"query": {
			"title": "Query parameters",
			"description": "Parameter name to jq program, in which $cursor and $now (Unix seconds) may be used. null leaves the parameter out.",
			"type": "object",
			"maxProperties": 50,
			"additionalProperties": {"$ref": "#/$defs/program"}
		},
		"body": {
			"title": "Body",
			"description": "What to send with POST: a string as it is, any other JSON value as JSON."
		},
		"items": {
			"title": "Items",
			"description": "jq program from a page's body to its items, such as .data. Default: the body, which must be a list.",
			"$ref": "#/$defs/program"
		},
		"id": {
			"title": "Id",
			"description": "jq program from an item to its id, a string or number that no other item has.",
			"$ref": "#/$defs/program",
			"default": ".id"
		},
		"event_type": {
			"title": "Event type",
			"description": "jq program from an item to the type of its event, such as \"order.\" + .status.",
			"$ref": "#/$defs/program",
			"default": "\"item.new\""
		},
		"cursor": {
			"title": "Cursor",
			"description": "jq program over the last page's body; the result is $cursor in the next poll.",
			"$ref": "#/$defs/program"
		},
		"next_page": {
			"title": "Next page",
			"description": "jq program from a page's body to the next page's URL, or null. Default: the Link header with rel=next.",
			"$ref": "#/$defs/program"
		},
		"max_pages": {
			"title": "Most pages",
			"description": "At most so many pages are read in one poll.",
			"type": "integer",
			"minimum": 1,
			"maximum": 100,
			"default": 10
		}
	},
	"$defs": {
		"program": {"type": "string", "minLength": 1, "maxLength": 16384}
	}
}`

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
