package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"

	"github.com/callbackd/callbackd"
)

// A file says in its header whose it is and which schema it has.
const (
	applicationID = 0x63626b64 // "cbkd"
	schemaVersion = 3
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
	tx, err := pool.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it is a no-op
	var app, version, tables int
	for _, read := range []struct {
		query string
		to    *int
	}{
		{"PRAGMA application_id", &app},
		{"PRAGMA user_version", &version},
		{"SELECT count(*) FROM sqlite_master", &tables},
	} {
		if err := tx.QueryRowContext(ctx, read.query).Scan(read.to); err != nil {
			return nil, err
		}
	}
	switch {
	case tables == 0 && version == 0:
		text := fmt.Sprintf("%s\nPRAGMA application_id = %d; PRAGMA user_version = %d;", callbackd.Schema, applicationID, schemaVersion)
		if _, err := tx.ExecContext(ctx, text); err != nil {
			return nil, fmt.Errorf("make the schema: %w", err)
		}
		if key, err = keyFor(o, true); err != nil {
			return nil, err
		}
		return key, tx.Commit()
	case app != applicationID:
		return nil, errors.New("it is some other program's SQLite database: choose another file")
	case version > schemaVersion:
		return nil, &VersionError{Have: version, Want: schemaVersion}
	}
	if key, err = keyFor(o, false); err != nil || version == schemaVersion {
		return key, err
	}
	o.Logger.Info("the file is being brought to a new schema, which takes a while if it is large; older versions cannot open it then",
		"path", o.Path, "from", version, "to", schemaVersion)
	for to := version + 1; to <= schemaVersion; to++ {
		text, err := steps.ReadFile(fmt.Sprintf("steps/%d.sql", to))
		if err != nil {
			return nil, err
		}
		if _, err := tx.ExecContext(ctx, fmt.Sprintf("%s\nPRAGMA user_version = %d;", text, to)); err != nil {
			return nil, fmt.Errorf("bring the schema from version %d to %d: %w", to-1, to, err)
		}
	}
	// Steps make tables anew, during which references are not enforced.
	var broken int
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM pragma_foreign_key_check").Scan(&broken); err != nil {
		return nil, err
	}
	if broken > 0 {
		return nil, fmt.Errorf("bring the schema to version %d: %d rows refer to rows that are not there", schemaVersion, broken)
	}
	return key, tx.Commit()
}
