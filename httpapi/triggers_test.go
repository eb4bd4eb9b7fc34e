package httpapi_test

import (
	"slices"
	"strings"
	"testing"
)

func TestInstanceTrigger(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.setup("http://127.0.0.1:1")
	attached := e.must("POST", "/callbacks/"+s.callback+"/instances", `{"provider_config_id":"`+s.config+`"}`).decode()
	first := object(attached["triggers"].([]any)[0].(map[string]any))
	instance := "/callbacks/" + s.callback + "/instances/" + attached.str("id")
	path := instance + "/triggers/contact.created"

	t.Run("HasThreeNames", func(t *testing.T) {
		e := e.with(t)
		for _, name := range []string{first.str("id"), first.str("provider_trigger", "id"), first.str("provider_trigger", "key")} {
			if got := e.id("GET", instance+"/triggers/"+name, ""); got != first.str("id") {
				t.Errorf("%s is %s", name, got)
			}
		}
	})

	t.Run("IsFoundInItsInstanceAlone", func(t *testing.T) {
		e := e.with(t)
		other := e.setup("http://127.0.0.1:1")
		o := e.must("POST", "/callbacks/"+other.callback+"/instances", `{"provider_config_id":"`+other.config+`"}`).decode()
		for wrong, entity := range map[string]string{
			"/callbacks/" + other.callback + "/instances/" + attached.str("id") + "/triggers/contact.created": "callback.instance",
			"/callbacks/" + other.callback + "/instances/" + o.str("id") + "/triggers/" + first.str("id"):     "callback.instance.trigger",
			"/callbacks/clb_none/instances/" + attached.str("id") + "/triggers/contact.created":               "callback",
			instance + "/triggers/" + strings.Repeat("x", 300):                                                "callback.instance.trigger",
		} {
			for _, call := range []struct{ method, suffix, body string }{{"GET", "", ""}, {"PATCH", "", `{"status":"paused"}`}, {"POST", "/poll", ""}} {
				if a := e.do(call.method, wrong+call.suffix, call.body); a.Status != 404 || a.decode().str("entity") != entity {
					t.Errorf("%s %s: %d %s", call.method, wrong, a.Status, a.Body)
				}
			}
		}
	})

	t.Run("StateIsAnyJSONByteForByte", func(t *testing.T) {
		e := e.with(t)
		for _, state := range []string{`{"a":1e400,"a":12345678901234567890.10}`, `"text"`, `0`, `false`, `[]`, strings.Repeat("[", 500) + strings.Repeat("]", 500), `null`} {
			for _, a := range []answer{e.must("PATCH", path, `{"state":`+state+`}`), e.must("PATCH", path, `{}`), e.must("GET", path, "")} {
				if !strings.HasSuffix(a.Body, `,"state":`+state+"}\n") {
					t.Errorf("%.50s: %s", state, a.Body)
				}
			}
		}
	})

	t.Run("WrongInputNamesEveryField", func(t *testing.T) {
		e := e.with(t)
		deep := strings.Repeat("[", 501) + strings.Repeat("]", 501)
		for body, want := range map[string][]string{
			`{"status":"failing"}`:                    {"invalid_enum status"},
			`{"status":""}`:                           {"invalid_enum status"},
			`{"status":null}`:                         {"invalid_type status"},
			`{"status":1,"state":` + deep + `}`:       {"invalid_type status", "invalid_max state"},
			`{"status":"pause","state":` + deep + `}`: {"invalid_enum status", "invalid_max state"},
		} {
			if a := e.do("PATCH", path, body); a.Status != 400 || !slices.Equal(a.fieldErrors(), want) {
				t.Errorf("%.40s: %d %s", body, a.Status, a.Body)
			}
		}
	})

	t.Run("ConflictsSayWhatToDo", func(t *testing.T) {
		e := e.with(t)
		e.must("PATCH", path, `{"status":"paused"}`)
		if o := e.do("POST", path+"/poll", "").decode(); o.str("code") != "conflict" || !strings.Contains(o.str("hint"), `{"status": "active"}`) {
			t.Errorf("paused: %v", o)
		}
		e.must("DELETE", instance, "")
		e.must("PATCH", path, `{"state":1}`) // for when it is attached again
		for _, call := range []struct{ method, path, body string }{{"POST", path + "/poll", ""}, {"PATCH", path, `{"status":"paused"}`}, {"PATCH", path, `{"status":"active","state":2}`}} {
			if o := e.do(call.method, call.path, call.body).decode(); o.str("code") != "conflict" || !strings.Contains(o.str("message"), "is detached") || !strings.Contains(o.str("hint"), "attach") {
				t.Errorf("%s %s: %v", call.method, call.body, o)
			}
		}
		if o := e.must("GET", path, ""); !strings.HasSuffix(o.Body, `,"state":1}`+"\n") {
			t.Errorf("a refused change left %s", o.Body)
		}
	})
}
