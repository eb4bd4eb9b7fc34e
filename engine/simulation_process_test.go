package engine_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"modernc.org/sqlite"

	"github.com/callbackd/callbackd/engine"
)

// process is one life of the engine. It ends in order, or by a crash: then what it does from
// that instant on is neither seen nor heard, and its successor finds the file as it was. The
// process itself is cut short afterwards; to the world, it was killed.
type process struct {
	w       *world
	number  int
	path    string
	e       *engine.Engine
	opened  time.Duration
	crashed chan struct{} // closed when it crashes by itself, at a commit

	// w.mu is held.
	dead    bool
	diedAt  time.Duration
	crashAt time.Duration // the first commit from here on is its last; 0: none is
	crashOn string        // what is to have that happen: "poll" or "attempt"
	before  bool          // not even that one
	image   string        // the file that it left
}

// processes are those that live, by path: SQLite's hooks know no more of a connection.
var processes sync.Map

func init() {
	sqlite.RegisterConnectionHook(func(c sqlite.ExecQuerierContext, dsn string) error {
		u, err := url.Parse(dsn)
		if err != nil || u.Query().Get("_journal_mode") == "" {
			return nil // it is not the writer
		}
		p, ok := processes.Load(u.Path)
		if !ok {
			return nil
		}
		c.(sqlite.HookRegisterer).RegisterCommitHook(p.(*process).committing)
		// A crash of a process leaves what it has written, whether that is on the disk or not.
		_, err = c.ExecContext(context.Background(), "PRAGMA synchronous = OFF", nil)
		return err
	})
}

// openProcess starts an engine on a file.
func openProcess(w *world, number int, path string, o engine.Options) (*process, error) {
	p := &process{w: w, number: number, path: path, opened: w.now(), crashed: make(chan struct{})}
	processes.Store(path, p)
	o.Path, o.NoSync, o.Key = path, true, make([]byte, 32)
	o.Providers = []engine.Provider{p.provider()}
	o.Functions = p.functions()
	o.PollTimeout = simPollTimeout
	o.HTTPClient = &http.Client{Transport: p}
	o.Now = w.wallNow
	// The jitter of an instant is one, so that it does not matter who is first to draw, and
	// makes whole milliseconds of the schedule's delays.
	o.Random = func() float64 { return float64(w.dice("jitter", w.now()).IntN(8)) / 8 }
	var err error
	p.e, err = engine.Open(context.Background(), o)
	return p, err
}

func (p *process) start() error { return p.e.Start(context.Background()) }

// die has the process crash now. w.mu is held.
func (p *process) die() {
	if !p.dead {
		p.dead, p.diedAt = true, p.w.now()
	}
}

// tempt has the process crash at its next commit, which is at hand, if that was planned to
// follow what just happened. w.mu is held.
func (p *process) tempt(what string) {
	if p.crashOn == what && p.crashAt == 0 {
		p.crashAt = p.w.now()
	}
}

// committing is called by SQLite when the writer is about to commit. Of this commit nothing is
// in the file yet.
func (p *process) committing() int32 {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	switch {
	case p.dead:
		p.takeImage() // what it died after is in the file, and this is not
	case p.crashAt != 0 && p.w.now() >= p.crashAt:
		p.die()
		word := "after"
		if p.before {
			word = "before"
			p.takeImage()
		}
		p.w.note("process %d crashes %s a commit", p.number, word)
		close(p.crashed)
	}
	return 0
}

// takeImage copies the file as it is, unless that was done. Nobody writes to it meanwhile: it
// is called by the writer, or while everything waits. w.mu is held.
func (p *process) takeImage() {
	if p.image != "" {
		return
	}
	image, err := copyImage(p.path, filepath.Join(filepath.Dir(filepath.Dir(p.path)), fmt.Sprint(p.number+1)))
	if err != nil {
		p.w.wrong("the image of the file cannot be taken: %v", err)
	}
	p.image = image
}

// copyImage copies a database with its log to a folder, which it makes.
func copyImage(path, dir string) (string, error) {
	to := filepath.Join(dir, filepath.Base(path))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return to, err
	}
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(path + suffix)
		if errors.Is(err, fs.ErrNotExist) && suffix != "" {
			continue
		}
		if err == nil {
			err = os.WriteFile(to+suffix, data, 0o600)
		}
		if err != nil {
			return to, err
		}
	}
	return to, nil
}

// bury ends a process that has crashed, as far as the world is concerned, and returns the file
// that it left. Everything waits when it is called.
func (p *process) bury() string {
	p.w.mu.Lock()
	p.takeImage()
	p.w.forget()
	p.w.mu.Unlock()
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	_ = p.e.Stop(ended) // it says that it was cut short
	_ = p.e.Close()
	processes.Delete(p.path)
	_ = os.RemoveAll(filepath.Dir(p.path))
	return p.image
}

// stop ends a process in order; those in flight have as long as grace says.
func (p *process) stop(grace time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	err := p.e.Stop(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil // it was to be cut short
	}
	return err
}

// close closes the file. The process may have crashed meanwhile: then it is to be buried.
func (p *process) close() error {
	p.w.mu.Lock()
	dead := p.dead
	p.w.mu.Unlock()
	if dead {
		return nil
	}
	err := p.e.Close()
	p.w.mu.Lock()
	p.die() // what it left behind in foreign code is heard no longer
	p.w.forget()
	p.w.mu.Unlock()
	processes.Delete(p.path)
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil // after a stop that was cut short, it does not wait for foreign code
	}
	return err
}

// lives tells whether what a process sees counts. w.mu is held.
func (p *process) lives() bool { return !p.dead }

// survived tells whether what a process was told at a time is in the file for certain: it
// writes that down in the same instant. w.mu is held.
func (p *process) survived(t time.Duration) bool { return !p.dead || p.diedAt > t }

// discard is the log of a run that nobody looks into.
var discard = slog.New(slog.DiscardHandler)
