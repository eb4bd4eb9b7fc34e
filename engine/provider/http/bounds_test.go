package http_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/callbackd/callbackd/engine/provider/http"
)

// All programs of a config together are bounded, so that a request of a megabyte cannot have
// many long ones compiled.
func TestProgramsAreBoundedTogether(t *testing.T) {
	t.Parallel()
	wrong := func(sizes ...int) (paths []string) {
		query := values{}
		for i, size := range sizes {
			query[fmt.Sprint("q", i)] = strings.Repeat(" ", size-1) + "1"
		}
		text, err := json.Marshal(values{"url": "http://a.test", "query": query, "id": ".", "event_type": "."})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range http.New().Validate(text) {
			if f.Code == "max_length" {
				paths = append(paths, strings.Join(f.Path, "."))
			}
		}
		return paths
	}
	if got := wrong(16<<10, 16<<10, 16<<10, 16<<10-2); got != nil {
		t.Errorf("64 KiB: %v", got)
	}
	if got := wrong(16<<10, 16<<10, 16<<10, 16<<10-1); !slices.Equal(got, []string{"event_type"}) {
		t.Errorf("a byte more: %v", got)
	}
}
