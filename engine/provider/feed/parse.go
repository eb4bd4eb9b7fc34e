package feed

import (
	"bytes"
	"context"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/mmcdole/gofeed"
	"github.com/mmcdole/gofeed/atom"
	"github.com/mmcdole/gofeed/json"
	"github.com/mmcdole/gofeed/rss"

	"github.com/callbackd/callbackd/engine/provider/internal/source"
)

// parse reads a feed.
func parse(ctx context.Context, d document) (f *gofeed.Feed, err error) {
	text := d.text()
	start := bytes.TrimSpace(text)
	if len(start) == 0 {
		return nil, errEmpty
	}
	var read func() (*gofeed.Feed, error)
	switch start[0] {
	case '{', '[':
		if err := inspectJSON(start); err != nil {
			return nil, err
		}
		read = func() (*gofeed.Feed, error) {
			f, err := (&json.Parser{}).Parse(bytes.NewReader(start))
			if err != nil {
				return nil, err
			}
			return (&gofeed.DefaultJSONTranslator{}).Translate(f)
		}
	case '<':
		root, err := inspectXML(ctx, text)
		switch {
		case root == "rss" || root == "rdf":
			read = func() (*gofeed.Feed, error) {
				f, err := (&rss.Parser{}).Parse(bytes.NewReader(text))
				if err != nil {
					return nil, err
				}
				return (&gofeed.DefaultRSSTranslator{DisableContentImageScan: true}).Translate(f)
			}
		case root == "feed":
			read = func() (*gofeed.Feed, error) {
				f, err := (&atom.Parser{}).Parse(bytes.NewReader(text))
				if err != nil {
					return nil, err
				}
				return (&gofeed.DefaultAtomTranslator{}).Translate(f)
			}
		case isHTML(root, start):
			return nil, d.htmlError(start)
		case err == nil:
			return nil, fmt.Errorf("it answered XML whose root is <%s>, not a feed", beginning(root))
		}
		if err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("the answer is neither XML nor JSON, so not a feed; it begins with: %s", beginning(string(start[:min(len(start), 200)])))
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err = guarded(read)
	if err != nil {
		return nil, fmt.Errorf("the feed is not readable: %s", beginning(err.Error()))
	}
	if len(f.Items) > maxEntries {
		return nil, errEntries
	}
	return f, nil
}

// guarded makes an error of a panic of the library, which has had some on strange feeds.
func guarded(read func() (*gofeed.Feed, error)) (f *gofeed.Feed, err error) {
	defer func() {
		if r := recover(); r != nil {
			f, err = nil, errors.New("something is null, or missing, where it must not be")
		}
	}()
	return read()
}

// beginning is the start of a text, on one line, for an error.
func beginning(text string) string {
	const most = 200
	if text = source.Printable([]byte(text)); len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return text
}

// inspectJSON refuses what is not a JSON Feed, or too large a one.
func inspectJSON(text []byte) error {
	var f struct {
		Version string
		Items   []stdjson.RawMessage
	}
	err := stdjson.Unmarshal(text, &f)
	switch {
	case err != nil && !stdjson.Valid(text):
		return fmt.Errorf("the answer begins as JSON, but is not: %w", err)
	case err != nil || !strings.Contains(f.Version, "jsonfeed.org") || f.Items == nil:
		return errors.New(`it answered JSON that is not a JSON Feed; the provider "http" is for other JSON`)
	case len(f.Items) > maxEntries:
		return errEntries
	case bytes.Count(text, []byte("{")) > maxNodes:
		return errNodes
	}
	return nil
}
