// Package provider is an example: a whole provider for callbackd, of a made-up help desk. Its
// making is told, step by step, in docs/writing-a-provider.md.
package provider

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
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
		Validate: validate,
		AuthMethods: []engine.AuthMethod{{
			Key:         "token",
			Type:        "token",
			InputSchema: json.RawMessage(`{"type": "object", "required": ["token"], "properties": {"token": {"type": "string", "minLength": 1}}}`),
		}},
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
	if len(page.Tickets) == maxTickets {
		result.NextPollAt = req.Now.Add(time.Second) // there is more
	}
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

// hook is what the desk says of a webhook that it was told of.
type hook struct {
	ID     string `json:"id"`
	Secret string `json:"secret"`
}

func register(ctx context.Context, req engine.RegisterRequest) (engine.Registration, error) {
	if req.Registration != nil { // the config or the URL has changed
		if err := unregister(ctx, req); err != nil {
			return engine.Registration{}, err
		}
	}
	var details json.RawMessage
	err := call(ctx, req.Source, http.MethodPost, "/hooks", map[string]string{"url": req.URL}, &details)
	return engine.Registration{Details: details}, err
}

func unregister(ctx context.Context, req engine.RegisterRequest) error {
	if req.Registration == nil {
		return nil
	}
	var h hook
	if err := json.Unmarshal(req.Registration, &h); err != nil {
		return engine.Permanent(fmt.Errorf("read the registration: %w", err))
	}
	err := call(ctx, req.Source, http.MethodDelete, "/hooks/"+url.PathEscape(h.ID), nil, nil)
	if errors.Is(err, errNotFound) {
		return nil // it is gone already
	}
	return err
}

// tolerance is how old a request may be, so that nobody can send it again later.
const tolerance = 5 * time.Minute

func handle(_ context.Context, req engine.WebhookRequest) (engine.WebhookResult, error) {
	var h hook
	if err := json.Unmarshal(req.Registration, &h); err != nil || h.Secret == "" {
		return engine.WebhookResult{}, engine.Refuse(http.StatusUnauthorized, errors.New("the webhook is not registered yet"))
	}
	if err := verify(req, h.Secret); err != nil {
		return engine.WebhookResult{}, engine.Refuse(http.StatusUnauthorized, err)
	}
	var message struct {
		ID     string          `json:"id"`
		Ticket json.RawMessage `json:"ticket"`
	}
	if err := json.Unmarshal(req.Body, &message); err != nil || message.ID == "" {
		return engine.WebhookResult{}, engine.Refuse(http.StatusBadRequest, errors.New("the body is no message of the desk's"))
	}
	input, err := json.Marshal(engine.Mapped{Type: "ticket.closed", SourceID: message.ID, Output: message.Ticket})
	return engine.WebhookResult{Inputs: []json.RawMessage{input}}, err
}

// verify checks the header Desk-Signature: t=SECONDS,v1=HEX, an HMAC-SHA256 of "SECONDS.BODY".
func verify(req engine.WebhookRequest, secret string) error {
	at, signature, _ := strings.Cut(strings.TrimPrefix(req.Header.Get("Desk-Signature"), "t="), ",v1=")
	given, err := hex.DecodeString(signature)
	if err != nil || len(given) == 0 {
		return errors.New("it is not signed")
	}
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%s.%s", at, req.Body)
	if !hmac.Equal(mac.Sum(nil), given) {
		return errors.New("its signature is wrong")
	}
	seconds, err := strconv.ParseInt(at, 10, 64)
	if age := req.Now.Sub(time.Unix(seconds, 0)).Abs(); err != nil || age > tolerance {
		return fmt.Errorf("it is of another time: %q", at)
	}
	return nil
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
	if s.Auth != nil {
		var auth struct{ Token string }
		if err := json.Unmarshal(s.Auth.Value, &auth); err != nil {
			return engine.Permanent(fmt.Errorf("read the auth config: %w", err))
		}
		req.Header.Set("Authorization", "Bearer "+auth.Token)
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
		seconds, _ := strconv.Atoi(res.Header.Get("Retry-After"))
		return engine.RetryAfter(time.Duration(seconds)*time.Second, errors.New("the desk has had too many requests"))
	case res.StatusCode == http.StatusUnauthorized:
		return engine.Permanent(errors.New("the desk does not accept the token"))
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

func configOf(s engine.Source) (c config, err error) {
	if err := json.Unmarshal(s.Config, &c); err != nil {
		return c, engine.Permanent(fmt.Errorf("read the config: %w", err))
	}
	return c, nil
}
