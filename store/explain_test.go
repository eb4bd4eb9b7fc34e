package store_test

import (
	"database/sql"
	"fmt"
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
		if step == "SCAN s" || step == "SCAN last" { // the steps of halving
			return true
		}
		return !strings.Contains(step, "TEMP B-TREE") && (!strings.HasPrefix(step, "SCAN") || strings.Contains(step, "VIRTUAL TABLE"))
	})
}

func TestQueries(t *testing.T) {
	t.Parallel()
	f := setup(t)
	recorder := must(f.Record(f.path))(t)

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
			"Retentions":                 "the callbacks, once a minute",
			"OpenDestinations":           "the destinations, with one probe for each",
			"LastCreatedAt":              "the last row of each table, at start-up",
			"LastRows":                   "the last row of each table, at start-up",
		}
		query, parameter := regexp.MustCompile("(?s)= `(-- name: (\\w+) .*?)`"), regexp.MustCompile(`\?\d+`)
		var queries [][]string
		for _, file := range must(filepath.Glob("internal/db/*.sql.go"))(t) {
			queries = append(queries, query.FindAllStringSubmatch(string(must(os.ReadFile(file))(t)), -1)...)
		}
		if len(queries) < 80 {
			t.Errorf("only %d queries were looked at", len(queries))
		}
		for _, match := range queries {
			q, n := store.Query{Text: match[1]}, match[2]
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
		event := f.publish("cursor").Event.ID
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
		setup := func(list func(store.SetupFilter, store.Page) error) func(store.SetupFilter) func(store.Page) error {
			return func(filter store.SetupFilter) func(store.Page) error {
				return func(p store.Page) error { return list(filter, p) }
			}
		}
		deployments := setup(func(f1 store.SetupFilter, p store.Page) error { _, err := f.ListDeployments(ctx, f1, p); return err })
		configs := setup(func(f1 store.SetupFilter, p store.Page) error { _, err := f.ListConfigs(ctx, f1, p); return err })
		authConfigs := setup(func(f1 store.SetupFilter, p store.Page) error { _, err := f.ListAuthConfigs(ctx, f1, p); return err })
		destinations := func(filter store.DestinationFilter) func(store.Page) error {
			return func(p store.Page) error { _, err := f.ListDestinations(ctx, filter, p); return err }
		}
		many := make([]string, 40)
		for i := range many {
			many[i] = fmt.Sprint("many", i)
			must(f.Publish(ctx, day, f.callback.ID, store.NewEvent{Type: many[i]}))(t)
		}
		// A walk goes through rows in their order until the page is full, in an index of which all
		// columns are given; a lookup sees no other rows than those that were named.
		const event1, notification1, lookup = "event_status (callback_seq=? AND status=? AND delivery_status=?", "notification_status (callback_seq=? AND status=?", "rowid=?)"
		for name, c := range map[string]struct {
			cursor, uses string
			list         func(store.Page) error
		}{
			"events":                          {event, event1, events(store.EventFilter{})},
			"events by time":                  {event, event1, events(store.EventFilter{Created: span})},
			"events by type":                  {event, "event_by_type (type_seq=?", events(store.EventFilter{Types: []string{"thing.made"}})},
			"events by trigger of many types": {event, event1, events(store.EventFilter{TriggerKeys: []string{store.PublishedTriggerKey}})},
			"events by type and time":         {event, "event_by_type (type_seq=?", events(store.EventFilter{Types: []string{"thing.made"}, Created: span})},
			"events by type and outcome":      {event, "event_by_type (type_seq=?", events(store.EventFilter{Types: []string{"thing.made"}, Statuses: []string{"succeeded"}})},
			"failed events by type":           {event, "event_status (callback_seq=? AND status=? AND delivery_status=?", events(store.EventFilter{Types: []string{"thing.made"}, Statuses: []string{"failed"}})},
			"failed events by many types":     {event, "event_status (callback_seq=? AND status=? AND delivery_status=?", events(store.EventFilter{Types: many, DeliveryStatuses: []string{"failed"}})},
			"events by many types":            {event, event1, events(store.EventFilter{Types: many, DeliveryStatuses: []string{"sent"}})},
			"events by some types":            {event, "event_by_type (type_seq=?", events(store.EventFilter{Types: many[:20], Statuses: []string{"succeeded"}})},
			"events by status":                {event, "event_status (callback_seq=? AND status=? AND delivery_status=?", events(store.EventFilter{Statuses: []string{"succeeded"}})},
			"events by statuses":              {event, "event_status (callback_seq=? AND status=? AND delivery_status=?", events(store.EventFilter{Statuses: []string{"failed", "skipped"}})},
			"events by delivery status":       {event, "event_status (callback_seq=? AND status=? AND delivery_status=?", events(store.EventFilter{DeliveryStatuses: []string{"sent"}})},
			"events by delivery statuses":     {event, "event_status (callback_seq=? AND status=? AND delivery_status=?", events(store.EventFilter{DeliveryStatuses: []string{"sent", "failed"}})},
			"events by both statuses":         {event, "event_status (callback_seq=? AND status=? AND delivery_status=?", events(store.EventFilter{Statuses: []string{"succeeded", "retrying"}, DeliveryStatuses: []string{"sent", "pending"}})},
			"events by instance":              {event, "event_by_trigger (instance_trigger_seq=?", events(store.EventFilter{Instances: []string{f.instance.ID}})},
			"events by id":                    {event, lookup, events(store.EventFilter{IDs: two})},
			"events by many ids":              {event, lookup, events(store.EventFilter{IDs: many})},
			"events by source id":             {event, lookup, events(store.EventFilter{SourceIDs: two})},
			"events by one source id":         {event, lookup, events(store.EventFilter{SourceIDs: one})},
			"events by id and type":           {event, lookup, events(store.EventFilter{IDs: two, Types: []string{"thing.made"}})},
			"notifications":                   {notification, notification1, notifications(store.NotificationFilter{})},
			"notifications by time":           {notification, notification1, notifications(store.NotificationFilter{Created: span})},
			"notifications by destination":    {notification, "notification_destination (callback_seq=? AND destination_seq=? AND status=?", notifications(store.NotificationFilter{Destinations: one})},
			"notifications by destinations":   {notification, "notification_destination (callback_seq=? AND destination_seq=? AND status=?", notifications(store.NotificationFilter{Destinations: two})},
			"notifications of so many":        {notification, notification1, notifications(store.NotificationFilter{Destinations: many})},
			"notifications by status":         {notification, "notification_status (callback_seq=? AND status=?", notifications(store.NotificationFilter{Statuses: two})},
			"delivered of a destination":      {notification, "notification_destination (callback_seq=? AND destination_seq=? AND status=?", notifications(store.NotificationFilter{Statuses: []string{"delivered"}, Destinations: one})},
			"failed of a destination":         {notification, "notification_destination (callback_seq=? AND destination_seq=? AND status=?", notifications(store.NotificationFilter{Statuses: []string{"failed"}, Destinations: one})},
			"notifications by event":          {notification, lookup, notifications(store.NotificationFilter{Events: one})},
			"notifications by two events":     {notification, lookup, notifications(store.NotificationFilter{Events: two, Destinations: two})},
			"instances":                       {f.instance.ID, "instance_callback (callback_seq=? AND status=?", instances(store.InstanceFilter{})},
			"instances by status":             {f.instance.ID, "instance_callback (callback_seq=? AND status=?", instances(store.InstanceFilter{Statuses: two})},
			"instances by time":               {f.instance.ID, "instance_callback (callback_seq=? AND status=?", instances(store.InstanceFilter{Created: span, Updated: span})},
			"instances by id":                 {f.instance.ID, lookup, instances(store.InstanceFilter{IDs: two})},
			"instances by config":             {f.instance.ID, lookup, instances(store.InstanceFilter{Configs: two})},
			"instances by auth config":        {f.instance.ID, lookup, instances(store.InstanceFilter{AuthConfigs: one})},
			"callbacks":                       {f.callback.ID, "callback_status (status=?", callbacks(store.CallbackFilter{})},
			"callbacks by id":                 {f.callback.ID, lookup, callbacks(store.CallbackFilter{IDs: two})},
			"callbacks by deployment":         {f.callback.ID, "callback_deployment (deployment_seq=? AND status=?", callbacks(store.CallbackFilter{Deployments: one})},
			"callbacks by deployments":        {f.callback.ID, "callback_deployment (deployment_seq=? AND status=?", callbacks(store.CallbackFilter{Deployments: two, Statuses: two})},
			"callbacks by time":               {f.callback.ID, "callback_status (status=?", callbacks(store.CallbackFilter{Created: span, Updated: span})},
			"destinations":                    {f.destination.ID, "destination_status (status=?", destinations(store.DestinationFilter{})},
			"destinations by id":              {f.destination.ID, lookup, destinations(store.DestinationFilter{IDs: two})},
			"destinations of a callback":      {f.destination.ID, "destination_status (status=?", destinations(store.DestinationFilter{Callbacks: one})},
			"deployments":                     {f.deployment.ID, "provider_deployment_status (status=?", deployments(store.SetupFilter{})},
			"deployments by provider":         {f.deployment.ID, "provider_deployment_provider (provider_seq=? AND status=?", deployments(store.SetupFilter{Providers: two})},
			"configs":                         {f.config.ID, "provider_config_status (status=?", configs(store.SetupFilter{})},
			"configs by provider":             {f.config.ID, "provider_config_provider (provider_seq=? AND status=?", configs(store.SetupFilter{Providers: one})},
			"configs by deployment":           {f.config.ID, "provider_config_deployment (deployment_seq=? AND status=?", configs(store.SetupFilter{Deployments: two})},
			"auth configs":                    {f.authConfig.ID, "provider_auth_config_status (status=?", authConfigs(store.SetupFilter{})},
			"auth configs by provider":        {f.authConfig.ID, "provider_auth_config_provider (provider_seq=? AND status=?", authConfigs(store.SetupFilter{Providers: one})},
			"auth configs by deployment":      {f.authConfig.ID, "provider_auth_config_deployment (deployment_seq=? AND status=?", authConfigs(store.SetupFilter{Deployments: two})},
		} {
			for _, p := range []store.Page{{}, {Desc: true}, {After: c.cursor}, {Before: c.cursor}} {
				recorder.Take()
				check(t, c.list(p))
				seen := 0
				for _, q := range recorder.Take() {
					if !strings.HasPrefix(q.Text, "SELECT t.seq AS seq FROM ") || strings.HasPrefix(q.Text, "SELECT y.seq FROM event_type ") {
						continue // the cursor's row number, the ends of a time, the kinds of events
					}
					steps := plan(t, f.Readers(), q)
					walks := slices.DeleteFunc(slices.Clone(steps), func(step string) bool { return !strings.Contains(step, " t ") })
					seen += len(walks)
					wrong := slices.ContainsFunc(walks, func(step string) bool { return !strings.Contains(step, c.uses) })
					if wrong || len(costly(steps)) > 0 {
						t.Errorf("%s, %+v: %q", name, p, steps)
					}
				}
				if seen == 0 {
					t.Errorf("%s, %+v: no query was seen", name, p)
				}
			}
		}
	})
}
