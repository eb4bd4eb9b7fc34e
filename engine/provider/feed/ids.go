package feed

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mmcdole/gofeed"

	"github.com/callbackd/callbackd/engine/provider/internal/source"
)

// maxID is how many characters of an id are kept as they are: a source_id may have 1,000, with
// what follows the id.
const maxID = 900

// entry is an item of a feed and what it is called.
type entry struct {
	*gofeed.Item
	id       string // unlike that of any other entry of the feed
	sourceID string // id, and which version it is
}

// identify names the items of a feed, and leaves out those that are there twice. shared are
// hashes of the names that are known to be those of several entries; it returns them with those
// that came to light. What an item is called does not depend on its place.
func identify(items []*gofeed.Item, shared []string, updates bool) (entries []entry, nowShared []string) {
	looks := map[string]string{} // name to what the first entry of it looks like
	nowShared = slices.Clone(shared)
	ambiguous := map[string]bool{}
	for _, hash := range shared {
		ambiguous[hash] = true
	}
	for _, item := range items {
		name, look := nameOf(item), lookOf(item)
		if name == "" {
			continue
		}
		if other, ok := looks[name]; ok && other != look && !ambiguous[source.Hash(name)] {
			ambiguous[source.Hash(name)] = true
			nowShared = append(nowShared, source.Hash(name))
		}
		looks[name] = look
	}
	if len(nowShared) > maxShared {
		nowShared = nowShared[len(nowShared)-maxShared:]
	}
	seen := map[string]bool{}
	for _, item := range items {
		e := entry{Item: item, id: nameOf(item)}
		if e.id == "" {
			e.id = "sha256:" + contentOf(item)
			e.sourceID = e.id // another version would be another entry
		} else {
			e.id = fitting(e.id)
			if ambiguous[source.Hash(nameOf(item))] {
				e.id += "#" + lookOf(item)
			}
			e.sourceID = e.id
			if updates {
				e.sourceID += "@" + versionOf(item)
			}
		}
		if !seen[e.sourceID] {
			seen[e.sourceID] = true
			entries = append(entries, e)
		}
	}
	return entries, nowShared
}

// nameOf is the id that the feed gives to an item: its guid, or its link; "" if it has neither.
func nameOf(item *gofeed.Item) string {
	if strings.TrimSpace(item.GUID) != "" {
		return item.GUID
	}
	return strings.TrimSpace(item.Link)
}

// fitting is an id that a source_id can be made of.
func fitting(id string) string {
	if utf8.RuneCountInString(id) > maxID || strings.ContainsRune(id, 0) || !utf8.ValidString(id) {
		return "sha256:" + digest(id)
	}
	return id
}

// lookOf tells apart entries that share a guid.
func lookOf(item *gofeed.Item) string { return digest(item.Link, item.Title) }

// contentOf is a digest of all that an item says.
func contentOf(item *gofeed.Item) string {
	parts := []string{item.GUID, item.Link, item.Title, item.Published, item.Updated, item.Description, item.Content}
	parts = append(parts, strconv.Itoa(len(item.Categories)))
	parts = append(parts, item.Categories...)
	for _, a := range item.Authors {
		parts = append(parts, a.Name, a.Email)
	}
	for _, e := range item.Enclosures {
		parts = append(parts, e.URL, e.Type, e.Length)
	}
	return digest(parts...)
}

// versionOf tells apart an entry before and after an update.
func versionOf(item *gofeed.Item) string {
	if t := item.UpdatedParsed; t != nil && apiTime(t) != nil {
		return t.UTC().Format(time.RFC3339Nano)
	}
	return contentOf(item)
}

// digest is of some texts, and of where one ends and the next begins.
func digest(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		h.Write(strconv.AppendInt(nil, int64(len(part)), 10))
		h.Write([]byte{':'})
		h.Write([]byte(part))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
