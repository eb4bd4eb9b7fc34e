package schedule

import (
	"encoding/json"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// New returns the provider "schedule". It holds nothing, and may be given to several engines.
func New() engine.Provider {
	return engine.Provider{
		Key:          "schedule",
		Name:         "Schedule",
		Description:  "Makes an event whenever a cron expression says so.",
		ConfigSchema: json.RawMessage(configSchema),
		Validate:     validateConfig,
		Triggers: []engine.Trigger{{
			Key:          "tick",
			Name:         "Tick",
			Description:  "A time has come.",
			InputSchema:  json.RawMessage(inputSchema),
			OutputSchema: json.RawMessage(outputSchema),
			Interval:     time.Minute, // after a failure only: otherwise a poll says when the next is
			Baseline:     engine.BaselineEmit,
			Poll:         poll,
		}},
	}
}

const configSchema = `{
	"$schema": "https://json-schema.org/draft/2020-12/schema",
	"title": "Schedule",
	"type": "object",
	"additionalProperties": false,
	"required": ["cron"],
	"properties": {
		"cron": {
			"title": "Cron expression",
			"description": "Such as 0 9 * * MON-FRI: minute, hour, day of the month, month, day of the week, and optionally the second before them; or @hourly, @daily, @weekly, @monthly, @yearly; or @every 90s.",
			"type": "string",
			"minLength": 1,
			"maxLength": 256
		},
		"timezone": {
			"title": "Time zone",
			"description": "A name of the IANA time zone database, such as Europe/Berlin.",
			"type": "string",
			"minLength": 1,
			"maxLength": 64,
			"default": "UTC"
		},
		"data": {
			"title": "Data",
			"description": "Any JSON of at most 64 KiB, to be put into each event.",
			"default": null
		}
	}
}`

const inputSchema = `{"description": "The tick's event."}`

const outputSchema = `{
	"$schema": "https://json-schema.org/draft/2020-12/schema",
	"title": "Tick",
	"type": "object",
	"additionalProperties": false,
	"required": ["scheduled_at", "missed", "data"],
	"properties": {
		"scheduled_at": {"description": "The time that has come, UTC.", "type": "string", "format": "date-time"},
		"missed": {"description": "Ticks just before this one have no event, because they were missed.", "type": "boolean"},
		"data": {"description": "The config's data, or null."}
	}
}`
