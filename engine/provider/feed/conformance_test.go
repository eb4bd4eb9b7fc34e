package feed_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/engine/enginetest"
	"github.com/callbackd/callbackd/engine/provider/feed"
)

func TestProviderConforms(t *testing.T) {
	t.Parallel()
	entries := 0
	list := func(form string) string {
		var b strings.Builder
		for i := entries; i > 0; i-- {
			fmt.Fprintf(&b, form, i, i)
		}
		return b.String()
	}
	serve := func(contentType string, document func() string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.Header().Set("ETag", fmt.Sprintf(`"%d"`, entries))
			_, _ = w.Write([]byte(document()))
		})
	}
	next := func() { entries++ }
	enginetest.TestProvider(t, feed.New(), enginetest.Case{
		Config: `{"url": "$SOURCE/rss?key=secret"}`,
		Auth:   &engine.Auth{Method: "basic", Value: json.RawMessage(`{"username": "ada", "password": "open-sesame"}`)},
		Source: serve("application/rss+xml", func() string {
			return `<rss version="2.0"><channel><title>News</title>` + list(`<item><guid>%d</guid><title>Item %d</title></item>`) + `</channel></rss>`
		}),
		Next: next,
	}, enginetest.Case{
		Config: `{"url": "$SOURCE/atom", "headers": {"X-Team": "a"}, "updates": true}`,
		Source: serve("application/atom+xml", func() string {
			return `<feed xmlns="http://www.w3.org/2005/Atom"><title>News</title>` + list(`<entry><id>tag:%d</id><title>Entry %d</title><updated>2026-01-10T14:45:00Z</updated></entry>`) + `</feed>`
		}),
		Next: next,
	}, enginetest.Case{
		Config: `{"url": "$SOURCE/json"}`,
		Source: serve("application/feed+json", func() string {
			return `{"version": "https://jsonfeed.org/version/1.1", "title": "News", "items": [` + strings.TrimSuffix(list(`{"id": "%d", "content_text": "Text %d"},`), ",") + `]}`
		}),
		Next: next,
	})
}
