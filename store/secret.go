package store

import (
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"io"
)

const keySize = 32 // AES-256

// sealer encrypts what must not be readable in the file: AES-256-GCM, a random
// nonce in front, and the name of the column and row as additional data, so that a
// sealed value cannot be moved to another place.
type sealer struct {
	aead cipher.AEAD
	rand io.Reader
}

func newSealer(key []byte, rand io.Reader) (*sealer, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &sealer{aead: aead, rand: rand}, nil
}

func (s *sealer) seal(place string, plain []byte) ([]byte, error) {
	nonce := make([]byte, s.aead.NonceSize(), s.aead.NonceSize()+len(plain)+s.aead.Overhead())
	if _, err := io.ReadFull(s.rand, nonce); err != nil {
		return nil, fmt.Errorf("seal %s: %w", place, err)
	}
	return s.aead.Seal(nonce, nonce, plain, []byte(place)), nil
}

func (s *sealer) open(place string, sealed []byte) ([]byte, error) {
	n := s.aead.NonceSize()
	if len(sealed) < n {
		return nil, fmt.Errorf("open %s: the sealed value is too short", place)
	}
	plain, err := s.aead.Open(nil, sealed[:n], sealed[n:], []byte(place))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", place, err)
	}
	return plain, nil
}
