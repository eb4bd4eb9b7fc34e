package engine

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/callbackd/callbackd/engine/signature"
	"github.com/callbackd/callbackd/store"
)

// Version is callbackd's own; destinations see it in the User-Agent.
const Version = "0.1.0"

// payloadVersion names the form of the body below. A change of the form gets a new one.
const payloadVersion = "2026-01-01"

// timeFormat is RFC 3339 with exactly milliseconds, as everywhere on the wire.
const timeFormat = "2006-01-02T15:04:05.000Z"

// payload is the body of every attempt at a delivery. It is made of what was stored with
// the event and never changes, so it is the same bytes each time. It is a Standard Webhooks
// payload too (type, timestamp, data).
func payload(d store.Delivery) []byte {
	return appendPayload(make([]byte, 0, 384+len(d.Output)+len(d.Type)+len(d.SourceID)), d)
}

func appendPayload(b []byte, d store.Delivery) []byte {
	b = append(b, `{"object":"callback.event_payload","id":`...)
	b = appendString(b, d.EventID)
	b = append(b, `,"type":`...)
	b = appendString(b, d.Type)
	b = append(b, `,"timestamp":"`...)
	b = d.CreatedAt.UTC().AppendFormat(b, timeFormat)
	b = append(b, `","callback_id":`...)
	b = appendString(b, d.CallbackID)
	b = append(b, `,"callback_instance_id":`...)
	if d.InstanceID == "" {
		b = append(b, "null"...)
	} else {
		b = appendString(b, d.InstanceID)
	}
	b = append(b, `,"trigger_key":`...)
	b = appendString(b, d.TriggerKey)
	b = append(b, `,"source_id":`...)
	b = appendString(b, d.SourceID)
	b = append(b, `,"data":`...)
	if len(d.Output) == 0 {
		b = append(b, "null"...)
	} else {
		b = append(b, d.Output...)
	}
	return append(b, '}')
}

// appendString appends s as JSON. Nearly every string here is plain.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			text, _ := json.Marshal(s) // strings always marshal
			return append(b, text...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// Names of the headers that every attempt carries, beside those of the signatures.
const (
	headerWebhookID      = "Metorial-Webhook-Id"
	headerNotificationID = "Metorial-Notification-Id"
	headerEventID        = "Metorial-Event-Id"
	headerAttempt        = "Metorial-Delivery-Attempt"
	headerVersion        = "Metorial-Version"
)

// setHeaders sets every header of an attempt: the user's own first, so that none of ours
// can be overwritten.
func setHeaders(h http.Header, own map[string]string, signer *signature.Signer, webhookID string, d store.Delivery, attempt int, at time.Time, body []byte) {
	for name, value := range own {
		h.Set(name, value)
	}
	values := [...]string{"application/json", "callbackd/" + Version, webhookID, d.NotificationID, d.EventID, strconv.Itoa(attempt), payloadVersion,
		d.NotificationID, strconv.FormatInt(at.Unix(), 10), signer.Standard(d.NotificationID, at, body), signer.Metorial(at, body)}
	for i, name := range attemptHeaders {
		h[name] = values[i : i+1 : i+1]
	}
}

// attemptHeaders are in the form in which [http.Header] has its keys.
var attemptHeaders = [...]string{"Content-Type", "User-Agent", headerWebhookID, headerNotificationID, headerEventID, headerAttempt, headerVersion,
	http.CanonicalHeaderKey(signature.HeaderID), http.CanonicalHeaderKey(signature.HeaderTimestamp),
	http.CanonicalHeaderKey(signature.HeaderSignature), http.CanonicalHeaderKey(signature.HeaderMetorial)}

// ownHeader tells whether a header is ours to set, or the protocol's.
func ownHeader(name string) bool {
	switch http.CanonicalHeaderKey(name) {
	case "Content-Type", "Content-Length", "User-Agent", "Host", "Connection", "Transfer-Encoding", "Te", "Trailer", "Upgrade", "Keep-Alive", "Proxy-Connection", "Expect",
		headerWebhookID, headerNotificationID, headerEventID, headerAttempt, headerVersion,
		signature.HeaderID, signature.HeaderTimestamp, signature.HeaderSignature, signature.HeaderMetorial:
		return true
	}
	return false
}
