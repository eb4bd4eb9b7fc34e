package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/callbackd/callbackd/engine/internal/outbound"
	"github.com/callbackd/callbackd/store"
)

const (
	maxResponse       = 64 << 10 // bytes read of a response's body
	maxStoredResponse = 16 << 10 // bytes kept of it
	maxStoredHeaders  = 8 << 10  // bytes kept of a response's headers
	maxStoredError    = 1_000    // bytes of an error's text
)

// result is what one attempt came to, before anything is decided.
type result struct {
	failure    *Failure // nil: delivered
	response   *Response
	retryAfter time.Duration // not before
	permanent  bool          // not at all
	gone       bool          // the destination wants nothing more
}

// post makes one attempt over HTTP. at is the attempt's time by the engine's clock.
func (e *Engine) post(ctx context.Context, p *endpoint, d store.Delivery, attempt int, at time.Time) (r result) {
	buffers := requests.Get().(*request)
	defer buffers.release() // the transport is done with it then, whatever came of it
	buffers.body = appendPayload(buffers.body[:0], d)
	body, h := buffers.body, buffers.header
	setHeaders(h, p.Headers, p.signer, p.WebhookID, d, attempt, at, body)
	req := (&http.Request{Method: p.Method, URL: p.target, Header: h, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body))}).WithContext(ctx)
	resp, err := e.deliveries.RoundTrip(req)
	if err != nil {
		return result{failure: &Failure{Code: outbound.Classify(err), Message: shorten(rootMessage(err))}}
	}
	defer resp.Body.Close()
	text, _, err := outbound.ReadCapped(resp.Body, maxResponse)
	r.response = &Response{StatusCode: resp.StatusCode, Headers: headerList(resp.Header, maxStoredHeaders), Body: text[:min(len(text), maxStoredResponse)]}
	if err != nil {
		// The status came, but the exchange did not end in time or in order.
		r.failure = &Failure{Code: outbound.Classify(err), Message: shorten("reading the response: " + rootMessage(err))}
		return r
	}
	r.judge(resp.StatusCode, resp.Header, at)
	return r
}

// request is the memory of a request, which serves one after another.
type request struct {
	header http.Header
	body   []byte
}

var requests = sync.Pool{New: func() any { return &request{header: make(http.Header, 16)} }}

// maxKeptBody is the largest body whose memory is kept.
const maxKeptBody = 32 << 10

func (r *request) release() {
	clear(r.header)
	if cap(r.body) > maxKeptBody {
		r.body = nil
	}
	requests.Put(r)
}

// judge says what an answer means.
func (r *result) judge(status int, h http.Header, now time.Time) {
	switch {
	case status >= 200 && status < 300:
		return
	case status >= 300 && status < 400:
		r.failure = &Failure{Code: "redirect", Message: shorten(fmt.Sprintf("answered %d%s; redirects are not followed: change the destination's url", status, redirectedTo(h.Get("Location"))))}
		return
	}
	r.failure = &Failure{Code: fmt.Sprintf("http_%d", status), Message: strings.TrimSpace(fmt.Sprintf("answered %d %s", status, http.StatusText(status)))}
	switch status {
	case http.StatusGone:
		r.gone, r.permanent = true, true
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		after, _ := outbound.RetryAfter(h, now, maxRetryAfter)
		r.retryAfter = max(after, minRetryAfter)
	}
}

// redirectedTo names where a redirect leads to, without its path and query: they often repeat
// those of the destination, and the words of a failure go to the log. The whole is in the
// response's headers.
func redirectedTo(location string) string {
	u, err := url.Parse(location)
	switch {
	case err != nil, location == "":
		return ""
	case u.Host == "":
		return " to another place on the same host"
	case u.Scheme == "":
		return " to " + u.Host
	}
	return " to " + u.Scheme + "://" + u.Host
}

// rootMessage is an error's text in words that mean something to whoever runs the destination.
func rootMessage(err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "no complete answer in time"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed before the answer was complete"
	}
	return err.Error()
}

// shorten bounds a text, at the border of a character.
func shorten(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= maxStoredError {
		return s
	}
	cut := maxStoredError
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "..."
}
