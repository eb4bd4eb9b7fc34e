package store_test

import (
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/callbackd/callbackd/store"
)

// walFile is a write-ahead log: a header, then frames, each a page with a header in front.
// A frame that ends a transaction says so.
type walFile struct {
	data []byte
	page int // bytes
}

const (
	walHeader   = 32
	frameHeader = 24
)

func readWAL(t *testing.T, path string) walFile {
	t.Helper()
	w := walFile{data: must(os.ReadFile(path + "-wal"))(t)}
	if len(w.data) >= walHeader {
		w.page = int(binary.BigEndian.Uint32(w.data[8:]))
	}
	return w
}

// frames is how many there are of this log, not of one that was in the same file before.
func (w walFile) frames() (n int) {
	if w.page == 0 {
		return 0
	}
	for ; w.end(n+1) <= len(w.data); n++ {
		if string(w.data[w.end(n)+8:w.end(n)+16]) != string(w.data[16:24]) { // the salts
			break
		}
	}
	return n
}

// end is where the first n frames end.
func (w walFile) end(n int) int { return walHeader + n*(frameHeader+w.page) }

// commits is how many transactions end within the first n frames.
func (w walFile) commits(n int) (commits int) {
	for i := range n {
		if binary.BigEndian.Uint32(w.data[w.end(i)+4:]) != 0 {
			commits++
		}
	}
	return commits
}

// cut is a log as a power cut may leave it.
type cut struct {
	name string
	wal  []byte
	kept int // frames that are whole, with all before them
}

// cuts are cuts at frame boundaries, and behind each in one of several ways: around every frame
// in the long run, and else around so many.
func (w walFile) cuts(some int) (out []cut) {
	n := w.frames()
	step := 1
	if os.Getenv("CALLBACKD_LONG") == "" {
		step = n/some + 1
	}
	broken := func(at int) []byte {
		b := slices.Clone(w.data)
		b[at] ^= 0x55
		return b
	}
	for i := 0; i*step < n; i++ {
		kept := i * step
		end := w.end(kept)
		out = append(out, cut{fmt.Sprintf("after %d frames", kept), w.data[:end], kept}, []cut{
			{fmt.Sprintf("in the page behind %d frames", kept), w.data[:end+frameHeader+w.page/2], kept},
			{fmt.Sprintf("with the page garbled behind %d frames", kept), broken(end + frameHeader + w.page/3), kept},
			{fmt.Sprintf("with nothing but zeros behind %d frames", kept), append(slices.Clone(w.data[:end]), make([]byte, len(w.data)-end)...), kept},
			{fmt.Sprintf("in the header behind %d frames", kept), w.data[:end+frameHeader/2], kept},
			{fmt.Sprintf("with the header garbled behind %d frames", kept), broken(end + 5), kept},
		}[i%5])
	}
	return append(out, cut{"nowhere", w.data, n}, cut{"without a log", nil, 0}, cut{"in the log's header", w.data[:walHeader/2], 0},
		cut{"with the log's header garbled", broken(20), 0})
}

// dump is all that is in a file.
func dump(t *testing.T, db *sql.DB) string {
	t.Helper()
	var out strings.Builder
	var tables string
	check(t, db.QueryRowContext(t.Context(), "SELECT group_concat(name, ' ') FROM (SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name)").Scan(&tables))
	for _, table := range strings.Fields(tables) {
		rows := must(db.QueryContext(t.Context(), "SELECT * FROM "+table+" ORDER BY 1, 2"))(t)
		columns := must(rows.Columns())(t)
		values, to := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			to[i] = &values[i]
		}
		for rows.Next() {
			check(t, rows.Scan(to...))
			fmt.Fprintf(&out, "%s %v\n", table, values)
		}
		check(t, rows.Err())
		check(t, rows.Close())
	}
	return out.String()
}

// sound expects a file to hold what must always be so of it.
func sound(t *testing.T, db *sql.DB) {
	t.Helper()
	for what, query := range map[string]string{
		"integrity_check says otherwise than ok":             `SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'`,
		"rows refer to rows that are not there":              `SELECT count(*) FROM pragma_foreign_key_check`,
		"events have other notifications than they count":    `SELECT count(*) FROM event AS e WHERE e.destination_count <> (SELECT count(*) FROM notification AS n WHERE n.event_seq = e.seq)`,
		"destinations are told of an event twice":            `SELECT count(*) FROM (SELECT 1 FROM notification GROUP BY event_seq, destination_seq HAVING count(*) > 1)`,
		"events are stored twice":                            `SELECT count(*) FROM (SELECT 1 FROM event GROUP BY callback_seq, source_id, instance_trigger_seq HAVING count(*) > 1)`,
		"events have no payload":                             `SELECT count(*) FROM event AS e WHERE NOT EXISTS (SELECT 1 FROM event_payload AS p WHERE p.event_seq = e.seq)`,
		"mapped events have no key":                          `SELECT count(*) FROM event AS e WHERE e.status = 'succeeded' AND e.source_id <> e.id AND NOT EXISTS (SELECT 1 FROM event_key AS k WHERE k.event_seq = e.seq)`,
		"keys are of events that are not there":              `SELECT count(*) FROM event_key AS k WHERE k.event_seq NOT IN (SELECT seq FROM event)`,
		"events count other successes than there are":        `SELECT count(*) FROM event AS e WHERE e.success_count <> (SELECT count(*) FROM notification AS n WHERE n.event_seq = e.seq AND n.status = 'delivered')`,
		"events count other failures than there are":         `SELECT count(*) FROM event AS e WHERE e.failure_count <> (SELECT count(*) FROM notification AS n WHERE n.event_seq = e.seq AND n.status = 'failed')`,
		"notifications have other attempts than they count":  `SELECT count(*) FROM notification AS n WHERE n.attempt_count <> (SELECT count(*) FROM attempt AS a WHERE a.notification_seq = n.seq)`,
		"attempts are not numbered from 1 without gaps":      `SELECT count(*) FROM (SELECT 1 FROM attempt GROUP BY notification_seq HAVING min(attempt_number) <> 1 OR max(attempt_number) <> count(*))`,
		"notifications are delivered without their attempt":  `SELECT count(*) FROM notification AS n WHERE n.status = 'delivered' AND NOT EXISTS (SELECT 1 FROM attempt AS a WHERE a.notification_seq = n.seq AND a.attempt_number = n.attempt_count AND a.status = 'succeeded')`,
		"notifications were attempted after their delivery":  `SELECT count(*) FROM attempt AS a JOIN notification AS n ON n.seq = a.notification_seq WHERE a.status = 'succeeded' AND a.attempt_number < n.attempt_count`,
		"events are done with notifications open":            `SELECT count(*) FROM event AS e WHERE e.delivery_status = 'sent' AND e.success_count <> e.destination_count`,
		"polls are ahead of their events (see the workload)": `SELECT count(*) FROM instance_trigger AS t WHERE CAST(coalesce(t.state, '0') AS INTEGER) * 2 > (SELECT count(*) FROM event AS e WHERE e.instance_trigger_seq = t.seq)`,
	} {
		var n int
		check(t, db.QueryRowContext(t.Context(), query).Scan(&n))
		if n != 0 {
			t.Errorf("%d times: %s", n, what)
		}
	}
}

const cutPolls = 6 // of the workload, each with two new items and an old one

// cutItems are what the poll after a state finds.
func cutItems(state int) []string {
	return []string{fmt.Sprint("item-", 2*state-1), fmt.Sprint("item-", 2*state), fmt.Sprint("item-", 2*state+1)}
}

// work has a store poll, accept and deliver. It calls done after each operation, with the
// source ids of what that accepted.
func (f *fixture) work(done func(accepted ...string)) {
	f.t.Helper()
	var open []store.Delivery
	for i := range cutPolls {
		a := f.publish(fmt.Sprint("own-", i))
		done(fmt.Sprint("own-", i))
		b := must(f.Publish(f.t.Context(), day, f.callback.ID, store.NewEvent{Type: "thing.made", SourceID: fmt.Sprint("both-", i), Output: json.RawMessage(`{}`)},
			store.NewEvent{Type: "thing.gone", SourceID: fmt.Sprint("two-", i), Output: json.RawMessage(`{"text":"` + strings.Repeat("x", i*3000) + `"}`)}))(f.t)
		done(fmt.Sprint("both-", i), fmt.Sprint("two-", i))
		f.poll(f.target("made"), fmt.Sprint(i+1), cutItems(i)...)
		done(cutItems(i)...)
		f.record(outcome(a.Deliveries[0], 1, "", time.Time{}), outcome(b[0].Deliveries[0], 1, "timeout", day))
		done()
		f.publish("own-0") // again: nothing to store
		done("own-0")
		open = append(open, b[0].Deliveries[0])
	}
	for i, d := range open {
		f.record(outcome(d, 2, []string{"", "refused"}[i%2], time.Time{}))
		done()
	}
}

// A power cut leaves a beginning of the log, with or without rubbish behind it. What had been
// committed in that beginning is there, all of it and nothing else, and the store goes on.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	f := setup(t)
	check(t, f.Close()) // and all is in the database, none in the log
	before := must(os.ReadFile(f.path))(t)
	key := must(os.ReadFile(f.path + ".key"))(t)
	f.Store = must(store.Open(t.Context(), store.Options{Path: f.path}))(t)
	defer f.Close()
	states := []string{dump(t, f.Readers())} // by commits
	accepted := []int{0}                     // how many source ids of all, by commits
	var all []string
	f.work(func(sourceIDs ...string) {
		t.Helper()
		w := readWAL(t, f.path)
		n := w.commits(w.frames())
		all = append(all, sourceIDs...)
		switch {
		case n == len(states):
			states, accepted = append(states, dump(t, f.Readers())), append(accepted, len(all))
		case n == len(states)-1 && dump(t, f.Readers()) == states[n]:
			accepted[n] = len(all)
		default:
			t.Fatalf("%d commits in the log after %d: one operation is not one commit, or it is not in the file when its caller hears of it", n, len(states)-1)
		}
	})
	w := readWAL(t, f.path)
	if len(states) < 4*cutPolls || w.frames() < 2*len(states) {
		t.Fatalf("%d commits and %d frames make no test", len(states), w.frames())
	}
	if string(before) != string(must(os.ReadFile(f.path))(t)) {
		t.Fatal("there was a checkpoint: the log is not all that happened")
	}
	went := make(map[int]bool) // on, by commits
	for i, c := range w.cuts(7) {
		dir := t.TempDir()
		path := filepath.Join(dir, "cut.db")
		check(t, os.WriteFile(path, before, 0o600))
		check(t, os.WriteFile(path+".key", key, 0o600))
		check(t, os.WriteFile(path+"-wal", c.wal, 0o600))
		if i%2 == 1 { // the other half has none, as after a restart of some systems
			check(t, os.WriteFile(path+"-shm", []byte(strings.Repeat("rubbish ", 4096)), 0o600))
		}
		s, err := store.Open(t.Context(), store.Options{Path: path, NoSync: true})
		if err != nil {
			t.Fatalf("cut %s: %v", c.name, err)
		}
		commits := w.commits(c.kept)
		if dump(t, s.Readers()) != states[commits] {
			t.Errorf("cut %s: what is there is not what there was after %d commits", c.name, commits)
		}
		if !went[commits] { // what is in the file is the same each time
			went[commits] = true
			sound(t, s.Readers())
			goOn(t, *f, s, all[:accepted[commits]])
		}
		check(t, s.Close())
		check(t, os.RemoveAll(dir))
		if t.Failed() {
			t.Fatalf("cut %s", c.name)
		}
	}
}

// goOn has a store do what is left of the work: the source is asked from where it was, all
// that is published comes again, and what is open is delivered.
func goOn(t *testing.T, f fixture, s *store.Store, accepted []string) {
	t.Helper()
	f.Store, f.t = s, t
	for _, id := range accepted {
		if !strings.HasPrefix(id, "item-") && !f.publish(id).Repeated {
			t.Errorf("%s was accepted and is not there", id)
		}
	}
	target := f.target("made")
	for i := range cutPolls {
		if fmt.Sprint(i) >= orZero(target.State) {
			f.poll(f.target("made"), fmt.Sprint(i+1), cutItems(i)...)
		}
		f.publish(fmt.Sprint("own-", i))
	}
	equal(t, "polled events", f.count("SELECT count(*) FROM event WHERE instance_trigger_seq IS NOT NULL"), 2*cutPolls+1)
	equal(t, "published events of one sort", f.count("SELECT count(*) FROM event WHERE source_id LIKE 'own-%'"), cutPolls)
	for destination := range must(s.OpenDestinations(t.Context()))(t) {
		var seqs []int64
		for _, due := range must(s.OpenNotifications(t.Context(), destination, 1000))(t) {
			seqs = append(seqs, due.Seq)
		}
		for _, d := range must(s.Deliveries(t.Context(), seqs, 1<<20))(t) {
			f.record(outcome(d, d.AttemptCount+1, "", time.Time{}))
		}
	}
	equal(t, "open notifications", f.count("SELECT count(*) FROM notification WHERE next_attempt_at IS NOT NULL"), 0)
	sound(t, s.Readers())
}

func orZero(state json.RawMessage) string {
	if state == nil {
		return "0"
	}
	return string(state)
}

// A power cut while an old file is brought forward leaves the old one or the new one.
func TestPowerCutWhileTheSchemaChanges(t *testing.T) {
	t.Parallel()
	for _, file := range oldFiles(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "old.db")
			old := unpack(t, file)
			check(t, os.WriteFile(path, old, 0o600))
			// As long as somebody has the file open, the log is kept.
			keeper := must(sql.Open("sqlite", path))(t)
			defer keeper.Close()
			var n int
			check(t, keeper.QueryRowContext(t.Context(), "SELECT count(*) FROM event").Scan(&n))
			check(t, openOld(t, path).Close())
			w := readWAL(t, path)
			if w.commits(w.frames()) == 0 {
				t.Fatal("the change of the schema is not in the log")
			}
			for _, c := range w.cuts(2) {
				path := filepath.Join(t.TempDir(), "cut.db")
				check(t, os.WriteFile(path, old, 0o600))
				check(t, os.WriteFile(path+"-wal", c.wal, 0o600))
				s := openOld(t, path)
				sound(t, s.Readers())
				checkOld(t, file, s)
				check(t, s.Close())
				if t.Failed() {
					t.Fatalf("cut %s", c.name)
				}
			}
		})
	}
}
