package engine

import (
	"context"

	"github.com/callbackd/callbackd/store"
)

// CheckReport is what a check of the file found; Problem is a rule that the file breaks.
type (
	CheckReport = store.CheckReport
	Problem     = store.Problem
)

// Backup writes a copy of the engine's file to dest while the engine works on: complete as
// of one instant not before the call, checked, on the disk, readable by its owner alone, and
// under its name only then. What is at dest already is never replaced: that is an error. When
// ctx ends or anything fails, nothing is left at dest.
//
// To restore, open the copy with the key that the engine has. withKey copies the key file to
// dest.key, so that the copy opens as it is, and whoever has both can read its secrets;
// without it, keep the key elsewhere. It is an error when the key is in Options.Key.
func (e *Engine) Backup(ctx context.Context, dest string, withKey bool) error {
	return wrap(e.store.Backup(ctx, dest, withKey))
}

// Check looks at everything in the engine's file while the engine works on: SQLite's own
// integrity, references, what the engine relies on, and secrets. What is wrong is in the
// report; an error says that there was no checking it, or that ctx ended. quick leaves out
// whether indexes agree with their rows. It reads the whole file, and the file's log grows
// meanwhile: of a large busy one, rather check a backup.
func (e *Engine) Check(ctx context.Context, quick bool) (CheckReport, error) {
	r, err := e.store.Check(ctx, quick)
	return r, wrap(err)
}

// RotateKey seals every secret in the file of o, which no engine may have open, anew under
// another key, in one transaction; of o only Path, Key and Logger count. newKey has 32 bytes;
// nil makes a random one in PATH.key, which is not possible when o.Key is given. former names
// the file that keeps the key which was in PATH.key, because older backups need it; "" if there
// was none. Cut off at any instant, it leaves a file that opens with one of the two keys:
// repeat it with a newKey that was given, and without one just open the file.
func RotateKey(ctx context.Context, o Options, newKey []byte) (former string, err error) {
	return store.RotateKey(ctx, store.Options{Path: o.Path, Key: o.Key, Logger: o.Logger}, newKey)
}
