package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// errGone is what a write to a file that nobody would find again ends with.
var errGone = errors.New("the database file, or its -wal, was deleted or replaced while it was in use")

// errStalled is why nothing is written while a write does not end.
var errStalled = errors.New("a write to the database has not ended for over half a minute")

// stalledAfter is for how long a batch may be written until the disk counts as one that does
// not answer.
const stalledAfter = 30 * time.Second

// health is whether the file takes what is written. It is found by writing: the last
// commit tells. Transitions are logged, once each.
type health struct {
	log   *slog.Logger
	gone  atomic.Bool // as it was found at the last look
	files atomic.Pointer[[]file]
	begun atomic.Pointer[time.Time] // since when a batch is being written; nil: none is

	mu    sync.Mutex
	err   error     // of the last write; nil: it was committed
	since time.Time // when writing began to fail
}

// file is one that must stay where it is as long as it is in use: what is written to a
// deleted file is lost as soon as it is closed.
type file struct {
	path string
	info os.FileInfo
}

// remember notes which files are in use.
func (h *health) remember(path string) {
	var files []file
	for _, name := range []string{path, path + "-wal"} {
		if info, err := os.Stat(name); err == nil {
			files = append(files, file{name, info})
		}
	}
	h.files.Store(&files)
	h.gone.Store(false)
}

// look tells whether the files are where they were. Another error than that they are not
// there, or others, tells nothing.
func (h *health) look() error {
	gone := false
	if files := h.files.Load(); files != nil {
		for _, f := range *files {
			info, err := os.Stat(f.path)
			gone = gone || errors.Is(err, os.ErrNotExist) || err == nil && !os.SameFile(info, f.info)
		}
	}
	h.gone.Store(gone)
	if gone {
		return fmt.Errorf("%w: %w", ErrUnavailable, errGone)
	}
	return nil
}

// written takes note of what became of a commit. An error that is the caller's own fault
// says nothing of the file.
func (h *health) written(err error) {
	if err != nil && !errors.Is(err, ErrUnavailable) {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch was := h.err; {
	case was == nil && err != nil:
		h.since = time.Now()
		h.log.Error("the database cannot be written: what is new is refused until it can", "err", err)
	case was != nil && err == nil:
		h.log.Info("the database can be written again", "after", time.Since(h.since).Round(time.Millisecond))
	}
	h.err = err
}

func (h *health) now() error {
	if begun := h.begun.Load(); begun != nil && time.Since(*begun) > stalledAfter {
		return fmt.Errorf("%w: %w", ErrUnavailable, errStalled)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

// WriteError is why the last write failed, if that was the file's or the disk's fault, or that
// one has not ended for over 30 s; nil if it was committed. It costs nothing.
func (s *Store) WriteError() error { return s.writer.health.now() }

// ProbeWrite tries whether the file can be written, with a write that changes nothing of what
// others wrote, and looks whether it is still there. [Store.WriteError] says afterwards how it is.
func (s *Store) ProbeWrite(ctx context.Context) error {
	return s.write(ctx, func(tx *tx) error {
		return tx.q.SetMeta(tx.ctx, "write_probe", []byte(time.Now().UTC().Format(time.RFC3339)))
	})
}

// CheckFile looks whether the file is where it was when it was opened. If it is not, writes
// fail until it is back. After Close it does nothing.
func (s *Store) CheckFile() {
	s.writer.mu.RLock() // Close removes the -wal
	defer s.writer.mu.RUnlock()
	if s.writer.stopped {
		return
	}
	if err := s.writer.health.look(); err != nil {
		s.writer.health.written(err)
	}
}

// Trouble says in a few words, which give nothing away, why a write failed.
func Trouble(err error) string {
	if errors.Is(err, errGone) {
		return "the database file or its -wal was deleted or replaced while it was in use: put it back, or stop and start with a backup"
	}
	if errors.Is(err, errStalled) {
		return "the disk does not answer: " + errStalled.Error()
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		switch e.Code() & 0xff {
		case sqlite3.SQLITE_FULL:
			return "the disk is full"
		case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
			return "the database file is read-only"
		case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
			return "the database file is damaged"
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
			return "another program holds a lock on the database file"
		case sqlite3.SQLITE_CANTOPEN:
			return "the database file cannot be opened"
		}
	}
	return "the disk reports an error"
}
