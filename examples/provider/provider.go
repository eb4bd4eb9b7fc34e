// Package provider is an example: a whole provider for callbackd, of a made-up help desk. Its
// making is told, step by step, in docs/writing-a-provider.md.
package provider

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// New returns the provider "desk".
func New() engine.Provider {
	return engine.Provider{
		Key:         "desk",
		Name:        "Help desk",
		Description: "Tickets of a help desk.",
		ConfigSchema: json.RawMessage(`{
			"type": "object",
			"required": ["url"],
			"additionalProperties": false,
			"properties": {
				"url": {"type": "string", "format": "uri", "description": "Where the desk is, such as https://desk.example.com"},
				"queue": {"type": "string", "description": "Only tickets of this queue."}
			}
		}`),
		Validate:    validate,
		AuthMethods: authMethods(),
		Triggers: []engine.Trigger{
			{
				Key:          "ticket.opened",
				Name:         "Ticket opened",
				Interval:     30 * time.Second,
				Baseline:     engine.BaselineSkip,
				OutputSchema: json.RawMessage(`{"type": "object", "required": ["id", "title", "queue"]}`),
				Poll:         poll,
				Map:          mapTicket,
			},
			{
				Key:        "ticket.closed",
				Name:       "Ticket closed",
				Handle:     handle,
				Register:   register,
				Unregister: unregister,
			},
		},
	}
}

// config is what ConfigSchema describes.
type config struct {
	URL   string `json:"url"`
	Queue string `json:"queue"`
}

// validate checks what a schema cannot say.
func validate(value json.RawMessage) []engine.FieldError {
	var c config
	if err := json.Unmarshal(value, &c); err != nil {
		return []engine.FieldError{{Code: "invalid_type", Message: err.Error()}}
	}
	if u, err := url.Parse(c.URL); c.URL != "" && (err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.RawQuery != "") {
		return []engine.FieldError{{Code: "invalid_url", Message: "must be an http or https URL without a query", Path: []string{"url"}}}
	}
	return nil
}

// ticket is what the desk tells of a ticket, as far as we care.
type ticket struct {
	ID    int    `json:"id"`
	Queue string `json:"queue"`
}

// maxTickets is how many tickets a page has.
const maxTickets = 50

// state is what the next poll needs to know.
type state struct {
	After int `json:"after"` // the newest ticket that was seen
}

func poll(ctx context.Context, req engine.PollRequest) (engine.PollResult, error) {
	c, err := configOf(req.Source)
	if err != nil {
		return engine.PollResult{}, err
	}
	var last state
	if req.State != nil { // nil: it is the first poll
		if err := json.Unmarshal(req.State, &last); err != nil {
			return engine.PollResult{}, engine.Permanent(fmt.Errorf("read the state: %w", err))
		}
	}
	var page struct {
		Tickets []json.RawMessage `json:"tickets"`
	}
	path := fmt.Sprintf("/tickets?after=%d&limit=%d", last.After, maxTickets)
	if err := call(ctx, req.Source, http.MethodGet, path, nil, &page); err != nil {
		return engine.PollResult{}, err
	}
	var result engine.PollResult
	for _, raw := range page.Tickets {
		var t ticket
		if err := json.Unmarshal(raw, &t); err != nil {
			return engine.PollResult{}, fmt.Errorf("read a ticket: %w", err)
		}
		if c.Queue == "" || c.Queue == t.Queue {
			result.Inputs = append(result.Inputs, raw)
		}
		last.After = max(last.After, t.ID)
	}
	result.More = len(page.Tickets) == maxTickets
	result.State, err = json.Marshal(last)
	return result, err
}

func mapTicket(_ context.Context, req engine.MapRequest) (engine.Mapped, error) {
	var t ticket
	if err := json.Unmarshal(req.Input, &t); err != nil {
		return engine.Mapped{}, engine.Permanent(fmt.Errorf("read a ticket: %w", err))
	}
	if t.ID == 0 {
		return engine.Mapped{}, engine.Permanent(errors.New("the ticket has no id"))
	}
	return engine.Mapped{Type: "ticket.opened", SourceID: strconv.Itoa(t.ID), Output: req.Input}, nil
}

var errNotFound = errors.New("the desk answered 404 Not Found")

// maxAnswer is how many bytes an answer may have.
const maxAnswer = 10 << 20

// call asks the desk, and says what kind of failure it was if it does not answer as it should.
func call(ctx context.Context, s engine.Source, method, path string, body, answer any) error {
	c, err := configOf(s)
	if err != nil {
		return err
	}
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.URL, "/")+path, bytes.NewReader(text))
	if err != nil {
		return engine.Permanent(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if err := authorize(req, s.Auth); err != nil {
		return err
	}
	res, err := s.HTTP.Do(req)
	if err != nil {
		return err // the network; it is tried again
	}
	defer res.Body.Close()
	switch {
	case res.StatusCode == http.StatusNotFound:
		return errNotFound
	case res.StatusCode == http.StatusTooManyRequests:
		return engine.RetryAfter(patience(res.Header.Get("Retry-After"), s.Now), errors.New("the desk has had too many requests"))
	case res.StatusCode == http.StatusUnauthorized:
		return engine.Unauthorized(errors.New("the desk does not accept the token"))
	case res.StatusCode == http.StatusForbidden:
		return engine.Permanent(errors.New("the desk does not allow this user to do that"))
	case res.StatusCode >= 300:
		return fmt.Errorf("the desk answered %s", res.Status)
	case answer == nil:
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(answer); err != nil {
		return fmt.Errorf("read the desk's answer: %w", err)
	}
	return nil
}

// patience is how long a Retry-After asks for, in seconds or as a date; 0: it does not.
func patience(header string, now time.Time) time.Duration {
	if at, err := http.ParseTime(header); err == nil {
		return at.Sub(now)
	}
	seconds, _ := strconv.Atoi(header)
	return time.Duration(seconds) * time.Second
}

func configOf(s engine.Source) (c config, err error) {
	if err := json.Unmarshal(s.Config, &c); err != nil {
		return c, engine.Permanent(fmt.Errorf("read the config: %w", err))
	}
	return c, nil
}
