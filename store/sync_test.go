package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/callbackd/callbackd/store"
)

// synced opens a file that is synced as it is outside of tests.
func synced(t *testing.T, path string) *store.Store {
	t.Helper()
	s := must(store.Open(t.Context(), store.Options{Path: path}))(t)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// note writes something that written counts.
func note(t *testing.T, s *store.Store) error {
	return s.Write(t.Context(), func(tx *store.Tx) error {
		return tx.Exec("INSERT INTO meta (key, value) SELECT 'test' || count(*), x'' FROM meta")
	})
}

func written(t *testing.T, s *store.Store) (n int) {
	t.Helper()
	check(t, s.Readers().QueryRowContext(t.Context(), "SELECT count(*) FROM meta WHERE key LIKE 'test%'").Scan(&n))
	return n
}

func TestSync(t *testing.T) {
	t.Parallel()

	t.Run("NobodyIsAnsweredBeforeTheDiskHasIt", func(t *testing.T) {
		t.Parallel()
		s := synced(t, filepath.Join(t.TempDir(), "test.db"))
		syncing, let := make(chan struct{}), make(chan struct{})
		s.SetSync(func(f *os.File) error {
			syncing <- struct{}{}
			<-let
			return f.Sync()
		})
		var answered atomic.Int64
		var wg sync.WaitGroup
		write := func(run chan<- struct{}) {
			wg.Go(func() {
				err := s.Write(t.Context(), func(tx *store.Tx) error {
					defer func() { run <- struct{}{} }()
					return tx.Exec("INSERT INTO meta (key, value) SELECT 'test' || count(*), x'' FROM meta")
				})
				if err != nil {
					t.Error(err)
				}
				answered.Add(1)
			})
		}
		run := make(chan struct{}, 10)
		write(run)
		<-syncing
		equal(t, "committed and answered", []any{written(t, s), answered.Load()}, []any{1, int64(0)})
		// While the disk is busy, the writer goes on with what comes, and commits it when it is free.
		write(run)
		write(run)
		for range 3 {
			<-run
		}
		equal(t, "committed and answered", []any{written(t, s), answered.Load()}, []any{1, int64(0)})
		let <- struct{}{}
		<-syncing // one for both
		if n := answered.Load(); written(t, s) != 3 || n > 1 {
			t.Errorf("%d committed, %d answered before their sync", written(t, s), n)
		}
		let <- struct{}{}
		wg.Wait()
	})

	t.Run("IsOfTheLogItself", func(t *testing.T) {
		t.Parallel()
		folder := t.TempDir()
		check(t, os.Mkdir(filepath.Join(folder, "real"), 0o700))
		link := filepath.Join(folder, "link.db")
		check(t, os.Symlink(filepath.Join(folder, "real", "test.db"), link))
		s := synced(t, link)
		var size int64
		s.SetSync(func(f *os.File) error {
			of, err := f.Stat()
			log, failed := os.Stat(filepath.Join(folder, "real", "test.db-wal"))
			if err == nil && failed == nil && os.SameFile(of, log) {
				size = log.Size()
			}
			return f.Sync()
		})
		check(t, note(t, s))
		if size == 0 {
			t.Error("another file was synced, or an empty one")
		}
	})

	t.Run("OnceItFailsNothingIsAcceptedUntilOpenedAnew", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "test.db")
		s := synced(t, path)
		check(t, note(t, s))
		s.SetSync(func(*os.File) error { return syscall.EIO })
		if err := note(t, s); !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, syscall.EIO) {
			t.Errorf("a write says %v", err)
		}
		s.SetSync((*os.File).Sync)
		if err := note(t, s); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("a later write says %v", err)
		}
		check(t, s.Close())
		s = synced(t, path)
		check(t, note(t, s))
		if n := written(t, s); n < 2 || n > 3 {
			t.Errorf("%d writes are there; the first and the last were accepted", n)
		}
	})

	t.Run("IsLeftOutWithNoSync", func(t *testing.T) {
		t.Parallel()
		s := open(t, filepath.Join(t.TempDir(), "test.db"))
		s.SetSync(func(*os.File) error { t.Error("synced"); return nil })
		check(t, note(t, s))
		var journal, synchronous string
		check(t, s.Write(t.Context(), func(tx *store.Tx) error {
			return errors.Join(tx.Scan("PRAGMA journal_mode", &journal), tx.Scan("PRAGMA synchronous", &synchronous))
		}))
		equal(t, "journal mode, and whether SQLite syncs all but commits", journal+" "+synchronous, "wal 1")
	})
}
