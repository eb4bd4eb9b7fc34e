package httpapi_test

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
)

// document is the API as openapi.json has it.
type document struct {
	t      *testing.T
	spec   *openapi3.T
	router routers.Router
	seen   map[string]bool // METHOD /path STATUS of the answers that were compared
}

func readDocument(e *env) *document {
	e.t.Helper()
	spec, err := openapi3.NewLoader().LoadFromData([]byte(e.must("GET", "/openapi.json", "").Body))
	if err != nil {
		e.t.Fatal(err)
	}
	router, err := legacy.NewRouter(spec)
	if err != nil {
		e.t.Fatal(err)
	}
	return &document{t: e.t, spec: spec, router: router, seen: make(map[string]bool)}
}

// operation is one call of the API.
type operation struct {
	*openapi3.Operation
	method, path string
}

func (o operation) String() string { return o.method + " " + o.path }

// operations are all that the document has, in one order.
func (d *document) operations() []operation {
	var all []operation
	for path, item := range d.spec.Paths.Map() {
		for method, o := range item.Operations() {
			all = append(all, operation{o, method, path})
		}
	}
	slices.SortFunc(all, func(a, b operation) int { return strings.Compare(a.String(), b.String()) })
	return all
}

// webhook tells whether an operation is for sources.
func (o operation) webhook() bool { return strings.HasPrefix(o.path, "/webhooks/") }

// public tells whether an operation needs no key.
func (o operation) public() bool { return o.Security != nil && len(*o.Security) == 0 }

// compare holds an answer to the document, and a request that succeeded too.
func (d *document) compare(method, target, body string, a answer) {
	d.t.Helper()
	req, err := http.NewRequestWithContext(d.t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	route, params, err := d.router.FindRoute(req)
	if err != nil {
		route, params = d.noRoute(method, target, a.Status), nil
	}
	options := &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true, MultiError: true, SkipSettingDefaults: true}
	input := &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route, Options: options}
	if a.Status == http.StatusOK {
		if err := openapi3filter.ValidateRequest(d.t.Context(), input); err != nil {
			d.t.Errorf("%s %s: the request succeeds, but not by the document: %v", method, target, err)
		}
	}
	output := &openapi3filter.ResponseValidationInput{RequestValidationInput: input, Status: a.Status, Header: a.Header, Options: options}
	if err := openapi3filter.ValidateResponse(d.t.Context(), output.SetBodyBytes([]byte(a.Body))); err != nil {
		d.t.Errorf("%s %s: the answer %d is not as documented: %v\n%.2000s", method, target, a.Status, err, a.Body)
	}
	if response := route.Operation.Responses.Status(a.Status); response != nil {
		for name := range a.Header {
			if !documentsHeader(response.Value, name) {
				d.t.Errorf("%s %s: the answer %d has the header %s, which is not documented", method, target, a.Status, name)
			}
		}
	}
	d.seen[method+" "+route.Path+" "+strconv.Itoa(a.Status)] = true
}

// noRoute is a route for answers that belong to none.
func (d *document) noRoute(method, target string, status int) *routers.Route {
	d.t.Helper()
	name := map[int]string{http.StatusNotFound: "NotFound", http.StatusMethodNotAllowed: "MethodNotAllowed"}[status]
	if name == "" {
		d.t.Fatalf("%s %s: the answer %d is of no operation", method, target, status)
	}
	answers := openapi3.NewResponses(openapi3.WithStatus(status, &openapi3.ResponseRef{Value: d.spec.Components.Responses[name].Value}))
	return &routers.Route{Spec: d.spec, Path: target, PathItem: &openapi3.PathItem{}, Method: method, Operation: &openapi3.Operation{Responses: answers}}
}

func documentsHeader(r *openapi3.Response, name string) bool {
	if slices.Contains([]string{"Content-Type", "Content-Length", "Date", "Connection"}, name) { // of every exchange
		return true
	}
	for documented := range r.Headers {
		if http.CanonicalHeaderKey(documented) == name {
			return true
		}
	}
	return false
}
