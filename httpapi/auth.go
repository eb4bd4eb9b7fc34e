package httpapi

import (
	"crypto/sha256"
	"crypto/subtle"
	"strings"

	"github.com/callbackd/callbackd/engine"
)

// authorize lets a request through whose key may do what the route needs.
func (a *api) authorize(r *request, needed scope) error {
	if needed == public {
		return nil
	}
	secret, ok := bearer(r.http.Header.Values("Authorization"))
	if !ok {
		return &engine.Error{Code: codeUnauthorized, Message: "there is no API key in the request", Hint: "send one header Authorization: Bearer KEY"}
	}
	if a.isBootstrap(secret) {
		r.key = "bootstrap"
		return nil
	}
	key, ok, err := a.eng.AuthenticateAPIKey(r.ctx(), secret)
	if err != nil {
		return err
	}
	if !ok {
		return &engine.Error{Code: codeUnauthorized, Message: "the API key is not valid, or was revoked"}
	}
	r.key = key.ID
	if needed == write && key.Scope != "write" {
		return &engine.Error{Code: codeForbidden, Message: "the API key may only read", Hint: "use a key with scope write"}
	}
	return nil
}

// bearer is the secret of the one Authorization header that there must be.
func bearer(headers []string) (secret string, ok bool) {
	if len(headers) != 1 {
		return "", false
	}
	parts := strings.Split(headers[0], " ")
	if len(parts) != 2 || !strings.EqualFold(parts[0], "Bearer") || parts[1] == "" {
		return "", false
	}
	return parts[1], true
}

// isBootstrap compares with every key, so that the time taken says nothing of them.
func (a *api) isBootstrap(secret string) bool {
	hash, found := sha256.Sum256([]byte(secret)), 0
	for i := range a.keys {
		found |= subtle.ConstantTimeCompare(a.keys[i][:], hash[:])
	}
	return found == 1
}
