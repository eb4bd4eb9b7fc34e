package httpapi_test

import (
	"fmt"
	"io"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

func TestBody(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.setup("http://127.0.0.1:1")
	t.Run("FieldsAreChecked", func(t *testing.T) { testFieldsAreChecked(t, e, s) })
	t.Run("FieldErrorSaysWhatWasExpected", func(t *testing.T) { testFieldErrorSaysWhatWasExpected(t, e.with(t)) })
	t.Run("MessageNamesTheFirstField", func(t *testing.T) {
		if got := e.with(t).do("POST", "/callback-destinations", `{}`).decode().str("message"); got != "the input is not valid: name is required (and 1 more, see errors)" {
			t.Errorf("message: %s", got)
		}
	})
	t.Run("ValuesAreKeptByteForByte", func(t *testing.T) { testValuesAreKeptByteForByte(t, e.with(t), s) })
	t.Run("PatchChangesOnlyWhatItNames", func(t *testing.T) { testPatchChangesOnlyWhatItNames(t, e.with(t)) })
	t.Run("IncompleteBodyIsTheClientsError", func(t *testing.T) {
		req := httptest.NewRequest("POST", "/callbacks", breaksOff{})
		req.Header.Set("Authorization", "Bearer "+rootKey)
		if w := record(e, req); w.Code != 400 || !strings.Contains(w.Body.String(), `"incomplete_body"`) {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
	t.Run("BodyOfAClientThatIsGoneIsNot", func(t *testing.T) {
		req := gone(t)
		req.Body = io.NopCloser(breaksOff{})
		if w := record(e, req); w.Code != 503 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

// breaksOff is a body whose connection ends too early.
type breaksOff struct{}

func (breaksOff) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// testFieldsAreChecked has one body a line: what is sent where, and every error that comes
// back, as CODE PATH.
func testFieldsAreChecked(t *testing.T, e *env, s setup) {
	callback, destination := "/callbacks/"+s.callback, "/callback-destinations/"+s.destination
	many := `["` + strings.Repeat(`a","`, 100) + `a"]`
	long := strings.Repeat("é", 100_001)
	for _, tt := range []struct {
		name, method, path, body string
		want                     []string // nil: success
	}{
		{"UnknownFieldsAreIgnored", "PATCH", callback, `{"nonsense":1,"name":"b"}`, nil},
		{"WhiteSpaceIsFine", "PATCH", callback, " {\n\t\"name\" : \"b\" , \"poll_interval_seconds_override\" :\t60 , \"metadata\" : { } } \n", nil},
		{"EveryFieldIsNamed", "POST", "/callbacks", `{"name":1,"description":[],"metadata":"x","poll_interval_seconds_override":1.5,"destination_ids":{},"triggers":true}`,
			[]string{"invalid_type name", "invalid_type description", "invalid_type metadata", "required provider_deployment_id",
				"invalid_type poll_interval_seconds_override", "invalid_type destination_ids", "invalid_type triggers"}},
		{"FieldsAndRulesTogether", "POST", "/callbacks", `{"name":" ","description":"` + long + `","destination_ids":[1],"triggers":[{},{"trigger_id":""},3,{"trigger_id":"a","event_types":["x",null]}]}`,
			[]string{"required provider_deployment_id", "invalid_type destination_ids.0", "required triggers.0.trigger_id", "required triggers.1.trigger_id",
				"invalid_type triggers.2", "invalid_type triggers.3.event_types.1", "required name", "max_length description"}},
		{"NullOnlyWhereNullable", "PATCH", callback, `{"name":null,"description":null,"metadata":null,"poll_interval_seconds_override":null,"destination_ids":null,"triggers":null}`,
			[]string{"invalid_type name", "invalid_type destination_ids", "invalid_type triggers"}},
		{"NullIdIsNoId", "POST", "/callbacks", `{"provider_deployment_id":null,"name":"a"}`, []string{"invalid_type provider_deployment_id"}},
		{"EmptyIdIsNoId", "POST", callback + "/instances", `{"provider_config_id":"","provider_auth_config_id":""}`, []string{"required provider_config_id", "required provider_auth_config_id"}},
		{"Baseline", "POST", callback + "/instances", `{"provider_config_id":"x","baseline":"both"}`, []string{"invalid_enum baseline"}},
		{"PollIntervalZero", "PATCH", callback, `{"poll_interval_seconds_override":0}`, []string{"invalid_poll_interval poll_interval_seconds_override"}},
		{"PollIntervalNegative", "PATCH", callback, `{"poll_interval_seconds_override":-1}`, []string{"invalid_poll_interval poll_interval_seconds_override"}},
		{"PollIntervalHuge", "PATCH", callback, `{"poll_interval_seconds_override":99999999999999999999}`, []string{"invalid_poll_interval poll_interval_seconds_override"}},
		{"PollIntervalInE", "PATCH", callback, `{"poll_interval_seconds_override":1e3}`, []string{"invalid_type poll_interval_seconds_override"}},
		{"PollIntervalFraction", "PATCH", callback, `{"poll_interval_seconds_override":60.0}`, []string{"invalid_type poll_interval_seconds_override"}},
		{"PollIntervalText", "PATCH", callback, `{"poll_interval_seconds_override":"60"}`, []string{"invalid_type poll_interval_seconds_override"}},
		{"TooManyDestinations", "PATCH", callback, `{"destination_ids":` + many + `}`, []string{"callback_destination_limit_exceeded destination_ids"}},
		{"TooManyTriggers", "PATCH", callback, `{"triggers":[` + strings.Repeat(`{"trigger_id":"a"},`, 100) + `{"trigger_id":"a"}]}`, []string{"callback_trigger_limit_exceeded triggers"}},

		{"DestinationDefaultsByNull", "PATCH", destination, `{"description":null,"metadata":null,"event_types":null,"headers":null,"retry":null,"timeout_seconds":null,"max_in_flight":null,"method":null}`, nil},
		{"RetryDefaultsByNull", "PATCH", destination, `{"retry":{"type":null,"maxAttempts":null,"delaySeconds":null}}`, nil},
		{"RetryTypes", "PATCH", destination, `{"retry":{"type":"schedule","maxAttempts":100,"delaySeconds":86400}}`, nil},
		{"RetryOutOfBounds", "PATCH", destination, `{"retry":{"type":"sometimes","maxAttempts":101,"delaySeconds":86401}}`,
			[]string{"invalid_max retry.delaySeconds", "invalid_max retry.maxAttempts", "invalid_enum retry.type"}},
		{"RetryTooSmall", "PATCH", destination, `{"retry":{"type":"","maxAttempts":0,"delaySeconds":-1}}`,
			[]string{"required retry.type", "invalid_min retry.maxAttempts", "invalid_min retry.delaySeconds"}},
		{"RetryInSnakeCaseIsUnknown", "PATCH", destination, `{"retry":{"max_attempts":0}}`, nil},
		{"RetryOfOtherType", "PATCH", destination, `{"retry":"linear"}`, []string{"invalid_type retry"}},
		{"ZeroIsNoDefault", "PATCH", destination, `{"timeout_seconds":0,"max_in_flight":0,"method":""}`,
			[]string{"required method", "invalid_min timeout_seconds", "invalid_min max_in_flight"}},
		{"DestinationOutOfBounds", "PATCH", destination, `{"timeout_seconds":61,"max_in_flight":1001,"method":"GET","event_types":["",1]}`,
			[]string{"invalid_type event_types.1", "required event_types.0", "invalid_max max_in_flight", "invalid_enum method", "invalid_max timeout_seconds"}},
		{"Headers", "PATCH", destination, `{"headers":{"A B":"x","Webhook-Id":"x","X-A":1,"X-B":"a\nb"}}`,
			[]string{"invalid_type headers.X-A", "invalid_type headers.A B", "invalid_literal headers.Webhook-Id", "invalid_type headers.X-B"}},
		{"HeadersOfOtherType", "PATCH", destination, `{"headers":["X-A"]}`, []string{"invalid_type headers"}},
		{"StatusOnlyActive", "PATCH", destination, `{"status":"archived"}`, []string{"invalid_literal status"}},
		{"DestinationNeeds", "POST", "/callback-destinations", `{}`, []string{"required name", "required url"}},

		{"OlderNeeds", "POST", "/callbacks-destinations", `{}`, []string{"required name", "required url", "required callbacks"}},
		{"OlderType", "POST", "/callbacks-destinations", `{"name":"a","url":"http://a.test","callbacks":{"type":"some"}}`, []string{"invalid_enum callbacks.type"}},
		{"OlderTypeMissing", "POST", "/callbacks-destinations", `{"name":"a","url":"http://a.test","callbacks":{}}`, []string{"required callbacks.type"}},
		{"OlderTypeOfOtherType", "POST", "/callbacks-destinations", `{"name":"a","url":"http://a.test","callbacks":{"type":1}}`, []string{"invalid_type callbacks.type"}},
		{"OlderSelectedNeedsIds", "POST", "/callbacks-destinations", `{"name":"a","url":"http://a.test","callbacks":{"type":"selected"}}`, []string{"required callbacks.callback_ids"}},
		{"OlderSelectedByIds", "POST", "/callbacks-destinations", `{"name":"a","url":"http://a.test","callbacks":{"type":"selected","callback_ids":["` + s.callback + `"]}}`, nil},
		{"OlderSelectedUnknown", "POST", "/callbacks-destinations", `{"name":"a","url":"http://a.test","callbacks":{"type":"selected","callback_ids":["x"]}}`, []string{"invalid_callback callbacks.callback_ids.0"}},
		{"OlderTooMany", "POST", "/callbacks-destinations", `{"name":"a","url":"http://a.test","callbacks":{"type":"selected","callback_id":` + many + `}}`, []string{"max_length callbacks.callback_id"}},
		{"OlderCallbacksNull", "POST", "/callbacks-destinations", `{"name":"a","url":"http://a.test","callbacks":null}`, []string{"invalid_type callbacks"}},

		{"EventNeeds", "POST", callback + "/events", `{}`, []string{"required type", "required output"}},
		{"EventOfOtherTypes", "POST", callback + "/events", `{"type":true,"output":[],"input":"x","source_id":null}`,
			[]string{"invalid_type type", "invalid_type source_id", "invalid_type output", "invalid_type input"}},
		{"EventLong", "POST", callback + "/events", `{"type":"` + strings.Repeat("a", 201) + `","source_id":"` + strings.Repeat("a", 1001) + `","output":{}}`,
			[]string{"max_length type", "max_length source_id"}},

		{"DeploymentNeeds", "POST", "/provider-deployments", `{"provider_config":{"name":1}}`,
			[]string{"required provider_id", "invalid_type provider_config.name", "required provider_config.value"}},
		{"DeploymentConfigAgainstItsSchema", "POST", "/provider-deployments", `{"provider_id":"crm","provider_config":{"value":{}}}`, []string{"required provider_config.value.account"}},
		{"ConfigNeeds", "POST", "/provider-configs", `{}`, []string{"required provider_id", "required value"}},
		{"ConfigValueNull", "PATCH", "/provider-configs/" + s.config, `{"value":null}`, []string{"invalid_type value"}},
		{"AuthConfigNeeds", "POST", "/provider-auth-configs", `{"metadata":[]}`, []string{"invalid_type metadata", "required provider_auth_method_id", "required value"}},
		{"MetadataLarge", "PATCH", callback, `{"metadata":{"a":"` + strings.Repeat("a", 64<<10) + `"}}`, []string{"max_length metadata"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := e.with(t)
			a := e.do(tt.method, tt.path, tt.body)
			if tt.want == nil {
				if a.Status != 200 {
					t.Errorf("status %d: %s", a.Status, a.Body)
				}
				return
			}
			if got := a.fieldErrors(); a.Status != 400 || !slices.Equal(got, tt.want) {
				t.Errorf("status %d, errors\n%q, want\n%q\n%s", a.Status, got, tt.want, a.Body)
			}
		})
	}
}

func testFieldErrorSaysWhatWasExpected(t *testing.T, e *env) {
	for value, received := range map[string]string{`"1"`: "string", `1.5`: "number", `true`: "boolean", `null`: "null", `[]`: "array", `{}`: "object"} {
		a := e.do("POST", "/callback-destinations", fmt.Sprintf(`{"name":"a","url":"http://a.test","retry":{"maxAttempts":%s}}`, value))
		if received == "null" {
			if a.Status != 200 {
				t.Errorf("null: %s", a.Body)
			}
			continue
		}
		if want := `"path":["retry","maxAttempts"],"expected":"integer","received":"` + received + `"`; !strings.Contains(a.Body, want) {
			t.Errorf("%s: %s", value, a.Body)
		}
	}
	for value, received := range map[string]string{`1`: "integer", `false`: "boolean"} {
		if a := e.do("POST", "/callback-destinations", `{"name":`+value+`}`); !strings.Contains(a.Body, `"expected":"string","received":"`+received+`"`) {
			t.Errorf("%s: %s", value, a.Body)
		}
	}
}

func testValuesAreKeptByteForByte(t *testing.T, e *env, s setup) {
	const text = `{"big":12345678901234567890123,"exact":1.10,"e":1E400,"html":"<&>","u":"\u00e9é","dup":1,"dup":2}`
	a := e.must("POST", "/callbacks/"+s.callback+"/events", `{"type":"own","output": `+text+` ,"input":`+text+`}`)
	if !strings.Contains(a.Body, `"input":`+text+`,"output":`+text) {
		t.Errorf("event: %s", a.Body)
	}
	if a := e.must("PATCH", "/callbacks/"+s.callback, `{"metadata":`+text+`}`); !strings.Contains(a.Body, `"metadata":`+text) {
		t.Errorf("callback: %s", a.Body)
	}
}

func testPatchChangesOnlyWhatItNames(t *testing.T, e *env) {
	id := e.id("POST", "/callback-destinations", `{"name":"a","url":"http://a.test","description":"d","event_types":["x"],"retry":{"type":"linear"},"timeout_seconds":3,"headers":{"X-A":"1"}}`)
	before := e.must("GET", "/callback-destinations/"+id, "").Body
	if after := e.must("PATCH", "/callback-destinations/"+id, `{}`).Body; after != before {
		t.Errorf("before %s\nafter %s", before, after)
	}
	cleared := e.must("PATCH", "/callback-destinations/"+id, `{"description":null,"event_types":[],"retry":null,"timeout_seconds":null,"headers":{}}`).Body
	for _, want := range []string{`"description":null`, `"event_types":[]`, `"retry":{"type":"schedule","maxAttempts":10,`, `"timeout_seconds":15`, `"headers":{}`} {
		if !strings.Contains(cleared, want) {
			t.Errorf("no %s in %s", want, cleared)
		}
	}
}
