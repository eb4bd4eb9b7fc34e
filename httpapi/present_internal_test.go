package httpapi

import (
	"encoding/json"
	"testing"
)

func TestInputIsAnObjectOrNull(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{`{"a":1}`: `{"a":1}`, `5`: `{"value":5}`, `[1]`: `{"value":[1]}`, `"x"`: `{"value":"x"}`, `null`: `null`, ``: ``} {
		if got := string(object(json.RawMessage(given))); got != want {
			t.Errorf("%q became %q, want %q", given, got, want)
		}
	}
}
