package feed

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/net/html"

	"github.com/callbackd/callbackd/engine/provider/internal/source"
)

// What a feed may have. The library reads what is nested by recursion, keeps each element that it
// does not know in two maps, copies the namespaces at each declaration, and joins a text that
// comes in pieces anew at each piece.
const (
	maxEntries    = 10_000
	maxNodes      = 300_000 // elements and attributes
	maxDepth      = 200
	maxNamespaces = 100       // declared at the same time
	maxJoined     = 256 << 20 // bytes that are copied while texts are joined
)

var (
	errEntries = fmt.Errorf("the feed has more than %d entries", maxEntries)
	errNodes   = fmt.Errorf("the feed has more than %d elements and attributes", maxNodes)
)

// element is an element that is open.
type element struct {
	namespaces int // that it declares
	text       int // bytes in it so far
}

// inspectXML reads a document to the end of its root, as the library does, and refuses what would
// take it too long or too much memory. root is the root's name in lower case, also with an error; ""
// if there is none.
func inspectXML(ctx context.Context, text []byte) (root string, err error) {
	d := xml.NewDecoder(bytes.NewReader(text))
	d.Strict = false
	var open []element
	nodes, entries, namespaces, joined := 0, 0, 0, 0
	for i := 0; ; i++ {
		if i%1000 == 0 && ctx.Err() != nil {
			return root, ctx.Err()
		}
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return root, errors.New("the XML ends too early")
		} else if err != nil {
			return root, fmt.Errorf("the answer is not readable XML: %s", beginning(err.Error()))
		}
		switch t := token.(type) {
		case xml.StartElement:
			name := strings.ToLower(t.Name.Local)
			if root == "" {
				root = name
			}
			if name == "item" || name == "entry" {
				entries++
			}
			e := element{}
			for _, a := range t.Attr {
				if a.Name.Space == "xmlns" || a.Name.Space == "" && a.Name.Local == "xmlns" {
					e.namespaces++
				}
			}
			open = append(open, e)
			namespaces += e.namespaces
			nodes += 1 + len(t.Attr)
			switch {
			case entries > maxEntries:
				return root, errEntries
			case nodes > maxNodes:
				return root, errNodes
			case len(open) > maxDepth:
				return root, fmt.Errorf("the feed has more than %d elements within each other", maxDepth)
			case namespaces > maxNamespaces:
				return root, fmt.Errorf("the feed has more than %d namespaces", maxNamespaces)
			}
		case xml.EndElement:
			if len(open) == 0 {
				continue
			}
			namespaces -= open[len(open)-1].namespaces
			if open = open[:len(open)-1]; len(open) == 0 {
				return root, nil
			}
		case xml.CharData:
			// The text of the root, and of a channel, is not kept.
			if depth := len(open); depth > 2 || depth == 2 && root == "feed" {
				open[depth-1].text += len(t)
				if joined += open[depth-1].text; joined > maxJoined {
					return root, errors.New("the feed has texts in too many pieces")
				}
			}
		}
	}
}

func isHTML(root string, start []byte) bool {
	const doctype = "<!doctype html"
	return root == "html" || len(start) >= len(doctype) && strings.EqualFold(string(start[:len(doctype)]), doctype)
}

// feedTypes are the types of links from a page to its feeds.
var feedTypes = map[string]bool{"application/rss+xml": true, "application/atom+xml": true, "application/feed+json": true}

// htmlError says of a page where it has its feed, if it tells.
func (d document) htmlError(page []byte) error {
	const text = "it answered an HTML page, not a feed"
	z := html.NewTokenizer(bytes.NewReader(page[:min(len(page), 256<<10)]))
	for {
		switch z.Next() {
		case html.ErrorToken:
			return errors.New(text)
		case html.StartTagToken, html.SelfClosingTagToken:
		default:
			continue
		}
		name, more := z.TagName()
		if string(name) != "link" {
			continue
		}
		attributes := map[string]string{}
		for more {
			var key, value []byte
			key, value, more = z.TagAttr()
			attributes[string(key)] = string(value)
		}
		if !strings.EqualFold(attributes["rel"], "alternate") || !feedTypes[strings.ToLower(strings.TrimSpace(attributes["type"]))] {
			continue
		}
		u, err := d.url.Parse(strings.TrimSpace(attributes["href"]))
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
			continue
		}
		where := u.String()
		if d.url.RawQuery != "" { // it may repeat a secret of it
			where = source.Shown(u)
		}
		return fmt.Errorf("%s; the page says that its feed is at %s", text, beginning(where))
	}
}
