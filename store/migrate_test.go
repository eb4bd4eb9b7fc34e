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

func TestOldFile(t *testing.T) {
	t.Parallel()
	files := must(filepath.Glob("testdata/v*.db.gz"))(t)
	if len(files) == 0 {
		t.Fatal("there are no old files")
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "old.db")
			packed := must(os.Open(file))(t)
			defer packed.Close()
			check(t, os.WriteFile(path, must(io.ReadAll(must(gzip.NewReader(packed))(t)))(t), 0o600))
			key := must(base64.StdEncoding.DecodeString(oldKey))(t)
			s := must(store.Open(t.Context(), store.Options{Path: path, NoSync: true, Key: key}))(t)
			defer s.Close()

			fresh := open(t, filepath.Join(t.TempDir(), "new.db"))
			equal(t, "schema", tablesOf(t, s.Readers()), tablesOf(t, fresh.Readers()))

			callback := must(s.ListCallbacks(t.Context(), store.CallbackFilter{}, store.Page{}))(t).Items[0]
			list := func(f store.EventFilter) []store.Event {
				return must(s.ListEvents(t.Context(), callback.ID, f, store.Page{Limit: 100}))(t).Items
			}
			all := list(store.EventFilter{})
			equal(t, "events of each kind", []int{len(all), len(list(store.EventFilter{Types: []string{"a"}})), len(list(store.EventFilter{TriggerKeys: []string{"messages.created"}})),
				len(list(store.EventFilter{DeliveryStatuses: []string{"pending"}})), len(list(store.EventFilter{Created: store.Range{After: all[0].CreatedAt}}))},
				[]int{14, 5, 4, 3, 13})
			attempts, failed := 0, 0
			for _, n := range must(s.ListNotifications(t.Context(), callback.ID, store.NotificationFilter{}, store.Page{Limit: 100}))(t).Items {
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
		})
	}
}

// tablesOf is the text of a file's tables and indexes. SQLite quotes the name of a table that
// was renamed.
func tablesOf(t *testing.T, db *sql.DB) map[string]string {
	rows := must(db.QueryContext(t.Context(), "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))(t)
	defer rows.Close()
	out := make(map[string]string)
	for rows.Next() {
		var name, text string
		check(t, rows.Scan(&name, &text))
		out[name] = strings.ReplaceAll(text, `"`, "")
	}
	check(t, rows.Err())
	return out
}
