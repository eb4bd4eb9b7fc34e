package engine

import (
	"context"
	"database/sql"
	"errors"

	"github.com/callbackd/callbackd/store"
)

// Tx is a transaction of [Engine.Transact]. It is of use only inside the function that it was
// given to, and may be used by one goroutine at a time; afterwards its methods fail.
//
// ExecContext, QueryContext and QueryRowContext are those of [sql.Tx], for SQLite's SQL. A
// statement may be several, separated by semicolons, if it has no arguments. A statement that
// fails, such as one that would repeat a unique value, changes nothing and leaves the transaction
// as it was: return its error, or go on. When ctx ends while a statement runs, the transaction
// fails. Times are best kept as integers; a [time.Time] becomes text that does not sort. Rows are to
// be closed before the function returns, or are closed then.
type Tx struct {
	e          *Engine
	tx         *store.HostTx
	deliveries []store.Delivery
}

// Transact runs fn in a transaction in the engine's file: the rows that it writes to tables of your
// own and the events that it publishes are all stored, or none of them. When Transact returns nil,
// all are on the disk, and the events' notifications with them. When fn returns an error or panics,
// nothing is stored, and Transact returns that error, or one that tells of the panic. When ctx ends
// before fn has begun, fn is not called and ctx's error returned; from then on it is not looked at.
//
// Your tables and indexes have names that begin with "app_", in the file or to be made by fn with
// CREATE TABLE IF NOT EXISTS: callbackd never uses such names, and keeps what has them through
// upgrades, backups and changes of the key. All other tables are refused, and so are views,
// triggers, temporary and virtual tables, foreign keys to tables without the prefix, PRAGMA,
// ATTACH, and statements that begin or end transactions. To read your tables, query inside of Transact,
// or open the file read-only ("file:callbacks.db?mode=ro"): in this process with modernc.org/sqlite,
// because another copy of SQLite in it would break the locks of the first; elsewhere with anything.
//
// fn does SQL and nothing else, and quickly, because nobody else can write meanwhile: after 5 s it
// is given up, nothing is stored, and an error says so. It may be called more than once, when
// another write of the same commit has failed, so it should set and not add to what it captures. It
// must not call the engine's own methods that write: they would wait for it. Many calls at a time
// share commits, and are much faster than one after the other.
func (e *Engine) Transact(ctx context.Context, fn func(*Tx) error) error {
	var err error
	e.clock.plan(func() {
		var deliveries []store.Delivery
		err = e.store.Transact(ctx, func(h *store.HostTx) error {
			tx := &Tx{e: e, tx: h}
			if err := fn(tx); err != nil {
				return err
			}
			deliveries = tx.deliveries
			return nil
		})
		if err == nil {
			e.deliverer.offer(deliveries)
		}
	})
	if _, told := errors.AsType[*Error](err); told {
		return err
	}
	return wrap(err)
}

// ExecContext runs a statement that returns no rows.
func (t *Tx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return t.tx.ExecContext(ctx, query, args...)
}

// QueryContext runs a statement that returns rows.
func (t *Tx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return t.tx.QueryContext(ctx, query, args...)
}

// QueryRowContext runs a statement that returns at most one row; its Scan returns the error.
func (t *Tx) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	return t.tx.QueryRowContext(ctx, query, args...)
}

// Publish is [Engine.PublishEvents] as a part of the transaction, and returns the events, of which
// nothing is stored yet. After an error the transaction fails, whatever the function returns, unless
// the error is [CodeInvalid]: then nothing was begun.
func (t *Tx) Publish(callbackID string, events ...NewEvent) ([]Event, error) {
	n := NewEvents{Events: events}
	if err := n.check().err(); err != nil {
		return nil, err
	}
	published, err := t.tx.Publish(t.e.now(), callbackID, rowsOf(events)...)
	if err != nil {
		return nil, wrap(err)
	}
	stored := make([]Event, len(published))
	for i, p := range published {
		stored[i] = p.Event
		t.deliveries = append(t.deliveries, p.Deliveries...)
	}
	return stored, nil
}
