// Package store keeps everything that an engine knows in one SQLite file: one
// writer with group commit, a pool of readers, and whole operations (attach an
// instance, record a poll, record outcomes), each of which is one transaction.
//
// Nothing above this package sees SQL, row numbers of reads, or integers for times.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/gofrs/flock"
	_ "modernc.org/sqlite" // the driver

	"github.com/callbackd/callbackd/store/internal/db"
)

// Store is an open file. Its methods may be called from many goroutines. A read
// stops when its context is done. A write that has not begun by then returns the
// context's error and changes nothing; one that has begun runs to its end.
type Store struct {
	path     string // absolute
	key      []byte // that was given; nil: it is in PATH.key
	lock     *flock.Flock
	log      *slog.Logger
	sealer   *sealer
	ids      *ids
	writer   *writer
	readers  *sql.DB
	prepared *prepared // on readers
	read     *db.Queries

	closing sync.Once
	closed  error
}

// Open opens the file at o.Path, made from the schema if it is missing and brought
// forward if it is older. Errors a person can act on are a [*LockedError], a
// [*VersionError], and those that speak of the key.
func Open(ctx context.Context, o Options) (*Store, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	path, err := ownPath(o.Path)
	if err != nil {
		return nil, err
	}
	o.Path = path
	l, err := lock(path)
	if err != nil {
		return nil, err
	}
	s := &Store{path: path, key: o.Key, lock: l, log: o.Logger, ids: newIDs(o.Now, o.Rand)}
	if err := s.open(ctx, o); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, explain(err)), s.Close())
	}
	return s, nil
}

func (s *Store) open(ctx context.Context, o Options) error {
	if err := checkNoLostDatabase(o.Path); err != nil {
		return err
	}
	// A new file is the owner's alone, which SQLite would not see to; it is empty until the
	// schema is made. SQLite gives its other files the same mode.
	file, err := os.OpenFile(o.Path, os.O_RDONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		err = file.Close()
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	key, err := migrate(ctx, o)
	if err != nil {
		return err
	}
	if s.sealer, err = newSealer(key, o.Rand); err != nil {
		return err
	}
	writing, err := sql.Open("sqlite", writerDSN(o))
	if err != nil {
		return err
	}
	s.writer = newWriter(s, writing)
	if err := s.writer.start(); err != nil {
		return err
	}
	if err := s.markKey(ctx); err != nil {
		return err
	}
	// Readers come second: a read-only connection cannot switch the file to WAL.
	if s.readers, err = sql.Open("sqlite", readerDSN(o)); err != nil {
		return err
	}
	n := max(8, runtime.GOMAXPROCS(0)) // the loops read beside a few slow lists
	s.readers.SetMaxOpenConns(n)
	s.readers.SetMaxIdleConns(n)
	s.prepared = prepare(s.readers)
	s.read = db.New(s.prepared)
	return s.warm(ctx)
}

// warmReaders is how many connections read from the start: as many as usually do at a time. A file
// that is deleted while it is in use can still be read by those that have it open, and by no others.
const warmReaders = 4

func (s *Store) warm(ctx context.Context) error {
	for range warmReaders {
		conn, err := s.readers.Conn(ctx)
		if err != nil {
			return err
		}
		defer conn.Close() // gives it back, when all are open
		var n int
		if err := conn.QueryRowContext(ctx, "SELECT count(*) FROM api_key").Scan(&n); err != nil {
			return err
		}
	}
	return nil
}

// markKey leaves a word in a new file that is sealed with its key, by which a wrong key is found
// when the file is opened, and not at the first delivery.
func (s *Store) markKey(ctx context.Context) error {
	return s.write(ctx, func(tx *tx) error {
		sealed, err := readKeyCheck(tx.ctx, tx.conn)
		if err != nil || sealed != nil {
			return err
		}
		if sealed, err = s.sealer.seal(keyCheckPlace, []byte(keyCheckWord)); err != nil {
			return err
		}
		return tx.q.SetMeta(tx.ctx, keyCheck, sealed)
	})
}

// Close waits for what is being written, then closes the file. Later writes
// fail with [ErrClosed], and later reads too; closing twice is harmless.
func (s *Store) Close() error {
	s.closing.Do(func() {
		var errs []error
		if s.prepared != nil {
			errs = append(errs, s.prepared.close())
		}
		if s.readers != nil {
			errs = append(errs, s.readers.Close())
		}
		if s.writer != nil {
			errs = append(errs, s.writer.stop())
		}
		s.closed = errors.Join(append(errs, s.lock.Unlock())...)
	})
	return s.closed
}

// The DSN's own keys are checked by the driver before any is applied; _pragma values are not.

// migratorDSN leaves the journal as it is: that is in the file, which may be a stranger's.
func migratorDSN(o Options) string {
	return dsn(o.Path, url.Values{"_busy_timeout": {"5000"}, "_txlock": {"immediate"}, "_dqs": {"0"}})
}

func writerDSN(o Options) string {
	sync := "FULL"
	if o.NoSync {
		sync = "NORMAL"
	}
	return dsn(o.Path, url.Values{
		"mode":          {"rw"}, // a file that was deleted is not made anew, empty
		"_journal_mode": {"WAL"},
		"_synchronous":  {sync},
		"_busy_timeout": {"5000"},
		"_foreign_keys": {"1"},
		"_txlock":       {"immediate"},
		"_dqs":          {"0"},
		"_pragma":       {"cache_size(-16000)", "journal_size_limit(67108864)", "temp_store(2)"},
	})
}

func readerDSN(o Options) string {
	return dsn(o.Path, url.Values{
		"mode":          {"ro"},
		"_query_only":   {"1"},
		"_busy_timeout": {"5000"},
		"_dqs":          {"0"},
		"_pragma":       {"cache_size(-4000)", "temp_store(2)"},
	})
}

// dsn makes a URI, in which alone mode=ro is heeded, of a path with any character.
func dsn(path string, v url.Values) string {
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: v.Encode()}).String()
}
