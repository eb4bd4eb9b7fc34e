package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"io"
	"strings"
	"sync"
	"time"

	"modernc.org/sqlite"

	"github.com/callbackd/callbackd/store/internal/db"
)

// What the tests, which are in a package of their own, see of the inside.

// Tx is what a piece of the writer works with.
type Tx = tx

// DedupKey is dedupKey.
var DedupKey = dedupKey

// NewIDs gives the ids' own function.
func NewIDs(now func() time.Time, rand io.Reader) func(prefix string) string {
	return newIDs(now, rand).next
}

// Write hands a piece to the writer.
func (s *Store) Write(ctx context.Context, fn func(*Tx) error) error { return s.write(ctx, fn) }

// Waiting is how many pieces wait for the writer.
func (s *Store) Waiting() int { return len(s.writer.work) }

// Exec runs SQL in a piece's transaction.
func (t *tx) Exec(query string, args ...any) error {
	_, err := t.conn.ExecContext(t.ctx, query, args...)
	return err
}

// Scan reads one row as the writer sees it.
func (t *tx) Scan(query string, to ...any) error {
	return t.conn.QueryRowContext(t.ctx, query).Scan(to...)
}

// Readers is the pool that reads.
func (s *Store) Readers() *sql.DB { return s.readers }

// Query is a statement that was prepared, with a null for each argument.
type Query struct {
	Text string
	Args []any
}

// Recorder keeps the queries that a store's readers prepare.
type Recorder struct {
	s       *Store
	mu      sync.Mutex
	queries []Query
}

// Take returns what was recorded since the last call, and has it prepared anew the next time.
func (r *Recorder) Take() []Query {
	_ = r.s.prepared.close()
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.queries
	r.queries = nil
	return out
}

func (r *Recorder) add(text string) {
	q := Query{Text: text, Args: make([]any, strings.Count(text, "?"))}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queries = append(r.queries, q)
}

// Record exchanges a store's readers for such that are recorded.
func (s *Store) Record(path string) (*Recorder, error) {
	connector, err := sqlite.NewConnector(readerDSN(Options{Path: path}))
	if err != nil {
		return nil, err
	}
	r := &Recorder{s: s}
	if err := s.prepared.close(); err != nil {
		return nil, err
	}
	if err := s.readers.Close(); err != nil {
		return nil, err
	}
	s.readers = sql.OpenDB(recordingConnector{connector, r})
	s.readers.SetMaxOpenConns(1)
	s.prepared = prepare(s.readers)
	s.read = db.New(s.prepared)
	return r, nil
}

type recordingConnector struct {
	driver.Connector
	r *Recorder
}

func (c recordingConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	return recordingConn{conn, c.r}, err
}

type recordingConn struct {
	driver.Conn
	r *Recorder
}

func (c recordingConn) PrepareContext(ctx context.Context, text string) (driver.Stmt, error) {
	c.r.add(text)
	return c.Conn.(driver.ConnPrepareContext).PrepareContext(ctx, text)
}

// SchemaVersion is the schema that new files have.
const SchemaVersion = schemaVersion

// Rules are what Check knows about the engine's own rows, with their queries.
func Rules() (rules, queries []string) {
	for _, i := range invariants {
		rules, queries = append(rules, i.rule), append(queries, i.query)
	}
	return rules, queries
}

// CheckPool opens a file as Check does.
func CheckPool(path string) *sql.DB { return sql.OpenDB(checkConnector(Options{Path: path})) }

// SealedPlaces are what secrets are sealed for, without the ids.
func SealedPlaces() (places []string) {
	for _, c := range sealedColumns {
		places = append(places, c.place)
	}
	return places
}

// WithRoom is o on a disk with so many bytes free.
func WithRoom(o Options, bytes uint64) Options {
	o.freeRoom = func(string) (uint64, error) { return bytes, nil }
	return o
}

// FormerKeyPath is where a key is kept after a change.
func FormerKeyPath(path string, key []byte) string { return formerKeyPath(path, key) }

// Reseal is the commit of a change of the key alone.
func (s *Store) Reseal(ctx context.Context, key []byte) error { return s.reseal(ctx, key) }

// DueQueries are the statements that find due times to be moved, with their arguments' number.
func DueQueries() (texts []string) {
	for _, t := range dueTables {
		texts = append(texts, t.following(true), t.following(false))
	}
	return texts
}

// MaxPrepared is how many statements are kept.
const MaxPrepared = maxPrepared

// Prepared is how many statements the readers keep.
func (s *Store) Prepared() int {
	s.prepared.mu.Lock()
	defer s.prepared.mu.Unlock()
	return len(s.prepared.stmts)
}

// RunPrepared runs a query of one number.
func (s *Store) RunPrepared(ctx context.Context, query string) error {
	var n int
	return s.prepared.QueryRowContext(ctx, query).Scan(&n)
}

// Publish stores an event in a piece's transaction.
func (t *tx) Publish(now time.Time, callbackID string) error {
	r, err := t.routing(callbackID)
	if err == nil {
		_, err = t.publish(ms(now), callbackID, r, NewEvent{Type: "thing.made", Output: []byte("{}")})
	}
	return err
}

// ListWhile lists all events, and calls between after it has found and before it loads them.
func (s *Store) ListWhile(ctx context.Context, p Page, between func()) (List[Event], error) {
	return list(ctx, s, selectFrom("event"), p, func(ctx context.Context, seqs []int64) ([]Event, error) {
		between()
		return loadEvents(ctx, s.read, seqs)
	})
}

// LimitHosts bounds the transactions of hosts, which have 5 s otherwise.
func (s *Store) LimitHosts(d time.Duration) { s.writer.hostTime = d }
