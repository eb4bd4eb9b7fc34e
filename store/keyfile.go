package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// The key of a file is in PATH.key, unless it is given. PATH.key.new is there while the key is
// changed (see rotate.go); PATH.key.FINGERPRINT is a former key, which older backups need.

func keyPath(path string) string    { return path + ".key" }
func newKeyPath(path string) string { return path + ".key.new" }

func formerKeyPath(path string, key []byte) string {
	sum := sha256.Sum256(key)
	return keyPath(path) + "." + hex.EncodeToString(sum[:4])
}

// A file has this word sealed in its meta table, by which its key is known.
const (
	keyCheck      = "key_check"
	keyCheckPlace = "meta.key_check"
	keyCheckWord  = "callbackd"
)

// readKeyCheck is the sealed word; nil: there is none yet.
func readKeyCheck(ctx context.Context, q rowReader) (sealed []byte, err error) {
	err = q.QueryRowContext(ctx, "SELECT value FROM meta WHERE key = ?", keyCheck).Scan(&sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return sealed, err
}

// fits tells whether a key is the one that a word was sealed with; every key fits no word.
func fits(key, sealed []byte) bool {
	s, err := newSealer(key, nil)
	if err != nil || sealed == nil {
		return err == nil
	}
	word, err := s.open(keyCheckPlace, sealed)
	return err == nil && string(word) == keyCheckWord
}

// findKey is the key of a file that is there, by its sealed word: the given one, else the one
// in PATH.key, else the one in PATH.key.new, with which a change of the key was cut off
// after its commit; isNew then says so.
func findKey(o Options, sealed []byte) (key []byte, isNew bool, err error) {
	if o.Key != nil {
		if !fits(o.Key, sealed) {
			return nil, false, errors.New("the encryption key is not the one that this file was written with: give that one")
		}
		return o.Key, false, nil
	}
	key, err = readKey(keyPath(o.Path))
	if err == nil && fits(key, sealed) {
		return key, false, nil
	}
	if key, failed := readKey(newKeyPath(o.Path)); failed == nil && sealed != nil && fits(key, sealed) {
		return key, true, nil
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, false, fmt.Errorf("the key file %s is missing, and without it the secrets in %s cannot be read: restore it, or give the key itself", keyPath(o.Path), o.Path)
	case err != nil:
		return nil, false, err
	}
	return nil, false, fmt.Errorf("the encryption key is not the one that this file was written with: put that one into %s, or give it", keyPath(o.Path))
}

// newFileKey is the key of a file that is new: the given one, else the one in PATH.key, which
// is made if it is missing.
func newFileKey(o Options) ([]byte, error) {
	if o.Key != nil {
		return o.Key, nil
	}
	key, err := readKey(keyPath(o.Path))
	if err == nil {
		o.Logger.Warn("a new, empty database was made, although there is a key of an earlier one: if a database is missing, stop and put it back", "path", o.Path, "key", keyPath(o.Path))
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if key, err = randomKey(o.Rand); err == nil {
		err = writeKey(keyPath(o.Path), key)
	}
	if err != nil {
		return nil, fmt.Errorf("make the key file %s: %w", keyPath(o.Path), err)
	}
	return key, nil
}

func randomKey(rand io.Reader) ([]byte, error) {
	key := make([]byte, keySize)
	_, err := io.ReadFull(rand, key)
	return key, err
}

func readKey(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, explain(err)
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	switch {
	case len(text) == 0:
		return nil, fmt.Errorf("%s is not a key: it is empty; restore it, or give the key itself", path)
	case err != nil || len(key) != keySize:
		return nil, fmt.Errorf("%s is not a key: it should hold %d bytes as base64; restore it, or give the key itself", path, keySize)
	}
	return key, nil
}

// writeKey makes a key file, durably and all at once: half a key is none. A file that is
// there stays, and is an error.
func writeKey(path string, key []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.partial") // with mode 0600
	if err != nil {
		return explain(err)
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(base64.StdEncoding.EncodeToString(key) + "\n")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return place(f.Name(), path)
}
