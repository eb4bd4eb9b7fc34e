package http

import (
	"strings"
	"testing"
)

func TestNextLink(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]string{
		``:                                "",
		`<b>; rel="next"`:                 "b",
		`<b>; rel=next`:                   "b",
		`<b>;rel=NEXT`:                    "b",
		` < b > ; rel = "next" `:          "b",
		`<b>; rel="prev next"`:            "b",
		`<b>; rel='next'`:                 "",
		`<b>; rel="prev"; rel="next"`:     "",
		`<b>; rel="nextish"`:              "",
		`<b>; title="rel=next"`:           "",
		`<b>; rel="next"; anchor="#x"`:    "",
		`<>; rel="next"`:                  "",
		`<a>; rel=prev, <b>; rel=next`:    "b",
		`<a>; rel=prev,, , <b>; rel=next`: "b",
		`<a,b;c>; rel=next`:               "a,b;c",
		`<a>; title="x, <c>; rel=next", <b>; rel="next"`: "b",
		`<a>; title="\"", <b>; rel="n\ext"`:              "b",
		`<a>; title="open, <b>; rel=next`:                "",
		`<a>; flag; rel=next`:                            "a",
		`<a>; rel="next" junk, <b>; rel=next`:            "a",
		`<a>; ; rel=next`:                                "a",
		`<a> rel=next`:                                   "",
		`<a; rel=next`:                                   "",
		`a; rel=next`:                                    "",
		`<a>; rel=next, <b>; rel=next`:                   "a",
		`<https://api.github.com/x?page=2>; rel="next", <https://api.github.com/x?page=9>; rel="last"`: "https://api.github.com/x?page=2",
	} {
		if got := nextLink([]string{header}); got != want {
			t.Errorf("%s\n got %q, want %q", header, got, want)
		}
	}
	if got := nextLink([]string{`<a>; rel=prev`, `<b>; rel=next`}); got != "b" {
		t.Errorf("the second header: got %q", got)
	}
}

func FuzzNextLink(f *testing.F) {
	f.Add(`<a>; rel=prev, <b>; title="x, \"y"; rel="next last"`)
	f.Add(`<a>;;;rel="`)
	f.Add(`,,<`)
	f.Fuzz(func(t *testing.T, header string) {
		target := nextLink([]string{header})
		if !strings.Contains(header, target) || strings.Contains(target, ">") {
			t.Errorf("%q is not a target in %q", target, header)
		}
		// What comes before must not hide a link in a header of its own.
		if got := nextLink([]string{header, `<z>; rel="next"`}); got != target && got != "z" || got == "" {
			t.Errorf("got %q", got)
		}
	})
}
