package http

import (
	"encoding/json"
	"time"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/engine/provider/internal/source"
)

// New returns the provider "http". It holds nothing, and may be given to several engines.
func New() engine.Provider {
	return engine.Provider{
		Key:          "http",
		Name:         "HTTP",
		Description:  "Polls a URL that answers JSON, and makes an event of each new item.",
		ConfigSchema: json.RawMessage(configSchema),
		Validate:     validateConfig,
		AuthMethods:  source.AuthMethods(),
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
