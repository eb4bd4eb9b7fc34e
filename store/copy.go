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

	"modernc.org/sqlite"
)

// copyStep is how many pages are copied between two looks at the context.
const copyStep = 128

// copyDatabase writes what the file at path holds now into an empty file, checks the copy,
// and has it on the disk.
func copyDatabase(ctx context.Context, path, empty string) error {
	if err := snapshot(ctx, path, empty); err != nil {
		return explain(err)
	}
	if err := checkCopy(ctx, empty); err != nil {
		return err
	}
	return syncFile(empty)
}

// snapshot copies page by page in one read transaction. Writers go on beside it, with a log that
// cannot start from its beginning until it ends: so nothing else is done in it, and it is not
// VACUUM INTO, which takes longer because it builds every B-tree anew.
func snapshot(ctx context.Context, path, empty string) (err error) {
	pool, err := sql.Open("sqlite", readerDSN(Options{Path: path}))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pool.Close()) }()
	conn, err := pool.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	// The transaction makes all steps see the same. Without one, a step that finds that
	// another connection has written begins from the first page, and under load never ends.
	tx, err := conn.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // it changed nothing
	var app int
	if err := tx.QueryRowContext(ctx, "PRAGMA application_id").Scan(&app); err != nil {
		return err
	}
	if app != applicationID {
		return errNotOurs
	}
	// No journal and no sync: until the copy is whole nobody wants it, and then it is synced at once.
	target := dsn(empty, url.Values{"_journal_mode": {"OFF"}, "_synchronous": {"OFF"}})
	return conn.Raw(func(c any) error { return copyPages(ctx, c, target) })
}

func copyPages(ctx context.Context, source any, target string) (err error) {
	c, ok := source.(interface {
		NewBackup(string) (*sqlite.Backup, error)
	})
	if !ok {
		return errors.New("the SQLite driver cannot copy")
	}
	b, err := c.NewBackup(target)
	if err != nil {
		return err
	}
	defer func() {
		// What Finish says then is the same error once more.
		if finished := b.Finish(); err == nil {
			err = finished
		}
	}()
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return err
		}
		if more, err = b.Step(copyStep); err != nil {
			return err
		}
	}
	return nil
}

// checkCopy reads a whole copy. It is nobody's yet, so it needs no log and no lock.
func checkCopy(ctx context.Context, path string) (err error) {
	pool, err := sql.Open("sqlite", dsn(path, url.Values{"mode": {"ro"}, "immutable": {"1"}}))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pool.Close()) }()
	var verdict string
	if err := pool.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return fmt.Errorf("check the copy: %w", explain(err))
	}
	if verdict != "ok" {
		return fmt.Errorf("the copy is damaged, because the file is (callbackd check says more): %s", verdict)
	}
	return nil
}

// place gives a finished file its name, durably, and replaces nothing that has it already.
func place(temporary, dest string) error {
	err := os.Link(temporary, dest)
	switch {
	case err == nil:
		err = os.Remove(temporary)
	case errors.Is(err, fs.ErrExist):
	default: // the file system has no hard links
		if _, err = os.Lstat(dest); err == nil {
			err = fs.ErrExist
		} else if errors.Is(err, fs.ErrNotExist) {
			err = os.Rename(temporary, dest)
		}
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(dest))
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
