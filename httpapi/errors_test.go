package httpapi_test

import (
	"encoding/json"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
)

func TestErrors(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.setup("http://127.0.0.1:1")
	e.must("POST", "/callbacks/"+s.callback+"/instances", `{"provider_config_id":"`+s.config+`"}`)
	other := e.id("POST", "/provider-deployments", `{"provider_id":"crm"}`)
	foreign := e.id("POST", "/provider-configs", `{"provider_id":"crm","provider_deployment_id":"`+other+`","value":{"account":"x"}}`)
	archived := e.id("DELETE", "/callback-destinations/"+e.id("POST", "/callback-destinations", `{"name":"a","url":"http://a.test"}`), "")
	big := `{"name":"` + strings.Repeat("a", 1<<20) + `"}`

	for _, tt := range []struct {
		name, method, path, body string
		header                   []string
		status                   int
		want                     map[string]string // top level
		fields                   string            // CODE PATH of errors, comma separated
	}{
		{"UnknownEndpoint", "GET", "/nothing", "", nil, 404, map[string]string{"code": "not_found", "entity": "endpoint"}, ""},
		{"TrailingSlashIsNotRedirected", "GET", "/callbacks/", "", nil, 404, map[string]string{"entity": "endpoint"}, ""},
		{"OtherCaseIsNotRedirected", "GET", "/Callbacks", "", nil, 404, map[string]string{"entity": "endpoint"}, ""},
		{"MethodNotAllowed", "PUT", "/callbacks/x", "", nil, 405, map[string]string{"code": "method_not_allowed", "hint": "use one of DELETE, GET, HEAD, PATCH"}, ""},
		{"OptionsIsNotAllowed", "OPTIONS", "/callbacks", "", nil, 405, map[string]string{"code": "method_not_allowed"}, ""},
		{"UnknownCallback", "GET", "/callbacks/clb_none", "", nil, 404, map[string]string{"code": "not_found", "entity": "callback", "id": "clb_none"}, ""},
		{"UnknownCallbackOfEvents", "GET", "/callbacks/clb_none/events", "", nil, 404, map[string]string{"entity": "callback"}, ""},
		{"UnknownInstance", "DELETE", "/callbacks/" + s.callback + "/instances/cbi_none", "", nil, 404, map[string]string{"entity": "callback.instance"}, ""},
		{"UnknownEvent", "GET", "/callbacks/" + s.callback + "/events/cte_none", "", nil, 404, map[string]string{"entity": "callback.event"}, ""},
		{"UnknownNotification", "GET", "/callbacks/" + s.callback + "/notifications/x", "", nil, 404, map[string]string{"entity": "callback.notification"}, ""},
		{"UnknownDeployment", "POST", "/callbacks", `{"provider_deployment_id":"pde_none","name":"a"}`, nil, 404, map[string]string{"entity": "provider.deployment"}, ""},
		{"UnknownProvider", "GET", "/provider-config-schema?provider_id=none", "", nil, 404, map[string]string{"entity": "provider"}, ""},
		{"UnknownDeploymentOfSchema", "GET", "/provider-config-schema?provider_deployment_id=none", "", nil, 404, map[string]string{"entity": "provider.deployment"}, ""},
		{"UnknownConfigOfSchema", "GET", "/provider-config-schema?provider_config_id=none", "", nil, 404, map[string]string{"entity": "provider.config"}, ""},
		{"SchemaOfNothing", "GET", "/provider-config-schema", "", nil, 400, map[string]string{"code": "invalid_data"}, "required provider_id"},
		{"SchemaOfTwo", "GET", "/provider-config-schema?provider_id=crm&provider_config_id=x", "", nil, 400, map[string]string{"code": "invalid_data"}, "required provider_id"},
		{"SchemaQueryMalformed", "GET", "/provider-config-schema?provider_id=%zz", "", nil, 400, map[string]string{"reason": "invalid_query_string"}, ""},
		{"ConfigOfOtherDeployment", "POST", "/callbacks/" + s.callback + "/instances", `{"provider_config_id":"` + foreign + `"}`, nil, 404, map[string]string{"entity": "provider.config"}, ""},
		{"AttachedTwice", "POST", "/callbacks/" + s.callback + "/instances", `{"provider_config_id":"` + s.config + `"}`, nil, 409, map[string]string{"code": "conflict"}, ""},
		{"ArchivedStaysAsItIs", "PATCH", "/callback-destinations/" + archived, `{"name":"b"}`, nil, 409, map[string]string{"code": "conflict"}, ""},
		{"UnknownTrigger", "PATCH", "/callbacks/" + s.callback, `{"triggers":[{"trigger_id":"contact.created"},{"trigger_id":"none"}]}`, nil, 400,
			map[string]string{"code": "invalid_data", "reason": "invalid_callback_trigger"}, "invalid_callback_trigger triggers.1.trigger_id"},
		{"ArchivedDestination", "PATCH", "/callbacks/" + s.callback, `{"destination_ids":["` + archived + `"]}`, nil, 400,
			map[string]string{"code": "invalid_data"}, "invalid_callback_destination destination_ids.0"},
		{"BadPollInterval", "PATCH", "/callbacks/" + s.callback, `{"poll_interval_seconds_override":0}`, nil, 400,
			map[string]string{"code": "invalid_data", "reason": "invalid_poll_interval"}, "invalid_poll_interval poll_interval_seconds_override"},
		{"BadURL", "POST", "/callback-destinations", `{"name":"a","url":"/x"}`, nil, 400, map[string]string{"reason": "invalid_callback_destination_url"}, "invalid_callback_destination_url url"},
		{"ConfigAgainstItsSchema", "POST", "/provider-configs", `{"provider_id":"crm","value":{"max":"x"}}`, nil, 400, map[string]string{"code": "invalid_data"},
			"required value.account,invalid_type value.max"},
		{"AuthConfigAgainstItsSchema", "POST", "/provider-auth-configs", `{"provider_auth_method_id":"token","value":{"token":1}}`, nil, 400, nil, "invalid_type value.token"},
		{"BrokenJSON", "POST", "/callbacks", `{"name":`, nil, 400, map[string]string{"code": "bad_request", "reason": "invalid_json_body"}, ""},
		{"TrailingJSON", "POST", "/callbacks", `{} {}`, nil, 400, map[string]string{"reason": "invalid_json_body"}, ""},
		{"ListBody", "POST", "/callbacks", `[]`, nil, 400, map[string]string{"reason": "invalid_json_body"}, ""},
		{"NullBody", "POST", "/callbacks", `null`, nil, 400, map[string]string{"reason": "invalid_json_body"}, ""},
		{"FormBody", "POST", "/callbacks", `name=a`, []string{"Content-Type", "application/x-www-form-urlencoded"}, 400, map[string]string{"code": "bad_request", "reason": "unsupported_content_type"}, ""},
		{"MalformedContentType", "POST", "/callbacks", `{}`, []string{"Content-Type", ";;"}, 400, map[string]string{"reason": "unsupported_content_type"}, ""},
		{"CharsetIsFine", "POST", "/callbacks", `{}`, []string{"Content-Type", "application/json; charset=utf-8"}, 400, map[string]string{"code": "invalid_data"}, "required name,required provider_deployment_id"},
		{"NoContentTypeIsFine", "POST", "/callbacks", `{}`, []string{"Content-Type", ""}, 400, map[string]string{"code": "invalid_data"}, "required name,required provider_deployment_id"},
		{"NoBodyIsAnEmptyObject", "POST", "/callbacks", ``, nil, 400, map[string]string{"code": "invalid_data"}, "required name,required provider_deployment_id"},
		{"LargeBody", "POST", "/callbacks", big, nil, 413, map[string]string{"code": "payload_too_large"}, ""},
		{"BadQuery", "GET", "/callbacks?limit=0&order=up", "", nil, 400, map[string]string{"code": "invalid_data"}, "invalid_min limit,invalid_enum order"},
		{"QueryMalformed", "GET", "/callbacks?id=%zz", "", nil, 400, map[string]string{"code": "bad_request", "reason": "invalid_query_string"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := e.with(t)
			a := e.do(tt.method, tt.path, tt.body, tt.header...)
			if a.Status != tt.status {
				t.Fatalf("status %d: %s", a.Status, a.Body)
			}
			o := a.decode()
			if o["object"] != "error" || o["ok"] != false || o["status"] != json.Number(strconv.Itoa(tt.status)) || o.str("message") == "" {
				t.Errorf("answer: %s", a.Body)
			}
			for key, want := range tt.want {
				if o.str(key) != want {
					t.Errorf("%s is %q, want %q", key, o.str(key), want)
				}
			}
			if got := strings.Join(a.fieldErrors(), ","); got != tt.fields {
				t.Errorf("errors: %s, want %s", got, tt.fields)
			}
			if allow := a.Header.Get("Allow"); (allow != "") != (tt.status == 405) || strings.Contains(allow, "OPTIONS") {
				t.Errorf("Allow: %q", allow)
			}
			if got := a.Header.Get("Content-Type"); got != "application/json" {
				t.Errorf("Content-Type: %q", got)
			}
		})
	}
}

func TestUnavailable(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	if err := e.eng.Close(); err != nil {
		t.Fatal(err)
	}

	t.Run("WhenTheStoreIsClosed", func(t *testing.T) {
		a := e.do("POST", "/callback-destinations", `{"name":"a","url":"http://a.test"}`)
		if a.Status != 503 || a.decode().str("code") != "unavailable" {
			t.Errorf("%d %s", a.Status, a.Body)
		}
	})

	t.Run("UnknownCausesAreNotShown", func(t *testing.T) {
		a := e.do("GET", "/callbacks", "")
		if a.Status < 500 || strings.Contains(a.Body, "sql") {
			t.Errorf("%d %s", a.Status, a.Body)
		}
	})

	t.Run("CancelledRequestIsNoEmptySuccess", func(t *testing.T) {
		w := httptest.NewRecorder()
		e.server.Config.Handler.ServeHTTP(w, gone(t))
		if w.Code != 503 {
			t.Errorf("status %d", w.Code)
		}
	})

	t.Run("KeysCannotBeChecked", func(t *testing.T) {
		if a := e.do("GET", "/callbacks", "", "Authorization", "Bearer other"); a.Status < 500 {
			t.Errorf("%d %s", a.Status, a.Body)
		}
	})
}
