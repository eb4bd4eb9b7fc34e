package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

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
)

// checker collects every offending field of an input.
type checker struct{ fields []FieldError }

func (c *checker) add(code, message string, path ...string) {
	c.fields = append(c.fields, FieldError{Code: code, Message: message, Path: path})
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
		c.fields = append(c.fields, FieldError{Code: "max_length", Message: fmt.Sprintf("must have at most %d characters", limit), Path: path,
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
	} else if !isObject(m) {
		c.add("invalid_type", "must be a JSON object", "metadata")
	}
}

func (c *checker) object(value json.RawMessage, path ...string) {
	if !isObject(value) {
		c.add("invalid_type", "must be a JSON object", path...)
	}
}

func (c *checker) between(value, low, high int, path ...string) {
	switch {
	case value < low:
		c.fields = append(c.fields, FieldError{Code: "invalid_min", Message: fmt.Sprintf("must be at least %d", low), Path: path, Expected: strconv.Itoa(low), Received: strconv.Itoa(value)})
	case value > high:
		c.fields = append(c.fields, FieldError{Code: "invalid_max", Message: fmt.Sprintf("must be at most %d", high), Path: path, Expected: strconv.Itoa(high), Received: strconv.Itoa(value)})
	}
}

func (c *checker) oneOf(value string, allowed []string, path ...string) {
	for _, a := range allowed {
		if a == value {
			return
		}
	}
	c.fields = append(c.fields, FieldError{Code: "invalid_enum", Message: "must be one of " + strings.Join(allowed, ", "), Path: path,
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
	return len(trimmed) > 0 && trimmed[0] == '{' && json.Valid(value)
}

// compact is a JSON text without white space, every token as it came. nil stays nil.
func compact(value json.RawMessage) json.RawMessage {
	if value == nil {
		return nil
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
		return &Error{Code: CodeConflict, Message: e.Error()}
	}
	if e, ok := errors.AsType[store.InvalidReferencesError](err); ok {
		return invalidReferences(e)
	}
	if errors.Is(err, store.ErrClosed) {
		return &Error{Code: CodeUnavailable, Message: "the engine is closed; nothing was changed", Err: err}
	}
	if errors.Is(err, store.ErrUnavailable) {
		return &Error{Code: CodeUnavailable, Message: "the engine is unable to write at the moment; nothing was changed", Err: err}
	}
	return err
}

// invalidReferences says which entries of which lists cannot be used.
func invalidReferences(e store.InvalidReferencesError) error {
	var c checker
	for _, r := range e {
		f := FieldError{Received: excerpt(r.ID)}
		at := strconv.Itoa(r.Index)
		switch r.Entity {
		case "provider.trigger":
			f.Code, f.Message, f.Path = "invalid_callback_trigger", "the deployment's provider has no such trigger, or it is given twice", []string{"triggers", at, "trigger_id"}
		case "callback.destination":
			f.Code, f.Message, f.Path = "invalid_callback_destination", "there is no such destination, or it is archived", []string{"destination_ids", at}
		default:
			f.Code, f.Message, f.Path = "invalid_callback", "there is no such callback, or it is archived", []string{"callbacks", "callback_ids", at}
		}
		c.fields = append(c.fields, f)
	}
	return invalid(c.fields)
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
