package httpapi

import "net/http"

// health tells that the server answers, and nothing else.
func health(*request) (any, error) {
	return struct {
		Status string `json:"status"`
	}{"ok"}, nil
}

type readyBody struct {
	Status              string   `json:"status"`
	Reasons             []string `json:"reasons"`
	StuckTriggers       int      `json:"stuck_triggers"`
	FailingDestinations int      `json:"failing_destinations"`
}

// ready tells whether events are accepted, polled and delivered, and if not, why. It asks the
// engine's memory only, so that anybody may call it as often as they like.
func ready(r *request) (any, error) {
	h := r.eng.Health()
	body := readyBody{Status: "ready", Reasons: orEmpty(h.Reasons), StuckTriggers: h.StuckTriggers, FailingDestinations: h.FailingDestinations}
	if !h.Ready() {
		body.Status, r.status = "not_ready", http.StatusServiceUnavailable
	}
	return body, nil
}
