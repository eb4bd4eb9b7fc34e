package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// sealedColumn has values that are sealed for a place: its name and the row's id. Null is
// not sealed.
type sealedColumn struct{ table, column, place string }

var sealedColumns = []sealedColumn{
	{"provider_config", "value", "config"},
	{"provider_auth_config", "value", "auth_config"},
	{"provider_auth_config", "prepared", "auth_config.prepared"},
	{"instance_trigger", "registration", "instance_trigger.registration"},
	{"destination", "signing_secret", "destination.signing_secret"},
	{"destination", "headers", "destination.headers"},
}

// sealedValue is a row of a sealed column.
type sealedValue struct {
	seq   int64
	id    string
	value []byte
}

// each calls fn for every value, 64 of which are in memory at a time. fn may write.
func (c sealedColumn) each(ctx context.Context, q rowReader, fn func(place string, v sealedValue) error) error {
	const page = 64
	for after := int64(-1); ; {
		rows, err := q.QueryContext(ctx, fmt.Sprintf("SELECT seq, id, %[2]s FROM %[1]s WHERE seq > ? AND %[2]s IS NOT NULL ORDER BY seq LIMIT %[3]d", c.table, c.column, page), after)
		if err != nil {
			return err
		}
		values, err := scanSealed(rows)
		if err != nil {
			return err
		}
		for _, v := range values {
			if err := fn(c.place+":"+v.id, v); err != nil {
				return err
			}
			after = v.seq
		}
		if len(values) < page {
			return nil
		}
	}
}

func scanSealed(rows *sql.Rows) (out []sealedValue, err error) {
	defer rows.Close()
	for rows.Next() {
		var v sealedValue
		if err := rows.Scan(&v.seq, &v.id, &v.value); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

// RotateKey seals every secret in the file at o.Path anew, in one transaction, under
// another key: newKey, 32 bytes, or, when it is nil, a random one that is put into PATH.key.
// It needs the file to itself: one that an engine has open is a [*LockedError].
//
// When the key was in PATH.key, that file is named PATH.key.FINGERPRINT after it, because
// backups of before need it; former is its name, "" if the key was given. A nil newKey is for
// such files only: who gives the key has to give the new one. After a given newKey, the file
// opens only with it given.
//
// When it is cut off at any instant, the file opens with the former key or the new one as
// before: whichever key file fits is found by the next Open. With a given newKey, repeat the
// call to know: a file that has the key already is left as it is. A secret that cannot be
// opened is an error that names it, and changes nothing.
func RotateKey(ctx context.Context, o Options, newKey []byte) (former string, err error) {
	if newKey == nil && o.Key != nil {
		return "", errors.New("rotate the key: this file's key is given, so the new one has to be given too")
	}
	if newKey != nil && len(newKey) != keySize {
		return "", fmt.Errorf("rotate the key: the new key has %d bytes, it must have %d", len(newKey), keySize)
	}
	if _, err := os.Stat(o.Path); err != nil {
		return "", fmt.Errorf("rotate the key: %w", err) // nothing to be made
	}
	o.NoSync = false // the key files follow the commit
	s, err := Open(ctx, o)
	if err != nil {
		if newKey == nil {
			return "", err
		}
		again := o
		again.Key = newKey
		s, failed := Open(ctx, again)
		if failed != nil {
			return "", err
		}
		if err := s.Close(); err != nil || o.Key != nil {
			return "", err
		}
		return retireKey(s.path, nil) // it was cut off after its commit
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	toFile := newKey == nil
	if toFile {
		if newKey, err = randomKey(s.sealer.rand); err != nil {
			return "", err
		}
		if err := writeKey(newKeyPath(s.path), newKey); err != nil {
			return "", fmt.Errorf("make the new key: %w", err)
		}
	}
	if err := s.reseal(ctx, newKey); err != nil {
		if toFile && !errors.Is(err, ErrUnavailable) { // which says that the commit may have been made
			err = errors.Join(err, os.Remove(newKeyPath(s.path)))
		}
		return "", fmt.Errorf("rotate the key: %w", err)
	}
	switch {
	case toFile:
		return adoptKey(s.path)
	case o.Key == nil:
		return retireKey(s.path, nil)
	}
	return "", nil
}

// reseal opens every sealed value and seals it under another key.
func (s *Store) reseal(ctx context.Context, key []byte) error {
	other, err := newSealer(key, s.sealer.rand)
	if err != nil {
		return err
	}
	return s.write(ctx, func(tx *tx) error {
		for _, c := range sealedColumns {
			update := fmt.Sprintf("UPDATE %s SET %s = ? WHERE seq = ?", c.table, c.column)
			if err := c.each(tx.ctx, tx.conn, func(place string, v sealedValue) error {
				plain, err := s.sealer.open(place, v.value)
				if err != nil {
					return err
				}
				sealed, err := other.seal(place, plain)
				if err != nil {
					return err
				}
				_, err = tx.conn.ExecContext(tx.ctx, update, sealed, v.seq)
				return err
			}); err != nil {
				return err
			}
		}
		word, err := other.seal(keyCheckPlace, []byte(keyCheckWord))
		if err != nil {
			return err
		}
		return tx.q.SetMeta(tx.ctx, keyCheck, word)
	})
}

// adoptKey makes PATH.key.new the key, once what it sealed is on the disk, and returns where
// the former one is kept.
func adoptKey(path string) (former string, err error) {
	key, err := readKey(newKeyPath(path))
	if err != nil {
		return "", err
	}
	if former, err = retireKey(path, key); err != nil {
		return former, err
	}
	if err := os.Rename(newKeyPath(path), keyPath(path)); err != nil {
		return former, err
	}
	return former, syncDir(filepath.Dir(path))
}

// retireKey keeps the key in PATH.key under its fingerprint. There is a file PATH.key at
// every instant if there is a next key, and none afterwards otherwise.
func retireKey(path string, next []byte) (former string, err error) {
	key, err := readKey(keyPath(path))
	if _, unread := errors.AsType[*fs.PathError](err); unread && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("keep the former key: %w", err) // it may be well, and is not to be written over
	}
	if err != nil { // missing, or damaged: nobody can use it
		return "", nil //nolint:nilerr // the file has another key by now
	}
	former = formerKeyPath(path, key)
	if err := writeKey(former, key); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("keep the former key: %w", err)
	}
	if next == nil {
		if err := os.Remove(keyPath(path)); err != nil {
			return former, err
		}
	}
	return former, syncDir(filepath.Dir(path))
}
