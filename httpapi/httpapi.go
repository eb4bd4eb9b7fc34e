// Package httpapi serves an engine over HTTP, in JSON.
//
//	http.Handle("/", httpapi.New(eng, httpapi.Options{APIKeys: []string{key}}))
//
// To serve it below a path, wrap it with [http.StripPrefix]. A server around it should
// set ReadHeaderTimeout; the handler bounds request bodies itself.
package httpapi

import (
	"cmp"
	"crypto/sha256"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/julienschmidt/httprouter"

	"github.com/callbackd/callbackd/engine"
)

// Options say who may call and who is told. The zero value takes the keys that the
// engine holds, and is silent.
type Options struct {
	// APIKeys are secrets that are accepted, with scope write, besides the keys that the
	// engine holds. Only hashes of them are kept. An empty secret is never accepted.
	// Default: none.
	APIKeys []string

	// MaxRequests is how many requests are worked on at a time, and how many webhooks besides; 0:
	// 1024. One more is answered 429, with a Retry-After of a second: what waits costs memory, and
	// no request waits less by waiting here.
	MaxRequests int

	// Logger gets one record for each request: at debug level for a success, at info for an
	// error of the client, at error for one of ours. nil: silent.
	Logger *slog.Logger

	// For tests: 0 is the constant.
	pollWait time.Duration // for a poll that is asked for
	bodyTime time.Duration // for the body of a webhook to arrive
}

// api is what every handler shares.
type api struct {
	eng  *engine.Engine
	keys [][sha256.Size]byte
	busy chan struct{} // one for each request that is worked on
	log  *slog.Logger

	receiving chan struct{} // one for each webhook that is worked on
	buffers   *buffers      // for the bodies of webhooks
	bodyTime  time.Duration // for one of them to arrive
	pollWait  time.Duration
}

const defaultMaxRequests = 1024

// New returns the API of an engine, which need not be running: what is accepted then is
// delivered once it runs. The engine stays the caller's to stop and to close, after the
// server that uses the handler.
func New(eng *engine.Engine, o Options) http.Handler {
	limit := cmp.Or(o.MaxRequests, defaultMaxRequests)
	a := &api{eng: eng, log: o.Logger, busy: make(chan struct{}, limit), receiving: make(chan struct{}, limit), buffers: newBuffers(),
		bodyTime: cmp.Or(o.bodyTime, webhookBodyTime), pollWait: cmp.Or(o.pollWait, pollWait)}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	for _, secret := range o.APIKeys {
		a.keys = append(a.keys, sha256.Sum256([]byte(secret)))
	}
	// Redirects stay off: a client would repeat a POST as a GET. HEAD is not implied by GET.
	router := &httprouter.Router{
		HandleMethodNotAllowed: true,
		NotFound:               a.only(noEndpoint),
		MethodNotAllowed:       a.only(methodNotAllowed),
	}
	for _, rt := range routes {
		handle := func(w http.ResponseWriter, r *http.Request, params httprouter.Params) { a.serve(w, r, params, rt) }
		router.Handle(rt.method, rt.path, handle)
		if rt.method == http.MethodGet {
			router.Handle(http.MethodHead, rt.path, handle)
		}
	}
	for _, method := range webhookMethods {
		rt := route{method, webhookPath, public, a.receiveWebhook}
		handle := func(w http.ResponseWriter, r *http.Request, params httprouter.Params) { a.serve(w, r, params, rt) }
		router.Handle(method, webhookPath, handle)
		router.Handle(method, webhookPath+"/*suffix", handle)
	}
	return router
}

// only serves one handler outside of the table of routes.
func (a *api) only(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.serve(w, r, nil, route{scope: public, handler: h})
	})
}

func noEndpoint(r *request) (any, error) {
	return nil, &engine.Error{Code: engine.CodeNotFound, Entity: "endpoint", Message: "there is no endpoint " + shorten(r.http.URL.Path)}
}

func methodNotAllowed(r *request) (any, error) {
	// The router allows OPTIONS everywhere, although only webhooks answer it.
	webhook := strings.HasPrefix(r.http.URL.Path, "/webhooks/")
	allowed := slices.DeleteFunc(strings.Split(r.header.Get("Allow"), ", "), func(method string) bool { return method == http.MethodOptions && !webhook })
	allow := strings.Join(allowed, ", ")
	r.header.Set("Allow", allow)
	return nil, &engine.Error{Code: codeMethodNotAllowed, Message: r.http.Method + " is not possible here", Hint: "use one of " + allow}
}
