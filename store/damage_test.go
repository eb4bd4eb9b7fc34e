package store_test

import (
	"bytes"
	"database/sql"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/callbackd/callbackd/store"
)

// Whatever is wrong with a file, opening it says what it is and what to do.
func TestOpenSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	f := setup(t)
	check(t, f.Close())
	for what, tt := range map[string]struct {
		spoil func(t *testing.T, path string)
		want  []string
		root  bool // it can be tested as root, who may write everything
	}{
		"Truncated": {func(t *testing.T, path string) {
			check(t, os.Truncate(path, must(os.Stat(path))(t).Size()/2))
		}, []string{"the file is damaged: keep it as it is, and restore a backup"}, true},
		"GarbageHeader": {func(t *testing.T, path string) { scribble(t, path, 0, 100) },
			[]string{"it is no callbackd file, or its beginning is damaged: choose another file, or restore a backup"}, true},
		"GarbageInTheMiddle": {func(t *testing.T, path string) { scribble(t, path, 4096, 1<<20) },
			[]string{"the file is damaged: keep it as it is, and restore a backup"}, true},
		"Text": {func(t *testing.T, path string) {
			check(t, os.WriteFile(path, bytes.Repeat([]byte("just some text\n"), 1000), 0o600))
		}, []string{"it is no callbackd file", "file is not a database"}, true},
		"AnotherProgramsDatabase": {func(t *testing.T, path string) { alter(t, path, "PRAGMA application_id = 7") },
			[]string{"it is some other program's SQLite database: choose another file"}, true},
		"NewerVersion": {func(t *testing.T, path string) { alter(t, path, "PRAGMA user_version = 99") },
			[]string{"schema version 99", "use a newer callbackd"}, true},
		"Folder": {func(t *testing.T, path string) {
			check(t, os.Remove(path))
			check(t, os.Mkdir(path, 0o700))
		}, []string{"it is a folder, not a file"}, true},
		"MissingFolder": {func(t *testing.T, path string) { check(t, os.RemoveAll(filepath.Dir(path))) },
			[]string{"its folder does not exist"}, true},
		"OpenInAnotherEngine": {func(t *testing.T, path string) { open(t, path) },
			[]string{"is in use by another callbackd process: stop that one, or choose another file"}, true},
		"LockedByAnotherProgram": {func(t *testing.T, path string) {
			other := must(sql.Open("sqlite", "file:"+path))(t)
			other.SetMaxOpenConns(1)
			_, err := other.ExecContext(t.Context(), "BEGIN IMMEDIATE")
			check(t, err)
			t.Cleanup(func() { _ = other.Close() })
		}, []string{"another program keeps a lock on the file: end that one"}, true},
		"ReadOnlyFile": {func(t *testing.T, path string) { check(t, os.Chmod(path, 0o400)) },
			[]string{"this process may not write the file: see to its owner and mode"}, false},
		"UnreadableFile": {func(t *testing.T, path string) { check(t, os.Chmod(path, 0)) },
			[]string{"this process cannot open the file", "see to the owner and mode"}, false},
		"ReadOnlyFolder": {func(t *testing.T, path string) { readOnly(t, filepath.Dir(path)) },
			[]string{"test.db.lock", "permission denied", "see to the owner and mode of the file and its folder"}, false},
		"NewFileInAReadOnlyFolder": {func(t *testing.T, path string) {
			check(t, os.Remove(path))
			readOnly(t, filepath.Dir(path))
		}, []string{"permission denied", "see to the owner and mode of the file and its folder"}, false},
		"UnreadableKey": {func(t *testing.T, path string) { check(t, os.Chmod(path+".key", 0)) },
			[]string{"test.db.key", "permission denied", "see to the owner and mode"}, false},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			if !tt.root && os.Geteuid() == 0 {
				t.Skip("root may write everything: run this test as another user")
			}
			path := copyTo(t, f.path, "test.db")
			tt.spoil(t, path)
			s, err := store.Open(t.Context(), store.Options{Path: path})
			if err == nil {
				_ = s.Close()
				t.Fatal("Open succeeds")
			}
			for _, want := range append(tt.want, path) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("Open says %q, want %q", err, want)
				}
			}
		})
	}
}

// readOnly keeps files from being made in a folder until the test ends.
func readOnly(t *testing.T, dir string) {
	t.Helper()
	check(t, os.Chmod(dir, 0o500))
	t.Cleanup(func() { _ = os.Chmod(dir, fs.FileMode(0o700)) })
}
