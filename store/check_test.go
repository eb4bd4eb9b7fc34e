package store_test

import (
	"database/sql"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/callbackd/callbackd/store"
)

// variety makes a closed file with events and notifications in every state.
func variety(t *testing.T) *fixture {
	t.Helper()
	f := setup(t)
	long := strings.Repeat("long", 20)
	outcome := func(d store.Delivery, number int, failed bool, next time.Time) {
		o := store.Outcome{Seq: d.Seq, EventSeq: d.EventSeq, NextAttemptAt: next, Attempt: store.Attempt{Number: number, StartedAt: day}}
		if failed {
			o.Attempt.Failure = &store.Failure{Code: "timeout", Message: "too slow"}
		}
		check(t, f.RecordOutcomes(t.Context(), day, []store.Outcome{o}))
	}
	f.newDestination(store.ScopeAll, []string{"thing.made"}) // so that each event has two notifications
	for _, id := range []string{"delivered", long, "waiting", "failed", "retrying", "fresh"} {
		p := f.publish(id)
		switch id {
		case "delivered", long:
			outcome(p.Deliveries[0], 1, true, day)
			outcome(p.Deliveries[0], 2, false, time.Time{})
			outcome(p.Deliveries[1], 1, false, time.Time{})
		case "waiting":
			outcome(p.Deliveries[0], 1, false, time.Time{})
		case "failed":
			outcome(p.Deliveries[0], 1, false, time.Time{})
			outcome(p.Deliveries[1], 1, true, time.Time{})
		case "retrying":
			outcome(p.Deliveries[0], 1, true, day.Add(time.Hour))
		}
	}
	must(f.Publish(t.Context(), day, f.callback.ID, store.NewEvent{Type: "thing.made", Output: json.RawMessage(`{}`)}))(t)
	f.poll(f.target("made"), `{}`, "polled-1", long)
	f.poll(f.target("gone"), `{}`, "baseline") // a key without an event
	unmapped := item("unmapped")
	unmapped.Failure, unmapped.NextMapAt = &store.Failure{Code: store.MappingFailed, Message: "no"}, day.Add(time.Minute)
	must(f.RecordPoll(t.Context(), f.target("made"), store.Poll{At: day, NextPollAt: day.Add(time.Minute), Items: []store.Item{unmapped, item("mapped")}}))(t)
	due := must(f.DueMappings(t.Context(), day.Add(time.Hour), 10))(t)
	must(f.RecordMapping(t.Context(), day, f.target("made"), due[0], item("mapped")))(t) // a duplicate
	other := item("unmapped-2")
	other.Failure, other.NextMapAt = unmapped.Failure, day.Add(time.Minute)
	must(f.RecordPoll(t.Context(), f.target("made"), store.Poll{At: day, NextPollAt: day.Add(time.Minute), Items: []store.Item{other}}))(t)
	idle := f.fresh(t)
	must(f.DetachInstance(t.Context(), day, idle.callback.ID, idle.instance.ID))(t)
	check(t, f.Close())
	return f
}

// copyTo is a file with the same content, and the key beside it.
func copyTo(t *testing.T, from, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	for _, suffix := range []string{"", ".key"} {
		check(t, os.WriteFile(path+suffix, must(os.ReadFile(from+suffix))(t), 0o600))
	}
	return path
}

// alter changes a closed file behind the store's back.
func alter(t *testing.T, path string, statements ...string) {
	t.Helper()
	plain := must(sql.Open("sqlite", "file:"+path))(t)
	plain.SetMaxOpenConns(1)
	var err error
	for _, s := range statements {
		_, failed := plain.ExecContext(t.Context(), s)
		err = errors.Join(err, failed)
	}
	check(t, errors.Join(err, plain.Close()))
}

func TestCheck(t *testing.T) {
	t.Parallel()
	f := variety(t)
	const first = "(SELECT min(seq) FROM "
	rules, queries := store.Rules()
	// For each rule, what breaks it and what the report then names.
	breaks := map[string][][2]string{
		"every event has its payload":             {{"DELETE FROM event_payload WHERE event_seq = 2", "event cte_"}},
		"an event's type belongs to its callback": {{"INSERT INTO event_type VALUES (99, 2, 'x', 'y'); UPDATE event SET type_seq = 99 WHERE seq = 1", "event cte_"}},
		"an event counts its notifications": {
			{"UPDATE event SET destination_count = 3 WHERE seq = 1", "destination_count is 3, with 2"},
			{"UPDATE event SET success_count = 1 WHERE seq = 1", "success_count is 1, with 2"},
			{"UPDATE event SET failure_count = 1 WHERE seq = 1", "failure_count is 1, with 0"},
			{"UPDATE notification SET destination_seq = " + first + "destination)", "for 1 destinations"},
			{"DELETE FROM attempt WHERE notification_seq = 1; DELETE FROM notification WHERE seq = 1", "with 1 notifications"}},
		"an event's delivery_status": {
			{"UPDATE event SET delivery_status = 'pending' WHERE seq = 1", "delivery_status is pending"},
			{"UPDATE event SET delivery_status = 'sent' WHERE seq = 4", "delivery_status is sent"},
			{"UPDATE event SET delivery_status = 'skipped' WHERE seq = 3", "delivery_status is skipped"},
			{"UPDATE event SET delivery_status = 'skipped' WHERE status = 'retrying'", "status retrying"}},
		"only an event that was mapped":        {{"UPDATE event SET status = 'failed' WHERE seq = 1", "status is failed"}},
		"an event is mapped again if and only": {{"UPDATE event SET next_map_at = 5 WHERE seq = 1", "next_map_at 5"}, {"UPDATE event SET next_map_at = NULL", "next_map_at null"}},
		"every event is found by its source id": {
			{"DELETE FROM event_key WHERE event_seq = 1", "source_id delivered"},
			{"DELETE FROM event_key WHERE event_seq = 2", "source_id long"},
			{"UPDATE event_key SET event_seq = 1 WHERE event_seq = 3", "source_id waiting"},
			{"UPDATE event_key SET instance_trigger_seq = 0 WHERE key = CAST('polled-1' AS BLOB)", "source_id polled-1"}},
		"a source id's key points to": {
			{"INSERT INTO event_key VALUES (1, x'41', 0, 1000)", "x'41' of callback 1 points to event number 1000"},
			{"INSERT INTO event_key VALUES (2, x'41', 0, 1)", "x'41' of callback 2 points to event number 1"},
			{"INSERT INTO event_key VALUES (1, x'41', 1, 1)", "x'41' of callback 1"}},
		"every notification has its event": {
			{"DELETE FROM event WHERE seq = 1", "notification sdi_"},
			{"UPDATE notification SET callback_seq = 2 WHERE seq = 1", "notification sdi_"},
			{"UPDATE event SET first_notification_seq = NULL WHERE seq = 1", "notification sdi_"}},
		"an event's status and delivery_status are a pair": {
			{"UPDATE event SET status = 'processing' WHERE seq = 1", "status is processing"}},
		"a notification's status agrees": {
			{"PRAGMA ignore_check_constraints = 1; UPDATE notification SET next_attempt_at = NULL WHERE status = 'pending'", "status is pending, next_attempt_at null"},
			{"PRAGMA ignore_check_constraints = 1; UPDATE notification SET next_attempt_at = 7 WHERE seq = 1", "status is delivered, next_attempt_at 7"},
			{"UPDATE notification SET status = 'pending' WHERE status = 'retrying'", "status is pending"},
			{"UPDATE notification SET status = 'retrying' WHERE status = 'pending'", "attempt_count 0"}},
		"a notification counts its attempts": {
			{"UPDATE notification SET attempt_count = 5 WHERE seq = 1", "attempt_count 5, with 2 attempts numbered to 2, of which 1 succeeded"},
			{"DELETE FROM attempt WHERE notification_seq = 1 AND attempt_number = 1", "with 1 attempts numbered to 2"},
			{"UPDATE attempt SET attempt_number = attempt_number - 1 WHERE notification_seq = 1", "numbered to 1"},
			{"UPDATE attempt SET status = 'failed' WHERE notification_seq = 1", "of which 0 succeeded"},
			{"UPDATE attempt SET status = CASE attempt_number WHEN 1 THEN 'succeeded' ELSE 'failed' END WHERE notification_seq = 1", "of which 1 succeeded"},
			{"UPDATE attempt SET status = 'succeeded' WHERE notification_seq = 1", "of which 2 succeeded"},
			{"UPDATE attempt SET status = 'succeeded' WHERE status = 'failed'", "status is retrying"}},
		"a trigger is polled only while": {
			{"UPDATE instance_trigger SET enabled = 0 WHERE seq = 1", "enabled is 0"},
			{"UPDATE instance_trigger SET status = 'paused' WHERE seq = 1", "status paused"},
			{"UPDATE instance SET status = 'detached'", "instance detached"},
			{"UPDATE callback SET status = 'archived'", "callback archived"}},
		"a webhook is known to its source": {
			{"UPDATE instance_trigger SET registered_url = 'https://hooks.test' WHERE seq = 1", "registered_revision null"},
			{"UPDATE instance_trigger SET registered_revision = 1 WHERE seq = 1", "registered_url is null"},
			{"UPDATE instance_trigger SET registration = x'00' WHERE seq = 1", "registration there"}},
		"a webhook is to be taken back": {
			{"UPDATE instance_trigger SET unregister_at = 5, next_poll_at = NULL, status = 'paused' WHERE seq = 1", "unregister_at is 5, registered_url null"},
			{"UPDATE instance_trigger SET unregister_at = 5, registered_url = 'https://hooks.test', registered_revision = 0 WHERE seq = 1", "registered_url https://hooks.test, next_poll_at 1"}},
		"a trigger that is enabled": {{"UPDATE instance_trigger SET next_poll_at = NULL WHERE seq = 1", "status is active, next_poll_at null"}},
		"events are stored in the order": {
			{"UPDATE event SET created_at = created_at - 1 WHERE seq = 5", "comes after cte_"},
			{"UPDATE event SET id = 'cte_0' WHERE seq = 5", "event cte_0 of"}},
		"notifications are stored in the order": {
			{"UPDATE notification SET created_at = created_at - 1 WHERE seq = 5", "comes after sdi_"},
			{"UPDATE notification SET id = 'sdi_0' WHERE seq = 5", "notification sdi_0 of"}},
		"a row refers only": {{"UPDATE event SET type_seq = 1000 WHERE seq = 1", "event row 1 refers to a row of event_type"}},
		"secrets open": {
			{"UPDATE destination SET signing_secret = headers", "open destination.signing_secret:dest_"},
			{"UPDATE provider_config SET value = x'00'", "open config:pcf_"}},
		"the file's pages": {{"PRAGMA writable_schema = 1; UPDATE sqlite_master SET sql = replace(sql, '(next_poll_at) WHERE next_poll_at IS NOT NULL', '(last_polled_at)') WHERE name = 'instance_trigger_due'", "instance_trigger_due"}},
	}

	t.Run("FindsNothingInAFileThatIsInOrder", func(t *testing.T) {
		t.Parallel()
		path := copyTo(t, f.path, "test.db")
		for _, quick := range []bool{false, true} {
			r := must(store.Check(t.Context(), store.Options{Path: path}, quick))(t)
			equal(t, "report", r, store.CheckReport{Events: r.Events, Notifications: 20, Attempts: 10})
			if r.Events < 10 {
				t.Errorf("the file has %d events", r.Events)
			}
		}
	})

	t.Run("FindsEachRuleBroken", func(t *testing.T) {
		t.Parallel()
		for prefix, ways := range breaks {
			for _, way := range ways {
				t.Run(way[0], func(t *testing.T) {
					t.Parallel()
					path := copyTo(t, f.path, "test.db")
					alter(t, path, strings.Split(way[0], "; ")...)
					r := must(store.Check(t.Context(), store.Options{Path: path}, false))(t)
					for _, p := range r.Problems {
						if strings.HasPrefix(p.Rule, prefix) {
							if p.Count == 0 || !strings.Contains(strings.Join(p.Rows, "\n"), way[1]) {
								t.Errorf("the report does not say %q: %+v", way[1], p)
							}
							return
						}
					}
					t.Errorf("%s is not reported: %+v", prefix, r)
				})
			}
		}
	})

	t.Run("HasATestForEachRule", func(t *testing.T) {
		t.Parallel()
		for _, rule := range rules {
			tested := false
			for prefix := range breaks {
				tested = tested || strings.HasPrefix(rule, prefix)
			}
			if !tested {
				t.Errorf("nothing breaks the rule that %s", rule)
			}
		}
	})

	t.Run("TakesMemoryForNoRow", func(t *testing.T) {
		t.Parallel()
		path := copyTo(t, f.path, "test.db")
		pool := store.CheckPool(path)
		defer pool.Close()
		for i, query := range queries {
			for _, step := range queryPlan(t, pool, query) {
				// How many destinations one event has is few.
				if strings.Contains(step, "AUTOMATIC") || strings.Contains(step, "TEMP B-TREE") && !strings.Contains(step, "count(DISTINCT)") || strings.Contains(step, "MATERIALIZE") {
					t.Errorf("that %s is found with: %s", rules[i], step)
				}
			}
		}
	})

	t.Run("BoundsWhatItSays", func(t *testing.T) {
		t.Parallel()
		path := copyTo(t, f.path, "test.db")
		alter(t, path, "DELETE FROM event_payload")
		r := must(store.Check(t.Context(), store.Options{Path: path}, true))(t)
		p := r.Problems[0]
		equal(t, "count and rows", []int{int(p.Count), len(p.Rows)}, []int{int(r.Events), 10})
	})

	t.Run("LeavesOutRowsThatAreNotedAsOutOfOrder", func(t *testing.T) {
		t.Parallel()
		path := copyTo(t, f.path, "test.db")
		alter(t, path, "UPDATE event SET created_at = created_at + 1 WHERE seq = 5", "INSERT INTO meta VALUES ('event_disorder', CAST('[5,0]' AS BLOB))")
		equal(t, "problems", must(store.Check(t.Context(), store.Options{Path: path}, true))(t).Problems, []store.Problem(nil))
		alter(t, path, "UPDATE meta SET value = CAST('[4,0]' AS BLOB) WHERE key = 'event_disorder'")
		equal(t, "problems", len(must(store.Check(t.Context(), store.Options{Path: path}, true))(t).Problems), 1)
	})

	t.Run("TellsAWrongKeyFromAMissingOne", func(t *testing.T) {
		t.Parallel()
		path := copyTo(t, f.path, "test.db")
		wrong := must(store.Check(t.Context(), store.Options{Path: path, Key: make([]byte, 32)}, true))(t)
		if len(wrong.Problems) != 1 || !strings.Contains(wrong.Problems[0].Rows[0], "not the one that this file was written with") {
			t.Errorf("with a wrong key: %+v", wrong)
		}
		check(t, os.Remove(path+".key"))
		missing := must(store.Check(t.Context(), store.Options{Path: path}, true))(t)
		if len(missing.Problems) != 0 || len(missing.Notes) != 1 || !strings.Contains(missing.Notes[0], "secrets were not looked at") {
			t.Errorf("without a key: %+v", missing)
		}
	})

	t.Run("ReportsADamagedFileAndGoesOn", func(t *testing.T) {
		t.Parallel()
		pageOf := func(table string) (page int) {
			pool := store.CheckPool(f.path)
			defer pool.Close()
			check(t, pool.QueryRowContext(t.Context(), "SELECT rootpage FROM sqlite_master WHERE name = ?", table).Scan(&page))
			return page - 1
		}
		for what, page := range map[string]int{"the header": 0, "rows": pageOf("attempt"), "an index": pageOf("event_status")} {
			path := copyTo(t, f.path, "test.db")
			scribble(t, path, page*4096, (page+1)*4096)
			r, err := store.Check(t.Context(), store.Options{Path: path}, false)
			if err != nil || len(r.Problems) == 0 || page > 0 && r.Events == 0 {
				t.Errorf("with %s damaged the report is %+v, the error %v", what, r, err)
			}
		}
	})

	t.Run("WorksBesideAnOpenStore", func(t *testing.T) {
		t.Parallel()
		f := setup(t)
		f.publish("a") // in the log
		r := must(f.Check(t.Context(), false))(t)
		equal(t, "report", r, store.CheckReport{Events: 1, Notifications: 1})
		f.publish("b")
	})

	t.Run("RefusesWhatItDoesNotKnow", func(t *testing.T) {
		t.Parallel()
		refused := func(path, text string) {
			t.Helper()
			if _, err := store.Check(t.Context(), store.Options{Path: path}, true); err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("the error is %v, want %q", err, text)
			}
		}
		newer, older, other := copyTo(t, f.path, "newer.db"), copyTo(t, f.path, "older.db"), filepath.Join(t.TempDir(), "other.db")
		alter(t, newer, "PRAGMA user_version = 99")
		alter(t, older, "PRAGMA user_version = 1")
		alter(t, other, "CREATE TABLE theirs (x)")
		refused(newer, "use a newer callbackd")
		refused(older, "open it with this one, which brings it forward")
		refused(other, "some other program's")
		refused(t.TempDir(), "it is a folder")
		refused(filepath.Join(t.TempDir(), "none.db"), "no such file")
	})
}

func queryPlan(t *testing.T, pool *sql.DB, query string) (steps []string) {
	t.Helper()
	rows := must(pool.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+query))(t)
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var detail string
		check(t, rows.Scan(&id, &parent, &unused, &detail))
		steps = append(steps, detail)
	}
	check(t, rows.Err())
	return steps
}

// scribble overwrites a part of a file, which keeps its length.
func scribble(t *testing.T, path string, from, to int) {
	t.Helper()
	text := must(os.ReadFile(path))(t)
	for i := from; i < min(to, len(text)); i++ {
		text[i] = byte(i * 7)
	}
	check(t, os.WriteFile(path, text, 0o600))
}
