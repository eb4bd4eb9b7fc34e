// Package webhook is the provider of events from anything that sends webhooks: it makes sure
// who sent a request, and makes an event of it.
//
// Its identifier is "webhook" and its one trigger is "request.received". An instance that is
// attached to it has a URL of its own (webhook_url), which is given to the sender. A
// config says how the sender signs, and an auth config with the method "secret" holds the secrets:
//
//	{"verify": "github"}
//	{"secrets": ["It's a Secret to Everybody"]}
//
// All of the secrets are tried, up to 10, so one is replaced by adding the new one, telling the
// sender, and removing the old one. An instance without an auth config refuses every request,
// unless its config has verify "none". It answers 500, as nothing is wrong with the request, and the log
// says what to do; so does one whose secrets are all unusable, such as no base64 for standard-webhooks.
// That is found at the first request, as only an instance has both a scheme and secrets.
//
// # verify
//
// What is verified are the raw bytes, before anything else is looked at, and in constant time. A
// request that does not pass is answered 401; the reason is in the log.
//
//	verify             signature                   over          event type                   id
//	standard-webhooks  webhook-signature v1, v1a   id, time,     body.type                    webhook-id
//	                   (or svix-signature, ...)    body
//	stripe             Stripe-Signature v1         time, body    body.type                    body.id
//	paddle             Paddle-Signature h1         time, body    body.event_type              body.event_id
//	github             X-Hub-Signature-256         body          X-GitHub-Event               X-GitHub-Delivery
//	slack              X-Slack-Signature           time, body    body.event.type, .command,   body.event_id,
//	                                                             .type                        .trigger_id
//	shopify            X-Shopify-Hmac-Sha256       body          X-Shopify-Topic              X-Shopify-Webhook-Id
//	gitlab             X-Gitlab-Token (a secret)   nothing       X-Gitlab-Event               Idempotency-Key, or
//	                                                                                          X-Gitlab-Event-UUID
//	linear             Linear-Signature            body          body.type.body.action        Linear-Delivery
//	meta               X-Hub-Signature-256         body          body.object                  digest
//	sentry             Sentry-Hook-Signature       body          Sentry-Hook-Resource         Request-ID
//	                                                             .body.action
//	zoom               X-Zm-Signature              time, body    body.event                   digest
//	token              header (a secret)           nothing       request.received             digest
//	hmac               header                      template      request.received             id_header, or digest
//	none               none                        nothing       request.received             digest
//
// Where a header or field is missing, the type is "request.received" and the id the digest.
//
// With verify "none", secrets are not looked at: whoever knows the URL can make events. The id in it
// is shown in the log and by the API. Another URL takes another instance, with another config.
//
// Stripe's secret is used as it is written, whsec_ included; that of Standard Webhooks is the base64
// after whsec_, or a public key after whpk_, for v1a. Linear signs a time
// in its body, webhookTimestamp, which is checked where it is; Meta and Sentry sign none.
//
// Events are made of POST, PUT, PATCH and DELETE, and with token, hmac and none of GET too, by which some handshakes
// come. HEAD and OPTIONS, and any other GET, are answered 405.
//
// # hmac and token
//
// hmac is for everybody else who signs with a secret:
//
//   - header: that holds the signature. Required.
//   - prefix: before the signature, such as "sha256=". Default: none.
//   - algorithm: "sha256" (default), "sha512" or "sha1".
//   - encoding: of the signature: "hex" (default), "base64" or "base64url".
//   - secret_encoding: "text" (default), "base64" or "hex": how a secret stands for the key.
//   - template: what is signed, of {body}, {timestamp} and {id}. Default "{body}".
//   - timestamp_header and id_header: where these are. A time is in Unix seconds or milliseconds, or
//     as RFC 3339 has it, such as 2026-01-10T14:45:00Z; with {body} right after {timestamp}, a body that begins with a digit is refused.
//
// token is for those who send the secret itself, in header after prefix, such as Telegram in
// X-Telegram-Bot-Api-Secret-Token, or "Bearer ..." in Authorization.
//
// # Other fields
//
//   - tolerance_seconds: how far a signed time may be from now. Default 300.
//   - event_type, id: jq programs from the request to its event's type and id. The request is
//     {method, url, headers, query, body, id, digest, request_id, received_at}: headers by lower-case name, repeated
//     ones joined by ", "; the body as JSON, as an object of a form's fields, or as text; id is
//     the one that was signed, if the scheme has that; request_id is random. A program that gives nothing for a request makes an event with
//     the type "unmapped", which a new config mends. A type is cut to 200 characters; an id of
//     over 1000 characters becomes its SHA-256.
//   - handshake, verify_token: see below.
//
// Left out of the headers are the signatures and secrets of all schemes, the config's own header,
// Authorization, Proxy-Authorization, Cookie, X-Api-Key, Api-Key, Apikey, X-Auth-Token, X-Access-Token,
// X-Webhook-Secret, Private-Token, X-Shopify-Access-Token and X-Telegram-Bot-Api-Secret-Token. All other
// headers are kept, and so are the query's parameters, in url and query: they are no place for a secret.
//
// The event's output is the body if it is an object (or a form), {"value": ...} around any other, {"base64": ...} of
// what is no UTF-8, and the query's parameters when there is no body. GitHub and Slack can send JSON
// in the field payload of a form; then that JSON is the body. A multipart form and several lines of JSON are texts.
// A compressed body is kept compressed, in base64. The output may have 1 MiB, counted as JSON.
//
// # Repeats
//
// The same id again is answered 200 and changes nothing, for ever. So a request that someone
// replays within the tolerance does no harm, and a sender may try again as often as it likes: the time at which it
// signed is no part of an id. But where the table has the id in a header and the signature over the body
// alone, that is how the sender made it: who got hold of a whole signed request can send it again
// under another id. {"id": ".digest"} closes this, for senders of which no two bodies are alike.
//
// The digest is the SHA-256 of the body (with verify "none": of the method, path and query too). Two requests that
// say the same thing are one event by it. If they are two things, such as someone ringing twice,
// set id to ".request_id", which no two requests share; then a sender's second try, or a replay, is an event too.
//
// # Handshakes
//
// Requests by which a sender asks whether the URL is meant to get its webhooks are answered, and
// make no event:
//
//   - slack: a signed {"type": "url_verification", "challenge": ...}: with the challenge, as text.
//   - zoom: a signed {"event": "endpoint.url_validation", ...}: with plainToken and encryptedToken.
//   - meta, and handshake "hub": GET with hub.mode=subscribe, hub.challenge and a hub.verify_token that is
//     the config's verify_token: with the challenge, as text. A wrong token is answered 403.
//   - standard-webhooks, and handshake "challenge": a verified {"challenge": ...}, with at most a type and
//     a token beside it: with {"challenge": ...}.
//   - handshake "echo": GET ?challenge=..., as of Dropbox; and "validation-token": POST
//     ?validationToken=..., as of Microsoft Graph: with the value, as text. These come unsigned.
//
// One of slack or zoom whose challenge is no text, and any whose challenge is empty or longer than 4096 bytes, is
// answered 400. hub, challenge, echo and validation-token can be chosen with verify "standard-webhooks", "token",
// "hmac" and "none"; handshake "none" turns them off.
//
// Slack is answered with an empty body, because it shows what is in it.
package webhook
