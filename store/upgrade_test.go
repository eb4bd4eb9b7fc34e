package store_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/callbackd/callbackd/store"
)

// An older file is brought forward with a copy of it beside it until that has succeeded.
func TestUpgrade(t *testing.T) {
	t.Parallel()

	// broken has a row that refers to nothing, so that it cannot be brought forward until it is mended.
	const breakIt, mendIt = "UPDATE notification SET destination_seq = destination_seq + 900", "UPDATE notification SET destination_seq = destination_seq - 900"
	broken := func(t *testing.T) string {
		path := oldFile(t, "testdata/v1.db.gz")
		alter(t, path, breakIt)
		return path
	}
	beside := func(t *testing.T, path string) (out []string) {
		for _, name := range must(filepath.Glob(path + "*"))(t) {
			if suffix := strings.TrimPrefix(name, path); suffix != "" && suffix != ".key" && suffix != ".lock" {
				out = append(out, suffix)
			}
		}
		return out
	}
	version := func(t *testing.T, path string) (n int) {
		t.Helper()
		plain := must(sql.Open("sqlite", "file:"+path))(t)
		defer plain.Close()
		check(t, plain.QueryRowContext(t.Context(), "PRAGMA user_version").Scan(&n))
		return n
	}

	t.Run("RemovesTheCopyWhenItHasSucceeded", func(t *testing.T) {
		t.Parallel()
		path := oldFile(t, "testdata/v1.db.gz")
		check(t, open(t, path).Close())
		equal(t, "files", beside(t, path), []string(nil))
	})

	t.Run("KeepsTheCopyWhenItFails", func(t *testing.T) {
		t.Parallel()
		path := broken(t)
		refuses(t, store.Options{Path: path}, "the file is as it was, and a copy of it is kept in "+path+".v1.bak")
		equal(t, "files", beside(t, path), []string{".v1.bak"})
		equal(t, "mode", must(os.Stat(path+".v1.bak"))(t).Mode(), fs.FileMode(0o600))
		equal(t, "versions", []int{version(t, path), version(t, path+".v1.bak")}, []int{1, 1})

		// The copy is whole: mended, it can be brought forward itself.
		copied := filepath.Join(t.TempDir(), "copy.db")
		check(t, os.Rename(path+".v1.bak", copied))
		check(t, os.WriteFile(copied+".key", must(os.ReadFile(path+".key"))(t), 0o600))
		alter(t, copied, mendIt)
		s := open(t, copied)
		equal(t, "problems", must(s.Check(t.Context(), false))(t).Problems, []store.Problem(nil))
	})

	t.Run("UsesACopyOfTheSameAgainAndNeverReplacesAnother", func(t *testing.T) {
		t.Parallel()
		path := broken(t)
		for range 2 {
			refuses(t, store.Options{Path: path}, path+".v1.bak")
		}
		equal(t, "files", beside(t, path), []string{".v1.bak"})
		first := must(os.ReadFile(path + ".v1.bak"))(t)

		alter(t, path, "UPDATE callback SET name = 'changed since'")
		refuses(t, store.Options{Path: path}, path+".v1.2.bak")
		equal(t, "files", beside(t, path), []string{".v1.2.bak", ".v1.bak"})

		alter(t, path, mendIt)
		check(t, open(t, path).Close())
		equal(t, "files", beside(t, path), []string{".v1.2.bak", ".v1.bak"})
		if !bytes.Equal(first, must(os.ReadFile(path+".v1.bak"))(t)) {
			t.Error("the first copy was changed")
		}
	})

	t.Run("GoesOnAfterItWasCutOff", func(t *testing.T) {
		t.Parallel()
		path := oldFile(t, "testdata/v1.db.gz")
		alter(t, path, breakIt)
		refuses(t, store.Options{Path: path}, ".bak")
		alter(t, path, mendIt)                                                                        // what is left: a copy
		check(t, os.WriteFile(path+".v1.bak.partial", bytes.Repeat([]byte("half a copy"), 9), 0o600)) // and half of another
		check(t, open(t, path).Close())
		equal(t, "files", beside(t, path), []string{".v1.bak"}) // which is of something else
	})

	t.Run("ChangesNothingWithoutRoom", func(t *testing.T) {
		t.Parallel()
		path := oldFile(t, "testdata/v1.db.gz")
		before := must(os.ReadFile(path))(t)
		refuses(t, store.WithRoom(store.Options{Path: path}, 3*uint64(len(before))-1), "there is not enough room on the disk")
		equal(t, "files", beside(t, path), []string(nil))
		if !bytes.Equal(before, must(os.ReadFile(path))(t)) {
			t.Error("the file was changed")
		}
		s := must(store.Open(t.Context(), store.WithRoom(store.Options{Path: path}, 3*uint64(len(before)))))(t)
		check(t, s.Close())
	})

	t.Run("ChangesNothingWithoutTheKey", func(t *testing.T) {
		t.Parallel()
		path := oldFile(t, "testdata/v1.db.gz")
		refuses(t, store.Options{Path: path, Key: make([]byte, 32)}, "not the one that this file was written with")
		equal(t, "version", version(t, path), 1)
	})

	t.Run("ChangesNothingOfADamagedFile", func(t *testing.T) {
		t.Parallel()
		path := oldFile(t, "testdata/v1.db.gz")
		var page int
		plain := must(sql.Open("sqlite", "file:"+path))(t)
		check(t, plain.QueryRowContext(t.Context(), "SELECT rootpage FROM sqlite_master WHERE name = 'event_payload'").Scan(&page))
		check(t, plain.Close())
		scribble(t, path, (page-1)*4096, page*4096)
		before := must(os.ReadFile(path))(t)
		refuses(t, store.Options{Path: path}, "the copy is damaged, because the file is")
		equal(t, "files", beside(t, path), []string(nil))
		if !bytes.Equal(before, must(os.ReadFile(path))(t)) {
			t.Error("the file was changed")
		}
	})

	t.Run("StopsWhenItsContextEnds", func(t *testing.T) {
		t.Parallel()
		path := oldFile(t, "testdata/v1.db.gz")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := store.Open(ctx, store.Options{Path: path}); !errors.Is(err, context.Canceled) {
			t.Errorf("the error is %v", err)
		}
		equal(t, "version", version(t, path), 1)
	})
}
