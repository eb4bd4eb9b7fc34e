package engine

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/callbackd/callbackd/engine/signature"
	"github.com/callbackd/callbackd/store"
)

// Request is what a destination was sent, or will be.
type Request struct {
	Headers []Header // sorted by key
	Body    []byte
}

// NotificationRequest is the request of a notification's last attempt, or of its first if
// there was none yet, made from the same parts: the body is the very bytes, the headers are
// those that the destination's present settings give.
func (e *Engine) NotificationRequest(ctx context.Context, callbackID string, n Notification) (Request, error) {
	event, err := e.Event(ctx, callbackID, n.Event.ID)
	if err != nil {
		return Request{}, err
	}
	d := store.Delivery{NotificationID: n.ID, EventID: event.ID, CallbackID: event.CallbackID, InstanceID: event.InstanceID, TriggerKey: event.TriggerKey,
		Type: event.Type, SourceID: event.SourceID, Output: event.Output, CreatedAt: event.CreatedAt}
	attempt, at := 1, n.CreatedAt
	if len(n.Attempts) > 0 {
		last := n.Attempts[len(n.Attempts)-1]
		attempt, at = last.Number, last.StartedAt
	}
	signer, err := signature.NewSigner(n.Destination.SigningSecret)
	if err != nil {
		return Request{}, err
	}
	body, h := payload(d), make(http.Header)
	setHeaders(h, n.Destination.Headers, signer, n.Destination.WebhookID, d, attempt, at, body)
	return Request{Headers: headerList(h, maxStoredHeaders), Body: body}, nil
}

// headerList is a header as a list, sorted by key, of at most limit bytes.
func headerList(h http.Header, limit int) []Header {
	out := make([]Header, 0, len(h))
	for key, values := range h {
		for _, value := range values {
			out = append(out, Header{Key: key, Value: value})
		}
	}
	slices.SortFunc(out, func(a, b Header) int { return strings.Compare(a.Key, b.Key) })
	for i, header := range out {
		if limit -= len(header.Key) + len(header.Value); limit < 0 {
			return out[:i]
		}
	}
	return out
}
