package jq

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/itchyny/gojq"
)

// A name that gojq does not have, or that has two costs, is a slip.
func TestFunctionsInGoAreGojqs(t *testing.T) {
	t.Parallel()
	query, err := gojq.Parse("builtins")
	if err != nil {
		t.Fatal(err)
	}
	v, _ := query.Run(nil).Next()
	builtins, _ := v.([]any)
	for _, name := range slices.Concat(slices.Collect(maps.Keys(cheap)), slices.Collect(maps.Keys(costs))) {
		if !strings.Contains(name[1:], "/") || strings.HasPrefix(name, "_") {
			continue // an operator, or known to the prelude only
		}
		if !slices.Contains(builtins, any(name)) {
			t.Errorf("gojq has no %s", name)
		}
		if cheap[name] && costs[name] != nil || prelude[name] != nil {
			t.Errorf("%s is defined twice", name)
		}
	}
}

// Those of gojq that are written in jq would not be metered.
func TestThePreludeCallsNothingElse(t *testing.T) {
	t.Parallel()
	inGo := map[string]bool{"_range/3": true, "_last/1": true, "_now/1": true, "_fromjson/1": true, "_matches/3": true}
	for name, p := range prelude {
		for called := range p.uses {
			if costs[called] == nil && !cheap[called] && prelude[called] == nil && !inGo[called] {
				t.Errorf("%s calls %s", name, called)
			}
		}
	}
}
