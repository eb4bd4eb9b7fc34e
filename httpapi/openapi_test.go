package httpapi_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/httpapi"
)

func TestOpenAPI(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	d := readDocument(e)
	ids := placesOf(e)

	t.Run("DocumentIsValid", func(t *testing.T) {
		if err := d.spec.Validate(t.Context()); err != nil {
			t.Error(err)
		}
		if d.spec.OpenAPI != "3.1.0" || d.spec.Info.Version != engine.Version {
			t.Errorf("OpenAPI %s of version %s", d.spec.OpenAPI, d.spec.Info.Version)
		}
		if a := e.with(t).do("GET", "/openapi.json", "", "Authorization", ""); a.Status != http.StatusOK {
			t.Errorf("without a key: %d", a.Status)
		}
	})

	t.Run("OperationsAreTheRoutes", func(t *testing.T) {
		var documented []string
		for _, o := range d.operations() {
			documented = append(documented, strings.NewReplacer("{", ":", "}", "").Replace(o.String()))
		}
		routes := slices.Concat(httpapi.Routes(), httpapi.WebhookRoutes())
		for _, route := range routes {
			if !slices.Contains(documented, route) {
				t.Errorf("%s is not documented", route)
			}
		}
		for _, o := range documented {
			if !slices.Contains(routes, o) {
				t.Errorf("%s is documented, but no route", o)
			}
		}
	})

	t.Run("ObjectsHaveAllTheirFieldsAndNoOther", func(t *testing.T) {
		for name, schema := range d.spec.Components.Schemas {
			s := schema.Value
			if len(s.Properties) == 0 || strings.HasSuffix(name, "Create") || strings.HasSuffix(name, "Update") {
				continue
			}
			if s.AdditionalProperties.Has == nil || *s.AdditionalProperties.Has {
				t.Errorf("%s may have other fields than those documented", name)
			}
			if len(s.Required) != len(s.Properties) && name != "Error" && name != "FieldError" {
				t.Errorf("%s need not have all of its fields", name)
			}
		}
	})

	t.Run("QueriesAreReadAsDocumented", func(t *testing.T) {
		for _, o := range d.operations() {
			if o.method == http.MethodGet && !o.webhook() {
				queryNames(e.with(t), o, o.target(ids))
			}
		}
	})

	t.Run("BodiesAreReadAsDocumented", func(t *testing.T) {
		for _, o := range d.operations() {
			if o.RequestBody != nil {
				schema := o.RequestBody.Value.Content["application/json"].Schema.Value
				bodyNames(e.with(t), o.method, o.target(ids), schema, func(fields map[string]any) map[string]any { return fields })
			}
		}
	})
}

func TestOpenAPI_AnswersAreAsDocumented(t *testing.T) {
	t.Parallel()
	w := newWalker(t)
	d := readDocument(w.env)
	w.doc = d
	ids := w.walk()
	answersInTrouble(d)
	for _, o := range d.operations() {
		if o.webhook() {
			webhookAnswers(d, o)
			continue
		}
		refusals(w.env, d, o, ids)
	}
	conflicts(d)
	pollsInTrouble(d)
	outages(d, ids)
	for _, o := range d.operations() {
		for status := range o.Responses.Map() {
			if !d.seen[o.String()+" "+status] && status != "default" {
				t.Errorf("%s: the documented answer %s was never given", o, status)
			}
		}
	}
}
