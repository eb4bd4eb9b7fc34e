package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/httpapi"
)

var update = flag.Bool("update", false, "write testdata instead of comparing with it")

// walker makes calls by their patterns, remembers which routes it took, and compares the
// answers with testdata, byte for byte but for ids and secrets.
type walker struct {
	*env
	used  map[string]bool
	names map[string]string // ids as the golden files have them
	doc   *document         // if there is one, answers are compared with it instead
}

// call fills the pattern's parameters with ids; golden "" compares nothing.
func (w *walker) call(golden, method, pattern, query, body string, ids ...string) object {
	w.t.Helper()
	path := paramRE.ReplaceAllStringFunc(pattern, func(string) string {
		id := ids[0]
		ids = ids[1:]
		return id
	})
	w.used[method+" "+pattern] = true
	a := w.must(method, path+query, body)
	if w.doc != nil {
		w.doc.compare(method, path+query, body, a)
	} else if golden != "" {
		w.compare(golden, a.Body)
	}
	return a.decode()
}

var (
	paramRE   = regexp.MustCompile(`:\w+`)
	idRE      = regexp.MustCompile(`\b(pro|prv|psp|ptr|pam|pde|pcf|pac|dest|wh|clb|cbt|cbi|ctr|cte|sdi|sda)_[0-9a-z]{9}[0-9A-Za-z]{13}\b`)
	urlRE     = regexp.MustCompile(`http://127\.0\.0\.1:\d+`)
	secretRE  = regexp.MustCompile(`whsec_[A-Za-z0-9+/=]{40,}`)
	signRE    = regexp.MustCompile(`v1,[A-Za-z0-9+/=]{44}|v1=[0-9a-f]{64}`)
	elapsedRE = regexp.MustCompile(`(duration_ms": |"completed_at": "2026-01-10T14:45:)[0-9.]+`)
	versionRE = regexp.MustCompile(`callbackd/[0-9.]+`)
)

func (w *walker) compare(golden, body string) {
	w.t.Helper()
	var b bytes.Buffer
	if err := json.Indent(&b, []byte(body), "", "  "); err != nil {
		w.t.Fatal(err)
	}
	text := idRE.ReplaceAllStringFunc(b.String(), func(id string) string {
		if w.names[id] == "" {
			prefix, _, _ := strings.Cut(id, "_")
			count := 1
			for _, name := range w.names {
				if strings.HasPrefix(name, prefix+"_") {
					count++
				}
			}
			w.names[id] = fmt.Sprintf("%s_%d", prefix, count)
		}
		return w.names[id]
	})
	for re, replacement := range map[*regexp.Regexp]string{urlRE: "http://receiver", secretRE: "whsec_SECRET", signRE: "SIGNATURE", elapsedRE: "${1}0", versionRE: "callbackd/VERSION"} {
		text = re.ReplaceAllString(text, replacement)
	}
	path := filepath.Join("testdata", golden+".json")
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			w.t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		w.t.Fatal(err)
	}
	if text != string(want) {
		w.t.Errorf("%s differs from what the API said (-update accepts it):\n%s", path, text)
	}
}

func newWalker(t *testing.T) *walker {
	return &walker{env: newEnv(t, engine.Function{Name: "audit", Handle: func(context.Context, engine.Message) error { return nil }}),
		used: make(map[string]bool), names: make(map[string]string)}
}

func TestWalk(t *testing.T) {
	t.Parallel()
	w := newWalker(t)
	w.walk()
	for _, route := range httpapi.Routes() {
		if !w.used[route] {
			t.Errorf("%s was not called", route)
		}
		delete(w.used, route)
	}
	for route := range w.used {
		t.Errorf("%s is no route of the table", route)
	}
}

// walk goes through every route once, in the order in which a user would, and returns
// what it leaves behind, archived.
func (w *walker) walk() (ids map[string]string) {
	w.t.Helper()
	url, called := receiver(w.t, http.StatusOK, 2)

	w.call("health", "GET", "/health", "", "")
	if a := w.do("GET", "/health/ready", ""); a.Status != http.StatusServiceUnavailable {
		w.t.Errorf("the readiness of an engine that was not started is %d %s", a.Status, a.Body)
	} else if w.doc != nil {
		w.doc.compare("GET", "/health/ready", "", a)
	}
	w.used["GET /health/ready"] = true
	w.call("", "GET", "/openapi.json", "", "")

	// What the code declares.
	w.call("list_provider", "GET", "/providers", "", "")
	version := w.call("provider", "GET", "/providers/:provider_id", "", "", "crm").str("current_version", "id")
	w.call("", "GET", "/provider-versions", "?provider_id=crm", "")
	specification := w.call("provider_version", "GET", "/provider-versions/:provider_version_id", "", "", version).str("specification_id")
	w.call("", "GET", "/provider-specifications", "?provider_id=crm", "")
	w.call("provider_specification", "GET", "/provider-specifications/:provider_specification_id", "", "", specification)
	triggers := w.call("list_provider_trigger", "GET", "/provider-triggers", "?provider_version_id="+version, "")
	trigger := object(triggers["items"].([]any)[0].(map[string]any)).str("id")
	w.call("provider_trigger", "GET", "/provider-triggers/:provider_trigger_id", "", "", trigger)
	w.call("", "GET", "/provider-auth-methods", "?provider_id=crm", "")
	w.call("provider_auth_method", "GET", "/provider-auth-methods/:provider_auth_method_id", "", "", "token")
	w.call("provider_config_schema", "GET", "/provider-config-schema", "?provider_id=crm", "")

	// What users set up.
	deployment := w.call("provider_deployment", "POST", "/provider-deployments", "",
		`{"provider_id":"crm","name":"Production","description":"The real one","metadata":{"n":1.50},"provider_config":{"name":"Default","value":{"account":"acme"}}}`).str("id")
	w.call("", "GET", "/provider-deployments", "", "")
	w.call("provider_deployment", "GET", "/provider-deployments/:provider_deployment_id", "", "", deployment)
	w.call("provider_deployment_unnamed", "PATCH", "/provider-deployments/:provider_deployment_id", "", `{"name":null,"description":null,"metadata":null}`, deployment)
	config := w.call("provider_config", "POST", "/provider-configs", "",
		`{"provider_id":"crm","provider_deployment_id":"`+deployment+`","name":"Main","value":{"account":"acme","max":3}}`).str("id")
	w.call("", "GET", "/provider-configs", "?provider_deployment_id="+deployment, "")
	w.call("provider_config", "GET", "/provider-configs/:provider_config_id", "", "", config)
	w.call("provider_config_changed", "PATCH", "/provider-configs/:provider_config_id", "", `{"description":"Of Acme","value":{"account":"acme2"}}`, config)
	w.call("provider_config_schema", "GET", "/provider-config-schema", "?provider_config_id="+config, "")
	w.call("provider_config_schema", "GET", "/provider-config-schema", "?provider_deployment_id="+deployment, "")
	authConfig := w.call("provider_auth_config", "POST", "/provider-auth-configs", "",
		`{"provider_auth_method_id":"token","provider_deployment_id":"`+deployment+`","value":{"token":"t0p"}}`).str("id")
	w.call("", "GET", "/provider-auth-configs", "", "")
	w.call("provider_auth_config", "GET", "/provider-auth-configs/:provider_auth_config_id", "", "", authConfig)
	w.call("provider_auth_config_changed", "PATCH", "/provider-auth-configs/:provider_auth_config_id", "", `{"name":"Robot","value":{"token":"n3w"}}`, authConfig)

	// Destinations, in both forms.
	destination := w.call("callback_destination", "POST", "/callback-destinations", "", `{"name":"Receiver","url":"`+url+`"}`).str("id")
	w.call("list_callback_destination", "GET", "/callback-destinations", "", "")
	w.call("callback_destination", "GET", "/callback-destinations/:destination_id", "", "", destination)
	w.call("callback_destination_changed", "PATCH", "/callback-destinations/:destination_id", "",
		`{"description":"Takes all","event_types":["contact.created","own"],"headers":{"X-Team":"a<b"},"retry":{"type":"linear","maxAttempts":3,"delaySeconds":60},`+
			`"timeout_seconds":5,"max_in_flight":2,"method":"PUT","metadata":{"big":12345678901234567890.10}}`, destination)

	// A callback at work.
	callback := w.call("callback", "POST", "/callbacks", "", `{"provider_deployment_id":"`+deployment+`","name":"Contacts","metadata":{"team":"a"},`+
		`"poll_interval_seconds_override":30,"destination_ids":["`+destination+`"],"triggers":[{"trigger_id":"contact.created","event_types":["contact.created"]}]}`).str("id")
	w.call("", "GET", "/callbacks", "", "")
	w.call("callback", "GET", "/callbacks/:callback_id", "", "", callback)
	w.call("callback_changed", "PATCH", "/callbacks/:callback_id", "", `{"poll_interval_seconds_override":null,"description":"New ones","triggers":[{"trigger_id":"`+trigger+`"}]}`, callback)
	older := w.call("older_destination", "POST", "/callbacks-destinations", "",
		`{"name":"Older","url":"http://127.0.0.1:1/x","callbacks":{"type":"selected","callback_id":["`+callback+`"]}}`).str("id")
	w.call("list_older_destination", "GET", "/callbacks-destinations", "?callback_id="+callback, "")
	w.call("older_destination", "GET", "/callbacks-destinations/:destination_id", "", "", older)
	w.call("older_destination_changed", "PATCH", "/callbacks-destinations/:destination_id", "", `{"name":"Old","description":"soon gone"}`, older)
	w.call("older_destination_changed", "DELETE", "/callbacks-destinations/:destination_id", "", "", older)
	w.call("older_destination_all", "POST", "/callbacks-destinations", "", `{"name":"Every","url":"`+url+`","callbacks":{"type":"all"}}`)
	instance := w.call("callback_instance", "POST", "/callbacks/:callback_id/instances", "",
		`{"provider_config_id":"`+config+`","provider_auth_config_id":"`+authConfig+`","baseline":"emit"}`, callback).str("id")
	w.call("", "GET", "/callbacks/:callback_id/instances", "", "", callback)
	w.call("callback_instance", "GET", "/callbacks/:callback_id/instances/:callback_instance_id", "", "", callback, instance)

	const watched = "/callbacks/:callback_id/instances/:callback_instance_id/triggers/:trigger_id"
	w.call("callback_instance_trigger", "GET", watched, "", "", callback, instance, trigger)
	w.call("callback_instance_trigger_paused", "PATCH", watched, "", `{"status":"paused","state":{"since":12345678901234567890.10}}`, callback, instance, "contact.created")
	w.call("callback_instance_trigger", "PATCH", watched, "", `{"status":"active","state":null}`, callback, instance, trigger)

	// What happens then.
	w.run(called, func() {
		w.call("callback_instance_trigger_polled", "POST", watched+"/poll", "", "", callback, instance, trigger)
	})
	polled := w.call("list_callback_event", "GET", "/callbacks/:callback_id/events", "?callback_instance_id="+instance, "", callback)
	if got := polled.at("items").([]any)[0].(map[string]any)["output"].(map[string]any)["balance"].(json.Number); got != "12345678901234567890.10" {
		w.t.Errorf("the number became %s", got)
	}
	notifications := w.call("list_callback_notification", "GET", "/callbacks/:callback_id/notifications", "?destination_id="+destination, "", callback)
	notification := object(notifications["items"].([]any)[0].(map[string]any)).str("id")
	w.call("callback_notification", "GET", "/callbacks/:callback_id/notifications/:callback_notification_id", "", "", callback, notification)
	event := w.call("callback_event", "POST", "/callbacks/:callback_id/events", "", `{"type":"own","source_id":"mine","output":{"n":1e400},"input":null}`, callback).str("id")
	again := w.call("callback_event", "POST", "/callbacks/:callback_id/events", "", `{"type":"own","source_id":"mine","output":{"n":2}}`, callback).str("id")
	w.call("callback_event_batch", "POST", "/callbacks/:callback_id/events/batch", "", `{"events":[{"type":"own","source_id":"mine","output":{}},{"type":"own","source_id":"other","output":{"n":3}}]}`, callback)
	if event != again {
		w.t.Error("the same source_id made another event")
	}
	w.call("callback_event", "GET", "/callbacks/:callback_id/events/:callback_event_id", "", "", callback, event)

	// The end.
	w.call("callback_instance_detached", "DELETE", "/callbacks/:callback_id/instances/:callback_instance_id", "", "", callback, instance)
	w.call("callback_archived", "DELETE", "/callbacks/:callback_id", "", "", callback)
	w.call("callback_archived", "GET", "/callbacks/:callback_id", "", "", callback)
	w.call("callback_destination_archived", "DELETE", "/callback-destinations/:destination_id", "", "", destination)
	for pattern, id := range map[string]string{"/provider-auth-configs/:provider_auth_config_id": authConfig, "/provider-configs/:provider_config_id": config,
		"/provider-deployments/:provider_deployment_id": deployment} {
		if o := w.call("", "DELETE", pattern, "", "", id); o.str("status") != "archived" {
			w.t.Errorf("DELETE %s answered with status %q", pattern, o.str("status"))
		}
	}
	return map[string]string{"callback_id": callback, "callback_instance_id": instance, "callback_event_id": event, "callback_notification_id": notification, "trigger_id": trigger,
		"destination_id": destination, "provider_id": "crm", "provider_version_id": version, "provider_specification_id": specification, "provider_trigger_id": trigger,
		"provider_auth_method_id": "token", "provider_deployment_id": deployment, "provider_config_id": config, "provider_auth_config_id": authConfig}
}

func TestPresent(t *testing.T) {
	t.Parallel()

	t.Run("FunctionDestinationHasNoWebhookAndNoRequest", func(t *testing.T) {
		t.Parallel()
		called := make(chan struct{})
		e := newEnv(t, engine.Function{Name: "audit", Handle: func(context.Context, engine.Message) error { close(called); return nil }})
		s := e.setup("http://127.0.0.1:1")
		e.must("PATCH", "/callbacks/"+s.callback, `{"destination_ids":["func:audit"]}`)
		e.must("POST", "/callbacks/"+s.callback+"/events", `{"type":"own","output":{}}`)
		e.run(called)
		id := e.must("GET", "/callbacks/"+s.callback+"/notifications", "").ids()[0]
		n := e.must("GET", "/callbacks/"+s.callback+"/notifications/"+id, "").decode()
		if n.str("status") != "delivered" || n.at("destination", "webhook") != nil || n.at("event", "request") != nil || n.str("event", "status") != "delivered" {
			t.Errorf("notification: %v", n)
		}
		if o := e.must("GET", "/callbacks-destinations/func:audit", "").decode(); o["webhook_destination"] != nil {
			t.Errorf("older form: %v", o)
		}
	})

	t.Run("FailedDeliveryHasItsTrueReason", func(t *testing.T) {
		t.Parallel()
		e := newEnv(t)
		url, called := receiver(t, http.StatusTeapot, 1)
		s := e.setup(url)
		e.must("PATCH", "/callback-destinations/"+s.destination, `{"retry":{"type":"exponential","maxAttempts":1}}`)
		e.must("POST", "/callbacks/"+s.callback+"/events", `{"type":"own","output":{}}`)
		e.run(called)
		id := e.must("GET", "/callbacks/"+s.callback+"/notifications?status=failed", "").ids()[0]
		n := e.must("GET", "/callbacks/"+s.callback+"/notifications/"+id, "").decode()
		attempt := object(n["attempts"].([]any)[0].(map[string]any))
		if n.str("error", "code") != "http_418" || n.str("event", "status") != "failed" || n["next_attempt_at"] != nil ||
			attempt.str("status") != "failed" || attempt.str("error", "code") != "http_418" || attempt.str("response", "body") != "thanks" {
			t.Errorf("notification: %v", n)
		}
	})

	t.Run("SecretsOfConfigsAreNeverShown", func(t *testing.T) {
		t.Parallel()
		e := newEnv(t)
		s := e.setup("http://127.0.0.1:1")
		for _, path := range []string{"/provider-auth-configs/" + s.authConfig, "/provider-configs/" + s.config} {
			if a := e.must("GET", path, ""); strings.Contains(a.Body, "t0p") || strings.Contains(a.Body, "acme") {
				t.Errorf("%s shows its value: %s", path, a.Body)
			}
		}
	})

	t.Run("DisabledDestinationIsRevivedByStatus", func(t *testing.T) {
		t.Parallel()
		e := newEnv(t)
		url, called := receiver(t, http.StatusGone, 1)
		s := e.setup(url)
		e.must("POST", "/callbacks/"+s.callback+"/events", `{"type":"own","output":{}}`)
		e.run(called)
		if got := e.must("GET", "/callback-destinations?status=disabled", "").ids(); !slices.Equal(got, []string{s.destination}) {
			t.Fatalf("disabled: %v", got)
		}
		if got := e.must("PATCH", "/callback-destinations/"+s.destination, `{"status":"active"}`).decode().str("status"); got != "active" {
			t.Errorf("status %q", got)
		}
	})
}
