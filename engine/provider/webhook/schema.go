package webhook

import (
	"encoding/json"

	"github.com/callbackd/callbackd/engine"
)

// New returns the provider "webhook". It holds nothing, and may be given to several engines.
func New() engine.Provider {
	return engine.Provider{
		Key:          "webhook",
		Name:         "Webhook",
		Description:  "Receives webhooks, makes sure who sent them, and makes an event of each.",
		ConfigSchema: json.RawMessage(configSchema),
		Validate:     validateConfig,
		AuthMethods: []engine.AuthMethod{{
			Key: "secret", Type: "custom", Name: "Signing secrets",
			Description: "What the sender signs with. Several while one is being replaced: each is tried.",
			InputSchema: json.RawMessage(secretSchema),
		}},
		Triggers: []engine.Trigger{{
			Key:          "request.received",
			Name:         "Request received",
			Description:  "A request that the sender was verified of, and whose id was not seen before.",
			InputSchema:  json.RawMessage(inputSchema),
			OutputSchema: json.RawMessage(`{"description": "The body, if it is a JSON object or a form; {\"value\": ...} around another body; the query's parameters, if there is no body.", "type": "object"}`),
			Baseline:     engine.BaselineEmit,
			Handle:       handle,
			Map:          mapInput,
		}},
	}
}

// Defaults are told in words: only some schemes have the field.
const configSchema = `{
	"$schema": "https://json-schema.org/draft/2020-12/schema",
	"title": "Webhook sender",
	"type": "object",
	"additionalProperties": false,
	"required": ["verify"],
	"properties": {
		"verify": {
			"title": "Verify",
			"description": "How the sender signs. none takes every request for genuine, whoever sent it.",
			"enum": ["standard-webhooks", "stripe", "paddle", "github", "slack", "shopify", "gitlab", "linear", "meta", "sentry", "zoom", "token", "hmac", "none"]
		},
		"tolerance_seconds": {
			"title": "Tolerance",
			"description": "How far a signed time may be from now, in the past or the future. Default: 300. For schemes that sign a time.",
			"type": "integer",
			"minimum": 1,
			"maximum": 86400
		},
		"event_type": {
			"title": "Event type",
			"description": "jq program from the request {method, url, headers, query, body, id, digest, request_id, received_at} to the type of its event, such as .body.kind. Default: as the sender names it, or request.received.",
			"$ref": "#/$defs/program"
		},
		"id": {
			"title": "Id",
			"description": "jq program from the request to its id, a string or number; the same id again makes no event. .request_id makes an event of every request. Default: the sender's id, or a digest of the body.",
			"$ref": "#/$defs/program"
		},
		"handshake": {
			"title": "Handshake",
			"description": "How the sender asks whether this URL wants its webhooks. challenge: a JSON body {\"challenge\": ...} is answered with the same; hub: GET with hub.challenge, as WebSub and Meta do; echo: GET ?challenge= is answered with its value; validation-token: POST ?validationToken= is. For standard-webhooks (default: challenge), token, hmac and none.",
			"enum": ["challenge", "hub", "echo", "validation-token", "none"]
		},
		"verify_token": {
			"title": "Verify token",
			"description": "For meta, and the handshake hub: the text that the sender was told to repeat. It must not be a signing secret, as it is sent in a URL.",
			"type": "string",
			"minLength": 1,
			"maxLength": 1024
		},
		"header": {
			"title": "Header",
			"description": "For hmac: the header that holds the signature. For token: the header that holds the secret.",
			"$ref": "#/$defs/header"
		},
		"prefix": {
			"title": "Prefix",
			"description": "For hmac and token: what the header's value begins with, such as sha256= or Bearer and a space. Default: nothing.",
			"type": "string",
			"maxLength": 64
		},
		"algorithm": {
			"title": "Algorithm",
			"description": "For hmac. Default: sha256.",
			"enum": ["sha256", "sha512", "sha1"]
		},
		"encoding": {
			"title": "Encoding",
			"description": "For hmac: of the signature. Default: hex.",
			"enum": ["hex", "base64", "base64url"]
		},
		"secret_encoding": {
			"title": "Encoding of the secrets",
			"description": "For hmac: whether a secret is the key as it is written (text, the default), or its base64 or hex.",
			"enum": ["text", "base64", "hex"]
		},
		"template": {
			"title": "Template",
			"description": "For hmac: what is signed, of {body}, {timestamp} and {id}, such as {timestamp}.{body}. Default: {body}.",
			"type": "string",
			"minLength": 1,
			"maxLength": 256
		},
		"timestamp_header": {
			"title": "Timestamp header",
			"description": "For hmac with {timestamp} in its template: the header that holds it, in Unix seconds or milliseconds, or as RFC 3339.",
			"$ref": "#/$defs/header"
		},
		"id_header": {
			"title": "Id header",
			"description": "For hmac with {id} in its template: the header that holds it. It is the default id.",
			"$ref": "#/$defs/header"
		}
	},
	"$defs": {
		"program": {"type": "string", "minLength": 1, "maxLength": 16384},
		"header": {"type": "string", "minLength": 1, "maxLength": 256, "pattern": "^[0-9A-Za-z!#$%&'*+.^_|~-]+$"}
	}
}`

const secretSchema = `{
	"$schema": "https://json-schema.org/draft/2020-12/schema",
	"title": "Signing secrets",
	"type": "object",
	"additionalProperties": false,
	"required": ["secrets"],
	"properties": {
		"secrets": {
			"title": "Secrets",
			"description": "As the sender shows them, each without spaces around it. For standard-webhooks whsec_... or, for v1a signatures, the public key whpk_....",
			"type": "array",
			"minItems": 1,
			"maxItems": 10,
			"uniqueItems": true,
			"items": {"type": "string", "minLength": 1, "maxLength": 4096, "pattern": "^(\\S([\\s\\S]*\\S)?)?$"}
		}
	}
}`

const inputSchema = `{
	"description": "The request. It has a body, a text (of a body that is neither JSON nor a form), a base64 (of one that is no UTF-8), or none of them.",
	"type": "object",
	"properties": {
		"request_id": {"description": "Of this request alone.", "type": "string"},
		"received_at": {"type": "string", "format": "date-time"},
		"method": {"type": "string"},
		"url": {"type": "string"},
		"headers": {"description": "By lower-case name, without credentials and signatures.", "type": "object", "additionalProperties": {"type": "string"}},
		"query": {"description": "A string each; a list of strings where a name is repeated.", "type": "object"},
		"id": {"description": "The id that was signed, where the scheme has one.", "type": "string"},
		"digest": {"description": "Names the body; with verify none, the method and the URL's path and query too.", "type": "string"},
		"body": {},
		"text": {"type": "string"},
		"base64": {"type": "string"}
	}
}`
