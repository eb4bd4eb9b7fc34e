package jsontext

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

var seeds = []string{`{"a":[{}]}`, `"[[[\"[["`, `["\\",[]]`, `1`, ` [ -0.5e+07 , [] ,{"[":"]"}]`, `01`, `-`, `1.`, `1e`, `"\u12g4"`, `"\uD800"`, "\"\x1f\"", "\"\xff\"", `"12345678\"90123456"`, `{"a":1,}`, `{"a"}`, `{,}`, `[1,]`,
	`[}`, `tru`, `true`, `false`, `null`, `nulll`, "", " ", `{} {}`, `{"a" : 1}`, "\ufeff{}", strings.Repeat("[", 65) + strings.Repeat("]", 65), strings.Repeat(`{"a":[`, 64), `"123456\n8901234"`, `"1234567` + "\n" + `"`,
	`{"a":[1`, `{"a":{"b":1`, `[[1`, `[{"a":1`}

// FuzzLevels has the levels of a text counted as a reader of JSON counts them.
func FuzzLevels(f *testing.F) {
	for _, seed := range []string{`{"a":[{}]}`, `"[[[\"[["`, `["\\",[]]`, `1`, `[[],[[]],{"[":"]"}]`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if !json.Valid(text) {
			return
		}
		want, depth := 0, 0
		d := json.NewDecoder(bytes.NewReader(text))
		for token, err := d.Token(); err == nil; token, err = d.Token() {
			switch token {
			case json.Delim('['), json.Delim('{'):
				depth++
				want = max(want, depth)
			case json.Delim(']'), json.Delim('}'):
				depth--
			}
		}
		if got := levels(text); got != want {
			t.Errorf("%q has %d levels, want %d", text, got, want)
		}
	})
}

// FuzzLook has a text judged as encoding/json judges it, which decides what is JSON.
func FuzzLook(f *testing.F) {
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got := Look(text)
		if want := json.Valid(text); got.Valid != want {
			t.Fatalf("%q is valid: %v, want %v", text, got.Valid, want)
		}
		if !got.Valid {
			return
		}
		if want := levels(text); got.Levels != want {
			t.Errorf("%q has %d levels, want %d", text, got.Levels, want)
		}
		var b bytes.Buffer
		if err := json.Compact(&b, text); err != nil || !got.Spaces && !bytes.Equal(b.Bytes(), text) {
			t.Errorf("%q: %+v, compact %q (%v)", text, got, b.Bytes(), err)
		}
	})
}

// FuzzDecode has a text read as encoding/json reads it.
func FuzzDecode(f *testing.F) {
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
	for _, seed := range []string{`{"a":1,"a":[null,true,false]}`, `{"\u0061":"\ud83d\ude00","b":"\ud800"}`, "{\"\xff\":\"\xff\"}", `"\\"`, `""`, `1234567890123`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		const maxNumber = 10
		text = slices.Clip(bytes.Clone(text)) // nothing may be cut off behind its end
		got, ok := Decode(text, maxNumber)
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		var want any
		valid := json.Valid(text) && d.Decode(&want) == nil
		switch {
		case ok && (!valid || !reflect.DeepEqual(got, want)):
			t.Errorf("%q is %#v, want %#v", text, got, want)
		case !ok && valid && len(text) <= maxNumber:
			t.Errorf("%q is not read", text)
		}
		elements, ok := Elements(text)
		var list []json.RawMessage
		valid = json.Unmarshal(text, &list) == nil && list != nil
		if ok && (!valid || len(elements) != len(list)) || !ok && valid && levels(text) < maxDepth {
			t.Fatalf("%q is a list: %v, want %v, of %q, want %q", text, ok, valid, elements, list)
		}
		for i := range min(len(elements), len(list)) {
			if !bytes.Equal(elements[i], list[i]) {
				t.Errorf("element %d of %q is %q, want %q", i, text, elements[i], list[i])
			}
		}
		members, ok := Members(text)
		var object map[string]json.RawMessage
		valid = json.Unmarshal(text, &object) == nil && object != nil
		if ok && (!valid || !maps.EqualFunc(members, object, func(a, b json.RawMessage) bool { return bytes.Equal(a, b) })) || !ok && valid && levels(text) < maxDepth {
			t.Errorf("%q is an object: %v, want %v, of %q, want %q", text, ok, valid, members, object)
		}
	})
}
