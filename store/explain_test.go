package store_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/callbackd/callbackd/store"
)

// plan is how SQLite goes about a query.
func plan(t *testing.T, db *sql.DB, q store.Query) []string {
	t.Helper()
	rows := must(db.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+q.Text, q.Args...))(t)
	defer rows.Close()
	var out []string
	for rows.Next() {
		var id, parent, unused int
		var detail string
		check(t, rows.Scan(&id, &parent, &unused, &detail))
		out = append(out, detail)
	}
	check(t, rows.Err())
	return out
}

// costly are the steps of a plan that take longer the more rows there are: sorting, and
// scans other than of arguments.
func costly(plan []string) []string {
	return slices.DeleteFunc(slices.Clone(plan), func(step string) bool {
		return !strings.Contains(step, "TEMP B-TREE") && (!strings.HasPrefix(step, "SCAN") || strings.Contains(step, "VIRTUAL TABLE"))
	})
}

func TestQueries(t *testing.T) {
	t.Parallel()
	f := setup(t)
	recorder := must(f.Record(t.Context(), f.path))(t)
	prepared := recorder.Take()

	t.Run("NeitherScanNorSortWhatGrows", func(t *testing.T) {
		small := map[string]string{
			"APIKeys":                    "a handful of keys",
			"ArchiveProvidersExcept":     "providers, at start-up",
			"MoveCallbackTriggers":       "at start-up, when a declaration has changed",
			"MoveInstanceTriggers":       "at start-up, when a declaration has changed",
			"AuthMethodsOfSpecification": "one declaration's auth methods",
			"CurrentAuthMethodByKey":     "the current versions of all providers",
			"CurrentTriggers":            "one declaration's triggers",
			"CallbackTriggers":           "the triggers of one page's callbacks",
			"InstanceTriggers":           "the triggers of one page's instances",
			"DestinationsOfCallback":     "one callback's destinations",
			"OpenDestinations":           "the destinations, with one probe for each",
		}
		name, parameter := regexp.MustCompile(`^-- name: (\w+)`), regexp.MustCompile(`\?\d+`)
		if len(prepared) < 80 {
			t.Errorf("only %d queries were looked at", len(prepared))
		}
		for _, q := range prepared {
			n := name.FindStringSubmatch(q.Text)[1]
			numbers := parameter.FindAllString(q.Text, -1)
			slices.Sort(numbers)
			q.Args = make([]any, len(slices.Compact(numbers)))
			if steps := costly(plan(t, f.Readers(), q)); len(steps) > 0 && small[n] == "" {
				t.Errorf("%s: %q", n, steps)
			}
		}
	})

	// sqlc v1.31.1 cuts queries off behind a byte that is not ASCII, and gives a bare "?" the wrong number.
	t.Run("AreWhatSQLCUnderstands", func(t *testing.T) {
		files := must(filepath.Glob("../queries/*.sql"))(t)
		if len(files) == 0 {
			t.Fatal("no queries were found")
		}
		for _, file := range append(files, "../schema.sql") {
			for i, line := range strings.Split(string(must(os.ReadFile(file))(t)), "\n") {
				if strings.ContainsFunc(line, func(r rune) bool { return r > 0x7e }) {
					t.Errorf("%s:%d is not ASCII", file, i+1)
				}
				if text, _, _ := strings.Cut(line, "--"); strings.Contains(text, "?") {
					t.Errorf("%s:%d has a bare ?", file, i+1)
				}
			}
		}
	})

	t.Run("OfListsGoByAnIndexInItsOrder", func(t *testing.T) {
		ctx, span := t.Context(), store.Range{After: day, Before: day.Add(time.Hour)}
		one, two := []string{"a"}, []string{"a", "b"}
		event := f.publish("cursor").EventID
		notification := must(f.ListNotifications(ctx, f.callback.ID, store.NotificationFilter{}, store.Page{}))(t).Items[0].ID
		events := func(filter store.EventFilter) func(store.Page) error {
			return func(p store.Page) error { _, err := f.ListEvents(ctx, f.callback.ID, filter, p); return err }
		}
		notifications := func(filter store.NotificationFilter) func(store.Page) error {
			return func(p store.Page) error { _, err := f.ListNotifications(ctx, f.callback.ID, filter, p); return err }
		}
		instances := func(filter store.InstanceFilter) func(store.Page) error {
			return func(p store.Page) error { _, err := f.ListInstances(ctx, f.callback.ID, filter, p); return err }
		}
		callbacks := func(filter store.CallbackFilter) func(store.Page) error {
			return func(p store.Page) error { _, err := f.ListCallbacks(ctx, filter, p); return err }
		}
		// A walk goes through one callback's rows in their order until the page is full; a lookup
		// sees no other rows than those that were named.
		const walk, lookup = "(callback_seq=?", "(callback_seq=? AND seq=?"
		for name, c := range map[string]struct {
			cursor, uses string
			list         func(store.Page) error
		}{
			"events":                       {event, walk, events(store.EventFilter{})},
			"events by type":               {event, walk, events(store.EventFilter{Types: two})},
			"events by status":             {event, walk, events(store.EventFilter{Statuses: two, DeliveryStatuses: two})},
			"events by instance":           {event, walk, events(store.EventFilter{Instances: two})},
			"events by trigger":            {event, walk, events(store.EventFilter{TriggerKeys: two})},
			"events by time":               {event, walk, events(store.EventFilter{Created: span})},
			"events by id":                 {event, lookup, events(store.EventFilter{IDs: two})},
			"events by source id":          {event, lookup, events(store.EventFilter{SourceIDs: two})},
			"events by one source id":      {event, lookup, events(store.EventFilter{SourceIDs: one})},
			"notifications":                {notification, walk, notifications(store.NotificationFilter{})},
			"notifications by destination": {notification, walk, notifications(store.NotificationFilter{Destinations: one})},
			"notifications by status":      {notification, walk, notifications(store.NotificationFilter{Statuses: two})},
			"notifications by time":        {notification, walk, notifications(store.NotificationFilter{Created: span})},
			"notifications by event":       {notification, lookup, notifications(store.NotificationFilter{Events: one})},
			"notifications by two events":  {notification, lookup, notifications(store.NotificationFilter{Events: two, Destinations: two})},
			"instances":                    {f.instance.ID, walk, instances(store.InstanceFilter{})},
			"instances by time":            {f.instance.ID, walk, instances(store.InstanceFilter{Created: span, Updated: span})},
			"instances by id":              {f.instance.ID, lookup, instances(store.InstanceFilter{IDs: two})},
			"instances by config":          {f.instance.ID, lookup, instances(store.InstanceFilter{Configs: two})},
			"instances by auth config":     {f.instance.ID, lookup, instances(store.InstanceFilter{AuthConfigs: one})},
			"callbacks by id":              {f.callback.ID, "PRIMARY KEY (rowid=?", callbacks(store.CallbackFilter{IDs: two})},
			"callbacks by deployment":      {f.callback.ID, "(deployment_seq=?", callbacks(store.CallbackFilter{Deployments: one})},
			"callbacks":                    {f.callback.ID, " t", callbacks(store.CallbackFilter{})},
		} {
			for _, p := range []store.Page{{}, {Desc: true}, {After: c.cursor}, {Before: c.cursor}} {
				recorder.Take()
				check(t, c.list(p))
				for _, q := range recorder.Take() {
					if !strings.HasPrefix(q.Text, "SELECT t.seq FROM ") {
						continue // the cursor's row number
					}
					steps := plan(t, f.Readers(), q)
					at := slices.IndexFunc(steps, func(step string) bool { return strings.Contains(step, " t") })
					// Without a filter, "SCAN t" is the walk in the order of row numbers until the page is full.
					bad := slices.DeleteFunc(costly(steps), func(step string) bool { return step == "SCAN t" && c.uses == " t" })
					if at < 0 || !strings.Contains(steps[at], c.uses) || len(bad) > 0 {
						t.Errorf("%s, %+v: %q", name, p, steps)
					}
				}
			}
		}
	})
}
