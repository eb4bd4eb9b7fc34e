package store_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/callbackd/callbackd/store"
)

func TestBackup(t *testing.T) {
	t.Parallel()

	// names are the files in a folder.
	names := func(t *testing.T, dir string) (out []string) {
		for _, e := range must(os.ReadDir(dir))(t) {
			out = append(out, e.Name())
		}
		return out
	}
	fails := func(t *testing.T, err error, text string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("the error is %v, want %q", err, text)
		}
	}

	t.Run("HoldsAllThatWasAcceptedBeforeItBegan", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		check(t, f.Close())
		cmd, out := startChild(t, f.path) // writes on and on
		var accepted []string
		dir := t.TempDir()
		for _, name := range []string{"1.db", "2.db", "3.db"} {
			for range 50 {
				out.Scan()
				accepted = append(accepted, out.Text())
			}
			check(t, store.Backup(t.Context(), store.Options{Path: f.path}, filepath.Join(dir, name), true))
			out.Scan() // it is still at it
			accepted = append(accepted, out.Text())
		}
		check(t, cmd.Process.Kill())
		_ = cmd.Wait()
		for i, name := range []string{"1.db", "2.db", "3.db"} {
			path := filepath.Join(dir, name)
			r := must(store.Check(t.Context(), store.Options{Path: path}, false))(t)
			equal(t, "problems", r.Problems, []store.Problem(nil))
			copied := *f
			copied.Store = open(t, path)
			for _, id := range accepted[:51*i+50] {
				copied.event(id)
			}
			equal(t, "a secret", must(copied.Destination(t.Context(), f.destination.ID))(t).SigningSecret, "signing-secret")
		}
	})

	// SQLite's own copying begins anew whenever it finds that others have written.
	t.Run("EndsAlthoughOthersWriteAllTheTime", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		large := json.RawMessage(`"` + strings.Repeat("x", 3<<20) + `"`) // several steps
		must(f.Publish(t.Context(), day, f.callback.ID, store.NewEvent{Type: "large", Output: large}))(t)
		writes := 0
		ctx := &betweenSteps{Context: t.Context(), do: func() error {
			if writes++; writes > 100 {
				return errors.New("it begins anew all the time")
			}
			f.publish("")
			return nil
		}}
		dest := filepath.Join(t.TempDir(), "copy.db")
		err := store.Backup(ctx, store.Options{Path: f.path}, dest, true)
		ctx.end()
		check(t, err)
		if r := must(store.Check(t.Context(), store.Options{Path: dest}, false))(t); len(r.Problems) > 0 || writes < 5 || int(r.Events) > writes {
			t.Errorf("after %d writes: %+v", writes, r)
		}
	})

	t.Run("IsItsOwnersAlone", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		dir := t.TempDir()
		check(t, f.Backup(t.Context(), filepath.Join(dir, "copy.db"), true))
		equal(t, "files", names(t, dir), []string{"copy.db", "copy.db.key"})
		for _, name := range names(t, dir) {
			equal(t, "mode of "+name, must(os.Stat(filepath.Join(dir, name)))(t).Mode(), fs.FileMode(0o600))
		}
	})

	t.Run("NeedsTheKeyOfTheFile", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		dest := filepath.Join(t.TempDir(), "copy.db")
		check(t, f.Backup(t.Context(), dest, false))
		refuses(t, store.Options{Path: dest}, "the key file "+dest+".key is missing")
		check(t, os.WriteFile(dest+".key", must(os.ReadFile(f.path+".key"))(t), 0o600))
		open(t, dest)
	})

	t.Run("CopiesNoKeyThatDoesNotFit", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		dir := t.TempDir()
		check(t, os.WriteFile(f.path+".key", []byte(oldKey+"\n"), 0o600))
		fails(t, f.Backup(t.Context(), filepath.Join(dir, "copy.db"), true), "not the one that this file was written with")
		equal(t, "files", len(names(t, dir)), 0)
		given := must(store.Open(t.Context(), store.Options{Path: filepath.Join(dir, "given.db"), Key: make([]byte, 32)}))(t)
		fails(t, given.Backup(t.Context(), filepath.Join(dir, "copy.db"), true), "there is no key file to copy")
		check(t, given.Close())
	})

	t.Run("ReplacesNothing", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		for _, suffix := range []string{"", ".key", "-wal", "-journal"} {
			dest := filepath.Join(t.TempDir(), "copy.db")
			check(t, os.WriteFile(dest+suffix, []byte("theirs"), 0o600))
			fails(t, f.Backup(t.Context(), dest, true), dest+suffix+" is there already")
			equal(t, "files", names(t, filepath.Dir(dest)), []string{"copy.db" + suffix})
			equal(t, "content", string(must(os.ReadFile(dest+suffix))(t)), "theirs")
		}
		fails(t, f.Backup(t.Context(), f.path, false), "is there already")
		fails(t, f.Backup(t.Context(), t.TempDir(), false), "is there already")
	})

	t.Run("LeavesNothingWhenItFails", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		check(t, f.Close())
		dir := t.TempDir()
		dest := filepath.Join(dir, "copy.db")
		ended, end := context.WithCancel(t.Context())
		end()
		if err := store.Backup(ended, store.Options{Path: f.path}, dest, true); !errors.Is(err, context.Canceled) {
			t.Errorf("the error is %v", err)
		}
		fails(t, store.Backup(t.Context(), store.Options{Path: filepath.Join(dir, "none.db")}, dest, true), "no such file")
		fails(t, store.Backup(t.Context(), store.Options{Path: f.path}, filepath.Join(dir, "none", "copy.db"), true), "no such file")
		other := filepath.Join(t.TempDir(), "other.db")
		alter(t, other, "CREATE TABLE theirs (x)")
		fails(t, store.Backup(t.Context(), store.Options{Path: other}, dest, true), "some other program's SQLite database")
		damaged := copyTo(t, f.path, "damaged.db")
		scribble(t, damaged, 20*4096, 1<<20)
		fails(t, store.Backup(t.Context(), store.Options{Path: damaged}, dest, true), "damaged")
		equal(t, "files", len(names(t, dir)), 0)
	})

	t.Run("LeavesTheFileAsItIs", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		check(t, f.Close())
		before := must(os.ReadFile(f.path))(t)
		check(t, store.Backup(t.Context(), store.Options{Path: f.path}, filepath.Join(t.TempDir(), "copy.db"), true))
		if !bytes.Equal(before, must(os.ReadFile(f.path))(t)) {
			t.Error("the file was changed")
		}
	})
}

// betweenSteps is a context that does something whenever it is asked whether it has ended, until
// it is over: goroutines of the library's ask even then.
type betweenSteps struct {
	context.Context
	do func() error

	mu   sync.Mutex
	over bool
}

func (b *betweenSteps) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = true
}

func (b *betweenSteps) Err() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over {
		return nil
	}
	if err := b.do(); err != nil {
		return err
	}
	return b.Context.Err()
}
