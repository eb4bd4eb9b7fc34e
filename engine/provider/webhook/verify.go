package webhook

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"slices"
	"strings"

	"github.com/callbackd/callbackd/engine"
)

var hashes = map[string]func() hash.Hash{sha1Name: sha1.New, sha256Name: sha256.New, sha512Name: sha512.New}

// encodings write a signature as a sender does. A signature is compared as text, and what
// merely decodes to the same bytes is another one.
var encodings = map[string]func([]byte) string{
	hexName:       hex.EncodeToString,
	base64Name:    base64.StdEncoding.EncodeToString,
	base64urlName: base64.RawURLEncoding.EncodeToString,
}

// plain is a signature without what senders do as they like: capitals of hex, and padding of base64url.
func (s *scheme) plain(signature string) string {
	switch s.encoding {
	case hexName:
		return strings.ToLower(signature)
	case base64urlName:
		return strings.TrimRight(signature, "=")
	}
	return signature
}

// verify returns no error if the request was sent by someone who knows one of the secrets, and
// then the id that was signed with it, if the scheme has one, and its key. Its error comes from
// [engine.Refuse] when the request is to blame, and holds no secret and no signature.
func (s *scheme) verify(req *engine.WebhookRequest, c *config) (id string, k key, err error) {
	if s.name == verifyNone {
		return "", key{}, nil
	}
	keys, unusable, err := s.keys(req.Auth)
	if err != nil {
		return "", key{}, fmt.Errorf("the request cannot be verified: %w", err)
	}
	claim, err := s.claimOf(req.Header)
	if err == nil {
		k, err = s.match(req, c, claim, keys)
	}
	if err == nil {
		err = s.checkBodyTime(req.Body, req.Now, c.tolerance())
	}
	if err != nil && unusable != nil {
		err = fmt.Errorf("%w (besides, %w)", err, unusable)
	}
	if err != nil {
		return "", key{}, engine.Refuse(http.StatusUnauthorized, fmt.Errorf("not verified as %s: %w", s.name, err))
	}
	return claim.id, k, nil
}

// match returns the first key with which the claim is true.
func (s *scheme) match(req *engine.WebhookRequest, c *config, claim claim, keys []key) (key, error) {
	if s.signed == "" {
		return matchToken(claim.signatures[0], keys)
	}
	if s.timed() {
		if err := s.checkTimestamp(claim.timestamp, req.Now, c.tolerance()); err != nil {
			return key{}, err
		}
	}
	parts := parseTemplate(s.signed)
	for _, text := range besideID(parts) {
		if strings.Contains(claim.id, text) {
			return key{}, fmt.Errorf("the id has %q in it, which ends it in what is signed", text)
		}
	}
	if shiftable(parts, req.Body) {
		return key{}, errors.New("the body begins with a digit, which in what is signed could be the last one of the timestamp")
	}
	var message [][]byte
	for _, p := range parts {
		switch p.name {
		case "id":
			message = append(message, []byte(claim.id))
		case "timestamp":
			message = append(message, []byte(claim.timestamp))
		case "body":
			message = append(message, req.Body)
		default:
			message = append(message, []byte(p.text))
		}
	}
	for _, k := range keys {
		if k.public != nil {
			if matchPublic(k.public, slices.Concat(message...), claim.public) {
				return k, nil
			}
			continue
		}
		want := []byte(encodings[s.encoding](mac(hashes[s.algorithm], k.secret, message...)))
		for _, got := range claim.signatures {
			if hmac.Equal([]byte(s.plain(got)), want) {
				return k, nil
			}
		}
	}
	return key{}, errors.New("no signature was made of this request with any of the secrets; check that they are this sender's, and that nothing between changes the body")
}

func mac(h func() hash.Hash, key []byte, message ...[]byte) []byte {
	m := hmac.New(h, key)
	for _, piece := range message {
		m.Write(piece)
	}
	return m.Sum(nil)
}

// matchToken is for senders that send the secret itself. The digests have one length, so that
// the time taken does not tell that of the secret.
func matchToken(token string, keys []key) (key, error) {
	got := sha256.Sum256([]byte(token))
	for _, k := range keys {
		if want := sha256.Sum256(k.secret); hmac.Equal(got[:], want[:]) {
			return k, nil
		}
	}
	return key{}, errors.New("the secret that was sent is none of the secrets")
}

func matchPublic(key ed25519.PublicKey, message []byte, signatures []string) bool {
	for _, text := range signatures {
		signature, err := base64.StdEncoding.Strict().DecodeString(text)
		if err == nil && len(signature) == ed25519.SignatureSize && ed25519.Verify(key, message, signature) {
			return true
		}
	}
	return false
}

// key is what a secret stands for: one of the two.
type key struct {
	secret []byte
	public ed25519.PublicKey
}

// keys are those of an auth config. One that is unusable does no harm to the others, and
// unusable says which; err says why there is none.
func (s *scheme) keys(auth *engine.Auth) (keys []key, unusable, err error) {
	if auth == nil {
		return nil, nil, fmt.Errorf(`verify is %q and the instance has no auth config; create one with the method "secret", and attach an instance with it, which has another URL`, s.name)
	}
	var value struct {
		Secrets []string `json:"secrets"`
	}
	if json.Unmarshal(auth.Value, &value) != nil { // whose text could hold a secret
		return nil, nil, errors.New("the auth config is not readable")
	}
	for i, text := range value.Secrets {
		k, err := s.key.parse(text)
		if err != nil {
			unusable = fmt.Errorf("secrets.%d of the auth config is not usable: %w", i, err)
			continue
		}
		keys = append(keys, k)
	}
	if keys == nil && unusable == nil {
		unusable = errors.New("the auth config has no secrets")
	}
	if keys == nil {
		return nil, nil, unusable
	}
	return keys, unusable, nil
}

const (
	secretPrefix = "whsec_"
	publicPrefix = "whpk_"
)

func (f keyForm) parse(text string) (k key, err error) {
	switch f {
	case keyWhsec:
		if rest, ok := strings.CutPrefix(text, publicPrefix); ok {
			k.public, err = base64.StdEncoding.DecodeString(rest)
			if err != nil || len(k.public) != ed25519.PublicKeySize {
				return key{}, fmt.Errorf("after %s must come the base64 of %d bytes", publicPrefix, ed25519.PublicKeySize)
			}
			return k, nil
		}
		if strings.HasPrefix(text, "whsk_") {
			return key{}, errors.New("it is a private key, which only the sender may know; take the one that begins with " + publicPrefix)
		}
		if k.secret, err = base64.StdEncoding.DecodeString(strings.TrimPrefix(text, secretPrefix)); err != nil {
			err = fmt.Errorf("want %s and then base64", secretPrefix)
		}
	case keyBase64:
		if k.secret, err = base64.StdEncoding.DecodeString(text); err != nil {
			err = errors.New("it is not base64, as secret_encoding says")
		}
	case keyHex:
		if k.secret, err = hex.DecodeString(text); err != nil {
			err = errors.New("it is not hex, as secret_encoding says")
		}
	default:
		k.secret = []byte(text)
	}
	if err == nil && len(k.secret) == 0 { // with which anyone can sign
		err = errors.New("it is empty")
	}
	if err != nil {
		return key{}, err
	}
	return k, nil
}
