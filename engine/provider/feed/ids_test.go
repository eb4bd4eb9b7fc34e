package feed_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/callbackd/callbackd/engine"
)

// item is an entry of an RSS feed.
type item struct{ guid, link, title, text string }

func (i item) String() string {
	var b strings.Builder
	b.WriteString("<item>")
	for _, e := range []struct{ name, value string }{{"guid", i.guid}, {"link", i.link}, {"title", i.title}, {"description", i.text}} {
		if e.value != "" {
			fmt.Fprintf(&b, "<%s>%s</%s>", e.name, e.value, e.name)
		}
	}
	return b.String() + "</item>"
}

// entry is what makes it another entry: not its text, if it has a name. A link is a guid, too.
func (i item) entry() item {
	if i.guid == "" {
		i.guid = i.link
	}
	if i.guid != "" {
		i.text = ""
	}
	return i
}

func channel(items ...item) string {
	var b strings.Builder
	for _, i := range items {
		b.WriteString(i.String())
	}
	return "<rss><channel><title>t</title>" + b.String() + "</channel></rss>"
}

// reader polls a source whose feed changes.
type reader struct{ state json.RawMessage }

func (d *reader) ids(t rapid.TB, items ...item) (found []string) {
	req := canned{200, nil, []byte(channel(items...))}.request(`{"url":"http://source.test/"}`)
	req.State = d.state
	r, err := trigger.Poll(context.Background(), req)
	if err != nil {
		t.Fatal(err)
	}
	d.state = r.State
	for _, input := range r.Inputs {
		var m engine.Mapped
		if err := json.Unmarshal(input, &m); err != nil {
			t.Fatal(err)
		}
		found = append(found, m.SourceID)
	}
	return found
}

func TestIDs(t *testing.T) {
	t.Parallel()
	d := &reader{}
	got := d.ids(t,
		item{"g", "l1", "t", "x"},                  // by guid
		item{"", "l2", "t", "x"},                   // by link
		item{"", "", "t", "x"},                     // by all that it says
		item{"", "", "t", "y"},                     // which is another
		item{"", "", "t", "y"},                     // and the same again
		item{"g", "l1", "t", "other"},              // an older version
		item{strings.Repeat("g", 901), "", "", ""}, // too long for a source_id
	)
	slices.Reverse(got)
	if len(got) != 5 || got[0] != "g" || got[1] != "l2" {
		t.Fatalf("got %q", got)
	}
	for _, id := range got[2:] {
		if !strings.HasPrefix(id, "sha256:") || len(id) != len("sha256:")+32 {
			t.Errorf("got %q", id)
		}
	}
	if got[2] == got[3] || got[3] == got[4] {
		t.Errorf("two are the same: %q", got)
	}
}

func TestEntriesThatShareAGUIDAreToldApart(t *testing.T) {
	t.Parallel()
	a, b, c := item{"g", "l1", "a", ""}, item{"g", "l2", "a", ""}, item{"g", "l2", "c", ""}
	d := &reader{}
	if got := d.ids(t, a); !slices.Equal(got, []string{"g"}) {
		t.Fatalf("alone it is %q", got)
	}
	all := d.ids(t, c, b, a)
	if slices.Sort(all); len(slices.Compact(slices.Clone(all))) != 3 || slices.Contains(all, "g") {
		t.Fatalf("got %q", all)
	}
	// Once it is known, an entry keeps its name when it is alone again, and another gets one of its own.
	one := d.ids(t, b)
	if len(one) != 1 || !slices.Contains(all, one[0]) {
		t.Errorf("then it is %q, of %q", one, all)
	}
	if d.ids(t); len(d.ids(t, item{"g", "l9", "z", ""})) != 1 || slices.Contains(all, d.ids(t, item{"g", "l9", "z", ""})[0]) {
		t.Error("a later one has an old name")
	}
	// Without a guid, the same goes for links.
	if got := d.ids(t, item{"", "home", "a", ""}, item{"", "home", "b", ""}); len(got) != 2 || got[0] == got[1] {
		t.Errorf("with the same link: %q", got)
	}
}

func TestUpdatesAreEventsIfAskedFor(t *testing.T) {
	t.Parallel()
	entry := func(updated, content string) string {
		return `<feed><entry><id>urn:1</id><title>t</title><updated>` + updated + `</updated><content>` + content + `</content></entry></feed>`
	}
	for name, c := range map[string]struct {
		updates bool
		bodies  []string
		want    int
	}{
		"Not":             {false, []string{entry("2026-01-01T00:00:00Z", "a"), entry("2026-01-02T00:00:00Z", "b"), channel(item{"urn:1", "", "x", ""})}, 1},
		"ByDate":          {true, []string{entry("2026-01-01T00:00:00Z", "a"), entry("2026-01-01T01:00:00+01:00", "b"), entry("2026-01-02T00:00:00Z", "b")}, 2},
		"WithoutADate":    {true, []string{entry("", "a"), entry("", "a"), entry("", "b")}, 2},
		"UnreadableDate":  {true, []string{entry("yesterday", "a"), entry("yesterday", "b")}, 2},
		"RSS":             {true, []string{channel(item{"g", "l", "t", "a"}), channel(item{"g", "l", "t", "a"}), channel(item{"g", "l", "t", "b"})}, 2},
		"OthersDoNotMind": {true, []string{channel(item{"g", "l", "t", "a"}), channel(item{"h", "", "", ""}, item{"g", "l", "t", "a"})}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seen := map[string]bool{}
			for _, body := range c.bodies {
				s := serve(t, answers(200, body))
				for _, m := range events(t, mustPoll(t, s.request(t, "/", values{"updates": c.updates}))) {
					seen[m.SourceID] = true
				}
			}
			if len(seen) != c.want {
				t.Errorf("got %v, want %d", seen, c.want)
			}
		})
	}
}

// However a feed's entries are chosen, ordered and edited: an id is never that of two entries, no
// entry goes without an event, and what an entry is called depends neither on its place nor on
// the text of the others.
func TestEachEntryHasAnIDOfItsOwn(t *testing.T) {
	t.Parallel()
	d := &reader{}
	texts := rapid.SampledFrom([]string{"", "a", "b"})
	rapid.Check(t, func(rt *rapid.T) {
		d.state = nil
		owners := map[string]item{} // id to entry, without what may change
		for range rapid.IntRange(1, 5).Draw(rt, "polls") {
			var items []item
			looks := map[item]bool{}
			for range rapid.IntRange(0, 6).Draw(rt, "items") {
				i := item{texts.Draw(rt, "guid"), texts.Draw(rt, "link"), texts.Draw(rt, "title"), texts.Draw(rt, "text")}
				if !looks[i.entry()] {
					looks[i.entry()] = true
					items = append(items, i)
				}
			}
			got := d.ids(rt, items...)
			if len(got) != len(items) {
				rt.Fatalf("%v have %q", items, got)
			}
			slices.Reverse(got)
			for n, id := range got {
				i := items[n].entry()
				if owner, ok := owners[id]; ok && owner != i && id != i.guid { // whatever has a guid for itself is its entry
					rt.Fatalf("%q was %v, and is %v", id, owner, i)
				}
				owners[id] = i
			}
			if distinct := slices.Compact(slices.Sorted(slices.Values(got))); len(distinct) != len(items) {
				rt.Fatalf("%v have %q", items, got)
			}
			other := slices.Clone(items)
			for n := range other {
				if (other[n].guid != "" || other[n].link != "") && rapid.Bool().Draw(rt, "edit") {
					other[n].text += "x"
				}
			}
			order := rapid.Permutation(indexes(len(items))).Draw(rt, "order")
			moved := make([]item, len(items))
			for to, from := range order {
				moved[to] = other[from]
			}
			again := d.ids(rt, moved...)
			slices.Reverse(again)
			for to, from := range order {
				if again[to] != got[from] {
					rt.Fatalf("%v was %q, and is %q", items[from], got[from], again[to])
				}
			}
		}
	})
}

func indexes(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}
