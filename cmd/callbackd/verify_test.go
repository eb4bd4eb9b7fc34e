package main

import (
	"cmp"
	"database/sql"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// walk gives all items of a list.
func (p *process) walk(path string, each func(object)) {
	p.t.Helper()
	after := ""
	for {
		list := p.call("GET", path+"&limit=100"+after, nil)
		items := list["items"].([]any)
		for _, item := range items {
			each(item.(object))
		}
		if more, _ := list["pagination"].(object)["has_more_after"].(bool); !more {
			return
		}
		after = "&after=" + id(items[len(items)-1].(object))
	}
}

// verify waits until all that was accepted has been delivered, and holds what the API tells
// against what the world knows. It stops the daemon.
func (w *world) verify(p *process, db string) {
	w.t.Helper()
	path := "/callbacks/" + w.callback
	eventually(w.t, "all sources are polled to their ends", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return !slices.ContainsFunc(w.feeds[:], func(f feed) bool { return f.asked < f.items })
	})
	eventually(w.t, "everything is delivered", func() bool {
		open := p.call("GET", path+"/notifications?limit=1&status=pending&status=retrying", nil)
		return len(open["items"].([]any)) == 0
	})
	w.verifyEvents(p, path)
	w.verifyNotifications(p, path)
	w.verifyRequests()
	if code := p.end(syscall.SIGTERM); code != 0 {
		w.t.Errorf("exit code %d\n%s", code, p.stderr)
	}
	intact(w.t, db)
}

// intact expects a file that nobody uses to be whole.
func intact(t *testing.T, db string) {
	t.Helper()
	file, err := sql.Open("sqlite", db)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var verdict string
	var broken int
	if err := file.QueryRowContext(t.Context(), "SELECT group_concat(integrity_check), (SELECT count(*) FROM pragma_foreign_key_check) FROM pragma_integrity_check").Scan(&verdict, &broken); err != nil ||
		verdict != "ok" || broken != 0 {
		t.Errorf("the file's integrity: %s, %d rows that refer to nothing, %v", verdict, broken, err)
	}
}

// verifyEvents expects what was accepted, and what the sources gave, to be there once.
func (w *world) verifyEvents(p *process, path string) {
	w.t.Helper()
	stored := make(map[string]string) // ids by source ids
	unnamed := 0
	p.walk(path+"/events?order=asc", func(e object) {
		event, sourceID := id(e), e["source_id"].(string)
		if other, twice := stored[sourceID]; twice {
			w.t.Errorf("%s is stored twice, as %s and %s", sourceID, other, event)
		}
		stored[sourceID] = event
		w.mu.Lock()
		accepted, ok := w.events[event]
		w.mu.Unlock()
		switch {
		case sourceID == event && !ok:
			unnamed++
		case sourceID != event && accepted != "" && accepted != sourceID:
			w.t.Errorf("%s has the source id %s, and was accepted with %s", event, sourceID, accepted)
		}
		if e["delivery_status"] != "sent" || e["status"] != "succeeded" {
			w.t.Errorf("%s is %s, its delivery %s", event, e["status"], e["delivery_status"])
		}
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	expected := make(map[string]bool)
	for event, sourceID := range w.events {
		sourceID = cmp.Or(sourceID, event)
		expected[sourceID] = true
		if stored[sourceID] != event {
			w.t.Errorf("%s (%s) was accepted, and stored is %q", event, sourceID, stored[sourceID])
		}
	}
	for i, f := range w.feeds {
		for n := range f.items {
			sourceID := fmt.Sprintf("feed-%d-%d", i, n+1)
			expected[sourceID] = true
			if stored[sourceID] == "" {
				w.t.Errorf("%s was passed over", sourceID)
			}
		}
	}
	for sourceID, event := range stored {
		if !expected[sourceID] && sourceID != event && !slices.Contains(w.own, sourceID) {
			w.t.Errorf("%s (%s) comes from nowhere", event, sourceID)
		}
	}
	if w.orderly && unnamed > 0 {
		w.t.Errorf("%d events are stored that nobody was told of, although all was stopped in order", unnamed)
	}
	if unnamed > w.unheard {
		w.t.Errorf("%d events without a source id that nobody was told of, and %d were published so", unnamed, w.unheard)
	}
	w.t.Logf("%d lives, %d events, %d of them polled", w.life, len(stored), w.feeds[0].items+w.feeds[1].items+w.feeds[2].items)
}

// verifyNotifications expects one notification for each event and sink that wants it, with
// all of its attempts.
func (w *world) verifyNotifications(p *process, path string) {
	w.t.Helper()
	sinksOf := make(map[string][]string) // by event
	var detailed []string
	p.walk(path+"/notifications?order=asc", func(n object) {
		event := n["event"].(object)
		of := id(event)
		name := n["destination"].(object)["name"].(string)
		if slices.Contains(sinksOf[of], name) {
			w.t.Errorf("%s has two notifications to %s", of, name)
		}
		sinksOf[of] = append(sinksOf[of], name)
		want := 3.0
		if event["type"] == "own.a" {
			want++
		}
		if event["destination_count"] != want || event["success_count"] != want || event["failure_count"] != 0.0 {
			w.t.Errorf("%s counts %v, want %v destinations", of, event, want)
		}
		if name == "picky" && event["type"] != "own.a" {
			w.t.Errorf("%s does not want %s", name, event["type"])
		}
		if n["status"] != "delivered" {
			w.t.Errorf("%s is %s", id(n), n["status"])
		}
		if n["attempt_count"] != 1.0 || len(detailed) < 200 {
			detailed = append(detailed, id(n))
		}
	})
	p.walk(path+"/events?order=asc", func(e object) {
		want := 3
		if e["type"] == "own.a" {
			want++
		}
		if len(sinksOf[id(e)]) != want {
			w.t.Errorf("%s (%s) has notifications to %v", id(e), e["type"], sinksOf[id(e)])
		}
	})
	var readers sync.WaitGroup
	work := make(chan string)
	for range 4 {
		readers.Go(func() {
			for n := range work {
				w.verifyAttempts(p, path, n)
			}
		})
	}
	for _, n := range detailed {
		work <- n
	}
	close(work)
	readers.Wait()
}

// verifyAttempts expects attempts to be numbered from 1, of which the last alone succeeded,
// and to be those that the receiver saw.
func (w *world) verifyAttempts(p *process, path, notification string) {
	status, n := p.try("GET", path+"/notifications/"+notification, nil)
	if status != http.StatusOK {
		w.t.Errorf("%s: %d", notification, status)
		return
	}
	attempts := n["attempts"].([]any)
	if float64(len(attempts)) != n["attempt_count"] {
		w.t.Errorf("%s has %d attempts and counts %v", notification, len(attempts), n["attempt_count"])
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, a := range attempts {
		a := a.(object)
		if a["attempt_number"] != float64(i+1) || (a["status"] == "succeeded") != (i == len(attempts)-1) {
			w.t.Errorf("attempt %d of %d at %s: %v", i+1, len(attempts), notification, a)
		}
		response, answered := a["response"].(object)
		if answered && !slices.ContainsFunc(w.requests[attempt{notification, i + 1}], func(r request) bool { return float64(r.status) == response["status_code"] }) {
			w.t.Errorf("attempt %d at %s was answered %v, which its receiver did not say", i+1, notification, response["status_code"])
		}
	}
	if len(w.requests[attempt{notification, len(attempts) + 1}]) != 0 {
		w.t.Errorf("%s was attempted after its end", notification)
	}
}

// verifyRequests expects receivers to have seen each attempt once, and again only in another
// life; a later life goes on where the one before was, and repeats nothing that it showed as
// delivered.
func (w *world) verifyRequests() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	type seen struct{ life, number int }
	of := make(map[string][]seen) // by notification
	got := make(map[string]bool)  // by event and sink
	repeats := 0
	for a, requests := range w.requests {
		lives := make(map[int]bool)
		for _, r := range requests {
			if lives[r.life] {
				w.t.Errorf("attempt %d at %s was made twice in life %d: %+v", a.number, a.notification, r.life, requests)
			}
			lives[r.life] = true
			of[a.notification] = append(of[a.notification], seen{r.life, a.number})
			if r.status == http.StatusOK {
				got[r.event+" "+r.sink] = true
			}
			if life, ok := w.shown[a.notification]; ok && r.life > life {
				w.t.Errorf("%s was shown as delivered in life %d and attempted in life %d", a.notification, life, r.life)
			}
		}
		repeats += len(requests) - 1
		if w.orderly && len(requests) > 1 {
			w.t.Errorf("attempt %d at %s was made again after an orderly stop: %+v", a.number, a.notification, requests)
		}
	}
	for notification, all := range of {
		slices.SortFunc(all, func(a, b seen) int { return cmp.Or(a.life-b.life, a.number-b.number) })
		number := 0
		for _, s := range all {
			if s.number != number && s.number != number+1 {
				w.t.Errorf("%s: attempts by life are not in order: %v", notification, all)
				break
			}
			number = s.number
		}
	}
	for event := range w.events {
		for _, sink := range strings.Fields("good flaky slow") {
			if !got[event+" "+sink] {
				w.t.Errorf("%s was accepted and %s has not got it", event, sink)
			}
		}
	}
	w.t.Logf("%d notifications, %d attempts, %d of them made again", len(of), len(w.requests), repeats)
}
