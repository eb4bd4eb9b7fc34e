package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/callbackd/callbackd/engine"
)

// handshake is how a sender asks whether a URL wants its webhooks. A request that is one is
// answered, and makes no event.
type handshake struct {
	name   string // as in a config's handshake, or of a scheme that always has it
	signed bool   // it is looked at only once the request was verified

	// answer is what is answered: nil to a request that is no handshake, and an error to one that
	// is refused. A request that was verified was so with the key.
	answer func(req *engine.WebhookRequest, c *config, k key) (*engine.WebhookResponse, error)
}

const (
	handshakeSlack     = "url_verification"
	handshakeZoom      = "endpoint.url_validation"
	handshakeChallenge = "challenge"
	handshakeHub       = "hub"
	handshakeEcho      = "echo"
	handshakeToken     = "validation-token"

	maxChallenge = 4096 // bytes
)

var handshakes = []handshake{
	{handshakeSlack, true, answerSlack},
	{handshakeZoom, true, answerZoom},
	{handshakeChallenge, true, answerChallenge},
	{handshakeHub, false, answerHub},
	{handshakeEcho, false, answerParameter(http.MethodGet, "challenge")},
	{handshakeToken, false, answerParameter(http.MethodPost, "validationToken")},
}

// shake answers a request that is a handshake, if the scheme has one.
func (s *scheme) shake(req *engine.WebhookRequest, c *config, verified bool, k key) (*engine.WebhookResponse, error) {
	for _, h := range handshakes {
		if h.name == s.handshake && h.signed == verified {
			return h.answer(req, c, k)
		}
	}
	return nil, nil
}

// answerSlack answers {"type": "url_verification", "challenge": "..."} with the challenge.
func answerSlack(req *engine.WebhookRequest, _ *config, _ key) (*engine.WebhookResponse, error) {
	body := object(req.Body)
	if body["type"] != handshakeSlack {
		return nil, nil
	}
	challenge, _ := body["challenge"].(string)
	return plainText(challenge)
}

// answerZoom answers {"event": "endpoint.url_validation", "payload": {"plainToken": "..."}} with
// the token and its MAC, by the secret that the sender used: others are tried while it is being
// replaced. Only a verified sender gets it, so that nobody else can have a text signed.
func answerZoom(req *engine.WebhookRequest, _ *config, k key) (*engine.WebhookResponse, error) {
	body := object(req.Body)
	if body["event"] != handshakeZoom {
		return nil, nil
	}
	payload, _ := body["payload"].(map[string]any)
	token, _ := payload["plainToken"].(string)
	if err := checkChallenge(token); err != nil {
		return nil, err
	}
	sum := mac(sha256.New, k.secret, []byte(token))
	return jsonAnswer(map[string]string{"plainToken": token, "encryptedToken": hex.EncodeToString(sum)}), nil
}

// answerChallenge answers {"challenge": "..."}, beside which there may be a type and a token,
// with the same. Anything more is an event.
func answerChallenge(req *engine.WebhookRequest, _ *config, _ key) (*engine.WebhookResponse, error) {
	body := object(req.Body)
	challenge, ok := body["challenge"].(string)
	if !ok {
		return nil, nil
	}
	for name := range body {
		if name != "challenge" && name != "type" && name != "token" {
			return nil, nil
		}
	}
	if err := checkChallenge(challenge); err != nil {
		return nil, err
	}
	return jsonAnswer(map[string]string{"challenge": challenge}), nil
}

// answerHub answers GET ?hub.mode=subscribe&hub.verify_token=...&hub.challenge=... with the
// challenge. It is not signed; the token takes the place of that.
func answerHub(req *engine.WebhookRequest, c *config, _ key) (*engine.WebhookResponse, error) {
	if req.Method != http.MethodGet {
		return nil, nil
	}
	query := queryOf(req.URL)
	if !query.Has("hub.mode") {
		return nil, nil
	}
	refuse := func(err error) error { return engine.Refuse(http.StatusForbidden, fmt.Errorf("handshake: %w", err)) }
	for _, name := range []string{"hub.mode", "hub.verify_token", "hub.challenge"} {
		if len(query[name]) != 1 {
			return nil, refuse(fmt.Errorf("it must have %s once", name))
		}
	}
	got, want := sha256.Sum256([]byte(query.Get("hub.verify_token"))), sha256.Sum256([]byte(c.VerifyToken))
	if c.VerifyToken == "" || !hmac.Equal(got[:], want[:]) {
		return nil, refuse(errors.New("hub.verify_token is not the config's verify_token"))
	}
	if query.Get("hub.mode") != "subscribe" {
		return nil, refuse(errors.New(`hub.mode is not "subscribe"`))
	}
	return plainText(query.Get("hub.challenge"))
}

// answerParameter answers requests that have a parameter in their query with what it holds.
func answerParameter(method, name string) func(*engine.WebhookRequest, *config, key) (*engine.WebhookResponse, error) {
	return func(req *engine.WebhookRequest, _ *config, _ key) (*engine.WebhookResponse, error) {
		values := queryOf(req.URL)[name]
		if req.Method != method || len(values) == 0 || len(req.Body) > 0 {
			return nil, nil
		}
		return plainText(values[0])
	}
}

// plainText answers with a challenge, as what no browser takes for a page.
func plainText(challenge string) (*engine.WebhookResponse, error) {
	if err := checkChallenge(challenge); err != nil {
		return nil, err
	}
	return answer("text/plain; charset=utf-8", []byte(challenge)), nil
}

func checkChallenge(challenge string) error {
	if challenge == "" || len(challenge) > maxChallenge || !utf8.ValidString(challenge) || strings.ContainsFunc(challenge, unicode.IsControl) {
		return engine.Refuse(http.StatusBadRequest, fmt.Errorf("handshake: the challenge must be 1 to %d bytes of text without control characters", maxChallenge))
	}
	return nil
}

func jsonAnswer(v map[string]string) *engine.WebhookResponse {
	body, _ := json.Marshal(v) // strings always encode
	return answer("application/json", body)
}

func answer(contentType string, body []byte) *engine.WebhookResponse {
	return &engine.WebhookResponse{
		Status: http.StatusOK,
		Header: http.Header{"Content-Type": {contentType}, "X-Content-Type-Options": {"nosniff"}, "Cache-Control": {"no-store"}},
		Body:   body,
	}
}

// object is a body that is a JSON object; nil if it is something else.
func object(body []byte) map[string]any {
	const most = 64 << 10 // bytes; handshakes are short
	var v map[string]any
	if len(body) > most || json.Unmarshal(body, &v) != nil {
		return nil
	}
	return v
}

// queryOf is the query of a URL; what cannot be read of it is left out.
func queryOf(text string) url.Values {
	_, raw, _ := strings.Cut(text, "?")
	query, _ := url.ParseQuery(raw)
	return query
}
