package jq_test

import (
	"encoding/json"
	"testing"

	"github.com/itchyny/gojq"

	"github.com/callbackd/callbackd/engine/internal/jq"
)

// plain runs what gojq alone makes of a program.
func plain(t *testing.T, code *gojq.Code, input any) string {
	t.Helper()
	outputs := []any{}
	for iter := code.RunWithContext(t.Context(), input); ; {
		v, ok := iter.Next()
		if !ok {
			text, err := gojq.Marshal(outputs)
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
		if _, isErr := v.(error); isErr {
			return "an error"
		}
		outputs = append(outputs, v)
	}
}

func TestFunctionsGiveWhatTheyGiveInGojq(t *testing.T) {
	t.Parallel()
	var inputs []any
	for _, text := range []string{
		`null`, `-1.5`, `3`, `""`, `"aXbxC, äö 12a"`, `"2020-01-02T03:04:05Z"`, `"{\"a\": [1.0]}"`,
		`[]`, `{}`, `[3, 1, 2, 3, 1.0]`, `[null, false, "a", [], {}, 0]`, `[[1, [2, null]], [], [3]]`, `{"a": {"b": [1, null, {"c": false}]}, "z": null}`,
		`[{"a": 2, "b": "x"}, {"a": 1, "b": "y"}, {"a": 2, "b": "w"}, {"b": null}]`,
		`[{"key": "k", "value": 1}, {"name": "n", "value": false}, {"Key": "k", "Value": null}]`, `[{"Name": "x"}]`,
	} {
		v, err := jq.Decode([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		inputs = append(inputs, v)
	}
	for _, src := range []string{
		`not`, `map(.)`, `map(., .)`, `map(empty)`, `map_values(.)`, `map_values(empty)`, `map_values(1, 2)`, `add(.[])`, `add(empty)`, `abs`,
		`in([1, 2, 3, 4])`, `in({"a": 1})`, `[.[] | select(. == 1, . == 3)]`,
		`.[] | nulls`, `.[] | values`, `.[] | booleans`, `.[] | numbers`, `.[] | strings`, `.[] | arrays`, `.[] | objects`, `.[] | iterables`, `.[] | scalars`,
		`range(.)`, `range(0, 1; 3, 4)`, `range(5; 0; -2)`, `range(0; 10; 3)`, `[limit(3; range(0; 10; 0))]`, `range(1; .)`, `limit(5; range(0; infinite))`,
		`recurse`, `..`, `[.. | scalars]`, `[recurse(.[]?; . != null)]`, `recurse(if type == "number" and . < 9 then . + 3 else empty end)`,
		`[limit(5; repeat(1, 2))]`, `[limit(3; repeat(.))]`, `0 | [while(. < 5; . + 2)]`, `[while(false; .)]`, `0 | until(. > 4; . + 3)`, `until(true; error)`,
		`walk(.)`, `walk(if type == "array" then sort else . end)`, `walk(numbers |= . + 1)`, `walk(values)`, `walk(if type == "object" then del(.a) else . end)`, `[walk(1, 2)]`,
		`first`, `last`, `first(.[])`, `last(.[])`, `[first(empty)]`, `[last(empty)]`, `first(1, error)`, `nth(1)`, `nth(-1)`, `nth(1; .[])`, `[nth(0, 2; .[])]`, `nth(9; .[])`, `nth(-1; .[])`,
		`isempty(.[])`, `isempty(empty)`, `isempty(1, error)`, `isempty(error)`, `any`, `all`, `any(. == 1)`, `all(. != 1)`, `any(.[]; ., not)`, `all(.[]; ., not)`, `any(true, error; .)`, `all(false, error; .)`,
		`limit(2; .[])`, `limit(0; error)`, `limit(-1; .[])`, `limit(2; 1, 2, error)`, `[limit(1, 2; .[])]`, `skip(1; .[])`, `skip(0; .[])`, `skip(-1; .[])`, `[skip(2, 1; 1, 2, 3)]`,
		`IN(1, 3)`, `IN(.[]; 1, "a")`, `IN(1; 2)`, `.[] | IN(1, null)`, `INDEX(.)`, `INDEX(.a)`, `INDEX(.[]; .b, .a)`, `INDEX(empty; .)`,
		`sort_by(.)`, `sort_by(.a)`, `sort_by(.a, .b)`, `sort_by(-.a)`, `group_by(.)`, `group_by(.a)`, `unique_by(.)`, `unique_by(.a)`, `unique_by(length)`, `min_by(.a)`, `max_by(.a)`, `min_by(.)`, `max_by(.)`,
		`to_entries`, `from_entries`, `with_entries(.)`, `with_entries(.value |= tostring)`, `with_entries(select(.value))`, `with_entries(.key |= "x" + .)`, `to_entries | from_entries`,
		`del(.[0])`, `del(.a, .z)`, `del(.[0, 2])`, `del(.[1:])`, `del(.[] | select(. == 1))`, `del(..)`, `del(empty)`, `del(.a.b[0])`, `[paths]`, `[paths(type == "number")]`, `[paths(.., true)]`,
		`pick(.a)`, `pick(.[1])`, `pick(.a.b[1])`, `pick(.a, .y)`, `pick(.[-1])`, `pick(first)`, `pick(.[]?)`, `path(first(.[]?))`, `[path(limit(1; .[]?))]`, `path(last(.[]?))`, `first(.[]?) |= 7`, `[path(recurse)]`, `(.[] | select(. == 1)) = 0`,
		`[match("a")]`, `[match("A"; "gi")]`, `[match(""; "g")]`, `[match("(?<x>[a-z])(X)?"; "g")]`, `[match(["X", "gi"])]`, `[match("a*"; "g")]`, `[match("\\b"; "g").offset]`, `[match("^|$"; "g").offset]`, `[match("(?<x>ö)| "; "g")]`, `[match(".*"; "gm")]`, `[match("\\p{L}{2,}|[^x]{3}"; "gi").string]`,
		`test("x")`, `test("X"; "i")`, `test(["x", null])`, `test("a"; "g")`, `test("("; null)`, `test("a"; "z")`, `test(1)`, `test("a"; 1)`,
		`capture("(?<x>[a-z])(?<y>X)?(z)?")`, `[capture("(?<x>[a-z])"; "g")]`, `capture(["(?<x>A)", "i"])`, `[scan("[a-z]")]`, `[scan("([a-z])(X)?")]`, `[scan("x"; "i")]`, `[scan("")]`, `[scan(["a", "g"])]`,
		`split("x"; "i")`, `split(", *"; null)`, `split(""; null)`, `[splits("a")]`, `[splits("x"; "gi")]`, `[splits("")]`,
		`sub("a"; "-")`, `sub("(?<x>[a-z])"; "<\(.x)>")`, `sub("x"; "-"; "i")`, `[sub("a"; "1", "2")]`, `[sub("a"; empty)]`, `sub("a"; 1)`, `sub("a"; null)`, `sub("a"; ["x"])`,
		`gsub("a"; "-")`, `gsub(""; "-")`, `gsub("(?<x>[a-z])"; "\(.x)\(.x)")`, `gsub("X"; "_"; "i")`, `[gsub("a"; "1", "2")]`, `[gsub("[a-z]"; empty)]`, `gsub("^"; ">")`, `gsub("$"; "<")`, `gsub("\\s+|$"; "_")`, `gsub("(?<d>\\d)"; .d + "0")`,
		`[gsub("(?<x>[a-z])"; if .x == "a" then "1", "2" else "3" end)]`, `gsub("a"; .)`,
		`fromjson`, `tojson | fromjson`, `todate`, `todateiso8601`, `fromdate`, `fromdateiso8601`, `[fromdate, 0] | map(todate)`, `now | type`,
	} {
		p, err := jq.Compile(src)
		if err != nil {
			t.Fatalf("%s: %v", src, err)
		}
		query, err := gojq.Parse(src)
		if err != nil {
			t.Fatal(err)
		}
		code, err := gojq.Compile(query)
		if err != nil {
			t.Fatal(err)
		}
		for _, input := range inputs {
			got := "an error"
			if outputs, err := p.All(t.Context(), input); err == nil {
				text, err := jq.Encode(append([]any{}, outputs...))
				if err != nil {
					t.Fatal(err)
				}
				got = string(text)
			}
			if want := plain(t, code, input); got != want {
				in, _ := json.Marshal(input)
				t.Errorf("%s with %s\n got %s\nwant %s", src, in, got, want)
			}
		}
	}
}
