package store_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/callbackd/callbackd/store"
)

// A move of due times goes by the indexes, however many rows there are.
func TestDueMoveNeitherScansNorSorts(t *testing.T) {
	t.Parallel()
	f := setup(t)
	texts := store.DueQueries()
	if len(texts) != 8 {
		t.Fatalf("%d statements", len(texts))
	}
	for _, text := range texts {
		steps := plan(t, f.Readers(), store.Query{Text: text, Args: make([]any, strings.Count(text, "?"))})
		if len(costly(steps)) > 0 || !strings.Contains(strings.Join(steps, " "), "SEARCH") {
			t.Errorf("%s: %q", text, steps)
		}
	}
}

// Whichever way, in batches of whatever size, each row moves once; what is newer than the move,
// was rewritten since, or was asked for just now, stays.
// What is planned by the wall clock does not move with it, but is looked at again when it was ahead.
func TestDueMoveOfWallClockTimes(t *testing.T) {
	t.Parallel()
	for _, by := range []time.Duration{time.Hour, -time.Hour} {
		f := setup(t)
		ctx, now, planned := t.Context(), day.Add(by), day.Add(30*24*time.Hour)
		for at, key := range map[time.Time]string{planned: "made", store.Never: "gone"} {
			check(t, f.Write(ctx, func(tx *store.Tx) error {
				return tx.Exec(fmt.Sprintf("UPDATE instance_trigger SET next_poll_at = %d, next_poll_fixed = 1 WHERE seq = %d", at.UnixMilli(), f.target(key).Seq))
			}))
		}
		m := must(f.BeginDueMove(ctx, now, by))(t)
		for done := false; !done; {
			var err error
			done, err = f.MoveDue(ctx, m, now, 10, nil)
			check(t, err)
		}
		want := planned
		if by < 0 {
			want = now
		}
		equal(t, fmt.Sprint("planned, after ", by), []time.Time{f.target("made").DueAt, f.target("gone").DueAt}, []time.Time{want, store.Never})
	}
}

func TestDueMove(t *testing.T) {
	t.Parallel()
	for _, by := range []time.Duration{time.Hour, -time.Hour} {
		for _, limit := range []int{1, 3, 1000} {
			t.Run(fmt.Sprint(by, "/", limit), func(t *testing.T) {
				t.Parallel()
				f := setup(t)
				ctx, now := t.Context(), day.Add(by)
				f.newDestination(store.ScopeAll, nil)
				for i := range 5 {
					f.publish(fmt.Sprint("old", i))
				}
				exec := func(text string) {
					t.Helper()
					check(t, f.Write(ctx, func(tx *store.Tx) error { return tx.Exec(text) }))
				}
				exec(fmt.Sprintf("UPDATE notification SET next_attempt_at = %d + seq * 600000", day.UnixMilli()))
				exec(fmt.Sprintf("UPDATE event SET next_map_at = %d + seq WHERE seq < 4", day.UnixMilli()))
				exec(fmt.Sprintf("UPDATE instance_trigger SET next_poll_at = %d + seq", day.UnixMilli()))
				sum := func() string {
					return fmt.Sprint(f.count("SELECT sum(next_attempt_at) FROM notification"), f.count("SELECT sum(next_map_at) FROM event"), f.count("SELECT sum(next_poll_at) FROM instance_trigger"))
				}
				notifications, triggers := f.count("SELECT sum(next_attempt_at) FROM notification"), f.count("SELECT sum(next_poll_at) FROM instance_trigger")
				events := f.count("SELECT sum(next_map_at) FROM event")
				m := must(f.BeginDueMove(ctx, now, by))(t)
				if unfinished := must(f.UnfinishedDueMove(ctx))(t); unfinished == nil || unfinished.By != by {
					t.Errorf("a move that has begun is kept as %+v", unfinished)
				}
				newer := must(f.Publish(ctx, now, f.callback.ID, store.NewEvent{Type: "thing.made"}))(t)[0]
				exec(fmt.Sprintf("UPDATE instance_trigger SET next_poll_at = %d, updated_at = %[1]d WHERE seq = 1", now.UnixMilli()))
				for done := false; !done; {
					var err error
					done, err = f.MoveDue(ctx, m, now.Add(time.Second), limit, func(r store.DueRow) bool { return r == store.DueRow{Table: "notification", Seq: 2} })
					check(t, err)
				}
				d := int(by.Milliseconds())
				want := fmt.Sprint(notifications+9*d+len(newer.Deliveries)*int(now.UnixMilli()), events+3*d, triggers+d*f.count("SELECT count(*) FROM instance_trigger")-1)
				if len(newer.Deliveries) != 2 || sum() != want {
					t.Errorf("%s, want %s", sum(), want)
				}
				if unfinished := must(f.UnfinishedDueMove(ctx))(t); unfinished != nil {
					t.Errorf("a move that has ended is kept as %+v", unfinished)
				}
				equal(t, "rows moved", m.Moved, 9+3+f.count("SELECT count(*) FROM instance_trigger")-1)
			})
		}
	}
}

// A move that a crash has cut short knows no more what was rewritten since it began; but a row
// that was changed since a clock was set forwards was changed by the clock as it is now.
func TestDueMoveThatWasCutShortDoesNotMoveTwice(t *testing.T) {
	t.Parallel()
	f := setup(t)
	ctx, by := t.Context(), 20*365*24*time.Hour // of a machine that started in the past
	now := day.Add(by)
	f.newDestination(store.ScopeAll, nil)
	f.publish("one")
	must(f.BeginDueMove(ctx, now, by))(t)
	retry := now.Add(time.Minute)
	check(t, f.Write(ctx, func(tx *store.Tx) error {
		return tx.Exec(fmt.Sprintf("UPDATE notification SET next_attempt_at = %d, updated_at = %d", retry.UnixMilli(), now.Add(time.Second).UnixMilli()))
	}))
	m := must(f.UnfinishedDueMove(ctx))(t)
	for done := false; !done; {
		var err error
		done, err = f.MoveDue(ctx, m, now.Add(time.Hour), 1000, nil)
		check(t, err)
	}
	if at := f.count("SELECT max(next_attempt_at) FROM notification"); at != int(retry.UnixMilli()) {
		t.Errorf("a retry was moved twice: it is %s too late", time.UnixMilli(int64(at)).Sub(retry))
	}
}

func TestClockSetBack(t *testing.T) {
	t.Parallel()
	f := setup(t)
	ctx := t.Context()
	f.publish("a") // at day
	ahead := func(now time.Time) time.Duration { return must(f.ClockSetBack(ctx, now))(t) }
	equal(t, "in order", ahead(day), time.Duration(0))
	equal(t, "set back", ahead(day.Add(-time.Hour)), time.Hour)
	must(f.BeginDueMove(ctx, day.Add(-time.Hour), -time.Hour))(t)
	equal(t, "set back, and known", ahead(day.Add(-time.Hour)), time.Duration(0))
	target := must(f.PollTarget(ctx, 1))(t)
	must(f.RecordPoll(ctx, target, store.Poll{At: day.Add(time.Hour), NextPollAt: day.Add(2 * time.Hour)}))(t)
	equal(t, "set back since the last poll", ahead(day), time.Hour)
}
