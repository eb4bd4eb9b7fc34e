package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/callbackd/callbackd/store/internal/db"
)

// maxBatch bounds one group commit, and with it how long the first of a batch waits for
// the last.
const maxBatch = 256

// writer owns the one connection that writes. Whoever wants to write hands over a piece
// of work; the writer runs all that is waiting in one transaction, commits once, and
// answers all. With nothing to do it sleeps; a lone piece waits for nobody.
type writer struct {
	s    *Store
	pool *sql.DB
	work chan *piece
	done chan struct{} // closed when the loop has ended

	health health

	running bool         // the loop was started
	mu      sync.RWMutex // held for reading while a piece is handed over
	stopped bool

	// What follows is the loop's own.
	conn     *sql.Conn
	prepared *prepared // on conn
	q        *db.Queries
	routings map[string]*routing // by callback id; see routing.go
	rows     *rows               // that wait for the end of the batch, or of a piece that wants to see them
	newest   newest              // that is committed
	access   *hostAccess         // of conn; nil: no host has worked on it
	hostTime time.Duration
}

// newest is where the rows to come go on from. It is what the file says after every commit and
// every failure alike: a number that only this process had would be given anew after the next start.
type newest struct {
	event, notification int64 // row numbers
	created             int64 // time of the newest of both; see created.go
}

// piece is one unit of work, all or nothing.
type piece struct {
	run   func(*tx) error
	blind bool // it looks at no row that another piece of its batch may have added
	// culprit is set when it runs: it has failed and taken the transaction with it, so its batch
	// starts again without it.
	culprit bool
	state   atomic.Int32 // waiting, then begun or abandoned
	err     error
	done    chan struct{}
}

const (
	waiting = iota
	begun
	abandoned
)

// tx is what a piece works with. Its context is never done: a statement cut off in the
// middle would take the connection with it.
type tx struct {
	ctx  context.Context
	q    *db.Queries
	conn *sql.Conn
	w    *writer

	newest newest // the writer's, once this is committed
}

func newWriter(s *Store, pool *sql.DB) *writer {
	pool.SetMaxOpenConns(1)
	return &writer{s: s, pool: pool, work: make(chan *piece, maxBatch), done: make(chan struct{}), rows: newRows(), hostTime: hostTime, health: health{log: s.log}}
}

// start connects and runs the loop; stop waits for it.
func (w *writer) start() error {
	if err := w.connect(); err != nil {
		w.stopped = true
		return err
	}
	w.running = true
	go w.loop()
	return nil
}

func (w *writer) stop() error {
	w.mu.Lock()
	w.stopped = true
	w.mu.Unlock()
	if w.running {
		close(w.work)
		<-w.done
	}
	w.disconnect()
	return w.pool.Close()
}

func (w *writer) connect() (err error) {
	defer func() {
		if err != nil {
			w.disconnect()
		}
	}()
	ctx := context.Background()
	if w.conn, err = w.pool.Conn(ctx); err != nil {
		return err
	}
	w.prepared = prepare(w.conn)
	w.q = db.New(w.prepared)
	w.routings = make(map[string]*routing)
	last, err := w.q.LastRows(ctx)
	if err != nil {
		return err
	}
	w.s.ids.follow(last.EventID)
	w.s.ids.follow(last.NotificationID)
	w.newest = newest{event: last.EventSeq, notification: last.NotificationSeq}
	if w.newest.created, err = w.q.LastCreatedAt(ctx); err != nil {
		return err
	}
	w.health.remember(w.s.path) // the reads have made the -wal
	return nil
}

func (w *writer) disconnect() {
	if w.prepared != nil {
		_ = w.prepared.close()
	}
	if w.conn != nil {
		_ = w.conn.Raw(func(any) error { w.rows.close(); return nil })
		// Close alone would give it back to the pool, and a transaction that is open in it too.
		_ = w.conn.Raw(func(any) error { return driver.ErrBadConn })
		_ = w.conn.Close()
	}
	w.prepared, w.q, w.conn, w.access, w.rows = nil, nil, nil, nil, newRows()
}

func (w *writer) exec(text string) error {
	if w.prepared == nil {
		return errors.New("there is no connection")
	}
	_, err := w.prepared.ExecContext(context.Background(), text)
	return err
}

// write runs fn in a transaction of its own or of many, and returns once it is committed
// or has failed. fn may run twice: it must set, not add to, what it captures.
func (s *Store) write(ctx context.Context, fn func(*tx) error) error {
	return s.run(ctx, &piece{run: fn})
}

// add is write for what only adds rows of tx.rows: it sees none that others have added in the same
// transaction, unless it flushes them.
func (s *Store) add(ctx context.Context, fn func(*tx) error) error {
	return s.run(ctx, &piece{run: fn, blind: true})
}

func (s *Store) run(ctx context.Context, p *piece) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p.done = make(chan struct{})
	if err := s.writer.hand(ctx, p); err != nil {
		return err
	}
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		if p.state.CompareAndSwap(waiting, abandoned) {
			return ctx.Err()
		}
		<-p.done
		return p.err
	}
}

func (w *writer) hand(ctx context.Context, p *piece) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.stopped {
		return ErrClosed
	}
	select {
	case w.work <- p:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *writer) loop() {
	defer close(w.done)
	batch := make([]*piece, 0, maxBatch)
	for p := range w.work {
		batch = append(batch[:0], p)
		yielded := false
	fill:
		for len(batch) < maxBatch {
			select {
			case p, ok := <-w.work:
				if !ok {
					break fill
				}
				batch = append(batch, p)
				yielded = false
			default:
				if yielded {
					break fill
				}
				// Those whom the last commit let go are about to come back: one commit for
				// all of them costs little more than one for the first.
				yielded = true
				runtime.Gosched()
			}
		}
		w.runBatch(batch)
		clear(batch)
	}
}

// runBatch commits a batch and answers it. Nearly always every piece succeeds, so none
// pays for a savepoint at first; when one fails, the transaction starts again with a
// savepoint around each, and the failing ones fail alone.
func (w *writer) runBatch(batch []*piece) {
	ready := batch[:0]
	for _, p := range batch {
		if p.state.CompareAndSwap(waiting, begun) {
			ready = append(ready, p)
		} else {
			close(p.done)
		}
	}
	if len(ready) == 0 {
		return
	}
	now := time.Now()
	w.health.begun.Store(&now)
	defer w.health.begun.Store(nil)
	err := w.tryBatch(ready, false)
	for savepoints := false; err != nil && !errors.Is(err, ErrUnavailable); err = w.tryBatch(ready, savepoints) {
		if i := slices.IndexFunc(ready, func(p *piece) bool { return p.culprit }); i >= 0 {
			close(ready[i].done)
			if ready = slices.Delete(ready, i, i+1); len(ready) == 0 {
				w.health.written(nil) // it is no fault of the store's
				return
			}
		} else if savepoints || len(ready) == 1 {
			break
		} else {
			savepoints = true
		}
	}
	if err == nil { // it is on the disk, but is that where somebody finds it?
		if err = w.health.look(); err != nil {
			err = fmt.Errorf("%w: %w", ErrUncertain, err)
		}
	}
	w.health.written(err)
	for _, p := range ready {
		if err != nil && p.err == nil {
			p.err = err
		}
		close(p.done)
	}
}

// tryBatch returns an error if nothing was committed. With savepoints, a piece's own
// failure is in the piece alone.
func (w *writer) tryBatch(batch []*piece, savepoints bool) error {
	if w.health.gone.Load() {
		if err := w.health.look(); err != nil {
			return err
		}
	}
	if err := w.exec("BEGIN IMMEDIATE"); err != nil {
		return w.broken("begin", err)
	}
	t := &tx{ctx: context.Background(), q: w.q, conn: w.conn, w: w, newest: w.newest}
	for _, p := range batch {
		p.err = nil
		if savepoints {
			if err := w.exec("SAVEPOINT piece"); err != nil {
				return w.broken("savepoint", err)
			}
		}
		before := t.newest
		p.err = w.runPiece(t, p)
		if p.culprit {
			return w.renew(p.err)
		}
		if !savepoints {
			if p.err != nil {
				return w.rollback(p.err)
			}
			continue
		}
		if p.err == nil {
			p.err = w.runPiece(t, &piece{run: (*tx).flush, blind: true})
		}
		if p.err != nil {
			t.newest = before
			w.rows.drop()
			clear(w.routings)
			if err := w.exec("ROLLBACK TO piece"); err != nil {
				return w.broken("roll back to the savepoint", err)
			}
		}
		if err := w.exec("RELEASE piece"); err != nil {
			return w.broken("release the savepoint", err)
		}
	}
	if err := w.runPiece(t, &piece{run: (*tx).flush}); err != nil {
		return w.rollback(err)
	}
	if err := w.exec("COMMIT"); err != nil {
		return fmt.Errorf("%w: %w", ErrUncertain, w.broken("commit", err))
	}
	w.newest = t.newest
	return nil
}

func (w *writer) runPiece(t *tx, p *piece) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic in a write: %v\n%s", r, debug.Stack())
		}
	}()
	if !p.blind {
		err = t.flush()
	}
	if err == nil {
		err = p.run(t)
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		switch e.Code() & 0xff { // the primary code
		case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOMEM:
			err = fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
	return err
}

// rollback undoes the transaction because of err, which it returns.
func (w *writer) rollback(err error) error {
	w.rows.drop()
	clear(w.routings)
	if failed := w.exec("ROLLBACK"); failed != nil {
		return w.broken("roll back", failed)
	}
	return err
}

// broken is for a failure of the file rather than of a piece. The connection is made
// anew, because nobody knows what state it is in; but not to other files than before. If that
// fails, the next batch tries again.
func (w *writer) broken(doing string, err error) error {
	return w.renew(fmt.Errorf("%w: %s: %w", ErrUnavailable, doing, err))
}

// renew makes the connection anew because of err, which it returns unless that fails.
func (w *writer) renew(err error) error {
	if gone := w.health.look(); gone != nil {
		clear(w.routings) // which may name kinds of events that were rolled back
		return gone
	}
	w.disconnect()
	if failed := w.connect(); failed != nil {
		err = fmt.Errorf("%w: %w (and connecting again: %w)", ErrUnavailable, err, failed)
	}
	return err
}
