package store

import (
	"fmt"

	"github.com/gofrs/flock"
)

// LockedError says that another process has the file open.
type LockedError struct{ Path string }

func (e *LockedError) Error() string {
	return fmt.Sprintf("%s is in use by another callbackd process: stop that one, or choose another file", e.Path)
}

// lock makes this process the owner of path, or fails at once. The lock is on a
// file of its own: opening and closing the database itself would drop the locks that
// SQLite holds on it.
func lock(path string) (*flock.Flock, error) {
	l := flock.New(path + ".lock")
	ok, err := l.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, explain(err))
	}
	if !ok {
		return nil, &LockedError{Path: path}
	}
	return l, nil
}
