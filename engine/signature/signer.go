package signature

import (
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Signer signs webhooks. Make one per destination with [NewSigner] and keep it:
// the secrets are parsed once, and signing then makes little garbage. It is safe
// for concurrent use. The zero Signer is not usable.
type Signer struct {
	standard []*sync.Pool // of *mac, one for each secret
	metorial *sync.Pool   // of *mac, for the first secret
}

// NewSigner makes a signer of one secret, or of several while a secret is being
// replaced: the new one first, then those that receivers may still hold. Secrets
// look like those of [NewSecret]; any other is an [ErrSecret], and so is none.
func NewSigner(secrets ...string) (*Signer, error) {
	keys, err := keysOf(secrets, standardKey)
	if err != nil {
		return nil, err
	}
	s := &Signer{metorial: macPool([]byte(secrets[0]))}
	for _, key := range keys {
		s.standard = append(s.standard, macPool(key))
	}
	return s, nil
}

func macPool(key []byte) *sync.Pool {
	return &sync.Pool{New: func() any { return newMAC(key) }}
}

// Sign sets every header of both schemes on header, replacing what is there. The id
// is that of the delivery, the same on every attempt, without a '.'; at is the time
// of this attempt, not before 1970, of which whole seconds count; body is what will
// be sent, byte for byte.
func (s *Signer) Sign(header http.Header, id string, at time.Time, body []byte) {
	header.Set(HeaderID, id)
	header.Set(HeaderTimestamp, unixSeconds(at))
	header.Set(HeaderSignature, s.Standard(id, at, body))
	header.Set(HeaderMetorial, s.Metorial(at, body))
}

// Standard is the value of [HeaderSignature] alone, with one signature for each
// secret. The parameters are those of [Signer.Sign]; the receiver needs id and at in
// [HeaderID] and [HeaderTimestamp] too.
func (s *Signer) Standard(id string, at time.Time, body []byte) string {
	timestamp := unixSeconds(at)
	var buf [128]byte // two signatures fit
	out := buf[:0]
	for i, pool := range s.standard {
		if i > 0 {
			out = append(out, ' ')
		}
		m := pool.Get().(*mac)
		out = m.appendStandard(out, id, timestamp, body)
		pool.Put(m)
	}
	return string(out)
}

// Metorial is the value of [HeaderMetorial] alone. It holds one signature, made with
// the first secret. The parameters are those of [Signer.Sign].
func (s *Signer) Metorial(at time.Time, body []byte) string {
	timestamp := unixSeconds(at)
	var buf [128]byte
	out := append(buf[:0], "t="...)
	out = append(out, timestamp...)
	out = append(out, ",v1="...)
	m := s.metorial.Get().(*mac)
	out = m.appendMetorial(out, timestamp, body)
	s.metorial.Put(m)
	return string(out)
}

func unixSeconds(at time.Time) string { return strconv.FormatInt(at.Unix(), 10) }
