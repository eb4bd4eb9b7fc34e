package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// suite is what sections share.
type suite struct {
	size     sizes
	dir      string // for files; removed at the end
	receiver *receiver
	report   *report
	progress *os.File
	started  time.Time
	binary   func() (string, error) // builds the daemon, once
	files    int

	publishRate float64 // events/s of engine.Publish, once measured

	mu     sync.Mutex
	wal    int64  // the largest write-ahead log seen
	walWas string // and when
}

func newSuite(ctx context.Context, size sizes, dir string, progress *os.File) (*suite, error) {
	dir, err := os.MkdirTemp(dir, "callbackd-bench-")
	if err != nil {
		return nil, err
	}
	s := &suite{size: size, dir: dir, report: &report{}, progress: progress, started: time.Now(),
		binary: sync.OnceValues(func() (string, error) { return build(ctx, dir) })}
	if s.receiver, err = newReceiver(s.note); err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	return s, nil
}

func (s *suite) close() {
	s.receiver.close()
	_ = os.RemoveAll(s.dir)
}

func (s *suite) note(format string, args ...any) {
	if s.progress != nil {
		fmt.Fprintf(s.progress, "%6s  %s\n", time.Since(s.started).Round(time.Second), fmt.Sprintf(format, args...))
	}
}

// file is the path of a new database, in a folder of its own.
func (s *suite) file() (string, error) {
	s.files++
	dir := filepath.Join(s.dir, fmt.Sprint(s.files))
	return filepath.Join(dir, "bench.db"), os.Mkdir(dir, 0o700)
}

// remove removes a database, and what is beside it.
func (s *suite) remove(path string) { _ = os.RemoveAll(filepath.Dir(path)) }

// watchWAL keeps an eye on a file's write-ahead log until the function that it returns is
// called.
func (s *suite) watchWAL(path, when string) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			if info, err := os.Stat(path + "-wal"); err == nil {
				s.mu.Lock()
				if info.Size() > s.wal {
					s.wal, s.walWas = info.Size(), when
				}
				s.mu.Unlock()
			}
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	}()
	return func() { close(done); <-ended }
}

// walGoal is when a write-ahead log counts as bounded.
const walGoal = 128 << 20

func (s *suite) reportWAL() {
	if s.wal > 0 {
		s.report.add(row{what: "largest WAL of ours in the whole run (" + s.walWas + ")", goal: "bounded, < 134 MB", value: megabytes(s.wal), met: yes(s.wal < walGoal)})
	}
}
