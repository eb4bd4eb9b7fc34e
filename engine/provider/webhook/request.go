package webhook

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/internal/jsontext"
)

// Bounds of what an event may be, so that a request that is too much for one is refused while
// its sender listens.
const (
	maxOutput  = 1 << 20 // bytes
	maxNesting = 499     // levels of a body, which has one more around it
)

const timeFormat = "2006-01-02T15:04:05.000Z"

// input is a request as it is kept. Of the last three it has at most one.
type input struct {
	RequestID  string            `json:"request_id"` // of this request alone: a repeat has another
	ReceivedAt string            `json:"received_at"`
	Method     string            `json:"method"`
	Headers    map[string]string `json:"headers"` // by lower-case name
	Query      map[string]any    `json:"query"`   // a string each, or a list of strings
	URL        string            `json:"url"`
	Digest     string            `json:"digest"`
	ID         string            `json:"id,omitempty"` // that was signed
	Body       json.RawMessage   `json:"body,omitempty"`
	Text       string            `json:"text,omitempty"`
	Base64     string            `json:"base64,omitempty"`
}

// handle verifies a request before it looks at anything else of it.
func handle(_ context.Context, req engine.WebhookRequest) (engine.WebhookResult, error) {
	c, err := parseConfig(req.Config)
	if err != nil {
		return engine.WebhookResult{}, err
	}
	s, err := c.scheme()
	if err != nil {
		return engine.WebhookResult{}, err
	}
	if answer, err := s.shake(&req, &c, false, key{}); answer != nil || err != nil {
		return engine.WebhookResult{Response: answer}, err
	}
	if !slices.Contains(s.methods(), req.Method) {
		return engine.WebhookResult{Response: &engine.WebhookResponse{Status: http.StatusMethodNotAllowed, Header: http.Header{"Allow": {strings.Join(s.methods(), ", ")}}}}, nil
	}
	id, k, err := s.verify(&req, &c)
	if err != nil {
		return engine.WebhookResult{}, err
	}
	if answer, err := s.shake(&req, &c, true, k); answer != nil || err != nil {
		return engine.WebhookResult{Response: answer}, err
	}
	in, err := s.read(&req, id)
	if err != nil {
		return engine.WebhookResult{}, err
	}
	result := engine.WebhookResult{Inputs: []json.RawMessage{in}}
	if s.silent {
		result.Response = &engine.WebhookResponse{Status: http.StatusOK}
	}
	return result, nil
}

// methods are those of requests that can be events, or handshakes.
func (s *scheme) methods() []string {
	methods := []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}
	if s.anyone() || s.handshake == handshakeHub || s.handshake == handshakeEcho {
		methods = append(methods, http.MethodGet)
	}
	return methods
}

// read makes an input of a request, with the id that was signed.
func (s *scheme) read(req *engine.WebhookRequest, id string) (json.RawMessage, error) {
	in := input{
		RequestID:  rand.Text(),
		ReceivedAt: req.Now.UTC().Format(timeFormat), Method: req.Method,
		URL:     req.URL,
		Headers: map[string]string{}, Query: fields(queryOf(req.URL)), Digest: s.digest(req), ID: id,
	}
	for name, values := range req.Header {
		if key := http.CanonicalHeaderKey(name); !secretHeaders[key] && !s.isSignature(key) {
			in.Headers[strings.ToLower(name)] = strings.Join(values, ", ")
		}
	}
	if err := in.readBody(req, s); err != nil {
		return nil, err
	}
	out, err := encode(in)
	if err != nil {
		return nil, fmt.Errorf("keep the request: %w", err)
	}
	if v := in.output(); len(v) > maxOutput {
		return nil, engine.Refuse(http.StatusRequestEntityTooLarge, fmt.Errorf("the body makes an event of %d bytes, more than 1 MiB", len(v)))
	}
	return out, nil
}

func (s *scheme) isSignature(key string) bool {
	for _, h := range s.headers {
		if key == http.CanonicalHeaderKey(h.signature) {
			return true
		}
	}
	return false
}

// digest names what was sent. Of a request that was verified only the body counts, so that
// nobody can make another event of it by changing something that is not signed, and a
// sender's second try, with a new timestamp, is known again.
func (s *scheme) digest(req *engine.WebhookRequest) string {
	h := sha256.New()
	if s.name == verifyNone {
		place := req.URL
		if u, err := url.Parse(place); err == nil {
			place = u.RequestURI() // the same when the public URL becomes another
		}
		fmt.Fprintf(h, "%s\n%s\n", req.Method, place)
	}
	h.Write(req.Body)
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

var byteOrderMark = []byte("\uFEFF")

func (in *input) readBody(req *engine.WebhookRequest, s *scheme) error {
	contentType, _, _ := mime.ParseMediaType(req.Header.Get("Content-Type"))
	body := bytes.TrimPrefix(req.Body, byteOrderMark)
	switch {
	case len(body) == 0:
		return nil
	case !utf8.Valid(body):
		in.Base64 = base64.StdEncoding.EncodeToString(req.Body)
		return nil
	case isJSON(contentType, body):
		return in.setJSON(body)
	case contentType == "application/x-www-form-urlencoded":
		if form, err := url.ParseQuery(string(body)); err == nil {
			if s.payload != "" && len(form[s.payload]) == 1 && json.Valid([]byte(form.Get(s.payload))) && utf8.ValidString(form.Get(s.payload)) {
				return in.setJSON([]byte(form.Get(s.payload)))
			}
			in.Body, err = encode(fields(form))
			return err
		}
	}
	in.Text = string(body)
	return nil
}

// isJSON tells whether a body is to be read as JSON. Many senders forget to say so, or say
// text/plain, and curl says that it is a form; then it must be an object or a list, which no
// form is, and other texts are not by chance.
func isJSON(contentType string, body []byte) bool {
	said := contentType == "application/json" || strings.HasSuffix(contentType, "+json")
	if first := bytes.TrimLeft(body, " \t\r\n"); !said && !bytes.HasPrefix(first, []byte("{")) && !bytes.HasPrefix(first, []byte("[")) {
		return false
	}
	return jsontext.Look(body).Valid
}

func (in *input) setJSON(body []byte) error {
	if jsontext.Look(body).Levels > maxNesting {
		return engine.Refuse(http.StatusBadRequest, fmt.Errorf("the body has more than %d levels", maxNesting))
	}
	in.Body = bytes.TrimSpace(body)
	return nil
}

// fields are the parameters of a query or a form.
func fields(values url.Values) map[string]any {
	all := make(map[string]any, len(values))
	for name, list := range values {
		if len(list) == 1 {
			all[name] = list[0]
		} else {
			all[name] = list
		}
	}
	return all
}

// encode is json.Marshal that leaves <, > and & as they are, also those inside of a
// json.RawMessage.
func encode(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}
