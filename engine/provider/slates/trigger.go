package slates

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/callbackd/callbackd/engine"
)

const (
	mapBatch      = 50      // inputs that are mapped with one batch
	mapBatchBytes = 4 << 20 // of these
	maxInputs     = 100_000 // of one answer

	comeAgain = 5 * time.Second // of a source whose request could not be handled at the moment
)

// trigger is one trigger of an integration.
type trigger struct {
	*integration
	action action
}

// found is what a poll or a webhook brought.
type found struct {
	Inputs       []json.RawMessage `json:"inputs"`
	UpdatedState json.RawMessage   `json:"updatedState"` // absent or null: the old one stays
	Response     *response         `json:"response"`
}

// check tells an answer that forgets the inputs from one that has none: the first may hide that
// something is wrong.
func (f found) check(method string) error {
	if f.Inputs == nil {
		return fmt.Errorf("%s: %w: the integration answered without inputs, which must be a list", method, errBadAnswer)
	}
	return nil
}

// response is what a source is to be answered.
type response struct {
	Status  int                        `json:"status"`
	Headers map[string]json.RawMessage `json:"headers"`
	Body    json.RawMessage            `json:"body"`
}

func (t trigger) poll(ctx context.Context, req engine.PollRequest) (engine.PollResult, error) {
	set, err := t.settingOf(req.Source)
	if err != nil {
		return engine.PollResult{}, err
	}
	var f found
	if err := t.client.call(ctx, set, methodPollEvents, map[string]any{"actionId": t.action.ID, "state": orNull(req.State)}, &f); err != nil {
		return engine.PollResult{}, err
	}
	if err := f.check(methodPollEvents); err != nil {
		return engine.PollResult{}, err
	}
	if err := t.mapAhead(ctx, set, f.Inputs); err != nil {
		return engine.PollResult{}, err
	}
	return engine.PollResult{Inputs: f.Inputs, State: jsonOrNil(f.UpdatedState)}, nil
}

// mapAhead maps inputs in batches, as far as half of the time that is left reaches. The engine then
// finds them mapped. What fails here is no failure yet: the engine asks for it again. One input alone
// is only mapped ahead for a source that waits, as the engine's own asking is not urgent.
func (t trigger) mapAhead(ctx context.Context, set setting, inputs []json.RawMessage) error {
	if len(inputs) > maxInputs {
		return fmt.Errorf("%w: it has %d inputs, more than %d", errBadAnswer, len(inputs), maxInputs)
	}
	if len(inputs) < 2 && !set.urgent || len(inputs) > 1 && t.client.oneByOne.Load() {
		return nil
	}
	t.memo.forget()
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	for done := false; !done && len(inputs) > 0 && ctx.Err() == nil; {
		n, size := 0, 0
		for n < len(inputs) && n < mapBatch && (n == 0 || size+len(inputs[n]) <= mapBatchBytes) {
			size += len(inputs[n])
			n++
		}
		requests := make([]request, n)
		for i, input := range inputs[:n] {
			requests[i] = t.mapRequest(input)
		}
		outcomes, err := t.client.calls(ctx, set, requests)
		if err != nil {
			return nil
		}
		for i, o := range outcomes {
			if errors.Is(o.err, errUnanswered) && n > 1 {
				done = true // with that: one by one, the engine is told what is wrong with which
				if _, failed := errors.AsType[*Error](o.err); !failed {
					t.client.oneByOne.Store(true)
				}
				continue
			}
			mapped, err := readMapped(o)
			t.memo.put(memoKeyOf(t.action.ID, set, inputs[i]), mapped, err)
		}
		inputs = inputs[n:]
	}
	return nil
}

func (t trigger) mapRequest(input json.RawMessage) request {
	return request{methodMapEvent, map[string]any{"actionId": t.action.ID, "input": input}}
}

func (t trigger) mapEvent(ctx context.Context, req engine.MapRequest) (engine.Mapped, error) {
	set, err := t.settingOf(req.Source)
	if err != nil {
		return engine.Mapped{}, err
	}
	if item, ok := t.memo.take(memoKeyOf(t.action.ID, set, req.Input)); ok {
		return item.mapped, item.err
	}
	outcomes, err := t.client.calls(ctx, set, []request{t.mapRequest(req.Input)})
	if err != nil {
		return engine.Mapped{}, fmt.Errorf("%s: %w", methodMapEvent, classified(err))
	}
	return readMapped(outcomes[0])
}

// readMapped reads what an input was mapped to. What will not be otherwise next time is for good.
func readMapped(o outcome) (engine.Mapped, error) {
	var m struct {
		Type   string          `json:"type"`
		ID     json.RawMessage `json:"id"`
		Output json.RawMessage `json:"output"`
	}
	if err := o.read(&m); err != nil {
		err = fmt.Errorf("%s: %w", methodMapEvent, err)
		if e, ok := errors.AsType[*Error](err); ok && !e.retryable() && !e.credentials() && !errors.Is(err, errUnanswered) {
			err = engine.Permanent(err)
		}
		return engine.Mapped{}, err
	}
	// An id that is a number becomes its digits. The engine says what is wrong with an empty one.
	return engine.Mapped{Type: m.Type, SourceID: strings.TrimPrefix(plain(m.ID), "null"), Output: m.Output}, nil
}

// handle has the integration read a request. Whether its source sent it, the integration checks.
func (t trigger) handle(ctx context.Context, req engine.WebhookRequest) (engine.WebhookResult, error) {
	h := t.action.Invocation.HTTP
	if h != nil && len(h.Methods) > 0 && !slices.ContainsFunc(h.Methods, func(m string) bool { return strings.EqualFold(m, req.Method) }) {
		return engine.WebhookResult{}, engine.Refuse(http.StatusMethodNotAllowed, fmt.Errorf("the trigger takes %s, not %s", strings.Join(h.Methods, ", "), excerpt(req.Method)))
	}
	set, err := t.settingOf(req.Source)
	if err != nil {
		return engine.WebhookResult{}, err
	}
	set.secrets, set.urgent = append(set.secrets, secretsOf(req.Registration)...), true
	if h != nil && h.Sync.Mode != "never" && h.Sync.TimeoutMs > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(min(h.Sync.TimeoutMs, 3600_000)*float64(time.Millisecond)))
		defer cancel()
	}
	url := req.URL
	if strings.HasPrefix(url, "/") {
		url = "http://callbackd.invalid" + url // JavaScript reads only absolute ones
	}
	headers := make(map[string]string, len(req.Header))
	for name, values := range req.Header {
		separator := ", "
		if name == "Cookie" {
			separator = "; "
		}
		headers[strings.ToLower(name)] = strings.Join(values, separator)
	}
	var body any
	if len(req.Body) > 0 {
		body = map[string]string{"encoding": "base64", "content": base64.StdEncoding.EncodeToString(req.Body)}
	}
	var f found
	if err := t.client.call(ctx, set, methodWebhookHandle, map[string]any{"actionId": t.action.ID, "url": url, "method": req.Method, "headers": headers, "body": body,
		"state": orNull(req.State), "registrationDetails": orNull(req.Registration)}, &f); err != nil {
		return engine.WebhookResult{}, refused(err)
	}
	if err := f.check(methodWebhookHandle); err != nil {
		return engine.WebhookResult{}, err
	}
	result := engine.WebhookResult{Inputs: f.Inputs, State: jsonOrNil(f.UpdatedState)}
	if f.Response != nil && (h == nil || h.Sync.Mode != "never") {
		if result.Response, err = f.Response.read(); err != nil {
			return engine.WebhookResult{}, fmt.Errorf("%s: %w: the response: %w", methodWebhookHandle, errBadAnswer, err)
		}
	}
	return result, t.mapAhead(ctx, set, f.Inputs)
}

// refused tells the source that its request is not taken, when that is what the integration says, or
// to come again, when that may help.
func refused(err error) error {
	if _, said := engine.RetryAfterOf(err); said {
		return err
	}
	if busy, ok := errors.AsType[*busyError](err); ok {
		return engine.RetryAfter(busy.after, err)
	}
	e, ok := errors.AsType[*Error](err)
	if ok && e.retryable() {
		return engine.RetryAfter(comeAgain, err)
	}
	if !ok || !strings.HasPrefix(e.Code, "request.") && !strings.HasPrefix(e.Code, "webhook.") {
		return err
	}
	status := e.Status
	if status < 400 || status > 499 {
		status = http.StatusBadRequest
	}
	return engine.Refuse(status, err)
}

func (r *response) read() (*engine.WebhookResponse, error) {
	if r.Status != 0 && (r.Status < 200 || r.Status > 599) {
		return nil, fmt.Errorf("its status is %d", r.Status)
	}
	out := &engine.WebhookResponse{Status: r.Status, Header: make(http.Header)}
	for name, value := range r.Headers {
		var values []string
		if json.Unmarshal(value, &values) != nil {
			values = []string{plain(value)}
		}
		for _, v := range values {
			out.Header.Add(name, v)
		}
	}
	body := jsonOrNil(r.Body)
	if body == nil {
		return out, nil
	}
	var encoded struct{ Encoding, Content string }
	if err := json.Unmarshal(body, &encoded); err != nil {
		var text string
		if json.Unmarshal(body, &text) != nil {
			return nil, errors.New("its body is not {encoding, content}")
		}
		encoded.Encoding, encoded.Content = "text", text
	}
	switch strings.ToLower(encoded.Encoding) {
	case "base64":
		content, err := base64.StdEncoding.DecodeString(encoded.Content)
		if err != nil {
			return nil, errors.New("its body is not base64")
		}
		out.Body = content
	case "", "utf8", "utf-8", "text":
		out.Body = []byte(encoded.Content)
	default:
		return nil, fmt.Errorf("its body has the encoding %s", excerpt(encoded.Encoding))
	}
	return out, nil
}

// register tells the source of the URL. The protocol has no renewal: what there was is taken back
// first, so that nothing is sent twice.
func (t trigger) register(ctx context.Context, req engine.RegisterRequest) (engine.Registration, error) {
	set, err := t.settingOf(req.Source)
	if err != nil {
		return engine.Registration{}, err
	}
	if t.action.Invocation.AutoUnregistration {
		if err := t.unregister(ctx, req); err != nil {
			// It may have ended by itself, or be of another account.
			req.Log.WarnContext(ctx, "the webhook's old registration could not be taken back, and may still send", "err", set.redact(excerpt(err.Error())))
		}
	}
	var r struct {
		Details json.RawMessage `json:"registrationDetails"`
		State   json.RawMessage `json:"state"`
	}
	if err := t.client.call(ctx, set, methodWebhookRegister, map[string]any{"actionId": t.action.ID, "webhookBaseUrl": req.URL}, &r); err != nil {
		return engine.Registration{}, err
	}
	out := engine.Registration{Details: orNull(r.Details), State: jsonOrNil(r.State), ExpiresAt: expiry(r.Details, req.Now)}
	return out, nil
}

// unregister takes a registration back, if there is one; an integration need not expect that it is
// told of none. One that the source does not know is taken back already, as by a call whose outcome
// was lost.
func (t trigger) unregister(ctx context.Context, req engine.RegisterRequest) error {
	if req.Registration == nil {
		return nil
	}
	set, err := t.settingOf(req.Source)
	if err != nil {
		return err
	}
	set.secrets = append(set.secrets, secretsOf(req.Registration)...)
	params := map[string]any{"actionId": t.action.ID, "webhookBaseUrl": req.URL, "registrationDetails": orNull(req.Registration)}
	if len(req.State) > 0 {
		params["state"] = req.State
	}
	var nothing json.RawMessage
	err = t.client.call(ctx, set, methodWebhookUnregister, params, &nothing)
	if e, ok := errors.AsType[*Error](err); ok && e.gone() {
		req.Log.InfoContext(ctx, "the webhook's registration was gone already", "err", set.redact(excerpt(err.Error())))
		return nil
	}
	return err
}
