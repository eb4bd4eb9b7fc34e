package store

import (
	"context"
	"database/sql"
	"errors"
	"sync"

	"github.com/callbackd/callbackd/store/internal/db"
)

// maxPrepared bounds the statements that are kept. Lists with many filters have very many forms.
const maxPrepared = 500

// prepared runs queries with statements that are prepared when they are first used and kept
// from then on: a connection never needs all of them, and to prepare them takes most of the time
// in which a store opens, and of that of a short query.
type prepared struct {
	db db.DBTX

	mu    sync.Mutex
	stmts map[string]*statement // by text
}

// statement is one that is kept, or used for the last time.
type statement struct {
	*sql.Stmt
	users   int
	dropped bool // its last user closes it
}

func prepare(on db.DBTX) *prepared { return &prepared{db: on, stmts: make(map[string]*statement)} }

// acquire gives the statement of a query, to be released when the call with it has returned.
func (p *prepared) acquire(ctx context.Context, query string) (*statement, error) {
	p.mu.Lock()
	s := p.stmts[query]
	if s != nil {
		s.users++
	}
	p.mu.Unlock()
	if s != nil {
		return s, nil
	}
	stmt, err := p.db.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	s = &statement{Stmt: stmt, users: 1}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stmts[query] != nil { // somebody else was faster
		s.dropped = true
		return s, nil
	}
	if len(p.stmts) >= maxPrepared {
		_ = p.drop()
	}
	p.stmts[query] = s
	return s, nil
}

func (p *prepared) release(s *statement) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.users--; s.dropped && s.users == 0 {
		_ = s.Close() // rows that are still read from it keep it open
	}
}

func (p *prepared) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	s, err := p.acquire(ctx, query)
	if err != nil {
		return nil, err
	}
	defer p.release(s)
	return s.ExecContext(ctx, args...)
}

func (p *prepared) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	s, err := p.acquire(ctx, query)
	if err != nil {
		return nil, err
	}
	defer p.release(s)
	return s.QueryContext(ctx, args...)
}

func (p *prepared) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	s, err := p.acquire(ctx, query)
	if err != nil {
		return p.db.QueryRowContext(ctx, query, args...) // a row can only be had from a query, which fails again
	}
	defer p.release(s)
	return s.QueryRowContext(ctx, args...)
}

// PrepareContext prepares a statement that is the caller's to close.
func (p *prepared) PrepareContext(ctx context.Context, query string) (*sql.Stmt, error) {
	return p.db.PrepareContext(ctx, query)
}

// close closes all statements, those in use by their last users.
func (p *prepared) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.drop()
}

// drop forgets all statements. p.mu is held.
func (p *prepared) drop() error {
	var errs []error
	for _, s := range p.stmts {
		if s.dropped = true; s.users == 0 {
			errs = append(errs, s.Close())
		}
	}
	clear(p.stmts)
	return errors.Join(errs...)
}
