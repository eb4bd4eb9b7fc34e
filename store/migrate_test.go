package store_test

import (
	"compress/gzip"
	"database/sql"
	"encoding/base64"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/callbackd/callbackd/store"
)

// oldKey is the key of the files in testdata, which were written by the versions that they
// are named after: vN.db.gz has schema version N.
const oldKey = "J8JM1mUCr8zZ8Gu53mxzX0p9dedE4bbgi+tmg13Bq30="

// contentsOf is what is in them: all events, those of a type, those of a trigger, those that are pending.
var contentsOf = map[string][]int{
	"v1.db.gz": {14, 5, 4, 3},
	"v2.db.gz": {17, 5, 4, 6}, // of which the last three are from a clock that was set back by a year, and then right again
	"v3.db.gz": {17, 5, 4, 6}, // those of version 2, brought to 3
}

func TestOldFile(t *testing.T) {
	t.Parallel()
	for _, file := range oldFiles(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			checkOld(t, file, openOld(t, oldFile(t, file)))
		})
	}
}

func oldFiles(t *testing.T) []string {
	t.Helper()
	files := must(filepath.Glob("testdata/v*.db.gz"))(t)
	equal(t, "old files", len(files), store.SchemaVersion-1)
	return files
}

func unpack(t *testing.T, file string) []byte {
	t.Helper()
	packed := must(os.Open(file))(t)
	defer packed.Close()
	return must(io.ReadAll(must(gzip.NewReader(packed))(t)))(t)
}

// oldFile unpacks one of testdata, with its key beside it.
func oldFile(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "old.db")
	check(t, os.WriteFile(path, unpack(t, name), 0o600))
	check(t, os.WriteFile(path+".key", []byte(oldKey+"\n"), 0o600))
	return path
}

// openOld brings a file of testdata forward.
func openOld(t *testing.T, path string) *store.Store {
	t.Helper()
	key := must(base64.StdEncoding.DecodeString(oldKey))(t)
	s := must(store.Open(t.Context(), store.Options{Path: path, NoSync: true, Key: key}))(t)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// checkOld expects a file of testdata to be as it was, with the schema of a new one.
func checkOld(t *testing.T, file string, s *store.Store) {
	t.Helper()
	fresh := open(t, filepath.Join(t.TempDir(), "new.db"))
	equal(t, "schema", tablesOf(t, s.Readers()), tablesOf(t, fresh.Readers()))

	callback := must(s.ListCallbacks(t.Context(), store.CallbackFilter{}, store.Page{}))(t).Items[0]
	list := func(f store.EventFilter) []store.Event {
		return must(s.ListEvents(t.Context(), callback.ID, f, store.Page{Limit: 100}))(t).Items
	}
	all := list(store.EventFilter{})
	equal(t, "events of each kind", []int{len(all), len(list(store.EventFilter{Types: []string{"a"}})), len(list(store.EventFilter{TriggerKeys: []string{"messages.created"}})),
		len(list(store.EventFilter{DeliveryStatuses: []string{"pending"}}))}, contentsOf[filepath.Base(file)])
	later := 0
	for i, e := range all {
		if e.CreatedAt.After(all[0].CreatedAt) {
			later++
		}
		equal(t, "event by its id", must(s.Event(t.Context(), callback.ID, e.ID))(t).SourceID, e.SourceID)
		behind := must(s.ListEvents(t.Context(), callback.ID, store.EventFilter{}, store.Page{After: e.ID, Limit: 100}))(t).Items
		equal(t, "events behind it", len(behind), len(all)-i-1)
		equal(t, "its notifications", len(must(s.ListNotifications(t.Context(), callback.ID, store.NotificationFilter{Events: []string{e.ID}}, store.Page{}))(t).Items), e.DestinationCount)
	}
	equal(t, "events after the first", len(list(store.EventFilter{Created: store.Range{After: all[0].CreatedAt}})), later)
	attempts, failed := 0, 0
	for _, n := range must(s.ListNotifications(t.Context(), callback.ID, store.NotificationFilter{}, store.Page{Limit: 100}))(t).Items {
		equal(t, "notification by its id", must(s.Notification(t.Context(), callback.ID, n.ID))(t).Event.ID, n.Event.ID)
		for _, a := range must(s.Notification(t.Context(), callback.ID, n.ID))(t).Attempts {
			attempts++
			if a.Failure != nil {
				failed++
			}
		}
	}
	equal(t, "attempts, and those that failed", []int{attempts, failed}, []int{14, 3})

	p := must(s.Publish(t.Context(), all[13].CreatedAt, callback.ID, store.NewEvent{Type: "a", SourceID: "own-0"}))(t)[0]
	equal(t, "a source id that is known", []any{p.Repeated, p.Event.ID}, []any{true, list(store.EventFilter{SourceIDs: []string{"own-0"}})[0].ID})
	must(s.Publish(t.Context(), all[13].CreatedAt, callback.ID, store.NewEvent{Type: "a"}))(t)
	equal(t, "events of type a", len(list(store.EventFilter{Types: []string{"a"}})), 6)
	equal(t, "problems", must(s.Check(t.Context(), false))(t).Problems, []store.Problem(nil))
}

// tablesOf is the text of a file's tables and indexes, but for white space. SQLite quotes the name
// of a table that was renamed.
func tablesOf(t *testing.T, db *sql.DB) map[string]string {
	rows := must(db.QueryContext(t.Context(), "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))(t)
	defer rows.Close()
	out := make(map[string]string)
	for rows.Next() {
		var name, text string
		check(t, rows.Scan(&name, &text))
		out[name] = strings.Join(strings.Fields(strings.ReplaceAll(text, `"`, "")), "")
	}
	check(t, rows.Err())
	return out
}
