package engine

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// Bounds of a number in a config. Schemas compare numbers exactly, as fractions, for which
// the few characters of 1e999999 take a megabyte.
const (
	maxDigits   = 1000
	maxExponent = 1000
)

// wildNumbers finds the numbers in what was read from JSON that are out of these bounds.
func wildNumbers(v any, path []string) (fields []FieldError) {
	at := func(name string) []string { return append(path[:len(path):len(path)], name) }
	switch v := v.(type) {
	case json.Number:
		if wild(v.String()) {
			return []FieldError{{Code: "invalid_max", Message: "must have at most " + strconv.Itoa(maxDigits) + " digits, and an exponent of at most " + strconv.Itoa(maxExponent), Path: path}}
		}
	case []any:
		for i, e := range v {
			fields = append(fields, wildNumbers(e, at(strconv.Itoa(i)))...)
		}
	case map[string]any:
		for name, e := range v {
			fields = append(fields, wildNumbers(e, at(name))...)
		}
		slices.SortFunc(fields, func(a, b FieldError) int { return slices.Compare(a.Path, b.Path) })
	}
	return fields
}

func wild(number string) bool {
	if len(number) > maxDigits {
		return true
	}
	_, exponent, _ := strings.Cut(strings.ToLower(number), "e")
	n, err := strconv.Atoi(exponent)
	return exponent != "" && (err != nil || n > maxExponent || n < -maxExponent)
}
