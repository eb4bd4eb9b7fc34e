package enginetest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// serve gives the trigger a URL, of which a source may ask while it is told of it.
func (r *trial) serve() {
	r.hooks = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, in *http.Request) {
		body, err := io.ReadAll(in.Body)
		if err != nil {
			return // the sender is gone
		}
		result, err := r.handle(r.ctx, "a request while it is registered", engine.WebhookRequest{Source: r.given(), Method: in.Method, URL: r.hooks.URL + in.URL.String(), Header: in.Header, Body: body})
		status, refused := engine.RefusedStatus(err)
		switch {
		case refused:
			w.WriteHeader(status)
		case err != nil:
			w.WriteHeader(http.StatusInternalServerError)
		case result.Response != nil:
			maps.Copy(w.Header(), result.Response.Header)
			w.WriteHeader(max(result.Response.Status, http.StatusOK))
			_, _ = w.Write(result.Response.Body) // the sender may be gone
		}
	}))
	r.url = r.hooks.URL + "/webhooks/ctr_0000000000000000"
	r.other = r.hooks.URL + "/webhooks/ctr_0000000000000001"
}

func (r *trial) register(ctx context.Context, what, url string, last json.RawMessage, limit time.Duration) (engine.Registration, error) {
	req := engine.RegisterRequest{Source: r.given(), URL: url, Registration: bytes.Clone(last)}
	return call(r, ctx, what, limit, func(ctx context.Context) (engine.Registration, error) { return r.trigger.Register(ctx, req) })
}

func (r *trial) unregister(what, url string, last json.RawMessage) {
	req := engine.RegisterRequest{Source: r.given(), URL: url, Registration: bytes.Clone(last)}
	if _, err := call(r, r.ctx, what, deadline, func(ctx context.Context) (struct{}, error) { return struct{}{}, r.trigger.Unregister(ctx, req) }); err != nil {
		r.failFor(what, "%s: %v", what, err)
	}
}

// registered expects a URL to be registered a number of times.
func (r *trial) registered(after, url string, times int) {
	if r.Registered == nil {
		return
	}
	got := 0
	for _, u := range r.Registered() {
		if u == url {
			got++
		}
	}
	switch {
	case got == times:
	case url == r.other:
		r.fail("after %s, the URL of another trigger is registered %d times, not once: leave others alone", after, got)
	case times == 0:
		r.fail("after %s, the URL is still registered %d times", after, got)
	default:
		r.failFor("registered", "after %s, the URL is registered %d times, not once", after, got)
	}
}

func checkRegister(r *trial) {
	if r.Registered != nil {
		if _, err := r.register(r.ctx, "Register of another URL", r.other, nil, deadline); err != nil {
			r.fail("Register: %v", err)
			r.stuck = true
			return
		}
	}
	var details json.RawMessage
	for _, c := range []struct {
		what string
		last bool
	}{{"Register", false}, {"Register again, as after a crash that lost what it returned", false}, {"Register, to renew", true}} {
		var last json.RawMessage
		if c.last {
			last = details
		}
		reg, err := r.register(r.ctx, c.what, r.url, last, deadline)
		if err != nil {
			r.fail("%s: %v", c.what, err)
			r.stuck = true
			return
		}
		for kind, value := range map[string]json.RawMessage{"Details": reg.Details, "State": reg.State} {
			if value != nil && !json.Valid(value) {
				r.fail("%s: %s is not JSON: %.200q", c.what, kind, value)
			}
		}
		if !reg.ExpiresAt.IsZero() && !reg.ExpiresAt.After(r.now) {
			r.fail("%s: it has expired already, at %s", c.what, reg.ExpiresAt)
		}
		r.registered(c.what, r.url, 1)
		details = reg.Details
	}
	r.registered("Register", r.other, 1)
	if r.trigger.Unregister == nil {
		return
	}
	r.unregister("Unregister", r.url, details)
	r.registered("Unregister", r.url, 0)
	r.registered("Unregister", r.other, 1)
	r.unregister("Unregister again", r.url, details)
	r.unregister("Unregister of nothing", r.url, nil)
	r.registered("Unregister of nothing", r.other, 1)
}
