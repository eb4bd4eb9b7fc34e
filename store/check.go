package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"os"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// CheckReport is what [Check] found.
type CheckReport struct {
	Events, Notifications, Attempts int64     // how many rows there are
	Problems                        []Problem // none: all is well
	Notes                           []string  // what could not be looked at, and why
}

// Problem is a rule that a file breaks.
type Problem struct {
	Rule  string   // what should be so, in words
	Count int64    // how often it is not so
	Rows  []string // where, at most the first 10
}

const maxRowsShown = 10

// Rules besides the invariants.
const (
	ruleReadable   = "the file can be read"
	ruleIntegrity  = "the file's pages, rows and indexes are in order (SQLite's own check)"
	ruleReferences = "a row refers only to rows that are there"
	// RuleSecrets is the rule that is broken if the key is wrong: the file may be well.
	RuleSecrets = "secrets open with the file's key"
)

// Check looks at everything in the file at o.Path: SQLite's own integrity, references, what
// the engine relies on, and whether secrets open with o.Key or the key in PATH.key, if that is
// there. It writes nothing and takes no lock, so it works on a file that an engine has open,
// here or in another process. It sees the file as it is at one instant; meanwhile the file's log
// cannot start from its beginning, so of a large file that is much written to, rather check a
// backup. quick leaves out whether indexes agree with their rows, which takes longest.
//
// What is wrong with the file is in the report; an error says that there was no checking it:
// it cannot be opened, is no callbackd file, is of another version, or ctx ended. The time it
// takes grows with the file, the memory does not.
func Check(ctx context.Context, o Options, quick bool) (CheckReport, error) {
	c := &checker{ctx: ctx, quick: quick}
	if err := c.run(o); err != nil {
		return CheckReport{}, fmt.Errorf("check %s: %w", o.Path, err)
	}
	return c.CheckReport, nil
}

// Check is [Check] of the open file.
func (s *Store) Check(ctx context.Context, quick bool) (CheckReport, error) {
	return Check(ctx, Options{Path: s.path, Key: s.key}, quick)
}

type checker struct {
	CheckReport
	ctx   context.Context
	tx    *sql.Tx
	quick bool
}

func (c *checker) run(o Options) (err error) {
	if o.Path, err = ownPath(o.Path); err != nil {
		return err
	}
	if _, err := os.Stat(o.Path); err != nil {
		return explain(err)
	}
	pool := sql.OpenDB(checkConnector(o))
	defer func() { err = errors.Join(err, pool.Close()) }()
	if c.tx, err = pool.BeginTx(c.ctx, &sql.TxOptions{ReadOnly: true}); err != nil {
		return c.damage(ruleReadable, err)
	}
	defer c.tx.Rollback() //nolint:errcheck // it changed nothing
	var app, version int
	for pragma, to := range map[string]*int{"application_id": &app, "user_version": &version} {
		if err := c.tx.QueryRowContext(c.ctx, "PRAGMA "+pragma).Scan(to); err != nil {
			return c.damage(ruleReadable, err)
		}
	}
	switch {
	case app != applicationID:
		return errNotOurs
	case version > schemaVersion:
		return &VersionError{Have: version, Want: schemaVersion}
	case version < schemaVersion:
		return fmt.Errorf("the file has schema version %d and this program checks version %d: check it with the callbackd that wrote it, or open it with this one, which brings it forward", version, schemaVersion)
	}
	for _, part := range []func(Options) error{c.integrity, c.references, c.invariants, c.secrets, c.count} {
		if err := part(o); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) integrity(Options) error {
	pragma := "integrity_check"
	if c.quick {
		pragma = "quick_check"
	}
	return c.lines(ruleIntegrity, "SELECT "+pragma+" FROM pragma_"+pragma+" WHERE "+pragma+" <> 'ok'")
}

func (c *checker) references(Options) error {
	return c.lines(ruleReferences, `SELECT printf('%s row %s refers to a row of %s that is not there', "table", coalesce(rowid, '(without a number)'), parent) FROM pragma_foreign_key_check`)
}

func (c *checker) invariants(Options) error {
	for _, i := range invariants {
		if err := c.lines(i.rule, i.query); err != nil {
			return err
		}
	}
	return nil
}

// lines adds what a query returns as a problem, if it returns anything.
func (c *checker) lines(rule, query string) error {
	rows, err := c.tx.QueryContext(c.ctx, query)
	if err != nil {
		return c.damage(rule, err)
	}
	defer rows.Close()
	p := Problem{Rule: rule}
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return err
		}
		p.add(line)
	}
	c.keep(p)
	return c.damage(rule, rows.Err())
}

func (p *Problem) add(line string) {
	if p.Count++; p.Count <= maxRowsShown {
		p.Rows = append(p.Rows, line)
	}
}

func (c *checker) keep(p Problem) {
	if p.Count > 0 {
		c.Problems = append(c.Problems, p)
	}
}

// damage makes a problem of an error that is the file's, and goes on.
func (c *checker) damage(rule string, err error) error {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		switch e.Code() & 0xff {
		case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR:
			c.keep(Problem{Rule: rule, Count: 1, Rows: []string{explain(err).Error()}})
			return nil
		}
	}
	return explain(err)
}

func (c *checker) secrets(o Options) error {
	word, err := readKeyCheck(c.ctx, c.tx)
	if err != nil {
		return c.damage(RuleSecrets, err)
	}
	if _, err := os.Stat(keyPath(o.Path)); o.Key == nil && errors.Is(err, os.ErrNotExist) {
		c.Notes = append(c.Notes, "secrets were not looked at, because the key file "+keyPath(o.Path)+" is not there and no key was given")
		return nil
	}
	key, _, err := findKey(o, word)
	if err != nil {
		c.keep(Problem{Rule: RuleSecrets, Count: 1, Rows: []string{err.Error()}})
		return nil
	}
	s, err := newSealer(key, rand.Reader)
	if err != nil {
		return err
	}
	p := Problem{Rule: RuleSecrets}
	for _, column := range sealedColumns {
		err := column.each(c.ctx, c.tx, func(place string, v sealedValue) error {
			if _, err := s.open(place, v.value); err != nil {
				p.add(err.Error())
			}
			return nil
		})
		if err := c.damage(RuleSecrets, err); err != nil {
			return err
		}
	}
	c.keep(p)
	return nil
}

func (c *checker) count(Options) error {
	for table, to := range map[string]*int64{"event": &c.Events, "notification": &c.Notifications, "attempt": &c.Attempts} {
		if err := c.tx.QueryRowContext(c.ctx, "SELECT count(*) FROM "+table).Scan(to); err != nil {
			if err := c.damage(ruleReadable, err); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkConnector opens connections that know dedup_key. They have a driver of their own,
// because a function that is registered with the common one is there for the whole process.
func checkConnector(o Options) driver.Connector {
	d := &sqlite.Driver{}
	d.MustRegisterDeterministicScalarFunction("dedup_key", 1, func(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
		text, _ := args[0].(string) // of a column that has only text
		return dedupKey(text), nil
	})
	return connector{driver: d, dsn: dsn(o.Path, url.Values{
		"mode":          {"ro"},
		"_query_only":   {"1"},
		"_busy_timeout": {"5000"},
		"_dqs":          {"0"},
		"_pragma":       {"cache_size(-64000)", "temp_store(1)"}, // what has to be sorted is not in memory
	})}
}

type connector struct {
	driver *sqlite.Driver
	dsn    string
}

func (c connector) Connect(context.Context) (driver.Conn, error) { return c.driver.Open(c.dsn) }
func (c connector) Driver() driver.Driver                        { return c.driver }
