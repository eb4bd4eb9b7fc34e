package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
)

// A file of millions of rows would take an hour to make through the API. So a seed of real
// rows is made with the engine, and copied with the engine closed. This is the one place
// where bench knows how the file is laid out, and it goes by names: a table's own number is
// seq, a reference to a table X is X_seq, times end with _at.

// copying says what is copied.
type copying struct {
	tables []string          // in an order in which none refers to a later one
	number map[string]string // the column by which a table's rows are told apart and named anew; missing: seq
	set    map[string]string // SQL of a column's new value instead, with t for the seed's row and k for the number of the copy
	age    bool              // make earlier copies older, so that times rise with the rows
}

// multiply copies what a file has of some tables, so often that it then has that many
// times as much. Ids, and texts that hold an id or a source id, get a number at their end.
func multiply(ctx context.Context, path string, c copying, times int) (err error) {
	db, err := openForCopying(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	m := &multiplier{ctx: ctx, db: db, copying: c, times: times, rows: make(map[string]int64)}
	for _, pragma := range []string{"journal_mode = OFF", "synchronous = OFF", "cache_size = -200000", "temp_store = 2"} {
		if err := m.exec("PRAGMA " + pragma); err != nil {
			return err
		}
	}
	if err := m.run(); err != nil {
		return fmt.Errorf("copy rows: %w", err)
	}
	return m.exec("PRAGMA journal_mode = WAL")
}

func openForCopying(path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: filepath.ToSlash(path)}).String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1) // pragmas and temporary tables are a connection's
	return db, nil
}

// alter runs statements on a closed file.
func alter(ctx context.Context, path string, statements ...string) (err error) {
	db, err := openForCopying(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	for _, s := range statements {
		if _, err := db.ExecContext(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

type multiplier struct {
	ctx context.Context
	db  *sql.DB
	copying
	times int
	rows  map[string]int64 // of the seed, by table
	step  int64            // milliseconds between copies
	stamp string           // the time in the seed's last id
}

func (m *multiplier) exec(statement string) error {
	if _, err := m.db.ExecContext(m.ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

func (m *multiplier) run() error {
	for _, table := range m.tables {
		if m.numberOf(table) != "seq" {
			continue
		}
		var rows int64
		if err := m.db.QueryRowContext(m.ctx, "SELECT coalesce(max(seq), 0) FROM "+table).Scan(&rows); err != nil {
			return err
		}
		m.rows[table] = rows
	}
	first := m.tables[0]
	if err := m.db.QueryRowContext(m.ctx, "SELECT substr(max(CAST(id AS TEXT)), 5, 9) FROM "+first).Scan(&m.stamp); err != nil {
		return err
	}
	if m.age {
		if err := m.db.QueryRowContext(m.ctx, "SELECT max(created_at) - min(created_at) + 1 FROM "+first).Scan(&m.step); err != nil {
			return err
		}
	}
	for _, table := range m.tables {
		if err := m.copyTable(table); err != nil {
			return err
		}
	}
	return nil
}

func (m *multiplier) numberOf(table string) string {
	if n, ok := m.number[table]; ok {
		return n
	}
	return "seq"
}

func (m *multiplier) copyTable(table string) error {
	columns, err := m.columns(table)
	if err != nil {
		return err
	}
	var aged, values []string
	for _, c := range columns {
		if m.age && strings.HasSuffix(c, "_at") {
			aged = append(aged, fmt.Sprintf("%s = %s - %d", c, c, m.step*int64(m.times-1)))
		}
		values = append(values, m.value(table, c))
	}
	if len(aged) > 0 {
		if err := m.exec("UPDATE " + table + " SET " + strings.Join(aged, ", ")); err != nil {
			return err
		}
	}
	// The seed is read from a table of its own: else SQLite would gather all copies first.
	seed := "seed_" + table
	if err := m.exec("CREATE TEMP TABLE " + seed + " AS SELECT * FROM main." + table); err != nil {
		return err
	}
	return m.exec(fmt.Sprintf(`INSERT INTO main.%s (%s)
		WITH RECURSIVE copies (k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM copies WHERE k < %d)
		SELECT %s FROM copies CROSS JOIN temp.%s AS t WHERE k < %d`, table, strings.Join(columns, ", "), m.times, strings.Join(values, ", "), seed, m.times))
}

// columns are those of a table that are stored.
func (m *multiplier) columns(table string) (columns []string, err error) {
	rows, err := m.db.QueryContext(m.ctx, "SELECT name FROM pragma_table_info(?)", table)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		columns = append(columns, name)
	}
	return columns, rows.Err()
}

// value is a column of the k-th copy of a row.
func (m *multiplier) value(table, column string) string {
	if set, ok := m.set[column]; ok {
		return set
	}
	refers := strings.TrimSuffix(column, "_seq")
	switch {
	case column == "seq":
		return m.moved(table, "seq")
	case column == "first_notification_seq":
		return m.moved("notification", column)
	case refers != column && m.rows[refers] > 0:
		return m.moved(refers, column)
	case column == "id" || column == "source_id" || column == "key":
		number := m.moved(table, "seq")
		if n := m.numberOf(table); n != "seq" {
			number = m.moved(strings.TrimSuffix(n, "_seq"), n)
		}
		return m.named("t."+column, number)
	case m.age && strings.HasSuffix(column, "_at"):
		return fmt.Sprintf("t.%s + k * %d", column, m.step)
	}
	return "t." + column
}

// moved is the number of a row of the k-th copy.
func (m *multiplier) moved(table, column string) string {
	return fmt.Sprintf("(t.%s + k * %d)", column, m.rows[table])
}

// named is a text with a number instead of its end. Ids get the time of the seed's last one,
// so that they rise with the rows as real ones do, and come before any that is made later.
func (m *multiplier) named(column, number string) string {
	text := fmt.Sprintf("CAST(%s AS TEXT)", column)
	text = fmt.Sprintf("iif(%[1]s GLOB '???_*' AND length(%[1]s) = 26, substr(%[1]s, 1, 4) || '%[2]szzz', substr(%[1]s, 1, length(%[1]s) - 10)) || printf('%%010d', %[3]s)", text, m.stamp, number)
	return fmt.Sprintf("CASE typeof(%[1]s) WHEN 'text' THEN %[2]s WHEN 'blob' THEN CAST(%[2]s AS BLOB) WHEN 'integer' THEN %[3]s END", column, text, number)
}

// eventTables finds the tables that hold events, and what hangs on them.
func eventTables(ctx context.Context, path string) (c copying, err error) {
	db, err := openForCopying(path)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	rows, err := db.QueryContext(ctx, `SELECT m.name, max(c.name = 'seq'), max(c.name = 'event_seq'), max(c.name = 'notification_seq')
		FROM sqlite_master AS m JOIN pragma_table_info(m.name) AS c WHERE m.type = 'table' GROUP BY m.name ORDER BY m.rowid`)
	if err != nil {
		return c, err
	}
	defer rows.Close()
	c = copying{number: make(map[string]string), age: true}
	for rows.Next() {
		var name string
		var own, event, notification bool
		if err := rows.Scan(&name, &own, &event, &notification); err != nil {
			return c, err
		}
		if name != "event" && !event && !notification {
			continue
		}
		c.tables = append(c.tables, name)
		switch {
		case own:
		case notification:
			c.number[name] = "notification_seq"
		default:
			c.number[name] = "event_seq"
		}
	}
	if !slices.Contains(c.tables, "event") {
		return c, errors.New("the file has no table of events any more: bench/fill.go goes by its name")
	}
	return c, rows.Err()
}
