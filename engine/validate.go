package engine

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"github.com/callbackd/callbackd/internal/jsontext"
	"github.com/callbackd/callbackd/store"
)

// Bounds of what users give.
const (
	maxText     = 100_000  // characters of a string
	maxMetadata = 64 << 10 // bytes
	maxOutput   = 1 << 20  // bytes
	maxList     = 100      // destinations, triggers or event types
	maxSourceID = 1_000    // characters
	maxType     = 200      // characters
	maxFaults   = 100      // offending fields that an error names
	maxNesting  = 500      // levels of JSON: PHP reads 512, Python and Java's Jackson about 1,000
)

// Faults are what is wrong with an input that its other fields cannot show, such as a name
// that was a number in the text that it was read from. Every input of the engine has them;
// the zero value is none.
type Faults struct{ fields []FieldError }

// AddFaults adds offending fields to an input. The call that it is given to then changes
// nothing, and its error names them beside every other field that is wrong.
func (f *Faults) AddFaults(fields ...FieldError) { f.fields = append(f.fields, fields...) }

// check begins the check of an input with what is known to be wrong with it.
func (f Faults) check() *checker {
	c := new(checker)
	c.put(f.fields...)
	return c
}

// checker collects the offending fields of an input. Of each it tells once: what is said of
// a field that is known to be wrong, or of what lies inside of it, is dropped.
type checker struct {
	fields []FieldError
	paths  map[string]bool // of fields
}

func (c *checker) put(fields ...FieldError) {
	for _, f := range fields {
		if len(c.fields) == maxFaults {
			return // whoever mends so many may as well ask again
		}
		if c.knows(f.Path...) {
			continue
		}
		if c.paths == nil {
			c.paths = make(map[string]bool)
		}
		c.fields = append(c.fields, f)
		c.paths[pathKey(f.Path)] = true
	}
}

// knows tells whether a field, or one that it lies in, is known to be wrong.
func (c *checker) knows(path ...string) bool {
	for i := range len(path) + 1 {
		if c.paths[pathKey(path[:i])] {
			return true
		}
	}
	return false
}

func pathKey(path []string) string { return strings.Join(path, "\x00") }

func (c *checker) add(code, message string, path ...string) {
	c.put(FieldError{Code: code, Message: message, Path: path})
}

// failed tells whether any field is wrong.
func (c *checker) failed() bool { return len(c.fields) > 0 }

// err refuses an input with fields that are wrong. Only of one without does it matter that
// what it belongs to was not found, or could not be looked for: then it is the first of errs.
func (c *checker) err(errs ...error) error {
	return cmp.Or(invalid(c.fields), cmp.Or(errs...))
}

// invalid is the error of an input with these fields; nil when there are none. A field
// with a code of its own, such as invalid_poll_interval, gives the error its reason.
func invalid(fields []FieldError) error {
	if len(fields) == 0 {
		return nil
	}
	e := &Error{Code: CodeInvalid, Message: "the input is not valid", Fields: fields}
	for _, f := range fields {
		if strings.HasPrefix(f.Code, "invalid_callback") || strings.HasPrefix(f.Code, "callback_") || f.Code == "invalid_poll_interval" {
			e.Reason = f.Code
			break
		}
	}
	return e
}

func (c *checker) required(value string, path ...string) {
	if strings.TrimSpace(value) == "" {
		c.add("required", "must not be empty", path...)
		return
	}
	c.text(value, maxText, path...)
}

func (c *checker) text(value string, limit int, path ...string) {
	if n := utf8.RuneCountInString(value); n > limit {
		c.put(FieldError{Code: "max_length", Message: fmt.Sprintf("must have at most %d characters", limit), Path: path,
			Expected: strconv.Itoa(limit), Received: strconv.Itoa(n)})
	}
	if !utf8.ValidString(value) || strings.ContainsRune(value, 0) {
		c.add("invalid_type", "must be valid UTF-8 without NUL", path...)
	}
}

func (c *checker) details(d Details) {
	c.text(d.Name, maxText, "name")
	c.text(d.Description, maxText, "description")
	c.metadata(d.Metadata)
}

func (c *checker) metadata(m json.RawMessage) {
	if m == nil {
		return
	}
	if len(m) > maxMetadata {
		c.add("max_length", "must have at most 64 KiB", "metadata")
	} else {
		c.object(m, "metadata")
	}
}

// object takes a JSON object of at most 1 MiB that is not nested too deeply for its readers.
func (c *checker) object(value json.RawMessage, path ...string) {
	switch {
	case len(value) > maxOutput:
		c.add("max_length", "must have at most 1 MiB", path...)
	case !isObject(value):
		c.add("invalid_type", "must be a JSON object", path...)
	case jsontext.Look(value).Levels > maxNesting:
		c.add("invalid_max", fmt.Sprintf("must be nested at most %d levels deep", maxNesting), path...)
	}
}

// ids takes a list of ids, as many as it may have.
func (c *checker) ids(ids []string, limitCode string, path ...string) {
	if len(ids) > maxList {
		c.put(FieldError{Code: limitCode, Message: fmt.Sprintf("must have at most %d entries", maxList), Path: path,
			Expected: strconv.Itoa(maxList), Received: strconv.Itoa(len(ids))})
		return
	}
	for i, id := range ids {
		c.required(id, append(path[:len(path):len(path)], strconv.Itoa(i))...)
	}
}

func (c *checker) between(value, low, high int, path ...string) {
	switch {
	case value < low:
		c.put(FieldError{Code: "invalid_min", Message: fmt.Sprintf("must be at least %d", low), Path: path, Expected: strconv.Itoa(low), Received: strconv.Itoa(value)})
	case value > high:
		c.put(FieldError{Code: "invalid_max", Message: fmt.Sprintf("must be at most %d", high), Path: path, Expected: strconv.Itoa(high), Received: strconv.Itoa(value)})
	}
}

func (c *checker) oneOf(value string, allowed []string, path ...string) {
	for _, a := range allowed {
		if a == value {
			return
		}
	}
	c.put(FieldError{Code: "invalid_enum", Message: "must be one of " + strings.Join(allowed, ", "), Path: path,
		Expected: strings.Join(allowed, "|"), Received: excerpt(value)})
}

// url takes an absolute http or https URL without user info: a password in it would be
// shown wherever the URL is.
func (c *checker) url(value string, path ...string) {
	const code = "invalid_callback_destination_url"
	u, err := url.Parse(value)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		c.add(code, "must be an absolute http or https URL", path...)
	case strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		c.add(code, "must not have spaces or control characters: write %20 for a space", path...)
	case !validHost(u.Hostname()):
		c.add(code, "must have a host name that can be looked up", path...)
	case u.User != nil:
		c.add(code, "must not hold a user or password: use a header", path...)
	case u.Fragment != "":
		c.add(code, "must not have a fragment: it is never sent", path...)
	case !validPort(u.Port()):
		c.add(code, "must have a port from 1 to 65535, or none", path...)
	case len(value) > 4096:
		c.add(code, "must have at most 4096 bytes", path...)
	default:
		c.text(value, maxText, path...)
	}
}

// validHost tells whether a name can be written in ASCII, as name servers know it.
func validHost(host string) bool {
	for i := range len(host) {
		if host[i] >= utf8.RuneSelf {
			_, err := idna.Lookup.ToASCII(host)
			return err == nil
		}
	}
	return true
}

func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil && n > 0
}

// eventType takes one line of text.
func (c *checker) eventType(value string, path ...string) {
	c.text(value, maxType, path...)
	if strings.ContainsFunc(value, unicode.IsControl) {
		c.add("invalid_type", "must not contain control characters", path...)
	}
}

func (c *checker) eventTypes(types []string, path ...string) {
	if len(types) > maxList {
		c.add("max_length", fmt.Sprintf("must have at most %d entries", maxList), path...)
		return
	}
	for i, t := range types {
		at := append(path[:len(path):len(path)], strconv.Itoa(i))
		if t == "" {
			c.add("required", "must not be empty", at...)
		}
		c.eventType(t, at...)
	}
}

func isObject(value json.RawMessage) bool {
	trimmed := bytes.TrimLeft(value, " \t\r\n")
	return len(trimmed) > 0 && trimmed[0] == '{' && jsontext.Look(value).Valid
}

// compact is a JSON text without white space, every token as it came. nil stays nil.
func compact(value json.RawMessage) json.RawMessage {
	if value == nil {
		return nil
	}
	if s := jsontext.Look(value); s.Valid && !s.Spaces {
		return bytes.Clone(value) // which is its caller's to change
	}
	var b bytes.Buffer
	if err := json.Compact(&b, value); err != nil {
		return value
	}
	return b.Bytes()
}

// wrap turns the store's errors into those that callers see.
func wrap(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*store.NotFoundError](err); ok {
		e := &store.NotFoundError{Entity: e.Entity, ID: excerpt(e.ID), That: e.That}
		return &Error{Code: CodeNotFound, Message: e.Error(), Entity: e.Entity, ID: e.ID}
	}
	if e, ok := errors.AsType[*store.ConflictError](err); ok {
		return &Error{Code: CodeConflict, Message: e.Error(), Hint: e.Hint}
	}
	if _, ok := errors.AsType[store.InvalidReferencesError](err); ok {
		var c checker
		c.references(err)
		return c.err()
	}
	if store.IsClosed(err) {
		return &Error{Code: CodeUnavailable, Message: "the engine is closed; nothing was changed", Err: err}
	}
	if errors.Is(err, store.ErrUncertain) {
		return &Error{Code: CodeUnavailable, Message: "the engine is unable to write at the moment, and this may have been stored or not: " + store.Trouble(err),
			Hint: "try again later; an event with the same source_id is stored once", Err: err}
	}
	if errors.Is(err, store.ErrUnavailable) {
		return &Error{Code: CodeUnavailable, Message: "the engine is unable to write at the moment; nothing was accepted: " + store.Trouble(err), Hint: "try again later", Err: err}
	}
	return err
}

// references adds the entries of lists that the store says cannot be used; of another error
// it says nothing.
func (c *checker) references(err error) {
	wrong, _ := errors.AsType[store.InvalidReferencesError](err)
	for _, r := range wrong {
		f := FieldError{Received: excerpt(r.ID)}
		at := strconv.Itoa(r.Index)
		switch r.Entity {
		case "provider.trigger":
			f.Code, f.Message, f.Path = "invalid_callback_trigger", "is no trigger of the deployment's provider", []string{"triggers", at, "trigger_id"}
		case "callback.provider_trigger":
			f.Code, f.Message, f.Path = "invalid_callback_trigger", "is given twice", []string{"triggers", at, "trigger_id"}
		case "callback.destination":
			f.Code, f.Message, f.Path = "invalid_callback_destination", "is no destination, or an archived one", []string{"destination_ids", at}
		default:
			f.Code, f.Message, f.Path = "invalid_callback", "is no callback, or an archived one", []string{"callbacks", "callback_ids", at}
		}
		c.put(f)
	}
}

// excerpt is what of an input is said back.
func excerpt(s string) string {
	if r := []rune(s); len(r) > 100 {
		return string(r[:100]) + "..."
	}
	return s
}

// wholeSeconds tells whether d is a whole number of seconds.
func wholeSeconds(d time.Duration) bool { return d%time.Second == 0 }
