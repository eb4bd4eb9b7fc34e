package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/callbackd/callbackd"
	"github.com/callbackd/callbackd/store"
)

// run runs statements of a host's, each in a transaction of its own.
func (f *fixture) run(statements ...string) {
	f.t.Helper()
	for _, text := range statements {
		check(f.t, f.Transact(f.t.Context(), func(tx *store.HostTx) error { return hostExec(tx, text) }))
	}
}

func hostExec(tx *store.HostTx, query string, args ...any) error {
	_, err := tx.ExecContext(context.Background(), query, args...)
	return err
}

// order stores an order and its event.
func (f *fixture) order(tx *store.HostTx, name string) error {
	if err := hostExec(tx, "INSERT INTO app_orders (name) VALUES (?)", name); err != nil {
		return err
	}
	_, err := tx.Publish(day, f.callback.ID, store.NewEvent{Type: "order.made", SourceID: name, Output: []byte(`{}`)})
	return err
}

// orders are the names of orders, and of their events.
func (f *fixture) orders() (orders, events string) {
	f.t.Helper()
	for _, q := range []struct {
		to    *string
		query string
	}{
		{&orders, "SELECT coalesce(group_concat(name, ' '), '') FROM (SELECT name FROM app_orders ORDER BY name)"},
		{&events, "SELECT coalesce(group_concat(source_id, ' '), '') FROM (SELECT source_id FROM event ORDER BY source_id)"},
	} {
		check(f.t, f.Readers().QueryRowContext(f.t.Context(), q.query).Scan(q.to))
	}
	return orders, events
}

// isSound is for after whatever a host did: the file passes the check and takes events.
func (f *fixture) isSound() {
	f.t.Helper()
	f.publish("")
	r := must(f.Check(f.t.Context(), false))(f.t)
	if len(r.Problems) > 0 {
		f.t.Errorf("the check finds %v", r.Problems)
	}
}

const ordersTable = "CREATE TABLE app_orders (seq INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE)"

func TestTransactStoresRowsAndEventsOrNeither(t *testing.T) {
	t.Parallel()
	errOwn := errors.New("out of stock")
	for name, c := range map[string]struct {
		fn   func(f *fixture, tx *store.HostTx) error
		want string // of the error; "": both are stored
	}{
		"Success": {fn: func(f *fixture, tx *store.HostTx) error { return nil }},
		"Error":   {fn: func(f *fixture, tx *store.HostTx) error { return errOwn }, want: "out of stock"},
		"Panic":   {fn: func(f *fixture, tx *store.HostTx) error { panic("ouch") }, want: "panic in a transaction: ouch"},
		"Goexit":  {fn: func(f *fixture, tx *store.HostTx) error { runtime.Goexit(); return nil }, want: "ended its goroutine"},
		"AStatementThatFailsMayBeIgnored": {fn: func(f *fixture, tx *store.HostTx) error {
			if hostExec(tx, "INSERT INTO app_orders (name) VALUES ('a')") == nil {
				return errors.New("a duplicate was taken")
			}
			return nil
		}},
		"APublishThatFailsMayNot": {fn: func(f *fixture, tx *store.HostTx) error {
			_, _ = tx.Publish(day, "clb_none", store.NewEvent{Type: "x", Output: []byte(`{}`)})
			if err := hostExec(tx, "SELECT 1"); err == nil {
				return errors.New("it went on")
			}
			return nil
		}, want: `there is no callback "clb_none"`},
		"RowsLeftOpen": {fn: func(f *fixture, tx *store.HostTx) error {
			if rows, err := tx.QueryContext(context.Background(), "SELECT name FROM app_orders UNION ALL SELECT 'b'"); err != nil || !rows.Next() {
				return fmt.Errorf("no rows: %w", err)
			}
			tx.QueryRowContext(context.Background(), "SELECT name FROM app_orders")
			return nil
		}},
		"RollbackByAStatement": {fn: func(f *fixture, tx *store.HostTx) error {
			_ = hostExec(tx, "INSERT OR ROLLBACK INTO app_orders (name) VALUES ('a')")
			_ = hostExec(tx, "INSERT INTO app_orders (name) VALUES ('b')")
			return nil
		}, want: "a statement rolled the transaction back"},
		"AContextThatEnds": {fn: func(f *fixture, tx *store.HostTx) error {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			_, _ = tx.ExecContext(ctx, "INSERT INTO app_orders (name) VALUES ('b')")
			return nil
		}, want: "a statement's context ended"},
		"ADeferredReferenceToNothing": {fn: func(f *fixture, tx *store.HostTx) error {
			return hostExec(tx, "INSERT INTO app_lines (order_seq) VALUES (77)")
		}, want: "a deferred foreign key of the host's"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			f.run(ordersTable, "CREATE TABLE app_lines (order_seq INTEGER NOT NULL REFERENCES app_orders (seq) DEFERRABLE INITIALLY DEFERRED)")
			err := f.Transact(t.Context(), func(tx *store.HostTx) error {
				if err := f.order(tx, "a"); err != nil {
					return err
				}
				return c.fn(f, tx)
			})
			orders, events := f.orders()
			if c.want == "" {
				check(t, err)
				equal(t, "orders", orders, "a")
				equal(t, "events", events, "a")
			} else {
				if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, store.ErrUnavailable) {
					t.Errorf("got %v", err)
				}
				equal(t, "orders", orders, "")
				equal(t, "events", events, "")
			}
			f.isSound()
		})
	}
}

func TestTransactReadsWhatItWrote(t *testing.T) {
	t.Parallel()
	f := setup(t)
	check(t, f.Transact(t.Context(), func(tx *store.HostTx) error {
		if err := hostExec(tx, ordersTable+"; CREATE INDEX app_orders_name ON app_orders (name)"); err != nil {
			return err
		}
		if err := f.order(tx, "a"); err != nil {
			return err
		}
		var name, last string
		if err := tx.QueryRowContext(t.Context(), "INSERT INTO app_orders (name) SELECT value FROM json_each(?) RETURNING name", `["b"]`).Scan(&last); err != nil {
			return err
		}
		if err := tx.QueryRowContext(t.Context(), "WITH o AS (SELECT * FROM app_orders) SELECT group_concat(name) FROM o").Scan(&name); err != nil {
			return err
		}
		equal(t, "names", name, "a,b")
		err := tx.QueryRowContext(t.Context(), "SELECT name FROM app_orders WHERE name = 'c'").Scan(&name)
		equal(t, "no row", errors.Is(err, sql.ErrNoRows), true)
		return nil
	}))
	// Tables change, as those of hosts do.
	f.run("ALTER TABLE app_orders ADD COLUMN total INTEGER CHECK (total > 0)", "ALTER TABLE app_orders RENAME COLUMN total TO amount",
		"ALTER TABLE app_orders DROP COLUMN amount", "ALTER TABLE app_orders RENAME TO app_purchases", "ALTER TABLE app_purchases RENAME TO app_orders",
		"DROP INDEX app_orders_name", "DELETE FROM app_orders WHERE name = 'b'", "REPLACE INTO app_orders (name) VALUES ('a')",
		"CREATE TABLE app_copy AS SELECT * FROM app_orders", "REINDEX app_orders", "DROP TABLE app_copy")
	orders, events := f.orders()
	equal(t, "orders", orders, "a")
	equal(t, "events", events, "a")
	f.isSound()
}

func TestTransactKeepsToTheHostsTables(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.run(ordersTable)
	for _, query := range []string{
		"BEGIN", "COMMIT", "END", "ROLLBACK", "SAVEPOINT app_s", "RELEASE piece", "ROLLBACK TO piece", "SELECT 1; COMMIT", "/* */ -- \n COMMIT",
		"ATTACH 'x.db' AS x", "VACUUM", "VACUUM INTO 'app_x.db'", "DETACH main", "ANALYZE", "REINDEX",
		"PRAGMA foreign_keys = 0", "PRAGMA user_version = 9", "PRAGMA writable_schema = 1", "PRAGMA wal_checkpoint(TRUNCATE)", "SELECT * FROM pragma_table_info('event')",
		"INSERT INTO event_type (callback_seq, type, trigger_key) VALUES (1, 'x', 'y')", "UPDATE event SET type_seq = 1", "DELETE FROM EVENT", `DELETE FROM "main"."event"`,
		"SELECT * FROM destination", "SELECT count(*) FROM meta", "INSERT INTO app_orders (name) SELECT id FROM event", "UPDATE app_orders SET name = (SELECT hash FROM api_key)",
		"CREATE TABLE orders (x)", "CREATE TABLE app_x AS SELECT * FROM event", "CREATE TEMP TABLE app_x (x)", "CREATE VIRTUAL TABLE app_x USING fts5(x)",
		"CREATE INDEX app_x ON event (status)", "CREATE INDEX x ON app_orders (name)", "CREATE VIEW app_v AS SELECT 1", "CREATE TEMP VIEW app_v AS SELECT 1",
		"CREATE TRIGGER app_t AFTER INSERT ON event BEGIN DELETE FROM app_orders; END", "CREATE TRIGGER app_t AFTER INSERT ON app_orders BEGIN DELETE FROM event; END",
		"CREATE TEMP TRIGGER app_t AFTER INSERT ON event BEGIN DELETE FROM app_orders; END",
		"DROP TABLE event", "DROP INDEX event_status", "ALTER TABLE event RENAME TO app_event", "ALTER TABLE event ADD COLUMN x", "DELETE FROM sqlite_master", "UPDATE sqlite_schema SET sql = ''",
		"SELECT * FROM sqlite_dbpage", "SELECT load_extension('x')",
		"ALTER TABLE app_orders RENAME TO orders",
		"CREATE TABLE app_x (e INTEGER REFERENCES event (seq))", "CREATE TABLE app_x (e INTEGER REFERENCES EVENT (seq) ON DELETE CASCADE)",
	} {
		before := dump(t, f.Readers())
		err := f.Transact(t.Context(), func(tx *store.HostTx) error { return hostExec(tx, query) })
		if err == nil {
			t.Errorf("%s: no error", query)
		}
		if errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s: %v", query, err)
		}
		if dump(t, f.Readers()) != before {
			t.Errorf("%s: the file is another", query)
		}
	}
	f.isSound()
	err := f.Transact(t.Context(), func(tx *store.HostTx) error { return hostExec(tx, "DELETE FROM event") })
	if want := "table event is not the host's: a host's tables and indexes have names that begin with app_"; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v", err)
	}
}

// What fails in one transaction does not reach the others that share its commit.
func TestTransactFailsAlone(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.LimitHosts(time.Second)
	f.run(ordersTable)
	f.run("INSERT INTO app_orders (name) VALUES ('taken')")
	hold, held := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		check(t, f.Write(t.Context(), func(*store.Tx) error { close(held); <-hold; return nil }))
	})
	<-held
	stuck := make(chan struct{})
	bad := map[string]func(tx *store.HostTx) error{
		"Error": func(tx *store.HostTx) error { return errors.New("no") },
		"Rollback": func(tx *store.HostTx) error {
			return hostExec(tx, "INSERT OR ROLLBACK INTO app_orders (name) VALUES ('taken')")
		},
		"Endless": func(tx *store.HostTx) error {
			return hostExec(tx, "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n) INSERT INTO app_orders (name) SELECT 'n' || n FROM n")
		},
		"Hanging": func(tx *store.HostTx) error {
			<-stuck
			return hostExec(tx, "INSERT INTO app_orders (name) VALUES ('late')")
		},
	}
	n := 0
	start := func(fn func()) {
		n++
		wg.Go(fn)
		for f.Waiting() < n {
			runtime.Gosched()
		}
	}
	for i := range 4 {
		start(func() {
			check(t, f.Transact(t.Context(), func(tx *store.HostTx) error { return f.order(tx, fmt.Sprint("good", i)) }))
		})
		start(func() { f.publish(fmt.Sprint("plain", i)) })
	}
	for name, fn := range bad {
		start(func() {
			if err := f.Transact(t.Context(), func(tx *store.HostTx) error {
				if err := f.order(tx, "bad"+name); err != nil {
					return err
				}
				return fn(tx)
			}); err == nil || errors.Is(err, store.ErrUnavailable) {
				t.Errorf("%s: got %v", name, err)
			}
		})
	}
	start(func() { check(t, f.Transact(t.Context(), func(tx *store.HostTx) error { return f.order(tx, "last") })) })
	close(hold)
	wg.Wait()
	close(stuck)
	orders, events := f.orders()
	equal(t, "orders", orders, "good0 good1 good2 good3 last taken")
	equal(t, "events", events, "good0 good1 good2 good3 last plain0 plain1 plain2 plain3")
	f.isSound()
}

func TestTransactIsOfNoUseAfterItsEnd(t *testing.T) {
	t.Parallel()
	f := setup(t)
	var kept *store.HostTx
	check(t, f.Transact(t.Context(), func(tx *store.HostTx) error { kept = tx; return nil }))
	_, published := kept.Publish(day, f.callback.ID, store.NewEvent{Type: "x", Output: []byte(`{}`)})
	_, queried := kept.QueryContext(t.Context(), "SELECT 1")
	for what, err := range map[string]error{"exec": hostExec(kept, ordersTable), "publish": published, "query": queried, "row": kept.QueryRowContext(t.Context(), "SELECT 1").Scan(new(int))} {
		if err == nil || !strings.Contains(err.Error(), "the transaction is over") {
			t.Errorf("%s: got %v", what, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := f.Transact(ctx, func(*store.HostTx) error { t.Error("it began"); return nil })
	equal(t, "cancelled", errors.Is(err, context.Canceled), true)
	check(t, f.Close())
	err = f.Transact(t.Context(), func(*store.HostTx) error { t.Error("it began"); return nil })
	equal(t, "closed", errors.Is(err, store.ErrClosed), true)
}

// A power cut at any instant leaves orders and events that belong together.
func TestTransactIsWholeAfterAPowerCut(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.run(ordersTable)
	check(t, f.Close()) // and all is in the database, none in the log
	before := must(os.ReadFile(f.path))(t)
	key := must(os.ReadFile(f.path + ".key"))(t)
	f.Store = must(store.Open(t.Context(), store.Options{Path: f.path}))(t)
	defer f.Close()
	var names []string
	for i := range 4 {
		names = append(names, fmt.Sprint("o", i))
		check(t, f.Transact(t.Context(), func(tx *store.HostTx) error { return f.order(tx, names[i]) }))
	}
	w := readWAL(t, f.path)
	seen := make(map[string]bool)
	for _, c := range w.cuts(16) {
		path := filepath.Join(t.TempDir(), "cut.db")
		check(t, os.WriteFile(path, before, 0o600))
		check(t, os.WriteFile(path+".key", key, 0o600))
		check(t, os.WriteFile(path+"-wal", c.wal, 0o600))
		s := must(store.Open(t.Context(), store.Options{Path: path, NoSync: true}))(t)
		orders, events := (&fixture{Store: s, t: t}).orders()
		equal(t, "cut "+c.name+": events", events, orders)
		equal(t, "cut "+c.name+": orders", orders, strings.Join(names[:w.commits(c.kept)], " "))
		seen[orders] = true
		check(t, s.Close())
	}
	if len(seen) != len(names)+1 {
		t.Errorf("the cuts left %d states, want %d", len(seen), len(names)+1)
	}
}

// What looks after the file copes with a host's tables in it.
func TestHostTablesAreKept(t *testing.T) {
	t.Parallel()
	tables := []string{ordersTable, "CREATE TABLE app_lines (order_seq INTEGER NOT NULL REFERENCES app_orders (seq), item TEXT) STRICT", "CREATE INDEX app_lines_item ON app_lines (item)",
		"INSERT INTO app_orders (name) VALUES ('a')", "INSERT INTO app_lines (order_seq, item) VALUES (1, 'pen')"}
	kept := func(t *testing.T, s *store.Store) {
		t.Helper()
		check(t, s.Transact(t.Context(), func(tx *store.HostTx) error {
			var item string
			if err := tx.QueryRowContext(t.Context(), "SELECT item FROM app_lines JOIN app_orders ON seq = order_seq WHERE item = 'pen'").Scan(&item); err != nil {
				return err
			}
			return hostExec(tx, "INSERT INTO app_lines (order_seq, item) VALUES (1, 'ink')")
		}))
		if r := must(s.Check(t.Context(), false))(t); len(r.Problems) > 0 {
			t.Errorf("the check finds %v", r.Problems)
		}
	}
	t.Run("ByBackup", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		f.run(tables...)
		copied := filepath.Join(t.TempDir(), "copy.db")
		check(t, f.Backup(t.Context(), copied, true))
		kept(t, open(t, copied))
	})
	t.Run("ByANewKey", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		f.run(tables...)
		check(t, f.Close())
		must(store.RotateKey(t.Context(), store.Options{Path: f.path}, nil))(t)
		kept(t, open(t, f.path))
	})
	for _, file := range oldFiles(t) {
		t.Run("ByAnUpgradeOf"+filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			path := oldFile(t, file)
			for _, text := range tables {
				alter(t, path, text)
			}
			s := openOld(t, path)
			defer s.Close()
			kept(t, s)
			sound(t, s.Readers())
		})
	}
}

// No name of the schema, now or in a step to it, is one that a host may have.
func TestTheSchemaHasNoHostsNames(t *testing.T) {
	t.Parallel()
	texts := []string{callbackd.Schema}
	for _, name := range must(filepath.Glob("steps/*.sql"))(t) {
		texts = append(texts, string(must(os.ReadFile(name))(t)))
	}
	for _, text := range texts {
		if strings.Contains(strings.ToLower(text), " "+store.HostPrefix) {
			t.Errorf("a name begins with %s", store.HostPrefix)
		}
	}
}
