package httpapi_test

import (
	"fmt"
	"io"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/callbackd/callbackd/httpapi"
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
	t.Run("PollIntervalIsAReason", func(t *testing.T) {
		for _, value := range []string{"0", "1.5", `"60"`, "true", "[]"} {
			a := e.with(t).do("PATCH", "/callbacks/"+s.callback, `{"poll_interval_seconds_override":`+value+`}`)
			if got := a.decode().str("reason"); got != "invalid_poll_interval" {
				t.Errorf("%s: reason %q: %s", value, got, a.Body)
			}
		}
	})
	t.Run("MessagesOfReferencesAreSentences", func(t *testing.T) {
		for body, want := range map[string]string{
			`{"destination_ids":["x"]}`:         "destination_ids.0 is no destination, or an archived one",
			`{"triggers":[{"trigger_id":"x"}]}`: "triggers.0.trigger_id is no trigger of the deployment's provider",
			`{"triggers":[{"trigger_id":"contact.created"},{"trigger_id":"contact.created"}]}`: "triggers.1.trigger_id is given twice",
		} {
			a := e.with(t).do("PATCH", "/callbacks/"+s.callback, body)
			if got := a.decode().str("message"); got != "the input is not valid: "+want {
				t.Errorf("%s: %s", body, got)
			}
		}
	})
	t.Run("DeploymentTakesAConfigThatThereIs", func(t *testing.T) { testDeploymentTakesAConfig(t, e.with(t), s) })
	t.Run("RefusedInputChangesNothing", func(t *testing.T) { testRefusedInputChangesNothing(t, e.with(t), s) })
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
	config, authConfig := "/provider-configs/"+s.config, "/provider-auth-configs/"+s.authConfig
	for _, tt := range []struct {
		name, method, path, body string
		want                     []string // nil: success
	}{
		{"UnknownFieldsAreIgnored", "PATCH", callback, `{"nonsense":1,"name":"b"}`, nil},
		{"WhiteSpaceIsFine", "PATCH", callback, " {\n\t\"name\" : \"b\" , \"poll_interval_seconds_override\" :\t60 , \"metadata\" : { } } \n", nil},
		{"EveryFieldIsNamed", "POST", "/callbacks", `{"name":1,"description":[],"metadata":"x","poll_interval_seconds_override":1.5,"destination_ids":{},"triggers":true}`,
			[]string{"invalid_type name", "invalid_type description", "invalid_type metadata", "required provider_deployment_id",
				"invalid_poll_interval poll_interval_seconds_override", "invalid_type destination_ids", "invalid_type triggers"}},
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
		{"PollIntervalInE", "PATCH", callback, `{"poll_interval_seconds_override":1e3}`, []string{"invalid_poll_interval poll_interval_seconds_override"}},
		{"PollIntervalFraction", "PATCH", callback, `{"poll_interval_seconds_override":60.0}`, []string{"invalid_poll_interval poll_interval_seconds_override"}},
		{"PollIntervalText", "PATCH", callback, `{"poll_interval_seconds_override":"60"}`, []string{"invalid_poll_interval poll_interval_seconds_override"}},
		{"RetentionForEver", "PATCH", callback, `{"retention_seconds":-1}`, nil},
		{"RetentionOfASecond", "PATCH", callback, `{"retention_seconds":1}`, nil},
		{"RetentionAsLongAsCanBe", "PATCH", callback, `{"retention_seconds":2147483647}`, nil},
		{"RetentionDefault", "PATCH", callback, `{"retention_seconds":null}`, nil},
		{"RetentionZero", "PATCH", callback, `{"retention_seconds":0}`, []string{"invalid_min retention_seconds"}},
		{"RetentionNegative", "PATCH", callback, `{"retention_seconds":-2}`, []string{"invalid_min retention_seconds"}},
		{"RetentionTooLong", "PATCH", callback, `{"retention_seconds":2147483648}`, []string{"invalid_max retention_seconds"}},
		{"RetentionFraction", "PATCH", callback, `{"retention_seconds":1.5}`, []string{"invalid_type retention_seconds"}},
		{"TooManyDestinations", "PATCH", callback, `{"destination_ids":` + many + `}`, []string{"callback_destination_limit_exceeded destination_ids"}},
		{"TooManyTriggers", "PATCH", callback, `{"triggers":[` + strings.Repeat(`{"trigger_id":"a"},`, 100) + `{"trigger_id":"a"}]}`, []string{"callback_trigger_limit_exceeded triggers"}},

		{"PollIntervalTrue", "PATCH", callback, `{"poll_interval_seconds_override":true}`, []string{"invalid_poll_interval poll_interval_seconds_override"}},
		{"PollIntervalList", "POST", "/callbacks", `{"name":"a","provider_deployment_id":"` + s.deployment + `","poll_interval_seconds_override":[]}`,
			[]string{"invalid_poll_interval poll_interval_seconds_override"}},
		{"NameLongOnce", "PATCH", callback, `{"name":"` + long + `"}`, []string{"max_length name"}},
		{"ListEntriesAreIds", "PATCH", callback, `{"destination_ids":["","` + long + `"],"triggers":[{"trigger_id":"` + long + `"}]}`,
			[]string{"required destination_ids.0", "max_length destination_ids.1", "max_length triggers.0.trigger_id"}},
		{"TriggerTwice", "PATCH", callback, `{"triggers":[{"trigger_id":"contact.created"},{"trigger_id":"contact.created"}]}`, []string{"invalid_callback_trigger triggers.1.trigger_id"}},
		{"ShapeAndReferences", "POST", "/callbacks", `{"provider_deployment_id":"` + s.deployment + `","name":5,"poll_interval_seconds_override":0,"destination_ids":[1,"x"],"triggers":[{"trigger_id":"x"},{}]}`,
			[]string{"invalid_type name", "invalid_poll_interval poll_interval_seconds_override", "invalid_type destination_ids.0", "required triggers.1.trigger_id",
				"invalid_callback_trigger triggers.0.trigger_id", "invalid_callback_destination destination_ids.1"}},
		{"ShapeAndReferencesOfAChange", "PATCH", callback, `{"name":5,"destination_ids":["x"],"triggers":[{"trigger_id":"contact.created"},{"trigger_id":"x"}]}`,
			[]string{"invalid_type name", "invalid_callback_trigger triggers.1.trigger_id", "invalid_callback_destination destination_ids.0"}},
		{"ReferencesWithoutTheDeployment", "POST", "/callbacks", `{"provider_deployment_id":"none","name":"a","destination_ids":["x"],"triggers":[{"trigger_id":"x"}]}`,
			[]string{"invalid_callback_destination destination_ids.0"}},
		{"ReferencesOfNoCallback", "PATCH", "/callbacks/none", `{"name":5,"destination_ids":["x"],"triggers":[{"trigger_id":"x"}]}`,
			[]string{"invalid_type name", "invalid_callback_destination destination_ids.0"}},
		{"NothingIsLookedForInAListTooLong", "PATCH", callback, `{"name":5,"destination_ids":` + many + `}`,
			[]string{"invalid_type name", "callback_destination_limit_exceeded destination_ids"}},
		{"InstanceIdsLong", "POST", callback + "/instances", `{"provider_config_id":"` + long + `","provider_auth_config_id":"` + long + `"}`,
			[]string{"max_length provider_config_id", "max_length provider_auth_config_id"}},

		{"DestinationDefaultsByNull", "PATCH", destination, `{"description":null,"metadata":null,"event_types":null,"headers":null,"retry":null,"timeout_seconds":null,"max_in_flight":null,"method":null}`, nil},
		{"RetryDefaultsByNull", "PATCH", destination, `{"retry":{"type":null,"maxAttempts":null,"delaySeconds":null}}`, nil},
		{"RetryTypes", "PATCH", destination, `{"retry":{"type":"schedule","maxAttempts":100,"delaySeconds":86400}}`, nil},
		{"RetryOutOfBounds", "PATCH", destination, `{"retry":{"type":"sometimes","maxAttempts":101,"delaySeconds":86401}}`,
			[]string{"invalid_enum retry.type", "invalid_max retry.maxAttempts", "invalid_max retry.delaySeconds"}},
		{"RetryTooSmall", "PATCH", destination, `{"retry":{"type":"","maxAttempts":0,"delaySeconds":-1}}`,
			[]string{"required retry.type", "invalid_min retry.maxAttempts", "invalid_min retry.delaySeconds"}},
		{"RetryInSnakeCaseIsUnknown", "PATCH", destination, `{"retry":{"max_attempts":0}}`, nil},
		{"RetryOfOtherType", "PATCH", destination, `{"retry":"linear"}`, []string{"invalid_type retry"}},
		{"ZeroIsNoDefault", "PATCH", destination, `{"timeout_seconds":0,"max_in_flight":0,"method":""}`,
			[]string{"required method", "invalid_min timeout_seconds", "invalid_min max_in_flight"}},
		{"DestinationOutOfBounds", "PATCH", destination, `{"timeout_seconds":61,"max_in_flight":1001,"method":"GET","event_types":["",1]}`,
			[]string{"invalid_type event_types.1", "invalid_enum method", "required event_types.0", "invalid_max timeout_seconds", "invalid_max max_in_flight"}},
		{"Headers", "PATCH", destination, `{"headers":{"A B":"x","Webhook-Id":"x","X-A":1,"X-B":"a\nb"}}`,
			[]string{"invalid_type headers.X-A", "invalid_type headers.A B", "invalid_literal headers.Webhook-Id", "invalid_type headers.X-B"}},
		{"HeadersOfOtherTypesInOrder", "PATCH", destination, `{"headers":{"D":1,"B":1,"C":1,"A":1}}`,
			[]string{"invalid_type headers.A", "invalid_type headers.B", "invalid_type headers.C", "invalid_type headers.D"}},
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
		{"OlderTooManyIds", "POST", "/callbacks-destinations", `{"name":"a","url":"x","callbacks":{"type":"selected","callback_ids":` + many + `}}`,
			[]string{"invalid_callback_destination_url url", "max_length callbacks.callback_ids"}},
		{"OlderShapeAndReferences", "POST", "/callbacks-destinations", `{"name":1,"url":"x","callbacks":{"type":"selected","callback_ids":["` + s.callback + `","x"]}}`,
			[]string{"invalid_type name", "invalid_callback_destination_url url", "invalid_callback callbacks.callback_ids.1"}},
		{"OlderReferencesAsTheyAreSpelled", "POST", "/callbacks-destinations", `{"name":"a","url":"x","callbacks":{"type":"selected","callback_id":["x","` + long + `",1]}}`,
			[]string{"invalid_type callbacks.callback_id.2", "invalid_callback_destination_url url", "max_length callbacks.callback_id.1", "invalid_callback callbacks.callback_id.0"}},
		{"OlderUnknownAsItIsSpelled", "POST", "/callbacks-destinations", `{"name":"a","url":"http://a.test","callbacks":{"type":"selected","callback_id":["x"]}}`,
			[]string{"invalid_callback callbacks.callback_id.0"}},
		{"OlderCallbacksNull", "POST", "/callbacks-destinations", `{"name":"a","url":"http://a.test","callbacks":null}`, []string{"invalid_type callbacks"}},

		{"EventNeeds", "POST", callback + "/events", `{}`, []string{"required type", "required output"}},
		{"EventOfOtherTypes", "POST", callback + "/events", `{"type":true,"output":[],"input":"x","source_id":null}`,
			[]string{"invalid_type type", "invalid_type source_id", "invalid_type output", "invalid_type input"}},
		{"EventLong", "POST", callback + "/events", `{"type":"` + strings.Repeat("a", 201) + `","source_id":"` + strings.Repeat("a", 1001) + `","output":{}}`,
			[]string{"max_length type", "max_length source_id"}},

		{"EventVeryLong", "POST", callback + "/events", `{"type":"` + long + `","output":{}}`, []string{"max_length type"}},

		{"DeploymentNeeds", "POST", "/provider-deployments", `{"provider_config":{"name":1}}`,
			[]string{"required provider_id", "invalid_type provider_config.name", "required provider_config.value"}},
		{"DeploymentConfigAgainstItsSchema", "POST", "/provider-deployments", `{"provider_id":"crm","provider_config":{"value":{}}}`, []string{"required provider_config.value.account"}},
		{"ConfigNeeds", "POST", "/provider-configs", `{}`, []string{"required provider_id", "required value"}},
		{"ConfigValueNull", "PATCH", "/provider-configs/" + s.config, `{"value":null}`, []string{"invalid_type value"}},
		{"AuthConfigNeeds", "POST", "/provider-auth-configs", `{"metadata":[]}`, []string{"invalid_type metadata", "required provider_auth_method_id", "required value"}},
		{"ConfigShapeAndSchema", "POST", "/provider-configs", `{"provider_id":"crm","name":5,"value":{"account":5}}`, []string{"invalid_type name", "invalid_type value.account"}},
		{"ConfigBoundsAndSchema", "POST", "/provider-configs", `{"provider_id":"crm","name":"` + long + `","value":{"bogus":5}}`,
			[]string{"max_length name", "required value.account", "unrecognized_key value.bogus"}},
		{"ConfigOfNoProvider", "POST", "/provider-configs", `{"provider_id":"none","name":5,"value":{}}`, []string{"invalid_type name"}},
		{"ConfigIdsLong", "POST", "/provider-configs", `{"provider_id":"` + long + `","provider_deployment_id":"` + long + `","value":{}}`,
			[]string{"max_length provider_id", "max_length provider_deployment_id"}},
		{"ConfigOfNoDeploymentAndSchema", "POST", "/provider-configs", `{"provider_id":"crm","provider_deployment_id":"none","value":{}}`, []string{"required value.account"}},
		{"ConfigChangeShapeAndSchema", "PATCH", config, `{"metadata":5,"value":{"account":5}}`, []string{"invalid_type metadata", "invalid_type value.account"}},
		{"DeploymentShapeAndSchema", "POST", "/provider-deployments", `{"provider_id":"crm","name":5,"provider_config":{"name":5,"value":{"bogus":1}}}`,
			[]string{"invalid_type name", "invalid_type provider_config.name", "required provider_config.value.account", "unrecognized_key provider_config.value.bogus"}},
		{"DeploymentWithAConfigThatIsNone", "POST", "/provider-deployments", `{"provider_id":"crm","name":5,"provider_config_id":"none"}`,
			[]string{"invalid_type name", "invalid_literal provider_config_id"}},
		{"DeploymentWithTwoConfigs", "POST", "/provider-deployments", `{"provider_id":"crm","provider_config_id":"none","provider_config":{"value":{}}}`,
			[]string{"invalid_literal provider_config_id", "required provider_config.value.account"}},
		{"DeploymentConfigIdLong", "POST", "/provider-deployments", `{"provider_id":"crm","provider_config_id":"` + long + `"}`, []string{"max_length provider_config_id"}},
		{"AuthConfigShapeAndSchema", "POST", "/provider-auth-configs", `{"provider_auth_method_id":"token","name":5,"value":{}}`, []string{"invalid_type name", "required value.token"}},
		{"AuthConfigOfNoDeploymentAndSchema", "POST", "/provider-auth-configs", `{"provider_auth_method_id":"token","provider_deployment_id":"none","value":{}}`, []string{"required value.token"}},
		{"AuthConfigIdsLong", "POST", "/provider-auth-configs", `{"provider_auth_method_id":"` + long + `","provider_deployment_id":"` + long + `","value":{}}`,
			[]string{"max_length provider_auth_method_id", "max_length provider_deployment_id"}},
		{"AuthConfigChangeShapeAndSchema", "PATCH", authConfig, `{"name":5,"value":{"token":5}}`, []string{"invalid_type name", "invalid_type value.token"}},
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

func testDeploymentTakesAConfig(t *testing.T, e *env, s setup) {
	create := func(config string) answer {
		return e.do("POST", "/provider-deployments", `{"provider_id":"crm","provider_config_id":"`+config+`"}`)
	}
	shared := e.id("POST", "/provider-configs", `{"provider_id":"crm","name":"Shared","value":{"account":"acme"}}`)
	for range 2 { // it stays one of all deployments
		if o := create(shared).decode(); o.str("default_config", "id") != shared {
			t.Errorf("deployment: %v", o)
		}
	}
	if o := e.must("GET", "/provider-configs/"+shared, "").decode(); o["deployment"] != nil {
		t.Errorf("config: %v", o)
	}
	archived := e.id("DELETE", "/provider-configs/"+e.id("POST", "/provider-configs", `{"provider_id":"crm","value":{"account":"acme"}}`), "")
	before := len(e.must("GET", "/provider-deployments?limit=100", "").ids())
	for config, message := range map[string]string{s.config: "belongs to another deployment", archived: "is no active config of this provider", "pcf_none": "is no active config of this provider"} {
		a := create(config)
		if got := a.decode().str("message"); a.Status != 400 || got != "the input is not valid: provider_config_id "+message {
			t.Errorf("%d %s", a.Status, a.Body)
		}
	}
	if after := len(e.must("GET", "/provider-deployments?limit=100", "").ids()); after != before {
		t.Errorf("%d deployments, want %d", after, before)
	}
}

// testRefusedInputChangesNothing sends what would succeed but for one field, everywhere.
func testRefusedInputChangesNothing(t *testing.T, e *env, s setup) {
	trigger := "/callbacks/" + s.callback + "/instances/" + e.id("POST", "/callbacks/"+s.callback+"/instances", `{"provider_config_id":"`+s.config+`"}`) + "/triggers/contact.created"
	type call struct{ method, path, body string } // the body's last field is the one that is wrong
	calls := []call{
		{"POST", "/callbacks", `{"provider_deployment_id":"` + s.deployment + `","name":"a","description":5}`},
		{"PATCH", "/callbacks/" + s.callback, `{"name":"changed","destination_ids":[],"triggers":[],"description":5}`},
		{"POST", "/callbacks/" + s.callback + "/instances", `{"provider_config_id":"` + s.config + `","baseline":5}`},
		{"PATCH", trigger, `{"state":{},"status":5}`},
		{"POST", "/callbacks/" + s.callback + "/events", `{"type":"a","output":{},"source_id":5}`},
		{"POST", "/callbacks/" + s.callback + "/events/batch", `{"events":[{"type":"a","output":{}},{"type":"a","output":{},"source_id":5}]}`},
		{"POST", "/callback-destinations", `{"name":"a","url":"http://a.test","method":5}`},
		{"PATCH", "/callback-destinations/" + s.destination, `{"name":"changed","method":5}`},
		{"POST", "/callbacks-destinations", `{"name":"a","url":"http://a.test","callbacks":{"type":"all"},"description":5}`},
		{"PATCH", "/callbacks-destinations/" + s.destination, `{"name":"changed","description":5}`},
		{"POST", "/provider-deployments", `{"provider_id":"crm","name":5}`},
		{"PATCH", "/provider-deployments/" + s.deployment, `{"name":"changed","description":5}`},
		{"POST", "/provider-configs", `{"provider_id":"crm","value":{"account":"a"},"name":5}`},
		{"PATCH", "/provider-configs/" + s.config, `{"value":{"account":"changed"},"name":5}`},
		{"POST", "/provider-auth-configs", `{"provider_auth_method_id":"token","value":{"token":"a"},"name":5}`},
		{"PATCH", "/provider-auth-configs/" + s.authConfig, `{"value":{"token":"changed"},"name":5}`},
	}
	taking := 0
	for _, route := range httpapi.Routes() {
		if strings.HasPrefix(route, "POST ") && !strings.HasSuffix(route, "/poll") || strings.HasPrefix(route, "PATCH ") {
			taking++
		}
	}
	if taking != len(calls) {
		t.Errorf("%d calls are tried, but %d take a body", len(calls), taking)
	}
	all := func() (text string) {
		for _, path := range []string{"/callbacks", "/callbacks/" + s.callback + "/instances", "/callbacks/" + s.callback + "/events", "/callback-destinations",
			"/provider-deployments", "/provider-configs", "/provider-auth-configs"} {
			text += e.must("GET", path+"?limit=100", "").Body
		}
		return text + e.must("GET", trigger, "").Body
	}
	before := all()
	for _, c := range calls {
		if a := e.do(c.method, c.path, c.body); a.Status != 400 || len(a.fieldErrors()) != 1 {
			t.Errorf("%s %s: %d %s", c.method, c.path, a.Status, a.Body)
		}
		if all() != before {
			t.Fatalf("%s %s changed something", c.method, c.path)
		}
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
