// Package demo is a provider that needs no account and no network: its identifier is
// "demo", and its trigger "messages.created" finds made-up chat messages every five
// seconds, so that one can watch callbacks work. A config may say {"per_poll": 3}, 1 to
// 100 messages a poll; the default is 1.
//
// Messages are numbered from msg_1 on in each trigger, and the number decides what
// a message says; only created_at comes from the clock. An event:
//
//	{
//	  "type": "message.created",
//	  "source_id": "msg_1",
//	  "output": {
//	    "id": "msg_1",
//	    "channel": "general",
//	    "author": "Ada",
//	    "text": "Good morning! The deploy went out without a hitch.",
//	    "created_at": "2026-01-10T14:45:00.000Z"
//	  }
//	}
package demo

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// New returns the provider "demo". It holds nothing, and may be given to several engines.
func New() engine.Provider {
	return engine.Provider{
		Key:          "demo",
		Name:         "Demo",
		Description:  "Made-up chat messages, to try callbacks out.",
		ConfigSchema: json.RawMessage(configSchema),
		Triggers: []engine.Trigger{{
			Key:          "messages.created",
			Name:         "Message created",
			Description:  "Somebody wrote a message.",
			OutputSchema: json.RawMessage(messageSchema),
			Interval:     5 * time.Second,
			Baseline:     engine.BaselineEmit,
			Poll:         poll,
		}},
	}
}

const maxPerPoll = 100

const configSchema = `{
	"$schema": "https://json-schema.org/draft/2020-12/schema",
	"title": "Demo",
	"type": "object",
	"additionalProperties": false,
	"properties": {
		"per_poll": {
			"title": "Messages a poll",
			"description": "How many messages each poll finds.",
			"type": "integer",
			"minimum": 1,
			"maximum": 100,
			"default": 1
		}
	}
}`

const messageSchema = `{
	"$schema": "https://json-schema.org/draft/2020-12/schema",
	"title": "Message",
	"type": "object",
	"additionalProperties": false,
	"required": ["id", "channel", "author", "text", "created_at"],
	"properties": {
		"id": {"type": "string"},
		"channel": {"type": "string"},
		"author": {"type": "string"},
		"text": {"type": "string"},
		"created_at": {"type": "string", "format": "date-time"}
	}
}`

// message is the output of an event.
type message struct {
	ID        string `json:"id"`
	Channel   string `json:"channel"`
	Author    string `json:"author"`
	Text      string `json:"text"`
	CreatedAt string `json:"created_at"`
}

// state is how many messages there were so far.
type state struct {
	Count uint64 `json:"count"`
}

func poll(ctx context.Context, req engine.PollRequest) (engine.PollResult, error) {
	if err := ctx.Err(); err != nil {
		return engine.PollResult{}, err
	}
	var config struct {
		PerPoll int `json:"per_poll"`
	}
	if err := json.Unmarshal(req.Config, &config); err != nil {
		return engine.PollResult{}, fmt.Errorf("read the config: %w", err)
	}
	var s state
	if len(req.State) > 0 {
		if err := json.Unmarshal(req.State, &s); err != nil {
			return engine.PollResult{}, fmt.Errorf("read the state: %w", err)
		}
	}
	var result engine.PollResult
	for range min(max(cmp.Or(config.PerPoll, 1), 1), maxPerPoll) {
		s.Count++
		input, err := input(s.Count, req.Now)
		if err != nil {
			return engine.PollResult{}, err
		}
		result.Inputs = append(result.Inputs, input)
	}
	var err error
	result.State, err = json.Marshal(s)
	return result, err
}

// input is message number n as the input that needs no mapping.
func input(n uint64, now time.Time) (json.RawMessage, error) {
	id := fmt.Sprintf("msg_%d", n)
	l := lines[(n-1)%uint64(len(lines))]
	output, err := json.Marshal(message{
		ID:        id,
		Channel:   l.channel,
		Author:    l.author,
		Text:      l.text,
		CreatedAt: now.UTC().Format("2006-01-02T15:04:05.000Z"),
	})
	if err != nil {
		return nil, err
	}
	return json.Marshal(engine.Mapped{Type: "message.created", SourceID: id, Output: output})
}
