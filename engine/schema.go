package engine

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// schema is a compiled JSON Schema, draft 2020-12 unless it says otherwise.
type schema struct{ compiled *jsonschema.Schema }

// noLoader keeps schemas from reading files: a $ref stays inside its document.
type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("%s: a schema may refer only to itself", url)
}

// maxSchema is how many bytes a schema may have.
const maxSchema = 1 << 20

func compileSchema(text json.RawMessage) (*schema, error) {
	if len(text) > maxSchema {
		return nil, errors.New("has more than 1 MiB")
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("is not JSON: %w", err)
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(noLoader{})
	c.AssertFormat()
	const url = "mem:schema"
	if err := c.AddResource(url, doc); err != nil {
		return nil, err
	}
	compiled, err := c.Compile(url)
	if err != nil {
		return nil, whySchema(err)
	}
	return &schema{compiled}, nil
}

// whySchema is the library's error of a schema in the words of a field's.
func whySchema(err error) error {
	invalid, ok := errors.AsType[*jsonschema.SchemaValidationError](err)
	if !ok {
		return err
	}
	cause, ok := errors.AsType[*jsonschema.ValidationError](invalid.Err)
	if !ok {
		return err
	}
	var fields []FieldError
	collect(cause, nil, &fields)
	var told []string
	for _, f := range fields {
		if text := "/" + strings.Join(f.Path, "/") + " " + f.Message; !slices.Contains(told, text) {
			told = append(told, text)
		}
	}
	return errors.New("is not a JSON Schema: " + strings.Join(told, "; "))
}

// CheckSchema tells whether a JSON Schema can be that of a config or an auth config: for providers
// that do not write theirs themselves. The error says what is wrong with it.
func CheckSchema(schema json.RawMessage) error {
	_, err := compileSchema(schema)
	return err
}

// check returns every offending field of a value, with path in front of each.
func (s *schema) check(value json.RawMessage, path ...string) []FieldError {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(value))
	if err != nil {
		return []FieldError{{Code: "invalid_type", Message: "must be JSON", Path: path}}
	}
	if wild := wildNumbers(doc, path); wild != nil {
		return wild
	}
	err = s.compiled.Validate(doc)
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*jsonschema.ValidationError](err)
	if !ok {
		return []FieldError{{Code: "invalid_type", Message: err.Error(), Path: path}}
	}
	var fields []FieldError
	collect(e, path, &fields)
	return fields
}

// fill adds to a valid value the properties that it lacks and that the schema has a default
// for, also in the objects inside of it. A default is taken as it stands, and what is given
// stays as it is, null too. If the result were not valid, nothing is added.
func (s *schema) fill(value json.RawMessage) json.RawMessage {
	filled := fill(s.compiled, value)
	if len(s.check(filled)) > 0 {
		return value
	}
	return filled
}

func fill(s *jsonschema.Schema, value json.RawMessage) json.RawMessage {
	var given map[string]json.RawMessage
	if json.Unmarshal(value, &given) != nil || given == nil {
		return value // nothing that has properties
	}
	changed := false
	added := make(map[string]json.RawMessage)
	for _, s := range withReferred(s) {
		for name, property := range s.Properties {
			if old, ok := given[name]; ok {
				filled := fill(property, old)
				changed = changed || !bytes.Equal(filled, old)
				given[name] = filled
			} else if text := defaultOf(property); text != nil && added[name] == nil {
				added[name] = text
			}
		}
	}
	if !changed && len(added) == 0 {
		return value
	}
	maps.Copy(given, added)
	return marshal(given)
}

// withReferred is a schema and the one that it refers to, and so on.
func withReferred(s *jsonschema.Schema) (all []*jsonschema.Schema) {
	for ; s != nil && !slices.Contains(all, s); s = s.Ref {
		all = append(all, s)
	}
	return all
}

// defaultOf is a schema's default as JSON; nil: it has none.
func defaultOf(s *jsonschema.Schema) json.RawMessage {
	for _, s := range withReferred(s) {
		if s.Default != nil {
			return marshal(*s.Default)
		}
	}
	return nil
}

// marshal writes what was read from JSON, every number and string as it was.
func marshal(v any) json.RawMessage {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // it came from JSON
	return bytes.TrimRight(b.Bytes(), "\n")
}

// patternTexts are patterns of ours in words.
var patternTexts = map[string]string{`^(\S([\s\S]*\S)?)?$`: "must not begin or end with a space or line break"}

var english = message.NewPrinter(language.English)

// collect turns the leaves of an error tree into fields.
func collect(e *jsonschema.ValidationError, path []string, fields *[]FieldError) {
	if len(e.Causes) > 0 {
		for _, cause := range e.Causes {
			collect(cause, path, fields)
		}
		return
	}
	at := append(path[:len(path):len(path)], e.InstanceLocation...)
	add := func(code, message, expected, received string, more ...string) {
		*fields = append(*fields, FieldError{Code: code, Message: message, Path: append(at[:len(at):len(at)], more...), Expected: expected, Received: received})
	}
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		for _, name := range k.Missing {
			add("required", "is required", "", "", name)
		}
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			add("unrecognized_key", "is not a known field", "", "", name)
		}
	case *kind.Type:
		add("invalid_type", "must be "+strings.Join(k.Want, " or "), strings.Join(k.Want, "|"), k.Got)
	case *kind.Enum:
		add("invalid_enum", "must be one of "+join(k.Want, ", "), join(k.Want, "|"), "")
	case *kind.Const:
		add("invalid_literal", "must be "+fmt.Sprint(k.Want), fmt.Sprint(k.Want), "")
	case *kind.MinLength:
		add("invalid_min", fmt.Sprintf("must have at least %d characters", k.Want), "", "")
	case *kind.MaxLength:
		add("max_length", fmt.Sprintf("must have at most %d characters", k.Want), "", "")
	case *kind.Minimum:
		add("invalid_min", "must be at least "+k.Want.RatString(), k.Want.RatString(), k.Got.RatString())
	case *kind.Maximum:
		add("invalid_max", "must be at most "+k.Want.RatString(), k.Want.RatString(), k.Got.RatString())
	case *kind.ExclusiveMinimum, *kind.MinItems, *kind.MinProperties:
		add("invalid_min", e.ErrorKind.LocalizedString(english), "", "")
	case *kind.ExclusiveMaximum, *kind.MaxItems, *kind.MaxProperties:
		add("invalid_max", e.ErrorKind.LocalizedString(english), "", "")
	case *kind.Pattern:
		// The library's own words would repeat the value, which may be a secret.
		add("invalid_format", cmp.Or(patternTexts[k.Want], "must match "+k.Want), k.Want, "")
	case *kind.Format:
		add("invalid_format", "must be a valid "+k.Want, k.Want, "")
	default:
		add("invalid_type", "does not match the schema ("+strings.Join(e.ErrorKind.KeywordPath(), "/")+")", "", "")
	}
}

func join(values []any, separator string) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = fmt.Sprint(v)
	}
	return strings.Join(texts, separator)
}

// checkConfig returns every offending field of a config's value.
func (d *declared) checkConfig(value json.RawMessage, path ...string) []FieldError {
	fields := d.config.check(value)
	if d.Validate != nil {
		fields = append(fields, moreFields(d.Validate, value, fields)...)
	}
	for i := range fields {
		fields[i].Path = append(path[:len(path):len(path)], fields[i].Path...)
	}
	return fields
}

// moreFields asks a provider's own check about the fields that the schema finds nothing
// wrong with, so that one answer names them all.
func moreFields(validate func(json.RawMessage) []FieldError, value json.RawMessage, wrong []FieldError) []FieldError {
	var rest map[string]json.RawMessage
	if len(wrong) > 0 {
		if err := json.Unmarshal(value, &rest); err != nil {
			return nil // not even an object
		}
		for _, f := range wrong {
			if len(f.Path) == 0 {
				return nil
			}
			delete(rest, f.Path[0])
		}
		value, _ = json.Marshal(rest) // it was JSON before
	}
	return slices.DeleteFunc(validate(value), func(f FieldError) bool {
		return len(f.Path) > 0 && slices.ContainsFunc(wrong, func(w FieldError) bool { return w.Path[0] == f.Path[0] })
	})
}

// checkAuth returns every offending field of an auth config's value.
func (d *declared) checkAuth(method string, value json.RawMessage, path ...string) []FieldError {
	if d.auth[method] == nil {
		return []FieldError{{Code: "invalid_literal", Message: "cannot be checked: the provider has this auth method no longer", Path: path}}
	}
	return d.auth[method].check(value, path...)
}

// configValue is a config's value as it is kept. One that is known to be no object is not
// looked into.
func (c *checker) configValue(d *declared, value json.RawMessage, path ...string) json.RawMessage {
	if !c.knows(path...) {
		c.put(d.checkConfig(value, path...)...)
	}
	if c.failed() {
		return nil
	}
	return d.config.fill(compact(value))
}

// authValue is configValue for an auth config.
func (c *checker) authValue(d *declared, method string, value json.RawMessage) json.RawMessage {
	if !c.knows("value") {
		c.put(d.checkAuth(method, value, "value")...)
	}
	if c.failed() {
		return nil
	}
	return d.auth[method].fill(compact(value))
}
