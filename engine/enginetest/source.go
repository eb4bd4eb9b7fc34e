package enginetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
)

// source is a transport that asks the case's handler, or is in trouble.
type source struct {
	handler http.Handler
	mu      sync.Mutex
	trouble trouble
	asked   int
}

// trouble is what a source answers; nil: what the handler does.
type trouble func(*http.Request) (*http.Response, error)

var well trouble

func (s *source) be(t trouble) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trouble, s.asked = t, 0
}

// wasAsked tells whether anything was asked since the source is as it is.
func (s *source) wasAsked() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked > 0
}

func (s *source) RoundTrip(req *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.asked++
	t := s.trouble
	s.mu.Unlock()
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	if t != nil {
		return t(req)
	}
	return answered(s.handler, req), nil
}

func response(req *http.Request, status int, header http.Header, body io.Reader) *http.Response {
	return &http.Response{StatusCode: status, Status: fmt.Sprint(status, " ", http.StatusText(status)), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Body: io.NopCloser(body), ContentLength: -1, Request: req}
}

// answered is what a handler answers, as if it were a server.
func answered(h http.Handler, req *http.Request) *http.Response {
	in := req.Clone(req.Context())
	in.RequestURI, in.Host = req.URL.RequestURI(), cmp.Or(req.Host, req.URL.Host)
	if in.Body == nil {
		in.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, in)
	out := w.Result()
	return response(req, out.StatusCode, out.Header, out.Body)
}

// The troubles of sources.

func down(*http.Request) (*http.Response, error) {
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
}

func hangs(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	return nil, context.Cause(req.Context())
}

func answers(status int, body string, header ...string) trouble {
	return func(req *http.Request) (*http.Response, error) {
		h := http.Header{"Content-Type": {"application/json"}}
		for i := 0; i < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		return response(req, status, h, strings.NewReader(body)), nil
	}
}
