package store_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"github.com/callbackd/callbackd/store"
)

// unwritten is how many pages of a file are in memory only, or on their way to the disk: what
// a power cut may take. ok is false where the system cannot tell.
func unwritten(t *testing.T, file *os.File) (pages uint64, ok bool) {
	t.Helper()
	const cachestat = 451 // since Linux 6.5, with the same number on every architecture
	var all struct{ offset, length uint64 }
	var found struct{ cached, dirty, writing, evicted, recentlyEvicted uint64 }
	_, _, errno := syscall.Syscall6(cachestat, file.Fd(), uintptr(unsafe.Pointer(&all)), uintptr(unsafe.Pointer(&found)), 0, 0, 0)
	return found.dirty + found.writing, errno == 0
}

// Nobody hears that something was accepted before it was fsynced. Without the option for
// that, it can be seen that it was not, which proves that this test can fail.
func TestSyncComesBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	notSynced := func(t *testing.T, noSync bool) (total uint64) {
		f := setup(t)
		check(t, f.Close())
		f.Store = must(store.Open(t.Context(), store.Options{Path: f.path, NoSync: noSync}))(t)
		defer f.Close()
		wal := must(os.Open(f.path + "-wal"))(t)
		defer wal.Close()
		look := func() {
			n, ok := unwritten(t, wal)
			if !ok {
				t.Skip("this system does not tell what is on the disk")
			}
			total += n
		}
		f.work(func(...string) { look() })
		if noSync {
			return total
		}
		// Nor when one commit is for many. Another's writing may be under way when one is
		// answered, so it is looked at when all are.
		for round := range 5 {
			var wg sync.WaitGroup
			for i := range 8 {
				wg.Go(func() {
					if _, err := f.Publish(t.Context(), day, f.callback.ID, store.NewEvent{Type: "x", SourceID: fmt.Sprint("round-", round, "-", i), Output: json.RawMessage(`{}`)}); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			look()
		}
		return total
	}
	if notSynced(t, true) == 0 {
		t.Skip("this file system does not tell what is on the disk")
	}
	if n := notSynced(t, false); n != 0 {
		t.Errorf("%d pages were not on the disk when their writer was told that they are", n)
	}
}

// When a writer is answered, its event is in the files as they are at that moment, whatever
// others do meanwhile.
func TestSyncedFilesHoldWhatWasAccepted(t *testing.T) {
	t.Parallel()
	f := setup(t)
	check(t, f.Close())
	before, key := must(os.ReadFile(f.path))(t), must(os.ReadFile(f.path+".key"))(t)
	f.Store = must(store.Open(t.Context(), store.Options{Path: f.path}))(t)
	defer f.Close()
	type copied struct {
		event string
		wal   []byte
	}
	var mu sync.Mutex
	var copies []copied
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			for j := range 3 {
				p, err := f.Publish(t.Context(), day, f.callback.ID, store.NewEvent{Type: "x", SourceID: fmt.Sprint(i, "-", j), Output: json.RawMessage(`{}`)})
				if err != nil {
					t.Error(err)
					return
				}
				wal, err := os.ReadFile(f.path + "-wal")
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				copies = append(copies, copied{p[0].Event.ID, wal})
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	equal(t, "copies", len(copies), 9)
	for _, c := range copies {
		path := filepath.Join(t.TempDir(), "copy.db")
		check(t, os.WriteFile(path, before, 0o600))
		check(t, os.WriteFile(path+".key", key, 0o600))
		check(t, os.WriteFile(path+"-wal", c.wal, 0o600))
		s := open(t, path)
		f := *f
		f.Store = s
		f.event(c.event)
		sound(t, s.Readers())
		check(t, s.Close())
	}
}
