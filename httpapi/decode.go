package httpapi

import (
	"encoding/json"
	"errors"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/internal/jsontext"
)

// input is an input of the engine, which takes along what is wrong with the body that it was
// read from.
type input[N any] interface {
	*N
	AddFaults(...engine.FieldError)
}

// flags say what a field may be beside a value of its type.
type flags uint8

const (
	required flags = 1 << iota // missing is an error
	nullable                   // null is allowed, and reads as the zero value
)

// maxErrors is how many errors of one request are collected. A few bytes make one, which is
// many times as large.
const maxErrors = 100

// maxItems is how many entries of a list are read: one more than any may have, so that the
// engine sees that it is too long.
const maxItems = 101

// members are those of a JSON object, which may be parts of its text; nil for null.
func members(object []byte) (values map[string]json.RawMessage, err error) {
	if values, ok := jsontext.Members(object); ok {
		return values, nil
	}
	err = json.Unmarshal(object, &values) // of many levels, or wrong in a way that this tells
	return values, err
}

// fields reads the fields of a JSON object. Nothing stops at the first error: they are
// collected, each with its path. A reading method returns nil for a field that is missing
// or wrong. Fields that nobody asks for are ignored.
type fields struct {
	path   []string // of the object in the body
	values map[string]json.RawMessage
	errs   *[]engine.FieldError // of the whole body
}

// parseBody reads the body as an input of the engine, which refuses it with the fields that
// are wrong here and those that it finds itself.
func parseBody[N any, I input[N]](r *request, decode func(*fields) N) (n N, err error) {
	body, err := r.body()
	if err != nil {
		return n, err
	}
	f := &fields{errs: new([]engine.FieldError)}
	if !utf8.Valid(body) {
		return n, badRequest("invalid_json_body", "the body is not valid UTF-8", nil)
	}
	if body != nil {
		if f.values, err = members(body); err != nil {
			if _, wrongType := errors.AsType[*json.UnmarshalTypeError](err); wrongType {
				return n, badRequest("invalid_json_body", "the body is JSON, but not an object", nil)
			}
			return n, badRequest("invalid_json_body", "the body is not JSON: "+err.Error(), nil)
		}
		if f.values == nil {
			return n, badRequest("invalid_json_body", "the body is null, not an object", nil)
		}
	}
	n = decode(f)
	I(&n).AddFaults(*f.errs...)
	return n, nil
}

func (f *fields) at(name string) []string {
	return append(slices.Clip(f.path), name)
}

func (f *fields) add(name, code, message, expected, received string) {
	if len(*f.errs) == maxErrors {
		return
	}
	*f.errs = append(*f.errs, engine.FieldError{Code: code, Message: message, Path: f.at(name), Expected: expected, Received: received})
}

func (f *fields) has(name string) bool {
	_, ok := f.values[name]
	return ok
}

// raw is the JSON of a field that has the expected type; nil for an allowed null.
func (f *fields) raw(name, expected string, fl flags) (value json.RawMessage, ok bool) {
	value, ok = f.values[name]
	if !ok {
		if fl&required != 0 {
			f.add(name, "required", "is required", expected, "")
		}
		return nil, false
	}
	switch received := typeOf(value); {
	case received == expected:
		return value, true
	case received == "null" && fl&nullable != 0:
		return nil, true
	default:
		f.add(name, "invalid_type", "must be of type "+expected, expected, received)
		return nil, false
	}
}

// typeOf names the type of a valid JSON text without white space around it. A number is
// an integer when it is written as one.
func typeOf(value json.RawMessage) string {
	switch value[0] {
	case '{':
		return "object"
	case '[':
		return "array"
	case '"':
		return "string"
	case 't', 'f':
		return "boolean"
	case 'n':
		return "null"
	}
	for _, c := range value {
		if c == '.' || c == 'e' || c == 'E' {
			return "number"
		}
	}
	return "integer"
}

// text reads a string.
func (f *fields) text(name string, fl flags) *string {
	value, ok := f.raw(name, "string", fl)
	if !ok {
		return nil
	}
	if value == nil {
		return new(string)
	}
	if halfPair(value) {
		f.add(name, "invalid_type", "must not have half of a surrogate pair: it is no character", "", "")
		return nil
	}
	s, _ := jsontext.Text(value) // of a valid JSON string
	return &s
}

// halfPair tells whether a valid JSON string has an escape \ud800 to \udfff that is not one
// of a pair. Decoding makes the same U+FFFD of each, and so one id of several.
func halfPair(value json.RawMessage) bool {
	for i := 0; i < len(value); i++ {
		if value[i] != '\\' {
			continue
		}
		if i++; value[i] != 'u' {
			continue
		}
		first := escaped(value[i+1:])
		if i += 4; !utf16.IsSurrogate(first) {
			continue
		}
		if i+6 >= len(value) || value[i+1] != '\\' || value[i+2] != 'u' || utf16.DecodeRune(first, escaped(value[i+3:])) == utf8.RuneError {
			return true
		}
		i += 6
	}
	return false
}

// escaped reads the four digits of a \u escape.
func escaped(digits json.RawMessage) rune {
	n, _ := strconv.ParseUint(string(digits[:4]), 16, 16) // they are there in valid JSON
	return rune(n)
}

// word reads a string that must say something, such as an id.
func (f *fields) word(name string, fl flags) *string {
	s := f.text(name, fl)
	if s != nil && *s == "" && typeOf(f.values[name]) == "string" {
		f.add(name, "required", "must not be empty", "", "")
		return nil
	}
	return s
}

// positive reads an integer from 1 on. Far above what any setting may be, numbers are all
// the same.
func (f *fields) positive(name string, fl flags) *int {
	value, ok := f.raw(name, "integer", fl)
	if !ok || value == nil {
		return zeroIf[int](ok)
	}
	// Out of range, ParseInt returns the nearest number that it can, beside an error.
	n, _ := strconv.ParseInt(string(value), 10, 64)
	if n < 1 {
		f.add(name, "invalid_min", "must be at least 1", "1", strconv.FormatInt(n, 10))
		return nil
	}
	return new(int(min(n, math.MaxInt32)))
}

// secondsOrNever reads a positive number of seconds, or -1.
func (f *fields) secondsOrNever(name string, fl flags) *time.Duration {
	value, ok := f.raw(name, "integer", fl)
	if !ok || value == nil {
		return zeroIf[time.Duration](ok)
	}
	n, _ := strconv.ParseInt(string(value), 10, 64) // the nearest that it can
	if n < 1 && n != -1 {
		f.add(name, "invalid_min", "must be at least 1, or -1 for ever", "1", strconv.FormatInt(n, 10))
		return nil
	}
	return new(time.Duration(min(n, math.MaxInt32+1)) * time.Second)
}

// seconds reads a positive number of seconds.
func (f *fields) seconds(name string, fl flags) *time.Duration {
	n := f.positive(name, fl)
	if n == nil {
		return nil
	}
	return new(time.Duration(*n) * time.Second)
}

// json reads any JSON, also null, as it was written, byte for byte.
func (f *fields) json(name string) *json.RawMessage {
	value, ok := f.values[name]
	if !ok {
		return nil
	}
	return &value
}

// object reads an object as it was written, byte for byte.
func (f *fields) object(name string, fl flags) *json.RawMessage {
	value, ok := f.raw(name, "object", fl)
	if !ok {
		return nil
	}
	return &value
}

// nested reads an object field by field; inner is nil for an allowed null.
func (f *fields) nested(name string, fl flags) (inner *fields, ok bool) {
	value, ok := f.raw(name, "object", fl)
	if !ok || value == nil {
		return nil, ok
	}
	return f.inner(value, f.at(name)), true
}

func (f *fields) inner(object json.RawMessage, path []string) *fields {
	values, _ := members(object) // of a valid JSON object
	return &fields{path: path, errs: f.errs, values: values}
}

// items reads a list as a list of single fields, which are called by their indexes.
func (f *fields) items(name string, fl flags) (items *fields, count int, ok bool) {
	value, ok := f.raw(name, "array", fl)
	if !ok {
		return nil, 0, false
	}
	var list []json.RawMessage
	if value != nil {
		if list, ok = jsontext.Elements(value); !ok {
			_ = json.Unmarshal(value, &list) // a valid JSON array, of many levels
		}
		list = list[:min(len(list), maxItems)]
	}
	items = &fields{path: f.at(name), errs: f.errs, values: make(map[string]json.RawMessage, len(list))}
	for i, item := range list {
		items.values[strconv.Itoa(i)] = item
	}
	return items, len(list), true
}

// texts reads a list of strings.
func (f *fields) texts(name string, fl flags) *[]string {
	items, count, ok := f.items(name, fl)
	if !ok {
		return nil
	}
	texts := make([]string, count)
	for i := range texts {
		texts[i] = value(items.text(strconv.Itoa(i), 0))
	}
	return &texts
}

// textMap reads an object whose values are strings.
func (f *fields) textMap(name string, fl flags) *map[string]string {
	inner, ok := f.nested(name, fl)
	if !ok || inner == nil {
		return zeroIf[map[string]string](ok)
	}
	texts := make(map[string]string, len(inner.values))
	for _, key := range slices.Sorted(maps.Keys(inner.values)) { // so that errors come in the same order each time
		texts[key] = value(inner.text(key, 0))
	}
	return &texts
}

// value is what p points to; the zero value for nil.
func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// zeroIf points to a zero value, or is nil.
func zeroIf[T any](ok bool) *T {
	if ok {
		return new(T)
	}
	return nil
}
