package store

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// Options say how a file is opened.
type Options struct {
	// Path of the database file; required. It is made if it is missing, its folder is not.
	// PATH.lock and, unless Key is given, PATH.key are kept beside it.
	Path string

	// Key encrypts secrets at rest; 32 bytes. nil: the key in PATH.key, which is made
	// (mode 0600) together with the database.
	Key []byte

	// NoSync gives up one guarantee for speed: commits survive a crash of the process but
	// the last few may not survive a power cut (synchronous=NORMAL). Default: every commit
	// is on the disk before its caller hears of it (synchronous=FULL).
	NoSync bool

	// Now is the clock for ids; default time.Now.
	Now func() time.Time
	// Rand is the source of ids and nonces; default crypto/rand.
	Rand io.Reader
	// Logger is told of what no caller can be told; nil: silent.
	Logger *slog.Logger

	freeRoom func(dir string) (uint64, error) // for tests
}

func (o Options) withDefaults() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.freeRoom == nil {
		o.freeRoom = freeRoom
	}
	return o
}

func (o Options) validate() error {
	if o.Path == "" {
		return errors.New("store: Options.Path is empty")
	}
	if o.Key != nil && len(o.Key) != keySize {
		return fmt.Errorf("store: Options.Key has %d bytes, it must have %d", len(o.Key), keySize)
	}
	return nil
}
