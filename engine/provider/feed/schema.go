package feed

import (
	"encoding/json"
	"time"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/engine/provider/internal/source"
)

// New returns the provider "feed". It holds nothing, and may be given to several engines.
func New() engine.Provider {
	return engine.Provider{
		Key:          "feed",
		Name:         "Feed",
		Description:  "Polls an RSS, Atom or JSON Feed, and makes an event of each new entry.",
		ConfigSchema: json.RawMessage(configSchema),
		Validate:     validateConfig,
		AuthMethods:  source.AuthMethods(),
		Triggers: []engine.Trigger{{
			Key:          "entry.new",
			Name:         "New entry",
			Description:  "An entry whose id was not seen before; with updates, also one that was updated.",
			InputSchema:  json.RawMessage(inputSchema),
			OutputSchema: json.RawMessage(outputSchema),
			Interval:     5 * time.Minute,
			Baseline:     engine.BaselineSkip,
			Poll:         poll,
		}},
	}
}

const configSchema = `{
	"$schema": "https://json-schema.org/draft/2020-12/schema",
	"title": "Feed",
	"type": "object",
	"additionalProperties": false,
	"required": ["url"],
	"properties": {
		"url": {
			"title": "URL",
			"description": "Where the feed is: an absolute http or https URL of an RSS, Atom or JSON Feed.",
			"type": "string",
			"format": "uri",
			"maxLength": 4096
		},
		"headers": {
			"title": "Headers",
			"description": "Further request headers. Put credentials into an auth config instead.",
			"type": "object",
			"maxProperties": 50,
			"additionalProperties": {"type": "string", "maxLength": 8192}
		},
		"updates": {
			"title": "Updates",
			"description": "Whether an entry that was updated is an event again.",
			"type": "boolean",
			"default": false
		}
	}
}`

const inputSchema = `{"description": "The entry's event."}`

const outputSchema = `{
	"$schema": "https://json-schema.org/draft/2020-12/schema",
	"title": "Entry",
	"type": "object",
	"additionalProperties": false,
	"required": ["id", "title", "link", "published_at", "updated_at", "authors", "categories", "summary", "content", "enclosures", "truncated", "feed"],
	"properties": {
		"id": {"description": "The entry's own id, or what stands for it.", "type": "string"},
		"title": {"type": ["string", "null"]},
		"link": {"type": ["string", "null"]},
		"published_at": {"type": ["string", "null"], "format": "date-time"},
		"updated_at": {"type": ["string", "null"], "format": "date-time"},
		"authors": {
			"type": "array",
			"items": {
				"type": "object",
				"required": ["name", "email"],
				"properties": {"name": {"type": ["string", "null"]}, "email": {"type": ["string", "null"]}}
			}
		},
		"categories": {"type": "array", "items": {"type": "string"}},
		"summary": {"description": "HTML or plain text, as the feed has it.", "type": ["string", "null"]},
		"content": {"description": "HTML or plain text, as the feed has it.", "type": ["string", "null"]},
		"enclosures": {
			"type": "array",
			"items": {
				"type": "object",
				"required": ["url", "type", "length"],
				"properties": {
					"url": {"type": "string"},
					"type": {"type": ["string", "null"]},
					"length": {"description": "In bytes.", "type": ["integer", "null"]}
				}
			}
		},
		"truncated": {"description": "Whether texts or lists were cut, so that the output fits an event.", "type": "boolean"},
		"feed": {
			"type": "object",
			"required": ["title", "link"],
			"properties": {"title": {"type": ["string", "null"]}, "link": {"type": ["string", "null"]}}
		}
	}
}`
