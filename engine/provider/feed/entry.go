package feed

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/mmcdole/gofeed"

	"github.com/callbackd/callbackd/engine"
)

const (
	maxText   = 256 << 10 // bytes of a summary or content
	maxOutput = 1<<20 - 4<<10
	maxList   = 50
	maxName   = 1 << 10 // bytes of the feed's title and link, which are in every output
	maxNamed  = 10      // of the feed's authors
)

// output is an event's output, as outputSchema describes it.
type output struct {
	ID          string      `json:"id"`
	Title       *string     `json:"title"`
	Link        *string     `json:"link"`
	PublishedAt *string     `json:"published_at"`
	UpdatedAt   *string     `json:"updated_at"`
	Authors     []person    `json:"authors"`
	Categories  []string    `json:"categories"`
	Summary     *string     `json:"summary"`
	Content     *string     `json:"content"`
	Enclosures  []enclosure `json:"enclosures"`
	Truncated   bool        `json:"truncated"`
	Feed        feedOutput  `json:"feed"`
}

type person struct {
	Name  *string `json:"name"`
	Email *string `json:"email"`
}

type enclosure struct {
	URL    string  `json:"url"`
	Type   *string `json:"type"`
	Length *int64  `json:"length"`
}

type feedOutput struct {
	Title *string `json:"title"`
	Link  *string `json:"link"`
}

// origin is what the entries of a feed have in common.
type origin struct {
	feed    feedOutput
	authors []*gofeed.Person // of entries that have none
	base    *url.URL
}

func newOrigin(f *gofeed.Feed, u *url.URL) origin {
	var c cutter
	o := origin{base: u}
	o.feed = feedOutput{Title: c.text(f.Title, maxName), Link: c.text(o.absolute(f.Link), maxName)}
	if f.FeedType == "atom" || f.FeedType == "json" {
		for _, a := range f.Authors[:min(len(f.Authors), maxNamed)] {
			o.authors = append(o.authors, &gofeed.Person{Name: cut(a.Name, maxName), Email: cut(a.Email, maxName)})
		}
	}
	return o
}

// event is an entry as an input, which says its event itself.
func (o origin) event(e entry) (json.RawMessage, error) {
	for limit := maxText; ; limit /= 2 {
		text, err := encode(o.output(e, limit))
		if err != nil {
			return nil, err
		}
		if len(text) <= maxOutput { // escaping can make it longer than its texts are
			return encode(engine.Mapped{Type: "entry.new", SourceID: e.sourceID, Output: text})
		}
	}
}

// output is an entry with texts of at most limit bytes.
func (o origin) output(e entry, limit int) output {
	var c cutter
	short := limit / 32
	out := output{
		ID:          e.id,
		Title:       c.text(e.Title, short),
		Link:        c.text(o.absolute(e.Link), short),
		PublishedAt: apiTime(e.PublishedParsed),
		UpdatedAt:   apiTime(e.UpdatedParsed),
		Authors:     []person{},
		Categories:  []string{},
		Summary:     c.text(e.Description, limit),
		Content:     c.text(e.Content, limit),
		Enclosures:  []enclosure{},
		Feed:        o.feed,
	}
	authors := e.Authors
	if len(authors) == 0 {
		authors = o.authors
	}
	for _, a := range authors[:c.list(len(authors))] {
		if p := (person{c.text(a.Name, short), c.text(a.Email, short)}); p != (person{}) {
			out.Authors = append(out.Authors, p)
		}
	}
	for _, category := range e.Categories[:c.list(len(e.Categories))] {
		if t := c.text(strings.TrimSpace(category), short); t != nil {
			out.Categories = append(out.Categories, *t)
		}
	}
	for _, f := range e.Enclosures[:c.list(len(e.Enclosures))] {
		u := c.text(o.absolute(f.URL), short)
		if u == nil {
			continue
		}
		file := enclosure{URL: *u, Type: c.text(f.Type, short)}
		if n, err := strconv.ParseInt(strings.TrimSpace(f.Length), 10, 64); err == nil && n > 0 {
			file.Length = &n
		}
		out.Enclosures = append(out.Enclosures, file)
	}
	out.Truncated = c.cut
	return out
}

// absolute is a link as seen from the feed's own URL.
func (o origin) absolute(link string) string {
	link = strings.TrimSpace(link)
	if u, err := url.Parse(link); link == "" || err != nil || u.IsAbs() {
		return link
	}
	if u, err := o.base.Parse(link); err == nil {
		return u.String()
	}
	return link
}

// cutter shortens what is too long, and knows whether anything was.
type cutter struct{ cut bool }

// text is nil for "".
func (c *cutter) text(s string, limit int) *string {
	if s == "" {
		return nil
	}
	short := cut(s, limit)
	c.cut = c.cut || len(s) > limit
	return &short
}

func (c *cutter) list(n int) int {
	c.cut = c.cut || n > maxList
	return min(n, maxList)
}

// cut is at most so many bytes of a text, of which it cuts no character in two.
func cut(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit]
	}
	return strings.ToValidUTF8(s, "")
}

// apiTime is a time as the API writes it; nil for none, and for one that cannot be written.
func apiTime(t *time.Time) *string {
	if t == nil || t.UTC().Year() < 0 || t.UTC().Year() > 9999 {
		return nil
	}
	text := t.UTC().Format("2006-01-02T15:04:05.000Z07:00")
	return &text
}

// encode is json.Marshal that leaves the markup of texts readable.
func encode(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}
