package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
)

// Backup writes a copy of the file at o.Path to dest: as it is at one instant, complete,
// checked, on the disk, readable by its owner alone, and under its name only then. It takes no
// lock, so it works on a file that an engine has open, here or in another process, which writes
// on beside it. Of o only Path counts. What is at dest already is never replaced: that is
// an error. When ctx ends or anything fails, nothing is left at dest.
//
// The secrets in the copy open only with the file's key. withKey copies the key in PATH.key
// to dest.key beside it, which makes whoever has both able to read them; without it, the key
// has to be kept elsewhere.
func Backup(ctx context.Context, o Options, dest string, withKey bool) error {
	if err := backup(ctx, o.Path, dest, withKey); err != nil {
		return fmt.Errorf("back up %s to %s: %w", o.Path, dest, err)
	}
	return nil
}

func backup(ctx context.Context, path, dest string, withKey bool) (err error) {
	// The folder that is meant now, whatever becomes of the working directory.
	if path, err = ownPath(path); err != nil {
		return err
	}
	if dest, err = filepath.Abs(dest); err != nil {
		return err
	}
	if _, err := os.Stat(path); err != nil {
		return err
	}
	// The log of a file that was here would be taken for the copy's own.
	names := []string{dest, dest + "-wal", dest + "-journal", dest + ".key"}
	for _, name := range names {
		if _, err := os.Lstat(name); err == nil {
			return fmt.Errorf("%s is there already: choose another name, or move it away", name)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	temporary, err := os.CreateTemp(filepath.Dir(dest), filepath.Base(dest)+".*.partial")
	if err != nil {
		return explain(err)
	}
	defer os.Remove(temporary.Name())
	if err := temporary.Close(); err != nil {
		return err
	}
	if err := copyDatabase(ctx, path, temporary.Name()); err != nil {
		return err
	}
	if withKey {
		key, err := keyOfCopy(ctx, path, temporary.Name())
		if err != nil {
			return err
		}
		if err := writeKey(dest+".key", key); err != nil {
			return err
		}
	}
	if err := place(temporary.Name(), dest); err != nil {
		if withKey {
			err = errors.Join(err, os.Remove(dest+".key"))
		}
		return err
	}
	return nil
}

// keyOfCopy is the key beside the file at path, if it opens the copy's secrets.
func keyOfCopy(ctx context.Context, path, copied string) ([]byte, error) {
	pool, err := sql.Open("sqlite", dsn(copied, url.Values{"mode": {"ro"}, "immutable": {"1"}}))
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	sealed, err := readKeyCheck(ctx, pool)
	if err != nil {
		return nil, err
	}
	key, _, err := findKey(Options{Path: path}, sealed)
	return key, err
}

// Backup is [Backup] of the open file; with a key that was given, withKey is an error.
func (s *Store) Backup(ctx context.Context, dest string, withKey bool) error {
	if withKey && s.key != nil {
		return errors.New("back up: there is no key file to copy, because the key was given")
	}
	return Backup(ctx, Options{Path: s.path}, dest, withKey)
}
