package webhook

import (
	"net/http"
	"strings"
)

// scheme is one way in which senders prove that a request is theirs, and what else is known of
// the requests of such a sender.
type scheme struct {
	name string // as in verify

	// headers are the names that senders use, any of the alternatives. The first whose signature
	// is there counts.
	headers []headerNames
	form    form
	between string // pairs, and
	timeKey string // which of them is the timestamp; both for form pairs alone
	prefix  string // before a signature

	signed    string // what is signed, with {id}, {timestamp} and {body}; "": the signature is the secret itself
	algorithm string // sha1, sha256 or sha512
	encoding  string // of a signature: hex, base64 or base64url
	key       keyForm
	public    string // before a signature that is ed25519, by a public key; "": there are none
	millis    bool   // the timestamp may be in milliseconds
	dates     bool   // it may be as RFC 3339 has it, too
	bodyTime  string // field of the signed body that holds when it was sent; "": none

	eventType string // jq over the request; "" or without a result: request.received
	id        string // likewise; "" or without a result: the digest
	payload   string // form field that holds the body as JSON, when the body is a form
	handshake string // of handshakes; "": none
	shakes    bool   // a config may choose another
	silent    bool   // the sender takes an answer's body for a message, so there is none
}

// headerNames are where a sender puts what is needed. A timestamp that the signature's own
// header holds has no name.
type headerNames struct{ signature, timestamp, id string }

// form is how a header holds signatures.
type form int

const (
	single form = iota // one signature
	spaced             // several, with spaces between
	pairs              // a timestamp and any number of signatures, each NAME=VALUE
)

// keyForm is how a secret stands for a key.
type keyForm string

const (
	keyText   keyForm = "text"   // the secret as it is written
	keyBase64 keyForm = "base64" // what it decodes to
	keyHex    keyForm = "hex"
	keyWhsec  keyForm = "whsec" // "whsec_" and base64, or "whpk_" and the base64 of a public key
)

const (
	sha1Name   = "sha1"
	sha256Name = "sha256"
	sha512Name = "sha512"

	hexName       = "hex"
	base64Name    = "base64"
	base64urlName = "base64url"
)

// Those of verify that a config describes in further fields.
const (
	verifyHMAC  = "hmac"
	verifyToken = "token"
	verifyNone  = "none"
)

// dotAction is jq for "." and the action of the body, if it has one.
const dotAction = ` + (([.body.action?][0] | strings | "." + .) // "")`

// schemes are all that verify may name. Where the id or the type is in a header, it is not
// covered by the signature unless signed says so: that is how these senders do it.
var schemes = []scheme{
	{
		name: "standard-webhooks", headers: []headerNames{
			{"Webhook-Signature", "Webhook-Timestamp", "Webhook-Id"},
			{"Svix-Signature", "Svix-Timestamp", "Svix-Id"},
		},
		form: spaced, prefix: "v1,", public: "v1a,", signed: "{id}.{timestamp}.{body}",
		algorithm: sha256Name, encoding: base64Name, key: keyWhsec,
		eventType: ".body.type?", id: ".id", handshake: handshakeChallenge, shakes: true,
	},
	{
		name: "stripe", headers: []headerNames{{signature: "Stripe-Signature"}},
		form: pairs, between: ",", timeKey: "t", prefix: "v1=", signed: "{timestamp}.{body}",
		algorithm: sha256Name, encoding: hexName, key: keyText,
		eventType: ".body.type?", id: ".body.id?",
	},
	{
		name: "paddle", headers: []headerNames{{signature: "Paddle-Signature"}},
		form: pairs, between: ";", timeKey: "ts", prefix: "h1=", signed: "{timestamp}:{body}",
		algorithm: sha256Name, encoding: hexName, key: keyText,
		eventType: ".body.event_type?", id: ".body.event_id?",
	},
	{
		name: "github", headers: []headerNames{{signature: "X-Hub-Signature-256"}},
		prefix: "sha256=", signed: "{body}",
		algorithm: sha256Name, encoding: hexName, key: keyText,
		eventType: `.headers["x-github-event"]`, id: `.headers["x-github-delivery"]`,
		payload: "payload",
	},
	{
		name: "slack", headers: []headerNames{{signature: "X-Slack-Signature", timestamp: "X-Slack-Request-Timestamp"}},
		prefix: "v0=", signed: "v0:{timestamp}:{body}",
		algorithm: sha256Name, encoding: hexName, key: keyText,
		eventType: ".body | .event?.type? // .command? // .type?", id: ".body | .event_id? // .trigger_id?",
		payload: "payload", handshake: handshakeSlack, silent: true,
	},
	{
		name: "shopify", headers: []headerNames{{signature: "X-Shopify-Hmac-Sha256"}},
		signed: "{body}", algorithm: sha256Name, encoding: base64Name, key: keyText,
		// X-Shopify-Event-Id is no id: the webhooks that one action causes share it.
		eventType: `.headers["x-shopify-topic"]`, id: `.headers["x-shopify-webhook-id"]`,
	},
	{
		name: "gitlab", headers: []headerNames{{signature: "X-Gitlab-Token"}},
		// X-Gitlab-Event-Uuid comes second: the webhooks that one webhook causes share it.
		eventType: `.headers["x-gitlab-event"]`, id: `.headers["idempotency-key"] // .headers["x-gitlab-event-uuid"]`,
	},
	{
		name: "linear", headers: []headerNames{{signature: "Linear-Signature"}},
		signed: "{body}", algorithm: sha256Name, encoding: hexName, key: keyText,
		millis: true, bodyTime: "webhookTimestamp",
		eventType: "(.body.type? // empty)" + dotAction, id: `.headers["linear-delivery"]`,
	},
	{
		name: "meta", headers: []headerNames{{signature: "X-Hub-Signature-256"}},
		prefix: "sha256=", signed: "{body}",
		algorithm: sha256Name, encoding: hexName, key: keyText,
		eventType: ".body.object?", handshake: handshakeHub,
	},
	{
		name: "sentry", headers: []headerNames{{signature: "Sentry-Hook-Signature"}},
		signed: "{body}", algorithm: sha256Name, encoding: hexName, key: keyText,
		eventType: `(.headers["sentry-hook-resource"] // empty)` + dotAction, id: `.headers["request-id"]`,
	},
	{
		name: "zoom", headers: []headerNames{{signature: "X-Zm-Signature", timestamp: "X-Zm-Request-Timestamp"}},
		prefix: "v0=", signed: "v0:{timestamp}:{body}",
		algorithm: sha256Name, encoding: hexName, key: keyText, millis: true,
		eventType: ".body.event?", handshake: handshakeZoom,
	},
	{name: verifyToken, shakes: true},
	{name: verifyHMAC, shakes: true},
	{name: verifyNone, shakes: true},
}

func schemeNamed(name string) (scheme, bool) {
	for _, s := range schemes {
		if s.name == name {
			return s, true
		}
	}
	return scheme{}, false
}

// timed tells whether a request says when it was signed.
func (s *scheme) timed() bool { return strings.Contains(s.signed, "{timestamp}") }

// anyone tells whether the sender can be any, so that nothing is known of its requests.
func (s *scheme) anyone() bool {
	return s.name == verifyHMAC || s.name == verifyToken || s.name == verifyNone
}

// secretHeaders are never kept: what they hold lets one in, here or elsewhere, or lets one try
// secrets at leisure.
var secretHeaders = func() map[string]bool {
	names := map[string]bool{
		"Authorization": true, "Proxy-Authorization": true, "Cookie": true, "X-Hub-Signature": true,
		"X-Api-Key": true, "Api-Key": true, "Apikey": true, "X-Auth-Token": true, "X-Access-Token": true, "X-Webhook-Secret": true,
		"Private-Token": true, "X-Shopify-Access-Token": true, "X-Telegram-Bot-Api-Secret-Token": true,
	}
	for _, s := range schemes {
		for _, h := range s.headers {
			names[http.CanonicalHeaderKey(h.signature)] = true
		}
	}
	return names
}()
