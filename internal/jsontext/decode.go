package jsontext

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
)

// Decode is the value of a text, with numbers of at most maxNumber characters as [json.Number].
// ok is false for what is not valid, of many levels, or has a longer number.
func Decode(text []byte, maxNumber int) (v any, ok bool) {
	d := decoder{scanner{text: text}, maxNumber}
	v, ok = d.value(0)
	d.space()
	return v, ok && d.i == len(text)
}

type decoder struct {
	scanner
	maxNumber int
}

func (d *decoder) value(depth int) (v any, ok bool) {
	c := d.space()
	from := d.i
	switch c {
	case '{':
		object := make(map[string]any)
		return object, d.each(c, depth+1, func() bool {
			name, ok := d.nameText()
			if !ok {
				return false
			}
			object[name], ok = d.value(depth + 1)
			return ok
		})
	case '[':
		list := []any{}
		ok = d.each(c, depth+1, func() bool {
			e, ok := d.value(depth + 1)
			list = append(list, e)
			return ok
		})
		return list, ok
	case '"':
		if !d.scanner.value(depth) {
			return nil, false
		}
		return Text(d.text[from:d.i])
	case 't', 'f', 'n':
		if c != 'n' {
			v = c == 't'
		}
		return v, d.scanner.value(depth)
	default:
		ok = d.scanner.value(depth) && d.i-from <= d.maxNumber
		return json.Number(d.text[from:d.i]), ok
	}
}

// Text is what a text in quotes says, which must be valid; ok is false if it is not for all that.
func Text(quoted []byte) (text string, ok bool) {
	plain := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(plain, '\\') < 0 && utf8.Valid(plain) {
		return string(plain), true
	}
	return text, json.Unmarshal(quoted, &text) == nil
}
