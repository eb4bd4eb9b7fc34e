package store

import (
	"context"
	"database/sql"
	"errors"
	"sync"

	"github.com/callbackd/callbackd/store/internal/db"
)

// prepared runs fixed queries with statements that are prepared when they are first used and
// kept from then on: a connection never needs all of them, and to prepare them takes most of the
// time in which a store opens.
type prepared struct {
	db db.DBTX

	mu    sync.RWMutex
	stmts map[string]*sql.Stmt // by text
}

func prepare(on db.DBTX) *prepared { return &prepared{db: on, stmts: make(map[string]*sql.Stmt)} }

// PrepareContext gives the statement of a query. It is not the caller's to close.
func (p *prepared) PrepareContext(ctx context.Context, query string) (*sql.Stmt, error) {
	p.mu.RLock()
	stmt := p.stmts[query]
	p.mu.RUnlock()
	if stmt != nil {
		return stmt, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if stmt := p.stmts[query]; stmt != nil {
		return stmt, nil
	}
	stmt, err := p.db.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	p.stmts[query] = stmt
	return stmt, nil
}

func (p *prepared) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	stmt, err := p.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	return stmt.ExecContext(ctx, args...)
}

func (p *prepared) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	stmt, err := p.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	return stmt.QueryContext(ctx, args...)
}

func (p *prepared) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	stmt, err := p.PrepareContext(ctx, query)
	if err != nil {
		return p.db.QueryRowContext(ctx, query, args...) // a row can only be had from a query, which fails again
	}
	return stmt.QueryRowContext(ctx, args...)
}

func (p *prepared) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, stmt := range p.stmts {
		errs = append(errs, stmt.Close())
	}
	clear(p.stmts)
	return errors.Join(errs...)
}
