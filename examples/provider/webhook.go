package provider

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// hook is what the desk says of a webhook that it was told of; the secret only once.
type hook struct {
	ID     string `json:"id"`
	URL    string `json:"url"`
	Secret string `json:"secret"`
}

// register looks at what the desk has first, and so can be called at any time: again after a crash, when
// it was told of the URL and we have forgotten it, and once a day, as desks forget, too.
func register(ctx context.Context, req engine.RegisterRequest) (engine.Registration, error) {
	tomorrow := req.Now.Add(24 * time.Hour)
	var known hook
	if req.Registration != nil {
		if err := json.Unmarshal(req.Registration, &known); err != nil {
			req.Log.Warn("the last registration cannot be read", "error", err)
		}
	}
	hooks, err := hooksAt(ctx, req)
	if err != nil {
		return engine.Registration{}, err
	}
	kept := false
	for _, h := range hooks {
		if h.ID == known.ID {
			kept = true
		} else if err := remove(ctx, req, h); err != nil { // one whose secret nobody knows
			req.Log.Warn("an old webhook is left at the desk", "id", h.ID, "error", err)
		}
	}
	if kept {
		return engine.Registration{Details: req.Registration, ExpiresAt: tomorrow}, nil
	}
	var details json.RawMessage
	err = call(ctx, req.Source, http.MethodPost, "/hooks", map[string]string{"url": req.URL}, &details)
	return engine.Registration{Details: details, ExpiresAt: tomorrow}, err
}

func unregister(ctx context.Context, req engine.RegisterRequest) error {
	hooks, err := hooksAt(ctx, req)
	for _, h := range hooks {
		err = errors.Join(err, remove(ctx, req, h))
	}
	return err
}

// hooksAt are the desk's webhooks to our URL.
func hooksAt(ctx context.Context, req engine.RegisterRequest) (ours []hook, err error) {
	var all struct{ Hooks []hook }
	err = call(ctx, req.Source, http.MethodGet, "/hooks", nil, &all)
	for _, h := range all.Hooks {
		if h.URL == req.URL {
			ours = append(ours, h)
		}
	}
	return ours, err
}

func remove(ctx context.Context, req engine.RegisterRequest, h hook) error {
	err := call(ctx, req.Source, http.MethodDelete, "/hooks/"+url.PathEscape(h.ID), nil, nil)
	if errors.Is(err, errNotFound) {
		return nil // it is gone already
	}
	return err
}

// tolerance is how old a request may be, so that nobody can send it again later.
const tolerance = 5 * time.Minute

func handle(_ context.Context, req engine.WebhookRequest) (engine.WebhookResult, error) {
	var message struct {
		ID        string          `json:"id"`
		Ticket    json.RawMessage `json:"ticket"`
		Challenge string          `json:"challenge"`
	}
	unreadable := json.Unmarshal(req.Body, &message)
	if unreadable == nil && message.Challenge != "" { // asked while register runs, so that there is no secret yet
		text := http.Header{"Content-Type": {"text/plain"}}
		return engine.WebhookResult{Response: &engine.WebhookResponse{Header: text, Body: []byte(message.Challenge)}}, nil
	}
	var h hook
	if err := json.Unmarshal(req.Registration, &h); err != nil || h.Secret == "" {
		return engine.WebhookResult{}, engine.Refuse(http.StatusUnauthorized, errors.New("the webhook is not registered yet"))
	}
	if err := verify(req, h.Secret); err != nil {
		return engine.WebhookResult{}, engine.Refuse(http.StatusUnauthorized, err)
	}
	if unreadable != nil || message.ID == "" {
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
