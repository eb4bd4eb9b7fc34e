package jq

import (
	"reflect"
	"testing"
)

// What needs no interpreter gives what the interpreter gives.
func TestSimple(t *testing.T) {
	t.Parallel()
	for src, isSimple := range map[string]bool{`.id`: true, `.a.b`: true, `"item.new"`: true, `"a\u0062\n"`: true, ` .a.b `: true, `."a"`: false, `.a["b"]`: false, `.`: false, `.a?`: false, `.a.b?`: false, `.a[]`: false,
		`.a.b[0]`: false, `"\(.id)"`: false, `@json "a"`: false, `.a, .b`: false, `.a | .b`: false, `def f: .a; f`: false, `"a".b`: false, `-.a`: false, `..`: false, `.a as $x | .a`: false, `"a" // .a`: false, `.["a"]`: false} {
		p, err := Compile(src)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.simple.text != nil || p.simple.path != nil; got != isSimple {
			t.Errorf("%s is simple: %v", src, got)
		}
		for _, text := range []string{`{"id":1}`, `{"id":12345678901234567890.10}`, `{"id":"é","a":{"b":"c"}}`, `{"a":{"b":{"c":1}}}`, `{"a":null}`, `{"a":"x"}`, `{"a":[1]}`, `null`, `1`, `[]`, `{"a":true,"id":[]}`} {
			input, err := Decode([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			got, gotErr := p.One(t.Context(), input)
			slow := *p
			slow.simple = simple{}
			want, wantErr := slow.One(t.Context(), input)
			if !reflect.DeepEqual(got, want) || (gotErr == nil) != (wantErr == nil) || gotErr != nil && gotErr.Error() != wantErr.Error() {
				t.Errorf("%s of %s is %#v (%v), want %#v (%v)", src, text, got, gotErr, want, wantErr)
			}
		}
	}
}
