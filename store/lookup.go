package store

import (
	"context"
	"database/sql"
	"errors"
	"strings"
)

// Ids of events and notifications ascend with their row numbers: the writer makes both, and
// starts where the file's last ids end (ids.follow). So a row is found by its id in some twenty
// steps of halving, and nobody pays for an index of ids with each event.
//
// Versions before 3 did not see to it. The rows up to the last one that was out of order are in
// the table unordered_id, and meta says which one that is.

// ordered are the tables whose ids ascend, by the prefix of their ids.
var ordered = map[string]string{"event": prefixEvent, "notification": prefixNotification}

// unorderedKey is where meta says up to which row of a table ids may be out of order.
func unorderedKey(table string) string { return table + "_unordered" }

// halving finds where in TABLE ids would be: the first row from low on has this id or a later one.
// Each step looks at one row; "at" is the id of the row in the middle. The first step leads to the
// whole span.
const halving = `WITH RECURSIVE span (id, low, high, at) AS (
  SELECT j.value, 2 * coalesce((SELECT CAST(m.value AS INTEGER) FROM meta AS m WHERE m.key = 'UNORDERED'), 0) - last.seq - 1, last.seq + 1, ''
  FROM json_each(?) AS j, (SELECT max(r.seq) AS seq FROM TABLE AS r) AS last
  UNION ALL
  SELECT s.id, iif(s.at < s.id, (s.low + s.high) / 2 + 1, s.low), iif(s.at < s.id, s.high, (s.low + s.high) / 2),
    (SELECT r.id FROM TABLE AS r WHERE r.seq >= iif(s.at < s.id, (s.low + s.high) / 2 + 1 + s.high, s.low + (s.low + s.high) / 2) / 2 ORDER BY r.seq LIMIT 1)
  FROM span AS s WHERE s.low < s.high
) `

// seqsByID is a query for the rows of a table that have one of the ids in a JSON list, its only
// argument.
func seqsByID(table string) string {
	if ordered[table] == "" {
		return "SELECT r.seq FROM " + table + " AS r WHERE r.id IN (SELECT value FROM json_each(?))"
	}
	return onTable(halving+`SELECT r.seq FROM span AS s CROSS JOIN TABLE AS r ON r.seq = (SELECT x.seq FROM TABLE AS x WHERE x.seq >= s.low ORDER BY x.seq LIMIT 1) AND r.id = s.id
WHERE s.low >= s.high
UNION ALL SELECT u.seq FROM span AS s CROSS JOIN unordered_id AS u ON u.id = s.id WHERE s.low >= s.high`, table)
}

func onTable(query, table string) string {
	return strings.NewReplacer("TABLE", table, "UNORDERED", unorderedKey(table)).Replace(query)
}

// seqOf is the row number of an id, or sql.ErrNoRows.
func seqOf(ctx context.Context, r rowReader, table, id string) (seq int64, err error) {
	if ordered[table] == "" {
		err = r.QueryRowContext(ctx, "SELECT seq FROM "+table+" WHERE id = ?", id).Scan(&seq)
		return seq, err
	}
	err = r.QueryRowContext(ctx, seqsByID(table), jsonText([]string{id})).Scan(&seq)
	return seq, err
}

// around are the last row before an id and the first one behind it, or sql.ErrNoRows. Where ids
// ascend, the row itself may have been removed since: its place is still known.
func around(ctx context.Context, r rowReader, table, id string) (before, behind int64, err error) {
	seq, err := seqOf(ctx, r, table, id)
	prefix := ordered[table]
	if !errors.Is(err, sql.ErrNoRows) || prefix == "" || !isID(prefix, id) {
		return seq - 1, seq + 1, err
	}
	err = r.QueryRowContext(ctx, onTable(halving+"SELECT s.low FROM span AS s WHERE s.low >= s.high", table), jsonText([]string{id})).Scan(&behind)
	return behind - 1, behind, err
}
