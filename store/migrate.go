package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/callbackd/callbackd"
)

// A file says in its header whose it is and which schema it has.
const (
	applicationID = 0x63626b64 // "cbkd"
	schemaVersion = 4
)

// steps bring a file forward: N.sql from version N-1 to N. A step that was released never
// changes again.
//
//go:embed steps
var steps embed.FS

// VersionError says that a file was written by a newer callbackd.
type VersionError struct{ Have, Want int }

func (e *VersionError) Error() string {
	return fmt.Sprintf("the file has schema version %d and this program knows versions up to %d: use a newer callbackd", e.Have, e.Want)
}

// migrate makes the schema in an empty file and brings an older one forward, one
// transaction for all, and finds the key. A new key is there before the file that needs it.
func migrate(ctx context.Context, o Options) (key []byte, err error) {
	pool, err := sql.Open("sqlite", migratorDSN(o))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, pool.Close()) }()
	key, isNew, err := migrateIn(ctx, pool, o)
	if err != nil || o.Key != nil {
		return key, err
	}
	if !isNew {
		// Of a change of the key that was cut off before its commit.
		if err := os.Remove(newKeyPath(o.Path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		return key, nil
	}
	// The commit that the new key belongs to may not be on the disk yet.
	if _, err := pool.ExecContext(ctx, "PRAGMA wal_checkpoint(FULL)"); err != nil {
		return nil, err
	}
	o.Logger.Info("a change of the key was cut off, and is brought to its end", "path", o.Path)
	_, err = adoptKey(o.Path)
	return key, err
}

func migrateIn(ctx context.Context, pool *sql.DB, o Options) (key []byte, isNew bool, err error) {
	tx, err := pool.BeginTx(ctx, nil)
	if err != nil {
		return nil, false, err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it is a no-op
	var app, version, tables, pages, pageSize int
	for _, read := range []struct {
		query string
		to    *int
	}{
		{"PRAGMA application_id", &app},
		{"PRAGMA user_version", &version},
		{"SELECT count(*) FROM sqlite_master", &tables},
		{"PRAGMA page_count", &pages},
		{"PRAGMA page_size", &pageSize},
	} {
		if err := tx.QueryRowContext(ctx, read.query).Scan(read.to); err != nil {
			return nil, false, err
		}
	}
	switch {
	case tables == 0 && version == 0:
		text := fmt.Sprintf("%s\nPRAGMA application_id = %d; PRAGMA user_version = %d;", callbackd.Schema, applicationID, schemaVersion)
		if _, err := tx.ExecContext(ctx, text); err != nil {
			return nil, false, fmt.Errorf("make the schema: %w", err)
		}
		if key, err = newFileKey(o); err != nil {
			return nil, false, err
		}
		return key, false, tx.Commit()
	case app != applicationID:
		return nil, false, errNotOurs
	case version > schemaVersion:
		return nil, false, &VersionError{Have: version, Want: schemaVersion}
	}
	// SQLite opens a file that may not be written for reading, and says so only when something is
	// written. Nothing is committed of this.
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", version)); err != nil {
		return nil, false, err
	}
	sealed, err := readKeyCheck(ctx, tx)
	if err != nil {
		return nil, false, err
	}
	if key, isNew, err = findKey(o, sealed); err != nil || version == schemaVersion {
		return key, isNew, err
	}
	return key, isNew, upgrade(ctx, tx, o, version, uint64(pages)*uint64(pageSize))
}

// upgrade brings an older file forward, with a copy of it beside it until that has succeeded.
// The transaction is open already, so nothing changes between the copy and the steps.
func upgrade(ctx context.Context, tx *sql.Tx, o Options, version int, size uint64) error {
	o.Logger.Info("the file is being brought to a new schema, which takes a while if it is large; older versions cannot open it then",
		"path", o.Path, "from", version, "to", schemaVersion)
	kept, err := keepCopy(ctx, o, version, size)
	if err != nil {
		return fmt.Errorf("before the schema is brought from version %d to %d: %w", version, schemaVersion, err)
	}
	err = runSteps(ctx, tx, version)
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		return fmt.Errorf("%w; the file is as it was, and a copy of it is kept in %s", err, kept)
	}
	return os.Remove(kept)
}

func runSteps(ctx context.Context, tx *sql.Tx, version int) error {
	for to := version + 1; to <= schemaVersion; to++ {
		text, err := steps.ReadFile(fmt.Sprintf("steps/%d.sql", to))
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, fmt.Sprintf("%s\nPRAGMA user_version = %d;", text, to)); err != nil {
			return fmt.Errorf("bring the schema from version %d to %d: %w", to-1, to, explain(err))
		}
	}
	// Steps make tables anew, during which references are not enforced.
	var broken int
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM pragma_foreign_key_check").Scan(&broken); err != nil {
		return err
	}
	if broken > 0 {
		return fmt.Errorf("bring the schema to version %d: %d rows refer to rows that are not there", schemaVersion, broken)
	}
	return nil
}
