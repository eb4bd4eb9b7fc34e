package store

import (
	"errors"
	"fmt"
	"io/fs"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// errNotOurs is for a database with another program's mark.
var errNotOurs = errors.New("it is some other program's SQLite database: choose another file")

// advice is what to do about a failure of the file, by SQLite's primary code.
var advice = map[int]string{
	sqlite3.SQLITE_NOTADB:   "it is no callbackd file, or its beginning is damaged: choose another file, or restore a backup",
	sqlite3.SQLITE_CORRUPT:  "the file is damaged: keep it as it is, and restore a backup",
	sqlite3.SQLITE_BUSY:     "another program keeps a lock on the file: end that one",
	sqlite3.SQLITE_READONLY: "this process may not write the file: see to its owner and mode, and to those of its folder and of the files beside it",
	sqlite3.SQLITE_PERM:     "this process may not open the file: see to its owner and mode",
	sqlite3.SQLITE_CANTOPEN: "this process cannot open the file, or make its -wal and -shm beside it: see to the owner and mode of the file and its folder",
	sqlite3.SQLITE_FULL:     "there is no room left on the disk: make some",
	sqlite3.SQLITE_IOERR:    "the disk or its file system fails: see to it, and restore a backup if the file was damaged",
}

// explain adds to a failure of the file what to do about it.
func explain(err error) error {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		if text := advice[e.Code()&0xff]; text != "" {
			return fmt.Errorf("%s (%w)", text, err)
		}
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: see to the owner and mode of the file and its folder", err)
	}
	return err
}
