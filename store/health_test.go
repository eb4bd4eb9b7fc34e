package store_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/callbackd/callbackd/store"
)

// What is written to a deleted file is lost, so nothing is accepted while the file, or what
// was written to it last, is not where it was; when it is back, writing goes on.
func TestDeletedFile(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "-wal"} {
		t.Run("RefusesWritesUntilItIsBack/"+name, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			file, away := f.path+name, filepath.Join(t.TempDir(), "away")
			publish := func() error {
				_, err := f.Publish(t.Context(), day, f.callback.ID, store.NewEvent{Type: "x", Output: json.RawMessage(`{}`)})
				return err
			}
			refused := func(when string) {
				t.Helper()
				if err := publish(); errors.Is(err, store.ErrUncertain) || !errors.Is(err, store.ErrUnavailable) || !strings.Contains(store.Trouble(err), "deleted or replaced") {
					t.Errorf("%s: %v", when, err)
				}
				if f.WriteError() == nil {
					t.Errorf("%s: the store says that it can write", when)
				}
			}
			check(t, publish())
			check(t, os.Rename(file, away))
			if err := publish(); !errors.Is(err, store.ErrUncertain) { // it is in the file that is away
				t.Errorf("the commit that finds the file gone: %v", err)
			}
			refused("deleted")
			refused("deleted, again")
			if _, err := f.Callback(t.Context(), f.callback.ID); err != nil {
				t.Errorf("a read says %v", err)
			}
			check(t, os.WriteFile(file, nil, 0o600))
			refused("replaced")
			if info := must(os.Stat(file))(t); info.Size() != 0 {
				t.Errorf("the file in its place was written to: %d bytes", info.Size())
			}
			check(t, os.Rename(away, file))
			check(t, f.ProbeWrite(t.Context()))
			check(t, publish())
			check(t, f.WriteError())
		})
	}
}

// Between writes, a look tells it.
func TestCheckFileFindsADeletedFile(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.CheckFile()
	check(t, f.WriteError())
	check(t, os.Remove(f.path))
	f.CheckFile()
	if f.WriteError() == nil {
		t.Error("the store says that it can write")
	}
	if _, err := os.Stat(f.path); err == nil {
		t.Error("the file was made anew")
	}
}

// A piece that fails by its own fault says nothing of the file.
func TestWriteErrorIsTheFilesAlone(t *testing.T) {
	t.Parallel()
	f := setup(t)
	mine := errors.New("mine")
	if err := f.Write(t.Context(), func(*store.Tx) error { return mine }); !errors.Is(err, mine) {
		t.Fatal(err)
	}
	check(t, f.WriteError())
	if err := f.Write(t.Context(), func(*store.Tx) error { return store.ErrUnavailable }); err == nil || f.WriteError() == nil {
		t.Error("a failure of the file is not noted")
	}
	check(t, f.ProbeWrite(t.Context()))
	check(t, f.WriteError())
}

// A disk that does not answer fails no write, and yet nothing can be written.
func TestWriteErrorTellsOfAWriteThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := setup(t)
		hang, ended := make(chan struct{}), make(chan error, 1)
		go func() { ended <- f.Write(t.Context(), func(*store.Tx) error { <-hang; return nil }) }()
		time.Sleep(20 * time.Second)
		check(t, f.WriteError())
		time.Sleep(20 * time.Second)
		if err := f.WriteError(); !errors.Is(err, store.ErrUnavailable) || !strings.Contains(store.Trouble(err), "does not answer") {
			t.Errorf("a write has hung for 40 s: %v", err)
		}
		close(hang)
		check(t, <-ended)
		synctest.Wait()
		check(t, f.WriteError())
		time.Sleep(time.Hour)
		check(t, f.WriteError())
	})
}
