// Package signature signs webhooks and verifies them. It needs nothing but the
// standard library, so that a receiver can import it alone.
//
// callbackd signs each delivery in two ways, under one secret, and a receiver
// checks whichever it prefers:
//
//   - [Standard Webhooks], in the headers webhook-id, webhook-timestamp and
//     webhook-signature. Use [Verify]. Prefer this one: it covers the id too, and
//     libraries for it exist in many languages.
//   - Metorial, in the one header Metorial-Signature. Use [VerifyMetorial].
//
// Both are HMAC-SHA256 over the time of the attempt and the body's bytes as they
// were sent, so verify before anything decodes or reformats the body:
//
//	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
//	if err != nil { ... }
//	err = signature.Verify(r.Header, body, signature.Options{Secrets: []string{secret}})
//	if err != nil {
//		http.Error(w, "bad signature", http.StatusUnauthorized)
//		return
//	}
//
// A valid signature is at most [Options.Tolerance] old, yet within that time a
// delivery can come more than once: from someone who replays it, and from
// callbackd, which repeats a delivery that it got no answer to. The webhook-id is the
// same on each repeat; remember it to handle each delivery once.
//
// [Standard Webhooks]: https://www.standardwebhooks.com
package signature

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// The headers of a signed webhook, as [net/http.Header] spells its keys; names of
// headers are the same in any case.
const (
	HeaderID        = "Webhook-Id"         // the same on every attempt to deliver one thing
	HeaderTimestamp = "Webhook-Timestamp"  // when this attempt was signed, in Unix seconds
	HeaderSignature = "Webhook-Signature"  // "v1,BASE64", or several of them with spaces between
	HeaderMetorial  = "Metorial-Signature" // "t=UNIX_SECONDS,v1=HEX"
)

// What can be wrong with a webhook, for [errors.Is]. The errors returned say more
// than these, and never hold a secret or a valid signature.
var (
	// ErrMissingHeader means that the request was not signed in this scheme.
	ErrMissingHeader = errors.New("missing header")
	// ErrMalformed means that a header is there but cannot be read.
	ErrMalformed = errors.New("malformed header")
	// ErrTimestamp means that the signature is too old, or too far in the future.
	ErrTimestamp = errors.New("timestamp out of tolerance")
	// ErrMismatch means that no signature was made of this request with any of the
	// secrets: the request was changed, or is not from whom it claims to be.
	ErrMismatch = errors.New("no matching signature")
	// ErrSecret means that a secret given to this package is unusable. It is the
	// mistake of whoever configured the program, not of the sender.
	ErrSecret = errors.New("bad signing secret")
)

const secretPrefix = "whsec_"

// NewSecret makes a signing secret: "whsec_" and the base64 of 32 random bytes.
func NewSecret() string {
	var key [32]byte
	rand.Read(key[:]) // never fails: it ends the program instead
	return secretPrefix + base64.StdEncoding.EncodeToString(key[:])
}

// standardKey is the key of the Standard Webhooks scheme. The prefix is optional, as
// it is for the reference libraries.
func standardKey(secret string) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, secretPrefix))
	if err != nil {
		return nil, fmt.Errorf("%w: want %s and then base64: %w", ErrSecret, secretPrefix, err)
	}
	if len(key) == 0 {
		// HMAC takes an empty key, and then anyone can sign.
		return nil, fmt.Errorf("%w: it is empty", ErrSecret)
	}
	return key, nil
}

// metorialKey is the key of the Metorial scheme: the secret as it is written.
func metorialKey(secret string) ([]byte, error) {
	if secret == "" {
		return nil, fmt.Errorf("%w: it is empty", ErrSecret)
	}
	return []byte(secret), nil
}

// keysOf turns secrets into the keys of one scheme.
func keysOf(secrets []string, parse func(string) ([]byte, error)) ([][]byte, error) {
	if len(secrets) == 0 {
		return nil, fmt.Errorf("%w: none was given", ErrSecret)
	}
	keys := make([][]byte, len(secrets))
	for i, secret := range secrets {
		key, err := parse(secret)
		if err != nil {
			return nil, err
		}
		keys[i] = key
	}
	return keys, nil
}
