package jq_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/callbackd/callbackd/engine/internal/jq"
)

const document = `{
	"a": [{"id": 1.0, "n": "x"}, {"id": 12345678901234567890, "n": "y"}],
	"b": 1e400,
	"s": "foo bar"
}`

// run gives the outputs as one JSON array, or the error's text.
func run(t *testing.T, src, input string) string {
	t.Helper()
	p, err := jq.Compile(src)
	if err != nil {
		return "compile: " + err.Error()
	}
	v, err := jq.Decode([]byte(input))
	if err != nil {
		t.Fatal(err)
	}
	outputs, err := p.All(t.Context(), v)
	if err != nil {
		return err.Error()
	}
	if len(outputs) == 0 {
		return "[]"
	}
	text, err := jq.Encode(outputs)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The rewriting for the meter must not change what a program means.
func TestProgramsMeanWhatTheyMeanInJQ(t *testing.T) {
	t.Parallel()
	for src, want := range map[string]string{
		`.a[].n`:                                                    `["x","y"]`,
		`[.a[] | .n]`:                                               `[["x","y"]]`,
		`.s[]?, (.s | .[])?`:                                        `[]`,
		`.a[-1].n, .a[1:][0].n, .s[0:3]`:                            `["y","y","foo"]`,
		`.a[0]["n"], .["a"][0].n`:                                   `["x","x"]`,
		`"a" as $k | .[$k] | length`:                                `[2]`,
		`1 as $x | 2 as $y | [$x + $y * 3 - 1]`:                     `[[6]]`,
		`[(1,2) + (10,20)]`:                                         `[[11,12,21,22]]`,
		`[range(3) as $i | $i * $i]`:                                `[[0,1,4]]`,
		`def f(g): g + g; f(1,2)`:                                   `[2,3,3,4]`,
		`def f($a; $b): $a - $b; f(5; 2)`:                           `[3]`,
		`def _f: 3; def _g(_h): _h; _f, _g(4)`:                      `[3,4]`,
		`def map(f): 7; map(.), ([1] | walk(.))`:                    `[7,[1]]`,
		`reduce .a[] as $i (0; . + 1)`:                              `[2]`,
		`[foreach (1,2,3) as $i (0; . + $i; [.])]`:                  `[[[1],[3],[6]]]`,
		`.a[0].n = "z" | .a[0].n`:                                   `["z"]`,
		`.a[].n |= . + "!" | [.a[].n]`:                              `[["x!","y!"]]`,
		`.a |= map(select(.n == "x")) | .a`:                         `[[{"id":1.0,"n":"x"}]]`,
		`[3] | .[0] += 2 | .[0] *= 2 | .[0] -= 1`:                   `[[9]]`,
		`{c: null} | .c //= 4 | .c`:                                 `[4]`,
		`{} | .x.y[2] = 1`:                                          `[{"x":{"y":[null,null,1]}}]`,
		`del(.a, .b)`:                                               `[{"s":"foo bar"}]`,
		`to_entries | map(.key)`:                                    `[["a","b","s"]]`,
		`[paths | length]`:                                          `[[1,2,3,3,2,3,3,1,1]]`,
		`pick(.a[1].n)`:                                             `[{"a":[null,{"n":"y"}]}]`,
		`[.. | strings]`:                                            `[["x","y","foo bar"]]`,
		`.a | group_by(.n), (sort_by(.n) | reverse) | map(length)`:  `[[1,1],[2,2]]`,
		`[.a[].n] | join("-"), index("y"), contains(["x"])`:         `["x-y",1,true]`,
		`[1, 2, 3, 2] | unique, . - [2], indices(2)`:                `[[1,2,3],[1,3],[1,3]]`,
		`{a: {b: 1}} * {a: {c: 2}}`:                                 `[{"a":{"b":1,"c":2}}]`,
		`"a,b" / ",", "ab" * 2`:                                     `[["a","b"],"abab"]`,
		`"\(1 + 2)/\(.s)", @base64 "x\(.s)", (.s | @uri)`:           `["3/foo bar","xZm9vIGJhcg==","foo%20bar"]`,
		`label $out | 1, break $out, 2`:                             `[1]`,
		`try error("x") catch .`:                                    `["x"]`,
		`[limit(3; range(10))], first(range(5; 9))`:                 `[[0,1,2],5]`,
		`. as {a: [{n: $n}]} | $n`:                                  `["x"]`,
		`[[1,2],[3]] | transpose, flatten, add`:                     `[[[1,3],[2,null]],[1,2,3],[1,2,3]]`,
		`.s | test("O"; "i"), sub("(?<v>o+)"; "<\(.v)>")`:           `[true,"f<oo> bar"]`,
		`"aXbX" | gsub("X"; "-"), [splits("X")]`:                    `["a-b-",["a","b",""]]`,
		`"bäab" | [match("a*"; "g") | [.offset, .length]]`:          `[[[0,0],[1,0],[2,1],[3,0],[4,0]]]`,
		`"foo foo" | [match("^foo"; "g").offset]`:                   `[[0]]`,
		`"ab" | match("(a)(?<x>z)?").captures[1]`:                   `[{"length":0,"name":"x","offset":-1,"string":null}]`,
		`"[1.0]" | fromjson`:                                        `[[1.0]]`,
		`(now | type), now == now`:                                  `["number",true]`,
		`$ENV`:                                                      `[{}]`,
		`def f($a; $b): [$a, $b, a]; f(1, 2; 3)`:                    `[[1,3,1,2],[2,3,1,2]]`,
		`def f: 1; def g: f; def f: g + 1; [f, g]`:                  `[[2,1]]`,
		`def f: def join(g): [g]; join(1, 2); f, ([3] | join("-"))`: `[[1,2],"3"]`,
		`def path(f): empty; {} | .a = 1`:                           `[{"a":1}]`,
		`def tostring: 1; "\(.s)"`:                                  `["foo bar"]`,
		`0 | todate`:                                                `["1970-01-01T00:00:00Z"]`,
	} {
		if got := run(t, src, document); got != want {
			t.Errorf("%s\n got %s\nwant %s", src, got, want)
		}
	}
}

func TestNumbersStayAsTheyCame(t *testing.T) {
	t.Parallel()
	const in = `[12345678901234567890,1.0,1,-0,1e400,0.10,1E5]`
	for _, src := range []string{".", "[.[]]", "map(.)", "sort_by(null)", "tojson | fromjson", "map(tostring | tonumber | .) | $in"} {
		p, err := jq.Compile(src, "$in")
		if err != nil {
			t.Fatal(err)
		}
		v, err := jq.Decode([]byte(in))
		if err != nil {
			t.Fatal(err)
		}
		out, err := p.One(t.Context(), v, v)
		if err != nil {
			t.Fatal(err)
		}
		if text, _ := jq.Encode(out); string(text) != in {
			t.Errorf("%s: got %s, want %s", src, text, in)
		}
	}
	for src, want := range map[string]string{
		".[1] + 0":        "[1]",
		".[0] + 1":        "[12345678901234567891]",
		".[1] == .[2]":    "[true]",
		".[4] | . + 0":    "[1.7976931348623157e+308]",
		".[4] | tostring": `["1e400"]`,
		"nan":             "[null]",
	} {
		if got := run(t, src, in); got != want {
			t.Errorf("%s: got %s, want %s", src, got, want)
		}
	}
}

func TestErrorsSayWhatAndWhere(t *testing.T) {
	t.Parallel()
	for src, want := range map[string]string{
		"":                                `compile: the program is empty; "." is the program that gives its input`,
		".foo[":                           "compile: column 6: unexpected EOF",
		".foo }":                          `compile: column 6: unexpected token "}"`,
		"1 +\n  'x'":                      `compile: line 2, column 3: unexpected token "'"`,
		"1 +\n  foo(1)":                   "compile: line 2, column 3: function not defined: foo/1",
		"xy + length":                     "compile: column 1: function not defined: xy/0",
		"$nope":                           "compile: column 1: variable not defined: $nope",
		"_match(1; 2; 3)":                 "compile: column 1: function not defined: _match/3",
		"1 | $__meter":                    "compile: column 5: $__meter is not available: names that begin with $__ are reserved",
		"{$__meter}":                      "compile: column 2: $__meter is not available: names that begin with $__ are reserved",
		"1 as [$__x] | 1":                 "compile: column 7: $__x is not available: names that begin with $__ are reserved",
		`import "x" as x; 1`:              "compile: column 1: import and other modules are not available",
		"input":                           "compile: column 1: function not defined: input/0",
		"debug":                           "compile: column 1: function not defined: debug/0",
		"1 | tostream":                    "compile: column 5: function not defined: tostream/0",
		"(def f: 1; f) | f":               "compile: column 6: function not defined: f/0",
		"[env, halt]":                     "compile: column 2: function not defined: env/0",
		"1 | _meter(1; 2)":                "compile: column 5: function not defined: _meter/2",
		"break $out":                      "compile: column 7: label not defined: $out",
		`"a" * 2e3 | test(.)`:             "jq `\"a\" * 2e3 | test(.)`: a regular expression is longer than 1000 bytes",
		`"a" * 900 | test("(\(.)){900}")`: "jq `\"a\" * 900 | test(\"(\\(.)){900}\")`: a regular expression repeats too much",
		"[modulemeta]":                    "compile: column 2: function not defined: modulemeta/0",
		".a.x":                            "jq `.a.x`: expected an object but got: array ([{\"id\":1.0,\"n\":\"x\"},{\"id\" ...])",
		"error(\"boo\")":                  "jq `error(\"boo\")`: boo",
		"error({a: 1})":                   "jq `error({a: 1})`: {\"a\":1}",
		".[[1]]":                          "jq `.[[1]]`: indexing by an array is not supported here; use indices(...)",
		"[1] | .[0:1] = [2]":              "jq `[1] | .[0:1] = [2]`: assigning to a slice is not supported here; build the array with +",
		".s | test(\"(\")":                "jq `.s | test(\"(\")`: regular expression \"(\": error parsing regexp: missing closing ): `(`",
		".s | test(\"a\"; \"q\")":         "jq `.s | test(\"a\"; \"q\")`: unsupported flag 'q' of a regular expression",
		strings.Repeat(" ", 16<<10) + ".": "compile: the program is longer than 16384 bytes",
	} {
		if got := run(t, src, document); got != want {
			t.Errorf("%q\n got %s\nwant %s", src, got, want)
		}
	}
}

func TestOneOutput(t *testing.T) {
	t.Parallel()
	for src, want := range map[string]string{"1": "1", "null": "null", "empty": "null"} {
		p, err := jq.Compile(src)
		if err != nil {
			t.Fatal(err)
		}
		v, err := p.One(t.Context(), nil)
		if text, _ := jq.Encode(v); err != nil || string(text) != want {
			t.Errorf("%s: got %s, %v", src, text, err)
		}
	}
	p, err := jq.Compile("1, 2")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.One(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "more than one output") {
		t.Errorf("got %v", err)
	}
}

// Each of these would hang the process or take all of its memory in gojq alone. On a
// slow machine the time may end before the budget does.
func TestHostileProgramsEndWithAnError(t *testing.T) {
	t.Parallel()
	const memory = "it needs too much memory or too many steps"
	for src, want := range map[string]string{
		`range(1e12)`:                                       "it gave more than 100000 outputs",
		`repeat(1)`:                                         "it gave more than 100000 outputs",
		`try repeat(1) catch 1`:                             "it gave more than 100000 outputs",
		`def f: f; f`:                                       memory,
		`until(false; .)`:                                   memory,
		`first(repeat(empty))`:                              memory,
		`reduce range(99) as $i ("x"; . + .)`:               memory,
		`reduce range(99) as $i ("x"; "\(.)\(.)")`:          memory,
		`reduce range(99) as $i ([1]; . + .)`:               memory,
		`reduce range(99) as $i ([1]; [.[], .[]])`:          memory,
		`reduce range(99) as $i ("x"; . += .)`:              memory,
		`reduce range(99) as $i (0; [., .]) | tojson`:       memory,
		`reduce range(99) as $i (0; [., .]) | "\(.)"`:       memory,
		`reduce range(99) as $i (0; [., .]) | . == .`:       memory,
		`reduce range(99) as $i ({}; {a: ., b: .}) | . * .`: memory,
		`reduce range(99) as $i (0; [., .])`:                "its outputs are larger than 64 MiB",
		`reduce range(2e4) as $i (0; [.]) | tojson`:         "a value is nested deeper than 10000 levels",
		`reduce range(2e4) as $i (0; [.])`:                  "a value is nested deeper than 10000 levels",
		`reduce range(99) as $i (10; . * .)`:                memory,
		`error(reduce range(99) as $i (0; [., .]))`:         "[[[[[[[[[[[[[[[[[[[[[[[[[ ...]",
		`"x" * 1e9`:                        memory,
		`[limit(1000; repeat("x" * 1e7))]`: memory,
		`[limit(1e4; repeat("x" * 1e3))] | . as $a | [$a[] | $a] | add | add`: memory,
		`.[500000000] = 1`:                                         memory,
		`setpath([500000000]; 1)`:                                  memory,
		`pick(.[500000000])`:                                       memory,
		`[range(3e4) | []] + [[range(3e4)]] | transpose`:           memory,
		`[range(1e5)] | . - map(-1 - .)`:                           memory,
		`[range(1e5)] | index([range(1e4)])`:                       memory,
		`[range(1e5)] | getpath([[1]])`:                            "indexing by an array is not supported here; use indices(...)",
		`def path(f): empty; .[500000000] = 1`:                     memory,
		`def _meter(f; g): .; reduce range(99) as $i ("x"; . + .)`: memory,
		`def tostring: [range(1e3)]; def f($tostring): reduce range(99) as $i ("x"; "\(.)\(.)"); f(1)`: memory,
		`"1" * 1e7 | tonumber`:                                         "a number is longer than 1000 digits",
		`"1" * 1e6 | fromjson`:                                         "fromjson: a number is longer than 1000 digits",
		`0 | strftime("%c" * 501)`:                                     "the format of a time is longer than 1000 bytes",
		`0 | strflocaltime("%c" * 1e6)`:                                "the format of a time is longer than 1000 bytes",
		`("%Y" * 501) as $f | "2020" * 501 | strptime($f)`:             "the format of a time is longer than 1000 bytes",
		`"a" * 1e6 | test("(a?){500}b")`:                               memory,
		`"a" * 1e6 | [match(""; "g")]`:                                 memory,
		`[range(300)] | . as $n | reduce range(1e9) as $i (.; . + $n)`: memory,
	} {
		t.Run(src, func(t *testing.T) {
			p, err := jq.Compile(src)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 25*time.Millisecond)
			defer cancel()
			outputs, err := p.All(ctx, nil)
			if err == nil {
				t.Fatalf("got %d outputs", len(outputs))
			}
			if _, reason, _ := strings.Cut(err.Error(), "`: "); reason != want && reason != "it took too long (at most 1s)" {
				t.Errorf("got %v, want %s", err, want)
			}
		})
	}
}

// What ends first, the budget or the time, depends on the machine.
func TestEndlessProgramsEndInTime(t *testing.T) {
	t.Parallel()
	for _, src := range []string{
		`def f: f + 1; f`, `def f: [f]; f`, `def f: 1, (f | f); [f]`, `def f(g): f(g | g); f(.)`,
		`def f: try f catch f; f`, `[recurse(., .)]`, `"a" * 1e5 | [match("a*b|a"; "g")]`,
		`def f: ` + strings.Repeat("1 as $x | ", 1000) + `1; def g: 1 + f + g; g`,
	} {
		t.Run(src[:min(15, len(src))], func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 25*time.Millisecond)
			defer cancel()
			p, err := jq.Compile(src)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.All(ctx, nil); err == nil {
				t.Error("it ended without an error")
			}
		})
	}
}

func TestACancelledContextEndsTheRun(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p, err := jq.Compile("1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.One(ctx, nil); err == nil || !strings.Contains(err.Error(), "context canceled") {
		t.Errorf("got %v", err)
	}
}

func TestProgramsRunAtTheSameTimeAndLeaveTheirInput(t *testing.T) {
	t.Parallel()
	v, err := jq.Decode([]byte(document))
	if err != nil {
		t.Fatal(err)
	}
	before, _ := jq.Encode(v)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			p, err := jq.Compile(`.a[].n |= . + "!" | del(.b) | .a |= sort_by(-.id) | [.a[].n], walk(.), ([.s | splits(" ")])`)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := p.All(t.Context(), v); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if after, _ := jq.Encode(v); string(after) != string(before) {
		t.Errorf("the input became %s", after)
	}
}

func TestCompiledProgramsAreKept(t *testing.T) {
	t.Parallel()
	a, err := jq.Compile("$kept", "$kept")
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := jq.Compile("$kept", "$kept"); b != a {
		t.Error("the program was compiled again")
	}
	if _, err := jq.Compile("$kept", "$other"); err == nil {
		t.Error("programs with other variables are the same")
	}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		``:                                    "it is empty",
		`  `:                                  "it is empty",
		`{"a":`:                               "it ends too early, after byte 5",
		`<html>`:                              "byte 1: invalid character '<' looking for beginning of value",
		`{"a":1} {}`:                          "more follows the JSON value, from byte 7 on",
		`[1,]`:                                "byte 4: invalid character ']' looking for beginning of value",
		`[` + strings.Repeat("1", 1001) + `]`: "a number is longer than 1000 digits",
	} {
		if _, err := jq.Decode([]byte(in)); err == nil || err.Error() != want {
			t.Errorf("%.20q: got %v, want %s", in, err, want)
		}
	}
}

func FuzzProgram(f *testing.F) {
	for _, src := range []string{
		`.a[] | select(.id > 1) | {id, n: "\(.n)"}`, `.a |= map(.x = 1)`, `def f(g): g | f(g); f(.)`, `[limit(3; repeat(.))]`,
		`reduce range(99) as $i (0; [., .]) | tojson`, `.s | gsub("(?<x>o)"; .x)`, `label $l | foreach .a[] as [$x] (0; 1; break $l)`,
		`.[1e9] = 1`, `@json "\(.)" | ascii_downcase | explode | implode`, `try error catch ., $ENV, input, halt, path(..)?`,
		`. as {a: $x} ?// [$x] | $x`, `"\u00e9" * 3 / "a" | .[1:]`, `.. // 1 as $y | -$y`, `if . then 1 elif 2 then 3 end`,
	} {
		f.Add(src)
	}
	input, err := jq.Decode([]byte(document))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, src string) {
		p, err := jq.Compile(src)
		if err != nil {
			return
		}
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		outputs, err := p.All(ctx, input)
		if d := time.Since(start); d > 10*time.Second {
			t.Errorf("it took %s", d)
		}
		if err != nil {
			return
		}
		for _, v := range outputs {
			text, err := jq.Encode(v)
			if err != nil {
				t.Fatal(err)
			}
			if !json.Valid(text) {
				t.Fatalf("not JSON: %s", text)
			}
		}
	})
}

func BenchmarkOne(b *testing.B) {
	p, err := jq.Compile(`"order." + .status`)
	if err != nil {
		b.Fatal(err)
	}
	v := map[string]any{"status": "paid"}
	for b.Loop() {
		if _, err := p.One(b.Context(), v); err != nil {
			b.Fatal(err)
		}
	}
}
