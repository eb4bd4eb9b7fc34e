package jq_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/callbackd/callbackd/engine/internal/jq"
)

// FuzzDecode has any text refused, or read as a value that is written as JSON and read again
// as the same value, with every number as it came.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{`{"a":[1,1.0,1e400,-0,12345678901234567890]}`, `"\ud800"`, "\"\xff\"", `[1]2`, ` `, `{"a":1,"a":2}`, strings.Repeat("[", 10_001), "1" + strings.Repeat("0", 1000), `"\u0000\u2028<"`, "nul"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := jq.Decode(text)
		if err != nil {
			return
		}
		if !json.Valid(text) {
			t.Fatalf("%q is no JSON, and was read as %v", text, v)
		}
		written, err := jq.Encode(v)
		if err != nil {
			return // nested too deeply
		}
		again, err := jq.Decode(written)
		if err != nil || !reflect.DeepEqual(v, again) {
			t.Errorf("%q became %q, and that %v (%v)", text, written, again, err)
		}
		if number := bytes.TrimSpace(text); len(number) > 0 && strings.IndexByte("-0123456789", number[0]) >= 0 && !bytes.Equal(written, number) {
			t.Errorf("the number %q became %q", text, written)
		}
	})
}
