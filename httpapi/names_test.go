package httpapi_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// A name is read if something wrong under it makes a difference. Which names there are to
// be tried, beside those of the document, the package's own source says: it has no other.

var nameRE = regexp.MustCompile(`^[A-Za-z][A-Za-z_]*$`)

// sourceNames are the string literals of the package that could be names.
var sourceNames = sync.OnceValues(func() ([]string, error) {
	names := make(map[string]bool)
	files, err := filepath.Glob("*.go")
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return nil, err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
				if name, err := strconv.Unquote(l.Value); err == nil && nameRE.MatchString(name) {
					names[name] = true
				}
			}
			return true
		})
	}
	return slices.Sorted(maps.Keys(names)), err
})

// otherNames are the names of the source that are not documented.
func otherNames(t *testing.T, documented []string) (names []string) {
	t.Helper()
	all, err := sourceNames()
	if err != nil || !slices.Contains(all, "callback_ids") {
		t.Fatalf("the source was not read: %v, %v", all, err)
	}
	return slices.DeleteFunc(slices.Clone(all), func(name string) bool { return slices.Contains(documented, name) })
}

// placesOf is a place for everything: one of each kind that is listed, and their ids.
func placesOf(e *env) map[string]string {
	s := e.setup("http://127.0.0.1:1")
	callback := "/callbacks/" + s.callback
	return map[string]string{"trigger_id": "contact.created", "callback_id": s.callback, "destination_id": s.destination,
		"provider_deployment_id": s.deployment, "provider_config_id": s.config, "provider_auth_config_id": s.authConfig,
		"callback_instance_id":     e.id("POST", callback+"/instances", `{"provider_config_id":"`+s.config+`"}`),
		"callback_event_id":        e.id("POST", callback+"/events", `{"type":"own","output":{}}`),
		"callback_notification_id": e.must("GET", callback+"/notifications", "").ids()[0],
		"provider_id":              "crm", "provider_auth_method_id": "token",
		"provider_version_id":       e.must("GET", "/provider-versions", "").ids()[0],
		"provider_specification_id": e.must("GET", "/provider-specifications", "").ids()[0],
		"provider_trigger_id":       e.must("GET", "/provider-triggers", "").ids()[0]}
}

// bodyNames tries the fields of an object, which place puts into its body, and those of the
// objects in it.
func bodyNames(e *env, method, target string, object *openapi3.Schema, place func(map[string]any) map[string]any) {
	e.t.Helper()
	given := make(map[string]any)
	if object.Properties["callback_ids"] != nil {
		given["type"] = "selected" // else ids are not asked for
	}
	try := func(names []string, value any) []string {
		fields := maps.Clone(given)
		for _, name := range names {
			fields[name] = value
		}
		body, _ := json.Marshal(place(fields))
		return e.do(method, target, string(body)).fieldErrors()
	}
	documented := slices.Sorted(maps.Keys(object.Properties))
	for _, value := range []any{true, []any{}} { // no field is both
		empty := try(nil, nil)
		if got := try(otherNames(e.t, documented), value); !slices.Equal(got, empty) {
			e.t.Errorf("%s %s: a field is read that is not documented: %v rather than %v", method, target, got, empty)
		}
	}
	for _, name := range documented {
		inner := object.Properties[name].Value
		var never any = true
		if anyJSON(inner) { // that is not nested too deeply
			never = json.RawMessage(strings.Repeat("[", 501) + strings.Repeat("]", 501))
		}
		if !mentions(try([]string{name}, never), name) {
			e.t.Errorf("%s %s: the documented field %s is not read", method, target, name)
		}
		if got, want := mentions(try(nil, nil), name), slices.Contains(object.Required, name); len(given) == 0 && got != want {
			e.t.Errorf("%s %s: %s is required: %v, documented as: %v", method, target, name, got, want)
		}
		right, wrong := bounds(name, inner)
		for _, value := range right {
			if errs := try([]string{name}, value); mentions(errs, name) {
				e.t.Errorf("%s %s: %s may be %.100v by the document, but: %v", method, target, name, value, errs)
			}
		}
		for _, value := range wrong {
			if errs := try([]string{name}, value); !mentions(errs, name) {
				e.t.Errorf("%s %s: %s may not be %.100v by the document, but is taken", method, target, name, value)
			}
		}
		if len(inner.Properties) > 0 {
			bodyNames(e, method, target, inner, func(fields map[string]any) map[string]any { return place(map[string]any{name: fields}) })
		}
		if inner.Items != nil && len(inner.Items.Value.Properties) > 0 {
			bodyNames(e, method, target, inner.Items.Value, func(fields map[string]any) map[string]any { return place(map[string]any{name: []any{fields}}) })
		}
	}
}

// mentions tells whether an error is about a field, or about the first of its items.
func mentions(errs []string, name string) bool {
	return slices.ContainsFunc(errs, func(err string) bool {
		_, path, _ := strings.Cut(err, " ")
		path = strings.TrimSuffix(path, ".0")
		return path == name || strings.HasSuffix(path, "."+name)
	})
}

// anyJSON tells of a schema that it says nothing.
func anyJSON(s *openapi3.Schema) bool {
	return s.Type == nil && s.Const == nil && s.Enum == nil && s.AnyOf == nil && s.AllOf == nil && s.OneOf == nil
}

// bounds are values of a field on both sides of each of its documented bounds.
func bounds(name string, s *openapi3.Schema) (right, wrong []any) {
	sort := func(value any, fits bool) {
		if fits {
			right = append(right, value)
		} else {
			wrong = append(wrong, value)
		}
	}
	sort(nil, s.Type.Includes("null") || anyJSON(s))
	for _, value := range s.Enum {
		sort(value, true)
	}
	if s.Const != nil {
		sort(s.Const, true)
	}
	if s.Enum != nil || s.Const != nil {
		sort("nonsense", false)
	}
	if s.Min != nil {
		sort(*s.Min, true)
		sort(*s.Min-1, false)
	}
	if s.Max != nil {
		sort(*s.Max, true)
		sort(*s.Max+1, false)
	}
	if s.MinLength > 0 || s.Pattern != "" {
		sort("", false)
	}
	if s.MaxLength != nil {
		prefix := ""
		if name == "url" {
			prefix = "http://a.test/"
		}
		text := prefix + strings.Repeat("a", int(*s.MaxLength)-len(prefix))
		if len(text) < 10_000 { // the longest take their time under the race detector
			sort(text, true)
		}
		sort(text+"a", false)
	}
	if s.MaxItems != nil {
		if s.Items.Value.MaxLength != nil { // else they are ids of things that are not there
			sort(slices.Repeat([]any{"a"}, int(*s.MaxItems)), true)
		}
		sort(slices.Repeat([]any{"a"}, int(*s.MaxItems)+1), false)
	}
	if s.Items != nil {
		_, items := bounds("", s.Items.Value)
		for _, item := range items {
			sort([]any{item}, false)
		}
	}
	if s.MaxProps != nil {
		entries := make(map[string]any)
		for i := range *s.MaxProps {
			entries["X-"+strconv.FormatUint(i, 10)] = "a"
		}
		sort(maps.Clone(entries), true)
		entries["X-More"] = "a"
		sort(entries, false)
	}
	return right, wrong
}

// queryNames tries the parameters of an operation, which without them answers with
// something.
func queryNames(e *env, o operation, target string) {
	e.t.Helper()
	given := url.Values{}
	if o.path == "/provider-config-schema" {
		given.Set("provider_id", "crm")
	}
	try := func(value string, names ...string) answer {
		query := maps.Clone(given)
		for _, name := range names {
			query[name] = append(slices.Clone(query[name]), value)
		}
		return e.do("GET", target+"?"+query.Encode(), "")
	}
	plain := try("").Body
	if strings.HasPrefix(plain, `{"items":[]`) || strings.HasPrefix(plain, `{"object":"error"`) {
		e.t.Fatalf("%s: there is nothing to be left out: %s", o, plain)
	}
	var documented []string
	for _, p := range o.Parameters {
		name, schema := p.Value.Name, p.Value.Schema.Value
		documented = append(documented, name)
		if try("nonsense", name).Body == plain {
			e.t.Errorf("%s: the documented parameter %s is not read", o, name)
		}
		if schema.Items != nil {
			schema = schema.Items.Value
		}
		right, wrong := bounds(name, schema)
		for _, value := range right {
			if errs := try(fmt.Sprint(value), name).fieldErrors(); name != "cursor" && mentions(errs, name) {
				e.t.Errorf("%s: %s may be %v by the document, but: %v", o, name, value, errs)
			}
		}
		for _, value := range wrong {
			if value != nil && value != "" && !mentions(try(fmt.Sprint(value), name).fieldErrors(), name) { // those are the same as none
				e.t.Errorf("%s: %s may not be %v by the document, but is taken", o, name, value)
			}
		}
	}
	if got := try("nonsense", otherNames(e.t, documented)...).Body; got != plain {
		e.t.Errorf("%s: a parameter is read that is not documented: %.500s", o, got)
	}
}
