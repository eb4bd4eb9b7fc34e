package signature

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"hash"
)

// mac signs under one key, one message at a time. It is made to be used again:
// setting up an HMAC costs more than signing a short body with it.
type mac struct {
	hash   hash.Hash
	prefix []byte // what is signed before the body
	digest []byte
}

func newMAC(key []byte) *mac {
	return &mac{hash: hmac.New(sha256.New, key), digest: make([]byte, 0, sha256.Size)}
}

// appendStandard appends one signature as it stands in [HeaderSignature].
func (m *mac) appendStandard(dst []byte, id, timestamp string, body []byte) []byte {
	m.prefix = append(m.prefix[:0], id...)
	m.prefix = append(m.prefix, '.')
	m.prefix = append(m.prefix, timestamp...)
	m.prefix = append(m.prefix, '.')
	dst = append(dst, standardVersion...)
	return base64.StdEncoding.AppendEncode(dst, m.sum(body))
}

// appendMetorial appends one signature, in hex.
func (m *mac) appendMetorial(dst []byte, timestamp string, body []byte) []byte {
	m.prefix = append(m.prefix[:0], timestamp...)
	m.prefix = append(m.prefix, '.')
	return hex.AppendEncode(dst, m.sum(body))
}

// sum is the MAC of prefix and body, valid until the next call.
func (m *mac) sum(body []byte) []byte {
	m.hash.Reset()
	m.hash.Write(m.prefix)
	m.hash.Write(body)
	m.digest = m.hash.Sum(m.digest[:0])
	return m.digest
}
