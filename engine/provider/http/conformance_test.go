package http_test

import (
	"encoding/json"
	"fmt"
	"io"
	nethttp "net/http"
	"strings"
	"testing"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/engine/enginetest"
	"github.com/callbackd/callbackd/engine/provider/http"
)

func TestProviderConforms(t *testing.T) {
	t.Parallel()
	var items []string
	enginetest.TestProvider(t, http.New(), enginetest.Case{
		Config: `{"url": "$SOURCE/list", "query": {"since": "$cursor"}, "items": ".items", "cursor": ".last"}`,
		Auth:   &engine.Auth{Method: "bearer", Value: json.RawMessage(`{"token": "open-sesame"}`)},
		Source: nethttp.HandlerFunc(func(w nethttp.ResponseWriter, _ *nethttp.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, fmt.Sprintf(`{"items": [%s], "last": "%d"}`, strings.Join(items, ","), len(items)))
		}),
		Next: func() { items = append(items, fmt.Sprintf(`{"id": %d}`, len(items))) },
	}, enginetest.Case{
		Config: `{"url": "$SOURCE"}`,
		Source: answers(200, `[{"id": "a"}, {"id": "b"}]`, "ETag", `"1"`),
	})
}
