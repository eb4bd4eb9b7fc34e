package slates

import (
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/callbackd/callbackd/engine"
)

func TestSplitWords(t *testing.T) {
	t.Parallel()
	for command, want := range map[string][]string{
		`node a.mjs  b`:                {"node", "a.mjs", "b"},
		` sh -c 'exec bun "x y" $A'  `: {"sh", "-c", `exec bun "x y" $A`},
		`a "b 'c' \"d\" \e\\" f\ g`:    {"a", `b 'c' "d" \e\`, "f g"},
		`a '' ""b`:                     {"a", "", "b"},
	} {
		if got, err := splitWords(command); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q %v, want %q", command, got, err, want)
		}
	}
	for _, command := range []string{"", "  ", `a 'b`, `a "b`, `a \`, `''`} {
		if got, err := splitWords(command); err == nil {
			t.Errorf("%s: %q, want an error", command, got)
		}
	}
}

func TestKeysAreTakenByTheEngine(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, id := range []string{"new_message", "a/b", "a-b", "a b", "", "...", "日本", strings.Repeat("x", 64), strings.Repeat("x", 65), strings.Repeat("x", 66), "\xff"} {
		key := keyOf(id)
		if !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`).MatchString(key) {
			t.Errorf("%q becomes %q", id, key)
		}
		if other, twice := seen[key]; twice {
			t.Errorf("%q and %q become %q", id, other, key)
		}
		seen[key] = id
	}
	if keyOf("new_message") != "new_message" {
		t.Error("an id that is a key already is changed")
	}
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	for object, want := range map[string]time.Duration{
		`{"expiresAt":"2023-11-14T23:13:20Z"}`:                 time.Hour,
		`{"expires_at":1700003600}`:                            time.Hour,
		`{"expiryDate":1700003600000}`:                         time.Hour,
		`{"expiration":"1700003600000"}`:                       time.Hour,
		`{"expires_in":60,"expiresAt":"2023-11-14T23:13:20Z"}`: time.Minute,
	} {
		if got := expiry(json.RawMessage(object), now); !got.Equal(now.Add(want)) {
			t.Errorf("%s ends at %s, want %s", object, got, now.Add(want))
		}
	}
	for _, object := range []string{``, `[]`, `{}`, `{"expiresAt":"soon"}`, `{"expiresAt":null}`, `{"expires_in":-1}`, `{"expiresAt":0}`, `{"expiresAt":1e300}`, `{"expiresAt":{}}`} {
		if got := expiry(json.RawMessage(object), now); !got.IsZero() {
			t.Errorf("%s ends at %s", object, got)
		}
	}
}

func TestEnvironmentKeepsOurOwn(t *testing.T) {
	t.Parallel()
	if got := environment([]string{"PATH=/bin", "CALLBACKD_API_KEY=x", "XCALLBACKD_=1"}); !slices.Equal(got, []string{"PATH=/bin", "XCALLBACKD_=1"}) {
		t.Errorf("kept %q", got)
	}
}

// Of what is left out of a schema, it is said where it was.
func TestWithoutPatterns(t *testing.T) {
	t.Parallel()
	var doc any
	if err := json.Unmarshal([]byte(`{"properties": {"mail": {"pattern": "^(?!x)"}, "pattern": {"items": [{"pattern": "(?=y)"}, {"pattern": "^ok$"}]}, "a": {"properties": {"b": {"patternProperties": {"(?<z": {}}}}}}}`), &doc); err != nil {
		t.Fatal(err)
	}
	left := withoutPatterns(doc, "")
	slices.Sort(left)
	if want := []string{"a.b: (?<z", "mail: ^(?!x)", "pattern: (?=y)"}; !slices.Equal(left, want) {
		t.Errorf("%q, want %q", left, want)
	}
	if text, _ := json.Marshal(doc); strings.Contains(string(text), "(?") || !strings.Contains(string(text), "^ok$") {
		t.Errorf("left %s", text)
	}
}

// What is remembered of mappings is bounded, and given once.
func TestMemoIsBounded(t *testing.T) {
	t.Parallel()
	m := newMemo()
	output := make(json.RawMessage, memoBytes/4)
	for i := range 5 {
		m.put(memoKey{byte(i)}, engine.Mapped{SourceID: "x", Output: output}, nil)
	}
	for i := range 5 {
		for try := range 2 {
			if _, ok := m.take(memoKey{byte(i)}); ok != (i < 4 && try == 0) {
				t.Errorf("item %d, time %d: %t", i, try, ok)
			}
		}
	}
	if m.bytes != 0 || len(m.items) != 0 {
		t.Errorf("%d bytes in %d items are left", m.bytes, len(m.items))
	}
}

// Whatever an integration answers, every request has one outcome, or the whole answer an error.
func FuzzReadAnswer(f *testing.F) {
	for _, text := range []string{`{"messages":[{"jsonrpc":"2.0","id":"1","result":{}},{"id":2,"error":{"code":"a.b","message":"x","retryable":true,"status":404,"data":{"retryAfter":3}}}]}`,
		`{"messages":[{"id":"1","result":1},{"id":"1","error":{}}]}`, `{"messages":null,"error":{"code":1}}`, `{"messages":[null,1,"x",{"error":7}]}`, `[]`, ``, `{"messages":{}}`,
		`{"messages":[{"id":"2","error":{"retryAfterMs":1e300}}]}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		ids := []string{"1", "2"}
		outcomes, err := readAnswer(text, ids)
		foreign(text, ids)
		isDocument(text)
		if err != nil {
			_ = err.Error()
			if !errors.Is(err, errBadAnswer) {
				if _, ok := errors.AsType[*Error](err); !ok {
					t.Fatalf("%v says not what kind of error it is", err)
				}
			}
			return
		}
		if len(outcomes) != len(ids) {
			t.Fatalf("%d outcomes", len(outcomes))
		}
		for _, o := range outcomes {
			if o.err != nil && o.result != nil {
				t.Fatal("a result and an error")
			}
			if e, ok := errors.AsType[*Error](o.err); ok && (e.Code == "" || e.after < 0 || e.after > maxRetryAfter || len([]rune(e.Error())) > 3*maxText) {
				t.Fatalf("%+v", e)
			}
			if o.err != nil {
				_ = o.err.Error()
			}
			if m, err := readMapped(o); err != nil && m.SourceID != "" {
				t.Fatal("mapped, and an error")
			}
		}
	})
}
