package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// What the triggers of an instance are shown, steered and polled by.

// pollWait is for how long an answer waits for the poll that was asked for: less than a server that
// shuts down gives its requests.
const pollWait = 8 * time.Second

// instanceTriggerDetailBody is a trigger alone, rather than in its instance.
type instanceTriggerDetailBody struct {
	instanceTriggerBody
	State json.RawMessage `json:"state"`
}

func presentInstanceTriggerDetail(t engine.InstanceTrigger) instanceTriggerDetailBody {
	state := t.State
	if state != nil && !json.Valid(state) { // older versions kept what a provider gave, whatever it was
		state, _ = json.Marshal(string(state)) // a string always marshals
	}
	return instanceTriggerDetailBody{instanceTriggerBody: presentInstanceTrigger(t), State: state}
}

func getInstanceTrigger(r *request) (any, error) {
	t, err := r.eng.InstanceTrigger(r.ctx(), r.id(0), r.id(1), r.id(2))
	return presented(t, err, presentInstanceTriggerDetail)
}

func updateInstanceTrigger(f *fields) engine.UpdateInstanceTrigger {
	return engine.UpdateInstanceTrigger{Status: f.text("status", 0), State: f.json("state")}
}

func patchInstanceTrigger(r *request) (any, error) {
	u, err := parseBody(r, updateInstanceTrigger)
	if err != nil {
		return nil, err
	}
	t, err := r.eng.UpdateInstanceTrigger(r.ctx(), r.id(0), r.id(1), r.id(2), u)
	return presented(t, err, presentInstanceTriggerDetail)
}

// pollInstanceTrigger answers 202, with the trigger as it is, if the poll takes its time.
func pollInstanceTrigger(r *request) (any, error) {
	ctx, cancel := context.WithTimeout(r.ctx(), r.pollWait)
	defer cancel()
	t, err := r.eng.PollNow(ctx, r.id(0), r.id(1), r.id(2))
	if errors.Is(err, context.DeadlineExceeded) && r.ctx().Err() == nil {
		r.status = http.StatusAccepted
		return getInstanceTrigger(r)
	}
	return presented(t, err, presentInstanceTriggerDetail)
}

// milliseconds is a span of time that may not be known.
func milliseconds(d *time.Duration) *int64 {
	if d == nil {
		return nil
	}
	return new(d.Milliseconds())
}
