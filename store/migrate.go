package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/callbackd/callbackd"
)

// A file says in its header whose it is and which schema it has.
const (
	applicationID = 0x63626b64 // "cbkd"
	schemaVersion = 1
)

// VersionError says that a file was written by a newer callbackd.
type VersionError struct{ Have, Want int }

func (e *VersionError) Error() string {
	return fmt.Sprintf("the file has schema version %d and this program knows versions up to %d: use a newer callbackd", e.Have, e.Want)
}

// migrate makes the schema in an empty file and brings an older one forward, one
// transaction for all, and tells whether the file was empty.
func migrate(ctx context.Context, pool *sql.DB) (isNew bool, err error) {
	tx, err := pool.BeginTx(ctx, nil)
	if err != nil {
		return false, err
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
			return false, err
		}
	}
	switch {
	case tables == 0 && version == 0:
		text := fmt.Sprintf("%s\nPRAGMA application_id = %d; PRAGMA user_version = %d;", callbackd.Schema, applicationID, schemaVersion)
		if _, err := tx.ExecContext(ctx, text); err != nil {
			return false, fmt.Errorf("make the schema: %w", err)
		}
		return true, tx.Commit()
	case app != applicationID:
		return false, fmt.Errorf("it is some other program's SQLite database: choose another file")
	case version > schemaVersion:
		return false, &VersionError{Have: version, Want: schemaVersion}
	}
	return false, nil
}
