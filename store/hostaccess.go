package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// HostPrefix is what the names of a host's own tables and indexes begin with, in upper or lower
// case. The schema has no such names, and never will.
const HostPrefix = "app_"

func isHosts(name string) bool {
	return len(name) >= len(HostPrefix) && strings.EqualFold(name[:len(HostPrefix)], HostPrefix)
}

// isHostsIndex is isHosts for an index, which SQLite may have made for a UNIQUE.
func isHostsIndex(name string) bool { return isHosts(strings.TrimPrefix(name, "sqlite_autoindex_")) }

// hostAccess has SQLite itself keep a host's statements, whatever they say, to the host's own
// tables, and from ending the transaction. It belongs to one connection, the writer's.
type hostAccess struct {
	on       atomic.Bool // what is compiled now is the host's
	undone   atomic.Bool // the transaction was rolled back
	changed  atomic.Bool // the host made or changed a table
	refused  atomic.Pointer[string]
	conn     sqliteConn
	unhosted int64 // tables and indexes that are not the host's
}

// sqliteConn is what a connection of the driver can do, besides SQL.
type sqliteConn interface {
	sqlite.AuthorizerRegisterer
	sqlite.HookRegisterer
	Status(op sqlite.DBStatusOp, reset bool) (current, high int, err error)
}

// openToHost has the writer's connection watched; once, because that has all of its statements
// compiled anew.
func (w *writer) openToHost() (*hostAccess, error) {
	if w.access != nil {
		return w.access, nil
	}
	a := &hostAccess{}
	if err := w.prepared.QueryRowContext(context.Background(), countUnhosted).Scan(&a.unhosted); err != nil {
		return nil, err
	}
	err := w.conn.Raw(func(c any) error {
		var ok bool
		if a.conn, ok = c.(sqliteConn); !ok {
			return errors.New("the driver cannot watch over a connection")
		}
		a.conn.RegisterRollbackHook(func() { a.undone.Store(true) })
		return a.conn.RegisterAuthorizer(a.authorize)
	})
	if err != nil {
		return nil, err
	}
	w.access = a
	return a, nil
}

func (a *hostAccess) begin() {
	a.undone.Store(false)
	a.changed.Store(false)
	a.on.Store(true)
}

// end tells whether the host changed its tables.
func (a *hostAccess) end() (changed bool) {
	a.on.Store(false)
	return a.changed.Load()
}

func (a *hostAccess) suspend()         { a.on.Store(false) }
func (a *hostAccess) resume()          { a.on.Store(true) }
func (a *hostAccess) rolledBack() bool { return a.undone.Load() }

// authorize decides about each thing that a statement would do. What it does not know it refuses.
func (a *hostAccess) authorize(action sqlite.AuthorizerActionCode, arg1, arg2, _, _ string) sqlite.AuthorizerReturnCode {
	if !a.on.Load() {
		return sqlite.AuthorizerOK
	}
	if why := a.forbids(action, arg1, arg2); why != "" {
		a.refused.Store(&why)
		return sqlite.AuthorizerDeny
	}
	return sqlite.AuthorizerOK
}

func (a *hostAccess) forbids(action sqlite.AuthorizerActionCode, arg1, arg2 string) (why string) {
	const prefix = "a host's tables and indexes have names that begin with " + HostPrefix
	switch action {
	case sqlite.AuthSelect, sqlite.AuthFunction, sqlite.AuthRecursive:
		return ""
	case sqlite.AuthRead:
		if isHosts(arg1) || isCatalog(arg1) || arg1 == "json_each" || arg1 == "json_tree" || arg1 == "pragma_quick_check" {
			return ""
		}
		return fmt.Sprintf("table %s is not the host's: %s; use the engine's methods to read what is its own", arg1, prefix)
	case sqlite.AuthInsert, sqlite.AuthUpdate, sqlite.AuthDelete:
		if isHosts(arg1) || isCatalog(arg1) { // SQLite itself keeps its catalogue from being written to, but for CREATE and the like
			return ""
		}
		return fmt.Sprintf("table %s is not the host's: %s", arg1, prefix)
	case sqlite.AuthCreateTable, sqlite.AuthDropTable:
		a.changed.Store(true)
		if isHosts(arg1) || arg1 == "sqlite_sequence" { // which AUTOINCREMENT makes
			return ""
		}
		return fmt.Sprintf("table %s: %s", arg1, prefix)
	case sqlite.AuthAlterTable:
		a.changed.Store(true)
		if isHosts(arg2) {
			return ""
		}
		return fmt.Sprintf("table %s: %s", arg2, prefix)
	case sqlite.AuthCreateIndex, sqlite.AuthDropIndex:
		if isHostsIndex(arg1) && isHosts(arg2) {
			return ""
		}
		return fmt.Sprintf("index %s on table %s: %s", arg1, arg2, prefix)
	case sqlite.AuthReindex:
		if isHostsIndex(arg1) {
			return ""
		}
		return fmt.Sprintf("index %s: %s", arg1, prefix)
	case sqlite.AuthTransaction, sqlite.AuthSavepoint:
		return "the transaction begins and ends with the function that it is given to, so BEGIN, COMMIT, ROLLBACK, SAVEPOINT and RELEASE are not for it"
	case sqlite.AuthPragma:
		if arg1 == "quick_check" { // ALTER TABLE looks whether the rows suit a new column
			return ""
		}
		return "PRAGMA " + arg1 + " is not for a host: the connection is the engine's"
	case sqlite.AuthAttach, sqlite.AuthDetach:
		return "ATTACH, DETACH and VACUUM are not for a host: the connection is the engine's"
	case sqlite.AuthCreateView, sqlite.AuthCreateTrigger:
		return "a host has tables and indexes only: a view or a trigger that is broken would stand in the way of changes to the engine's own tables"
	}
	return "a host has tables and indexes only, and no temporary or virtual ones"
}

// isCatalog tells whether SQLite keeps a table itself.
func isCatalog(table string) bool {
	switch table {
	case "sqlite_master", "sqlite_schema", "sqlite_temp_master", "sqlite_temp_schema", "sqlite_sequence":
		return true
	}
	return false
}

// explain says why a statement was refused.
func (a *hostAccess) explain(err error) error {
	why := a.refused.Swap(nil)
	if e, ok := errors.AsType[*sqlite.Error](err); ok && why != nil && (e.Code()&0xff == sqlite3.SQLITE_AUTH || e.Code()&0xff == sqlite3.SQLITE_ERROR) {
		return fmt.Errorf("%s (%w)", *why, err)
	}
	return err
}

const (
	countUnhosted = `SELECT count(*) FROM sqlite_schema WHERE tbl_name NOT LIKE 'app\_%' ESCAPE '\' AND name <> 'sqlite_sequence'`
	strangeParent = `SELECT coalesce((SELECT printf('table %s refers to table %s', m.name, f."table") FROM sqlite_schema AS m, pragma_foreign_key_list(m.name) AS f
WHERE m.type = 'table' AND m.tbl_name LIKE 'app\_%' ESCAPE '\' AND f."table" NOT LIKE 'app\_%' ESCAPE '\' LIMIT 1), '')`
)

// checkHost looks, before a host's transaction becomes a part of the batch's, for what no statement
// says by itself: references that would fail the commit of all, or burden the engine's tables.
func (t *tx) checkHost(a *hostAccess, changed bool) error {
	var open int
	err := t.conn.Raw(func(any) (err error) {
		open, _, err = a.conn.Status(sqlite.DBStatusDeferredFKs, false)
		return err
	})
	if err != nil {
		return err
	}
	if open != 0 {
		return errors.New("a deferred foreign key of the host's refers to a row that is not there")
	}
	if !changed {
		return nil
	}
	var unhosted int64
	if err := t.conn.QueryRowContext(t.ctx, countUnhosted).Scan(&unhosted); err != nil {
		return err
	}
	if unhosted != a.unhosted {
		return errors.New("a table was renamed to a name that does not begin with " + HostPrefix)
	}
	var strange string
	if err := t.conn.QueryRowContext(t.ctx, strangeParent).Scan(&strange); err != nil {
		return err
	}
	if strange != "" {
		return errors.New(strange + ", which is not the host's, and would hold up its changes")
	}
	return nil
}
