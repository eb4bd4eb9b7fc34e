package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/callbackd/callbackd/store"
)

func TestPath(t *testing.T) {
	t.Parallel()
	refused := func(t *testing.T, path, why string) {
		t.Helper()
		s, err := store.Open(t.Context(), store.Options{Path: path, NoSync: true})
		if err == nil {
			_ = s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("the error is %v, want one that says %q", err, why)
		}
	}

	// The lock, the key and the log are beside the file itself, whatever it is called.
	t.Run("ASymbolicLinkIsTheFileItself", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		link := filepath.Join(t.TempDir(), "link.db")
		check(t, os.Symlink(f.path, link))
		_, err := store.Open(t.Context(), store.Options{Path: link, NoSync: true})
		if _, locked := errors.AsType[*store.LockedError](err); !locked {
			t.Errorf("while it is open: %v", err)
		}
		f.publish("a")
		check(t, f.Close())
		s := must(store.Open(t.Context(), store.Options{Path: link, NoSync: true}))(t)
		equal(t, "events", len(must(s.ListEvents(t.Context(), f.callback.ID, store.EventFilter{}, store.Page{}))(t).Items), 1)
		check(t, s.Close())
		if _, err := os.Lstat(link + "-wal"); err == nil {
			t.Error("there is a log beside the link")
		}
	})

	t.Run("ALinkToNothingIsRefused", func(t *testing.T) {
		t.Parallel()
		link := filepath.Join(t.TempDir(), "link.db")
		check(t, os.Symlink(filepath.Join(t.TempDir(), "gone.db"), link))
		refused(t, link, "which is not there")
	})

	t.Run("AFileWithTwoNamesIsRefused", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		check(t, f.Close())
		other := filepath.Join(filepath.Dir(f.path), "other.db")
		check(t, os.Link(f.path, other))
		refused(t, other, "2 names")
		refused(t, f.path, "2 names")
	})

	t.Run("ALogWithoutItsDatabaseIsNoNewOne", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		check(t, os.WriteFile(f.path+".kept", must(os.ReadFile(f.path+"-wal"))(t), 0o600))
		check(t, f.Close())
		check(t, os.Rename(f.path+".kept", f.path+"-wal"))
		check(t, os.Remove(f.path))
		refused(t, f.path, "no database that it belongs to")
		check(t, os.WriteFile(f.path, nil, 0o600))
		refused(t, f.path, "no database that it belongs to")
	})
}
