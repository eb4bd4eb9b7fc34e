package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
)

// syncer brings commits to the disk, one at a time. SQLite itself would do so within each
// commit (synchronous=FULL), with the writer waiting. Here the writer goes on with the next
// transaction meanwhile, which takes all that comes until the disk is free again. Nobody is
// answered before the sync has returned that covers theirs.
//
// With synchronous=NORMAL, SQLite writes a commit to the write-ahead log and leaves it to
// others to sync that. All else it syncs as with FULL: the log before it is copied into the
// file, and the file before the log begins anew. So after a power cut the log has every
// commit up to the last sync, and perhaps one more: its frames are chained by checksums.
// See https://www.sqlite.org/wal.html and https://www.sqlite.org/pragma.html#pragma_synchronous.
type syncer struct {
	off     bool // commits are answered at once: whoever opened the store asked for it
	logs    []*os.File
	commits chan commit
	free    chan struct{} // the disk is done with a commit
	done    chan struct{}
	failure atomic.Pointer[error]
	fsync   func(*os.File) error

	ready bool // the writer's own: it has heard that the disk is free
}

// commit is a batch that is committed, and the log that has it.
type commit struct {
	batch []*piece
	log   *os.File
}

func newSyncer(off bool) *syncer {
	return &syncer{off: off, ready: true, commits: make(chan commit, 1), free: make(chan struct{}, 1), done: make(chan struct{}), fsync: (*os.File).Sync}
}

// open finds the log of a connection that was just made. The log of the connection before
// stays open: what it has may have yet to be synced.
func (s *syncer) open(ctx context.Context, conn *sql.Conn) error {
	if s.off {
		return nil
	}
	var path string // without symbolic links, which the log does not follow
	if err := conn.QueryRowContext(ctx, "SELECT file FROM pragma_database_list WHERE name = 'main'").Scan(&path); err != nil {
		return err
	}
	f, err := os.OpenFile(path+"-wal", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	s.logs = append(s.logs, f)
	return nil
}

// wait returns once the disk is free.
func (s *syncer) wait() {
	if !s.ready {
		<-s.free
		s.ready = true
	}
}

// sync has a batch answered once it is on the disk, which must be free.
func (s *syncer) sync(batch []*piece) {
	if s.off {
		answer(batch, nil)
		return
	}
	s.ready = false
	s.commits <- commit{slices.Clone(batch), s.logs[len(s.logs)-1]}
}

// stop waits until the last batch is answered. No more may come.
func (s *syncer) stop() {
	close(s.commits)
	<-s.done
}

func (s *syncer) close() error {
	var errs []error
	for _, f := range s.logs {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// err is not nil once a sync has failed. What the disk then has of the log, nobody can tell,
// also not a later sync that succeeds: commits behind a hole in the log would be lost. So
// nothing is written any more until the file is opened anew, which finds out.
func (s *syncer) err() error {
	if err := s.failure.Load(); err != nil {
		return *err
	}
	return nil
}

func (s *syncer) loop() {
	defer close(s.done)
	for c := range s.commits {
		err := s.err()
		if err == nil {
			if failed := s.fsync(c.log); failed != nil {
				err = fmt.Errorf("%w: sync the write-ahead log: %w: open the file anew", ErrUnavailable, failed)
				s.failure.Store(&err)
			}
		}
		s.free <- struct{}{}
		answer(c.batch, err)
	}
}
