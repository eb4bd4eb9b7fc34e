package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
)

// integration answers as a Slates integration with one polling trigger does.
func integration(t *testing.T) (url string) {
	t.Helper()
	results := map[string]object{
		"slates/provider.identify":          {"name": "Counter"},
		"slates/actions.list":               {"actions": []object{{"id": "count", "type": "action.trigger", "invocation": object{"type": "polling", "intervalSeconds": 1}}}},
		"slates/config.schema.get":          {"schema": nil},
		"slates/auth.methods.list":          {"authenticationMethods": []object{}},
		"slates/action.trigger.poll_events": {"inputs": []int{1}},
		"slates/action.trigger.map_event":   {"type": "counted", "id": "1", "output": object{"n": 1}},
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var batch struct {
			Messages []struct{ ID, Method string }
		}
		if err := json.NewDecoder(r.Body).Decode(&batch); err != nil {
			t.Error(err)
		}
		answers := []object{}
		for _, m := range batch.Messages {
			if m.ID != "" {
				answers = append(answers, object{"jsonrpc": "2.0", "id": m.ID, "result": results[m.Method]})
			}
		}
		if err := json.NewEncoder(w).Encode(object{"messages": answers}); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// Integrations come from flags and, one on each line, from the environment; what they find becomes
// events, at the interval that the daemon allows.
func TestSlatesAreProviders(t *testing.T) {
	t.Parallel()
	url := integration(t)
	p := serveIn(t, []string{"CALLBACKD_SLATE=one=" + url + "\n\n two = " + url + "/a,b;c\n"}, filepath.Join(t.TempDir(), "x.db"), "--min-poll-interval", "2s")
	for _, name := range []string{"one", "two"} {
		if provider := p.call("GET", "/providers/"+name, nil); provider["name"] != "Counter" {
			t.Errorf("%s: %v", name, provider)
		}
	}
	deployment := id(p.call("POST", "/provider-deployments", object{"provider_id": "one", "name": "d"}))
	config := id(p.call("POST", "/provider-configs", object{"provider_id": "one", "provider_deployment_id": deployment, "value": object{}}))
	callback := id(p.call("POST", "/callbacks", object{"name": "c", "provider_deployment_id": deployment, "poll_interval_seconds_override": 1}))
	p.call("POST", "/callbacks/"+callback+"/instances", object{"provider_config_id": config})
	eventually(t, "an event", func() bool {
		items, _ := p.call("GET", "/callbacks/"+callback+"/events", nil)["items"].([]any)
		return len(items) == 1
	})
	flag := serve(t, filepath.Join(t.TempDir(), "x.db"), "--slate", "three="+url, "--slate", "four="+url)
	for _, name := range []string{"three", "four"} {
		flag.call("GET", "/providers/"+name, nil)
	}
}
