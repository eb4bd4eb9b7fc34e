package jq_test

import (
	"strings"
	"testing"

	"github.com/callbackd/callbackd/engine/internal/jq"
)

// What a program may have of each thing is allowed at the bound, and not one past it.
func TestBounds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		at, past, want string
	}{
		"Source":     {strings.Repeat(" ", jq.MaxSource-1) + "1", strings.Repeat(" ", jq.MaxSource) + "1", "longer than"},
		"Format":     {`0 | strftime("%Y" * 500) | length`, `0 | strftime("%Y" * 500 + "x")`, "longer than 1000 bytes"},
		"Pattern":    {`"a" | test("a" * 1000)`, `"a" | test("a" * 1001)`, "longer than 1000 bytes"},
		"Number":     {`"1" * 1000 | tonumber | 1`, `"1" * 1001 | tonumber`, "longer than 1000 digits"},
		"NumberText": {`"1" * 1000 | fromjson | 1`, `"1" * 1001 | fromjson`, "longer than 1000 digits"},
		"Outputs":    {`range(1000) | select(. < 1)`, `range(100001)`, "more than 100000 outputs"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run := func(src string) error {
				p, err := jq.Compile(src)
				if err == nil {
					_, err = p.All(t.Context(), nil)
				}
				return err
			}
			if err := run(c.at); err != nil {
				t.Errorf("at the bound: %v", err)
			}
			if err := run(c.past); err == nil || !strings.Contains(err.Error(), c.want) && !strings.Contains(err.Error(), "took too long") {
				t.Errorf("past the bound: %v, want %q", err, c.want)
			}
		})
	}
}
