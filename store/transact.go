package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// hostTime is how long a host's transaction may take, during which nobody else can write.
const hostTime = 5 * time.Second

// errHostTxOver is the answer to every use of a HostTx after its end.
var errHostTxOver = errors.New("the transaction is over: a Tx is of use only inside the function that it was given to")

// HostTx is a transaction in which a host works on its own tables, those whose names begin with
// [HostPrefix], and publishes events.
type HostTx struct {
	tx     *tx
	ctx    context.Context // done when the transaction is over
	access *hostAccess

	mu     sync.Mutex // held during each call
	over   bool
	failed error // why it can only be rolled back
	lost   bool  // it is rolled back already, and the connection with it is not to be relied on
}

// Transact runs fn in a transaction: what it does to the host's tables and what it publishes is
// stored, or none of it. fn may run more than once, and is given up after 5 s.
func (s *Store) Transact(ctx context.Context, fn func(*HostTx) error) error {
	p := &piece{blind: true} // the tables of others are closed to it
	p.run = func(t *tx) (err error) {
		p.culprit, err = t.host(fn)
		return err
	}
	return s.run(ctx, p)
}

// host runs a host's function. A culprit has not only failed: its batch has to start again
// without it.
func (t *tx) host(fn func(*HostTx) error) (culprit bool, err error) {
	access, err := t.w.openToHost()
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), t.w.hostTime)
	defer cancel()
	h := &HostTx{tx: t, ctx: ctx, access: access}
	access.begin()
	// In a goroutine of its own, fn can neither hold up nor end that of the writer.
	ended := make(chan error, 1)
	go h.call(fn, ended)
	select {
	case err = <-ended:
	case <-ctx.Done():
		h.mu.Lock() // when what it is just doing was cut off
		h.late()
		h.mu.Unlock()
	}
	cancel() // which closes rows that were left open
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
	changed := access.end()
	switch {
	case h.lost:
		return true, h.failed
	case err != nil:
		return false, err
	case h.failed != nil:
		return false, h.failed
	}
	return false, t.checkHost(access, changed)
}

// call runs fn, which may also panic or, as tests do, end its goroutine, and tells how it ended.
func (h *HostTx) call(fn func(*HostTx) error, ended chan<- error) {
	err := errors.New("the function of a transaction ended its goroutine")
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic in a transaction: %v\n%s", r, debug.Stack())
		}
		ended <- err
	}()
	err = fn(h)
}

// use prepares for a call. done is to be called at its end.
func (h *HostTx) use() (done func(), err error) {
	h.mu.Lock()
	switch {
	case h.over:
		err = errHostTxOver
	case h.failed != nil:
		err = fmt.Errorf("the transaction has failed before: %w", h.failed)
	}
	if err != nil {
		h.mu.Unlock()
		return nil, err
	}
	return h.mu.Unlock, nil
}

// lose notes why the transaction is no more, the first time. h.mu is held.
func (h *HostTx) lose(err error) {
	if !h.lost {
		h.lost, h.failed = true, err
	}
}

func (h *HostTx) late() {
	h.lose(fmt.Errorf("the transaction was given up because it took longer than %s, during which nobody else can write (does it wait for something, or call methods of the engine that write?)", h.tx.w.hostTime))
}

// statement runs one statement with a context that is done when the given one or the transaction
// is. Afterwards the transaction may be gone: SQLite takes it back when it cuts off a statement that
// writes, and when the statement says so, as INSERT OR ROLLBACK does.
func (h *HostTx) statement(ctx context.Context, run func(context.Context) error) (cancel func(), err error) {
	ctx, end := context.WithCancel(ctx)
	forget := context.AfterFunc(h.ctx, end)
	cancel = func() { forget(); end() }
	err = h.access.explain(run(ctx))
	switch {
	case h.ctx.Err() != nil:
		h.late()
	case ctx.Err() != nil:
		h.lose(fmt.Errorf("a statement's context ended, and the transaction with it: %w", ctx.Err()))
	case h.access.rolledBack():
		h.lose(fmt.Errorf("a statement rolled the transaction back (ON CONFLICT ROLLBACK?): %w", orError(err)))
	}
	return cancel, err
}

func orError(err error) error {
	if err == nil {
		return errors.New("it said no more")
	}
	return err
}

// ExecContext runs statements of the host's, which may be several when they have no arguments.
func (h *HostTx) ExecContext(ctx context.Context, query string, args ...any) (result sql.Result, err error) {
	done, err := h.use()
	if err != nil {
		return nil, err
	}
	defer done()
	cancel, err := h.statement(ctx, func(ctx context.Context) (err error) {
		result, err = h.tx.conn.ExecContext(ctx, query, args...)
		return err
	})
	cancel()
	return result, err
}

// QueryContext runs a query of the host's. Rows that are left open are closed with the transaction.
func (h *HostTx) QueryContext(ctx context.Context, query string, args ...any) (rows *sql.Rows, err error) {
	done, err := h.use()
	if err != nil {
		return nil, err
	}
	defer done()
	cancel, err := h.statement(ctx, func(ctx context.Context) (err error) {
		rows, err = h.tx.conn.QueryContext(ctx, query, args...)
		return err
	})
	if err != nil {
		cancel()
	}
	return rows, err
}

// QueryRowContext is QueryContext for at most one row.
func (h *HostTx) QueryRowContext(ctx context.Context, query string, args ...any) (row *sql.Row) {
	done, err := h.use()
	if err != nil {
		return failedRow(err)
	}
	defer done()
	_, _ = h.statement(ctx, func(ctx context.Context) error {
		row = h.tx.conn.QueryRowContext(ctx, query, args...)
		return row.Err()
	})
	return row
}

// failedRow is a row that has only an error, which database/sql makes of a failure to connect.
func failedRow(err error) *sql.Row {
	db := sql.OpenDB(failing{err})
	defer db.Close()
	return db.QueryRow("")
}

type failing struct{ err error }

func (f failing) Connect(context.Context) (driver.Conn, error) { return nil, f.err }
func (f failing) Driver() driver.Driver                        { return nil }

// Publish is [Store.Publish] in the transaction. After an error, that can only fail: some of the
// events may have been stored.
func (h *HostTx) Publish(now time.Time, callbackID string, events ...NewEvent) (out []Published, err error) {
	done, err := h.use()
	if err != nil {
		return nil, err
	}
	defer done()
	h.access.suspend()
	defer h.access.resume()
	if out, err = h.tx.publishAll(now, callbackID, events); err != nil {
		h.failed = err
	}
	return out, err
}
