package httpapi

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/julienschmidt/httprouter"

	"github.com/callbackd/callbackd/engine"
)

// unavailableFor is after how many seconds a request that could not be served is to be
// repeated.
const unavailableFor = "5"

// maxBody is how many bytes a request's body may have.
const maxBody = 1 << 20

// statusClientClosed is what the log says of a request that its client gave up.
const statusClientClosed = 499

// handler answers a request with an object to be encoded, or with an error.
type handler func(*request) (any, error)

// request is one request on its way through a handler.
type request struct {
	http   *http.Request
	writer http.ResponseWriter
	header http.Header // of the answer
	params httprouter.Params
	eng    *engine.Engine

	pollWait time.Duration // for a poll that is asked for

	status int // of a success that is not one; 0: 200

	requestID string
	key       string // id of the API key, for the log
	logPath   string // the path for the log; "": all of it
}

func (r *request) ctx() context.Context { return r.http.Context() }

// id is the i-th id of the path.
func (r *request) id(i int) string { return r.params[i].Value }

// maxSmallBody is the announced size up to which the memory for a body is had at once: what is
// announced may never come.
const maxSmallBody = 64 << 10

// body reads the whole body; nil if there is none.
func (r *request) body() ([]byte, error) {
	var b bytes.Buffer
	if n := r.http.ContentLength; n > 0 && n <= maxSmallBody {
		b.Grow(int(n) + bytes.MinRead) // so that the end is seen without growing
	}
	_, err := b.ReadFrom(http.MaxBytesReader(r.writer, r.http.Body, maxBody))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return nil, tooLarge()
	}
	if err != nil {
		if r.ctx().Err() != nil {
			return nil, r.ctx().Err()
		}
		return nil, badRequest("incomplete_body", "the body ended before its announced end", err)
	}
	if b.Len() == 0 {
		return nil, nil
	}
	if given := r.http.Header.Get("Content-Type"); given != "" && given != "application/json" {
		if t, _, err := mime.ParseMediaType(given); err != nil || t != "application/json" {
			e := badRequest("unsupported_content_type", "the body is announced as "+shorten(given)+", not as JSON", nil)
			e.Hint = "send the header Content-Type: application/json"
			return nil, e
		}
	}
	return b.Bytes(), nil
}

// serve is the one way through which every request goes: it names it, runs its handler,
// answers, and logs.
func (a *api) serve(w http.ResponseWriter, hr *http.Request, params httprouter.Params, rt route) {
	started := time.Now()
	r := &request{http: hr, writer: w, header: w.Header(), params: params, eng: a.eng, pollWait: a.pollWait, requestID: newRequestID(started)}
	r.header.Set("X-Request-ID", r.requestID)
	r.header.Set("metorial-req-id", r.requestID)
	r.header.Set("Content-Type", "application/json")
	r.header.Set("Cache-Control", "no-store") // answers hold signing secrets

	body, err := a.run(r, rt)
	status, logged := cmp.Or(r.status, http.StatusOK), http.StatusOK
	var code engine.Code
	if err != nil {
		var e errorBody
		e, logged = presentError(err, r)
		status, code = e.Status, e.Code
		switch code {
		case codeUnauthorized:
			if rt.scope != public { // a provider's refusal has nothing to do with keys
				r.header.Set("WWW-Authenticate", "Bearer")
			}
		case engine.CodeUnavailable:
			if r.header.Get("Retry-After") == "" {
				r.header.Set("Retry-After", unavailableFor)
			}
		}
		body, _ = encode(e) // strings and numbers always encode
	}
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that has gone needs no answer

	// That the server is not ready is a success of the question, and said as loudly.
	level := slog.LevelDebug
	switch {
	case logged >= http.StatusInternalServerError:
		level = slog.LevelError
	case logged >= http.StatusBadRequest:
		level = slog.LevelInfo
	}
	if !a.log.Enabled(hr.Context(), level) {
		return
	}
	if err == nil {
		logged = status
	}
	attrs := []slog.Attr{slog.String("request_id", r.requestID), slog.String("method", hr.Method), slog.String("route", rt.path),
		slog.String("path", cmp.Or(r.logPath, shorten(hr.URL.Path))), slog.Int("status", logged), slog.Duration("duration", time.Since(started)), slog.Int("bytes", len(body)), slog.String("key", r.key)}
	if err != nil {
		attrs = append(attrs, slog.String("code", string(code)), slog.String("err", errorText(err)))
	}
	if p, ok := errors.AsType[*panicError](err); ok {
		attrs = append(attrs, slog.String("stack", string(p.stack)))
	}
	a.log.LogAttrs(hr.Context(), level, "request", attrs...)
}

// run makes the body of a success. Nothing is written before it is whole, so a panic,
// even of the encoding, can still be answered.
func (a *api) run(r *request, rt route) (body []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{value: p, stack: debug.Stack()}
		}
	}()
	if rt.scope != public {
		select {
		case a.busy <- struct{}{}:
			defer func() { <-a.busy }()
		default:
			return nil, tooMany(r, fmt.Sprintf("%d requests are being worked on already", cap(a.busy)))
		}
	}
	if err := a.authorize(r, rt.scope); err != nil {
		return nil, err
	}
	v, err := rt.handler(r)
	if err != nil {
		return nil, err
	}
	if raw, ok := v.(rawAnswer); ok {
		return raw, nil
	}
	return encode(v)
}

// errorText is an error for the log. It says which fields are wrong and not in which way: the
// words about a field can repeat its value, such as a jq program that holds a password.
func errorText(err error) string {
	e, ok := errors.AsType[*engine.Error](err)
	if !ok || len(e.Fields) == 0 {
		return bounded(err.Error(), maxLogged)
	}
	names := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		names[i] = strings.Join(f.Path, ".") + " (" + f.Code + ")"
	}
	return bounded(e.Message+": "+strings.Join(names, ", "), maxLogged)
}

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("encode the answer: %w", err)
	}
	return b.Bytes(), nil
}

// panicError is a handler's panic.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// newRequestID is an id in the form of all others: nine digits of base36 milliseconds,
// thirteen random ones of base62.
func newRequestID(now time.Time) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	id := fmt.Appendf(make([]byte, 0, 26), "req_%9s", strconv.FormatInt(now.UnixMilli(), 36))
	id = bytes.ReplaceAll(id, []byte(" "), []byte("0"))
	for len(id) < 26 {
		var random [16]byte
		_, _ = rand.Read(random[:]) // never fails
		for _, c := range random {
			if c < 248 && len(id) < 26 { // 248 is the largest multiple of 62 in a byte
				id = append(id, digits[c%62])
			}
		}
	}
	return string(id)
}

// maxLogged is how many bytes of an error go to the log.
const maxLogged = 2000

// shorten bounds what a client chose before it is repeated to it or to the log.
func shorten(s string) string { return bounded(s, 200) }

// bounded cuts a text at the border of a character.
func bounded(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit] + "..."
}
