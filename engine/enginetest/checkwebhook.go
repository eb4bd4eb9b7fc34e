package enginetest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// genuine is a new request of the case's, with a registration if there is one to be had. Without
// one that succeeds, nothing can be tested.
func (r *trial) genuine() (req engine.WebhookRequest, ok bool) {
	var registration engine.Registration
	if registers(r) {
		was := r.source.be(well)
		var err error
		if registration, err = r.register(r.ctx, "Register", r.url, nil, deadline); err != nil {
			r.fail("Register: %v", err)
			r.stuck = true
			return req, false
		}
		r.source.be(was)
	}
	sent := r.Request(r.url, registration.Details)
	req = engine.WebhookRequest{Source: r.given(), Method: sent.Method, URL: sent.URL.String(), Header: sent.Header, State: registration.State, Registration: registration.Details}
	if sent.Body != nil {
		var err error
		if req.Body, err = io.ReadAll(sent.Body); err != nil {
			r.fail("read the body of the case's Request: %v", err)
		}
	}
	return req, true
}

func (r *trial) handleFor(ctx context.Context, what string, req engine.WebhookRequest, limit time.Duration) (engine.WebhookResult, error) {
	req.Header, req.Body = req.Header.Clone(), bytes.Clone(req.Body)
	header, body := req.Header.Clone(), bytes.Clone(req.Body)
	result, err := call(r, ctx, what, limit, func(ctx context.Context) (engine.WebhookResult, error) { return r.trigger.Handle(ctx, req) })
	if !maps.EqualFunc(header, req.Header, slices.Equal) || !bytes.Equal(body, req.Body) {
		r.fail("%s: Handle changes the header or the body", what)
	}
	if status, refused := engine.RefusedStatus(err); refused && (status < 400 || status > 499) {
		r.fail("%s: it is refused with %d, which is not 400 to 499", what, status)
	}
	if a := result.Response; a != nil && a.Status != 0 && (a.Status < 200 || a.Status > 599) {
		r.fail("%s: the answer's status is %d, which is not 200 to 599", what, a.Status)
	}
	if result.State != nil && !json.Valid(result.State) {
		r.fail("%s: the state is not JSON: %.200q", what, result.State)
	}
	return result, err
}

func (r *trial) handle(ctx context.Context, what string, req engine.WebhookRequest) (engine.WebhookResult, error) {
	return r.handleFor(ctx, what, req, deadline)
}

func checkRequests(r *trial) {
	all := make(found)
	for range 2 {
		req, ok := r.genuine()
		if !ok {
			return
		}
		var seen found
		for i, what := range []string{"a genuine request", "the same request again"} {
			result, err := r.handle(r.ctx, what, req)
			if err != nil {
				r.fail("%s: %v", what, err)
				return
			}
			items := r.mapAll(what, result.Inputs)
			if i > 0 && !slices.Equal(slices.Sorted(maps.Keys(items)), slices.Sorted(maps.Keys(seen))) {
				r.fail("%s has the source ids %q, and had %q before: a repeat would be another event", what, slices.Sorted(maps.Keys(items)), slices.Sorted(maps.Keys(seen)))
			}
			seen = items
		}
		for id, m := range seen {
			if other, ok := all[id]; ok && !same(m, other) {
				r.fail("two different requests have the source id %q: %s and %s", id, other.Output, m.Output)
			}
			all[id] = m
		}
	}
	if len(all) == 0 {
		r.fail("two genuine requests brought nothing, so nothing was tested: is the case's Request one that brings an event?")
	}
}

// refused expects a request not to be believed.
func (r *trial) refused(what string, req engine.WebhookRequest, statuses ...int) {
	result, err := r.handle(r.ctx, what, req)
	if _, ok := err.(unwell); ok {
		return
	}
	status, refused := engine.RefusedStatus(err)
	switch {
	case err == nil && len(result.Inputs) == 0 && result.State == nil && len(statuses) == 0: // it changes nothing
	case !refused:
		r.fail("%s is not refused: got %d inputs and the error %v", what, len(result.Inputs), err)
	case len(statuses) > 0 && !slices.Contains(statuses, status):
		r.fail("%s is refused with %d, not %d", what, status, statuses[0])
	}
}

func checkForged(r *trial) {
	req, ok := r.genuine()
	if !ok {
		return
	}
	if _, err := r.handle(r.ctx, "a genuine request", req); err != nil {
		r.fail("a genuine request: %v", err)
		return
	}
	bare := req
	bare.Header = http.Header{"Content-Type": req.Header["Content-Type"]}
	r.refused("a request without its signature", bare, http.StatusUnauthorized)
	if r.AnyBody {
		for name := range req.Header {
			forged := req
			forged.Header = req.Header.Clone()
			forged.Header.Set(name, "forged")
			if _, err := r.handle(r.ctx, "a request with another "+name, forged); err != nil {
				r.refused("a request with another "+name, forged, http.StatusUnauthorized)
				return
			}
		}
		r.fail("no header of the request matters")
		return
	}
	for i := 0; i < len(req.Body); i += len(req.Body)/8 + 1 {
		forged := req
		forged.Body = bytes.Clone(req.Body)
		forged.Body[i] ^= 1
		r.refused(fmt.Sprintf("a request whose byte %d was changed", i), forged, http.StatusUnauthorized)
	}
	for what, body := range map[string][]byte{"a request with a space more": append(bytes.Clone(req.Body), ' '), "a request that was cut off": req.Body[:len(req.Body)/2], "a request without its body": nil} {
		if !bytes.Equal(body, req.Body) {
			forged := req
			forged.Body = body
			r.refused(what, forged, http.StatusUnauthorized)
		}
	}
}

// checkOld is for who has recorded a request and sends it again.
func checkOld(r *trial) {
	if req, ok := r.genuine(); ok {
		req.Now = req.Now.Add(24 * time.Hour)
		r.refused("a genuine request that comes a day late (AnyAge: the source signs no time)", req, http.StatusUnauthorized)
	}
}

func checkOdd(r *trial) {
	genuine, ok := r.genuine()
	if !ok {
		return
	}
	for _, body := range []string{"", "{}", "null", "[]", "{", "\xff\x00", `{"type": {}, "id": []}`, strings.Repeat("[", 10_000), strings.Repeat("x", 1<<20)} {
		methods := []string{http.MethodPost, http.MethodGet, http.MethodHead, http.MethodOptions, "PROPFIND", ""}
		if len(body) > 1000 { // it takes a while
			methods = methods[:1]
		}
		for _, method := range methods {
			for what, header := range map[string]http.Header{"no header": nil, "an empty header": {"Content-Type": {""}, "Content-Encoding": {}, "X-Signature": nil},
				"garbled headers": garbled(genuine.Header)} {
				req := genuine
				req.Method, req.Body, req.Header = method, []byte(body), header
				name := fmt.Sprintf("a %s request with %s and the body %.20q", method, what, body)
				if r.AnyRequest {
					_, _ = r.handle(r.ctx, name, req)
				} else {
					r.refused(name, req)
				}
			}
		}
	}
	for _, url := range []string{"", "/", "::", r.url + "/%zz?%zz=;", r.url + "?hub.challenge=1&hub.mode=subscribe"} {
		req := genuine
		req.Method, req.URL, req.Body, req.Header = http.MethodGet, url, nil, nil
		_, _ = r.handle(r.ctx, fmt.Sprintf("a request to %q", url), req)
	}
}

// garbled are headers with the same names and other values.
func garbled(h http.Header) http.Header {
	out := make(http.Header)
	for name := range h {
		out[name] = []string{"", ",,=;v1,\xff", strings.Repeat("9", 1000)}
	}
	return out
}
