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
	"slices"
	"strings"
	"sync"
)

// source is a transport that asks the case's handler, or is in trouble.
type source struct {
	handler http.Handler
	hosts   []string // that may be asked

	mu      sync.Mutex
	trouble trouble
	changed chan struct{} // closed when the trouble is another
	asked   int
	strange []string // hosts that were asked and may not be
}

// trouble is what a source answers until it is over; nil: what the handler does.
type trouble func(req *http.Request, over <-chan struct{}) (*http.Response, error)

var well trouble

func newSource(handler http.Handler, hosts []string) *source {
	return &source{handler: handler, hosts: append([]string{strings.TrimPrefix(sourceURL, "http://")}, hosts...), changed: make(chan struct{})}
}

// be changes the trouble that the source is in, and tells which it was.
func (s *source) be(t trouble) (was trouble) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	was, s.trouble, s.asked, s.changed = s.trouble, t, 0, make(chan struct{})
	return was
}

// wasAsked tells whether anything was asked since the source is as it is.
func (s *source) wasAsked() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked > 0
}

// strangers are the hosts that should not have been asked.
func (s *source) strangers() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.strange)
}

func (s *source) RoundTrip(req *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.asked++
	t, over, known := s.trouble, s.changed, slices.Contains(s.hosts, req.URL.Host)
	if !known {
		s.strange = append(s.strange, req.URL.Host)
	}
	s.mu.Unlock()
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	if !known {
		return nil, &net.DNSError{Err: "no such host", Name: req.URL.Host, IsNotFound: true}
	}
	if t != nil {
		return t(req, over)
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

func down(*http.Request, <-chan struct{}) (*http.Response, error) {
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
}

func hangs(req *http.Request, over <-chan struct{}) (*http.Response, error) {
	select {
	case <-req.Context().Done():
		return nil, context.Cause(req.Context())
	case <-over: // nobody waits any longer
		return nil, io.ErrUnexpectedEOF
	}
}

func answers(status int, body string, header ...string) trouble {
	return func(req *http.Request, _ <-chan struct{}) (*http.Response, error) {
		h := http.Header{"Content-Type": {"application/json"}}
		for i := 0; i < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		return response(req, status, h, strings.NewReader(body)), nil
	}
}
