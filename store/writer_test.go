package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/callbackd/callbackd/store"
)

// put is a piece that stores a row called name, and fails if there is one.
func put(name string) func(*store.Tx) error {
	return func(tx *store.Tx) error { return tx.Exec("INSERT INTO meta (key, value) VALUES (?, x'00')", name) }
}

// held is a store whose writer is kept busy until it is let go, so that what is handed to it
// meanwhile becomes one batch.
func held(t *testing.T) (s *store.Store, letGo func()) {
	t.Helper()
	s = open(t, filepath.Join(t.TempDir(), "test.db"))
	begun, end, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	once := sync.OnceFunc(func() { close(begun) })
	go func() {
		done <- s.Write(context.Background(), func(*store.Tx) error { once(); <-end; return nil })
	}()
	<-begun
	return s, sync.OnceFunc(func() {
		close(end)
		check(t, <-done)
	})
}

// waitForPieces returns once so many pieces wait for the writer.
func waitForPieces(s *store.Store, n int) {
	for s.Waiting() < n {
		runtime.Gosched()
	}
}

// names are the rows that were put.
func names(t *testing.T, s *store.Store) (out string) {
	t.Helper()
	check(t, s.Readers().QueryRowContext(t.Context(),
		"SELECT coalesce(group_concat(key, ' ' ORDER BY key), '') FROM meta WHERE key <> 'key_check'").Scan(&out))
	return out
}

func TestWriter(t *testing.T) {
	t.Parallel()

	t.Run("StoresWhatManyHandOverAtOnce", func(t *testing.T) {
		t.Parallel()
		s := open(t, filepath.Join(t.TempDir(), "test.db"))
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				for j := range 20 {
					if err := s.Write(t.Context(), put(fmt.Sprintf("%d-%d", i, j))); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		equal(t, "rows", len(strings.Fields(names(t, s))), 1000)
	})

	t.Run("CommitsWhatIsWaitingTogether", func(t *testing.T) {
		t.Parallel()
		s, letGo := held(t)
		// Each piece of a batch sees what those before it did, and no reader sees any yet.
		var wg sync.WaitGroup
		seen := make(chan string, 3)
		for i := range 3 {
			wg.Go(func() {
				if err := s.Write(t.Context(), func(tx *store.Tx) error {
					var before int
					err := tx.Scan("SELECT count(*) - 1 FROM meta", &before)
					seen <- fmt.Sprint(before, " ", names(t, s) == "")
					return errors.Join(err, put(fmt.Sprint(i))(tx))
				}); err != nil {
					t.Error(err)
				}
			})
		}
		waitForPieces(s, 3)
		letGo()
		wg.Wait()
		equal(t, "what the pieces saw", <-seen+", "+<-seen+", "+<-seen, "0 true, 1 true, 2 true")
		equal(t, "rows", names(t, s), "0 1 2")
	})

	for name, fail := range map[string]struct {
		piece func(*store.Tx) error
		want  string
	}{
		"AnErrorIsOfItsPieceAlone":     {func(tx *store.Tx) error { return errors.Join(put("bad")(tx), errors.New("no")) }, "no"},
		"APanicIsOfItsPieceAlone":      {func(tx *store.Tx) error { _ = put("bad")(tx); panic("ouch") }, "panic in a write: ouch"},
		"AConstraintIsOfItsPieceAlone": {func(tx *store.Tx) error { _ = put("bad")(tx); return put("bad")(tx) }, "constraint failed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, letGo := held(t)
			var wg sync.WaitGroup
			for i := range 5 {
				wg.Go(func() {
					if i != 2 {
						if err := s.Write(t.Context(), put(fmt.Sprint(i))); err != nil {
							t.Error(err)
						}
					} else if err := s.Write(t.Context(), fail.piece); err == nil || !strings.Contains(err.Error(), fail.want) {
						t.Errorf("the piece says %v, want %q", err, fail.want)
					}
				})
			}
			waitForPieces(s, 5)
			letGo()
			wg.Wait()
			equal(t, "rows", names(t, s), "0 1 3 4")
		})
	}

	t.Run("AContextThatEndsBeforeItsTurnChangesNothing", func(t *testing.T) {
		t.Parallel()
		s, letGo := held(t)
		ctx, cancel := context.WithCancel(t.Context())
		answer := make(chan error, 1)
		go func() { answer <- s.Write(ctx, put("late")) }()
		waitForPieces(s, 1)
		cancel()
		if err := <-answer; !errors.Is(err, context.Canceled) {
			t.Errorf("the piece says %v", err)
		}
		if err := s.Write(ctx, put("later")); !errors.Is(err, context.Canceled) {
			t.Errorf("a piece with an ended context says %v", err)
		}
		letGo()
		check(t, s.Write(t.Context(), put("next")))
		equal(t, "rows", names(t, s), "next")
	})

	t.Run("AContextThatEndsDuringItsTurnComesTooLate", func(t *testing.T) {
		t.Parallel()
		s := open(t, filepath.Join(t.TempDir(), "test.db"))
		ctx, cancel := context.WithCancel(t.Context())
		check(t, s.Write(ctx, func(tx *store.Tx) error { cancel(); return put("begun")(tx) }))
		equal(t, "rows", names(t, s), "begun")
	})

	// A commit that fails leaves the transaction open.
	t.Run("HealsAfterACommitThatFailed", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		err := f.Write(t.Context(), func(tx *store.Tx) error {
			return errors.Join(tx.Exec("PRAGMA defer_foreign_keys = ON"), tx.Exec("INSERT INTO event_payload (event_seq) VALUES (99)"))
		})
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("the piece says %v", err)
		}
		f.publish("after")
		equal(t, "events", len(f.events()), 1)
	})

	t.Run("CloseWaitsForWhatWasHandedOver", func(t *testing.T) {
		t.Parallel()
		s, letGo := held(t)
		answer, closed := make(chan error, 1), make(chan error, 1)
		go func() { answer <- s.Write(t.Context(), put("last")) }()
		waitForPieces(s, 1)
		go func() { closed <- s.Close() }()
		for range 10_000 { // so that Close has begun, most likely
			runtime.Gosched()
		}
		letGo()
		check(t, <-answer)
		check(t, <-closed)
		if err := s.Write(t.Context(), put("late")); !errors.Is(err, store.ErrClosed) {
			t.Errorf("a write after Close says %v", err)
		}
		check(t, s.Close())
	})
}

// A full disk refuses what does not fit and keeps what it took; when there is room again,
// writing goes on.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	f := setup(t)
	pages := f.count("SELECT page_count FROM pragma_page_count")
	limit := func(pages int) {
		t.Helper()
		check(t, f.Write(t.Context(), func(tx *store.Tx) error { return tx.Exec(fmt.Sprintf("PRAGMA max_page_count = %d", pages)) }))
	}
	limit(pages + 20)
	stored, refused := 0, 0
	output := json.RawMessage(`{"text":"` + strings.Repeat("x", 5000) + `"}`)
	for range 100 {
		_, err := f.Publish(t.Context(), day, f.callback.ID, store.NewEvent{Type: "x", Output: output})
		switch {
		case err == nil:
			stored++
		case errors.Is(err, store.ErrUnavailable):
			refused++
		default:
			t.Fatal(err)
		}
	}
	if stored == 0 || refused == 0 {
		t.Fatalf("%d stored, %d refused", stored, refused)
	}
	equal(t, "events", f.count("SELECT count(*) FROM event"), stored)
	equal(t, "notifications", f.count("SELECT count(*) FROM notification"), stored)
	limit(1 << 20)
	f.publish("after")
	equal(t, "events with room again", f.count("SELECT count(*) FROM event"), stored+1)
}
