package signature_test

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/callbackd/callbackd/engine/signature"
)

// message is anything that can be signed.
type message struct {
	id   string
	at   time.Time
	body []byte
}

func drawMessage(t *rapid.T) message {
	return message{
		id:   rapid.StringMatching(`[a-zA-Z0-9_-]{1,40}`).Draw(t, "id"),
		at:   time.Unix(rapid.Int64Range(0, 1<<40).Draw(t, "at"), 0),
		body: rapid.SliceOf(rapid.Byte()).Draw(t, "body"),
	}
}

func (m message) options(secret string) signature.Options {
	return signature.Options{Secrets: []string{secret}, Now: func() time.Time { return m.at }}
}

func TestProperty(t *testing.T) {
	t.Parallel()

	t.Run("WhatIsSignedVerifies", func(t *testing.T) {
		t.Parallel()
		rapid.Check(t, func(t *rapid.T) {
			m, secret, h := drawMessage(t), signature.NewSecret(), http.Header{}
			mustRapid(t, secret).Sign(h, m.id, m.at, m.body)
			for name, scheme := range schemes {
				if err := scheme.verify(h, m.body, m.options(secret)); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	})

	t.Run("AChangedByteFails", func(t *testing.T) {
		t.Parallel()
		rapid.Check(t, func(t *rapid.T) {
			m, secret, h := drawMessage(t), signature.NewSecret(), http.Header{}
			mustRapid(t, secret).Sign(h, m.id, m.at, m.body)
			// Unchecked, so that a changed timestamp has to fail by its signature.
			o := m.options(secret)
			o.Tolerance = -1
			for _, name := range []string{signature.HeaderID, signature.HeaderTimestamp, signature.HeaderSignature} {
				changed := h.Clone()
				changed.Set(name, string(changeByte(t, name, []byte(h.Get(name)))))
				if err := signature.Verify(changed, m.body, o); err == nil {
					t.Errorf("verified with another %s: %q", name, changed.Get(name))
				}
			}
			if err := signature.Verify(h, changeByte(t, "body", m.body), o); err == nil {
				t.Error("verified with another body")
			}
			changed := h.Clone()
			changed.Set(signature.HeaderMetorial, string(changeByte(t, "metorial", []byte(h.Get(signature.HeaderMetorial)))))
			if err := signature.VerifyMetorial(changed, m.body, o); err == nil {
				t.Errorf("verified with another %s: %q", signature.HeaderMetorial, changed.Get(signature.HeaderMetorial))
			}
			if err := signature.VerifyMetorial(h, changeByte(t, "metorial body", m.body), o); err == nil {
				t.Error("verified with another body by its Metorial signature")
			}
		})
	})
}

// mustRapid is mustSigner for a *rapid.T, which is no testing.TB.
func mustRapid(t *rapid.T, secret string) *signature.Signer {
	s, err := signature.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// changeByte is a copy of b with one byte another one, or one byte if b has none.
func changeByte(t *rapid.T, label string, b []byte) []byte {
	if len(b) == 0 {
		return []byte{rapid.Byte().Draw(t, label)}
	}
	b = slices.Clone(b)
	b[rapid.IntRange(0, len(b)-1).Draw(t, label+" index")] ^= byte(rapid.IntRange(1, 255).Draw(t, label+" bits"))
	return b
}

// sentinels are all that verifying with a good secret can answer.
var sentinels = []error{
	signature.ErrMissingHeader, signature.ErrMalformed, signature.ErrTimestamp, signature.ErrMismatch,
}

func isSentinel(err error) bool {
	return slices.ContainsFunc(sentinels, func(s error) bool { return errors.Is(err, s) })
}

func FuzzVerify(f *testing.F) {
	f.Add(vector.id, "1614265330", vector.standard, []byte(vector.body))
	f.Add("", "-1", "v1, v1a,x  v1", []byte(nil))
	signer := mustSigner(f, vector.secret)
	f.Fuzz(func(t *testing.T, id, timestamp, value string, body []byte) {
		h := http.Header{}
		h.Set(signature.HeaderID, id)
		h.Set(signature.HeaderTimestamp, timestamp)
		h.Set(signature.HeaderSignature, value)
		err := signature.Verify(h, body, options(vector.secret))
		if err != nil {
			if !isSentinel(err) {
				t.Errorf("Verify = %v, want a named error", err)
			}
			return
		}
		seconds, err := strconv.ParseInt(timestamp, 10, 64)
		if err != nil {
			t.Fatalf("verified with timestamp %q", timestamp)
		}
		if want := signer.Standard(id, time.Unix(seconds, 0), body); !strings.Contains(value, want) {
			t.Errorf("verified with %q, without %q", value, want)
		}
	})
}

func FuzzVerifyMetorial(f *testing.F) {
	f.Add(vector.metorial, []byte(vector.body))
	f.Add("t=,t=1,,v1,v1==", []byte(nil))
	signer := mustSigner(f, vector.secret)
	f.Fuzz(func(t *testing.T, value string, body []byte) {
		o := options(vector.secret)
		o.Tolerance = time.Nanosecond // so that only one time can verify
		err := signature.VerifyMetorial(http.Header{signature.HeaderMetorial: {value}}, body, o)
		if err != nil {
			if !isSentinel(err) {
				t.Errorf("VerifyMetorial = %v, want a named error", err)
			}
			return
		}
		_, want, _ := strings.Cut(signer.Metorial(o.Now(), body), ",")
		if !strings.Contains(value, want) {
			t.Errorf("verified with %q, without %q", value, want)
		}
	})
}

func BenchmarkSign(b *testing.B) {
	signer, body, at := mustSigner(b, vector.secret), make([]byte, 1024), time.Unix(vector.at, 0)
	for b.Loop() {
		h := make(http.Header, 4)
		signer.Sign(h, vector.id, at, body)
	}
}

func BenchmarkStandard(b *testing.B) {
	signer, body, at := mustSigner(b, vector.secret), make([]byte, 1024), time.Unix(vector.at, 0)
	for b.Loop() {
		signer.Standard(vector.id, at, body)
	}
}

func BenchmarkVerify(b *testing.B) {
	h, body, o := signed(), []byte(vector.body), options(vector.secret)
	for b.Loop() {
		if err := signature.Verify(h, body, o); err != nil {
			b.Fatal(err)
		}
	}
}
