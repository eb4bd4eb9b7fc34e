package store

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// upgradeRoom is how many times its size a file needs to be brought forward: once for the
// copy, and up to twice for tables that are made anew, in the log and then in the file.
const upgradeRoom = 3

// keepCopy copies a file that is about to be brought forward from a version, of which it has
// so many bytes, to PATH.vN.bak, and returns that name. A copy that an earlier try left there is
// used again if it is the same, and else stays: this one then has a number. The caller owns
// the file.
func keepCopy(ctx context.Context, o Options, version int, size uint64) (string, error) {
	free, err := o.freeRoom(filepath.Dir(o.Path))
	if err != nil {
		return "", err
	}
	if free < upgradeRoom*size {
		return "", fmt.Errorf("there is not enough room on the disk: a copy and the new tables take up to %d MiB, and %d MiB are free; nothing was changed",
			upgradeRoom*size>>20+1, free>>20)
	}
	name := func(n int) string {
		if n == 1 {
			return fmt.Sprintf("%s.v%d.bak", o.Path, version)
		}
		return fmt.Sprintf("%s.v%d.%d.bak", o.Path, version, n)
	}
	partial := name(1) + ".partial" // no other process makes one
	f, err := os.OpenFile(partial, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return "", err
	}
	defer os.Remove(partial)
	if err := f.Close(); err != nil {
		return "", err
	}
	if err := copyDatabase(ctx, o.Path, partial); err != nil {
		return "", fmt.Errorf("copy the file: %w", err)
	}
	for n := 1; ; n++ {
		err := place(partial, name(n))
		if !errors.Is(err, fs.ErrExist) {
			return name(n), err
		}
		same, err := sameContent(partial, name(n))
		if err != nil {
			return "", err
		}
		if same {
			return name(n), nil
		}
		o.Logger.Warn("there is another copy of an earlier try to bring the file forward; it stays", "path", name(n))
	}
}

// sameContent compares two files.
func sameContent(a, b string) (bool, error) {
	x, err := os.Open(a)
	if err != nil {
		return false, err
	}
	defer x.Close()
	y, err := os.Open(b)
	if err != nil {
		return false, err
	}
	defer y.Close()
	const size = 1 << 20
	left, right := bufio.NewReaderSize(x, size), bufio.NewReaderSize(y, size)
	for {
		p, failed := left.Peek(size)
		if failed != nil && failed != io.EOF {
			return false, failed
		}
		q, err := right.Peek(size)
		if err != nil && err != io.EOF {
			return false, err
		}
		if !bytes.Equal(p, q) {
			return false, nil
		}
		if failed == io.EOF { // and then the other one's too, or it would be longer
			return true, nil
		}
		_, _ = left.Discard(len(p)) // what was peeked at is there
		_, _ = right.Discard(len(q))
	}
}
