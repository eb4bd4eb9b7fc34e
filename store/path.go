package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// ownPath is the one name of a file, which its lock, its key and SQLite's own files are beside. A
// symbolic link is followed; a file with several hard links is refused, because each name would
// have a lock and a log of its own, and two programs that write through two of them ruin the file.
func ownPath(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if dir, err := os.Stat(filepath.Dir(path)); err != nil || !dir.IsDir() {
		return "", fmt.Errorf("open %s: its folder does not exist", path)
	}
	real, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		if target, linked := os.Readlink(path); linked == nil {
			return "", fmt.Errorf("open %s: it is a link to %s, which is not there", path, target)
		}
		return path, nil
	}
	if err != nil {
		return "", err
	}
	info, err := os.Stat(real)
	if err != nil {
		return "", err
	}
	if info.IsDir() {
		return "", fmt.Errorf("open %s: it is a folder, not a file", path)
	}
	if n := hardLinks(info); n > 1 {
		return "", fmt.Errorf("open %s: the file has %d names (hard links), through which two programs could ruin it: remove the others, or use a copy made by backup", path, n)
	}
	return real, nil
}

// checkNoLostDatabase refuses to begin anew where a database was: a log without its database
// says that the database was moved or deleted alone.
func checkNoLostDatabase(path string) error {
	info, err := os.Stat(path)
	if err == nil && info.Size() > 0 {
		return nil
	}
	if wal, err := os.Stat(path + "-wal"); err == nil && wal.Size() > 0 {
		return fmt.Errorf("there is a log, %s-wal, but no database that it belongs to: put the database back, or restore a backup; to begin anew, move the log away", path)
	}
	return nil
}
