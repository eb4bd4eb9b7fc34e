package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// Sources need no key: who knows a trigger's URL may send to it, and its provider makes sure that
// it is the source.

// webhookPath is the URL of a trigger; what follows it belongs to the request.
const webhookPath = "/webhooks/:instance_trigger_id"

// webhookMethods are all that a source may use. OPTIONS is one of them: whether it means anything
// is the provider's to say.
var webhookMethods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions}

const (
	// webhookBodyTime is how long a body may take to arrive, if the server has no ReadTimeout.
	webhookBodyTime = 30 * time.Second
	// maxBuffered is how many bytes of webhooks' bodies are held at a time.
	maxBuffered = 64 << 20
	// maxBufferedEach is how many of them may be of one trigger: a source must not keep the others out.
	maxBufferedEach = 16 << 20
	// minBuffer is the buffer that a body begins with.
	minBuffer = 4 << 10
	// maxRetryAfter is how many seconds a source is asked to wait at most.
	maxRetryAfter = 24 * 60 * 60
)

// rawAnswer is what a handler returns that has set the headers itself.
type rawAnswer []byte

// receiveWebhook has a request handled. Its body is read before it counts as one that is worked
// on, and the trigger looked for before that: a body that comes slowly, or that nobody wants,
// keeps no other request out.
func (a *api) receiveWebhook(r *request) (any, error) {
	id := r.id(0)
	r.logPath = "/webhooks/" + shorten(id) // what follows can be a secret
	a.limitBodyTime(r)
	suffix, ok := webhookSuffix(r.http, id)
	if !ok {
		return nil, &engine.Error{Code: engine.CodeNotFound, Entity: "endpoint", Message: "there is no webhook here"}
	}
	// Once it has begun, a source that hangs up does not end it: the source will send the same
	// again, and if it never waits for long enough, that would go on for ever.
	ctx := context.WithoutCancel(r.ctx())
	if err := a.eng.CheckWebhook(ctx, id); err != nil {
		return nil, err
	}
	body, release, err := a.webhookBody(r, id)
	defer release()
	if err != nil {
		return nil, err
	}
	select {
	case a.receiving <- struct{}{}:
		defer func() { <-a.receiving }()
	default:
		return nil, tooMany(r, fmt.Sprintf("%d webhooks are being worked on already", cap(a.receiving)))
	}
	answer, err := a.eng.ReceiveWebhook(ctx, id, engine.ReceivedRequest{Method: r.http.Method, Suffix: suffix, Header: r.http.Header, Body: body})
	if err != nil {
		if after, ok := engine.RetryAfterOf(err); ok {
			r.header.Set("Retry-After", strconv.Itoa(min(int((after+time.Second-1)/time.Second), maxRetryAfter)))
		}
		return nil, err
	}
	r.header.Del("Content-Type")
	// An answer may repeat what the request said, such as a challenge: nobody is to run it.
	r.header.Set("X-Content-Type-Options", "nosniff")
	if len(answer.Body) > 0 {
		r.header.Set("Content-Type", "text/plain; charset=utf-8")
	}
	for key, values := range answer.Header {
		if key != "X-Request-Id" && key != "Metorial-Req-Id" {
			r.header[key] = values
		}
	}
	r.status = answer.Status
	return rawAnswer(answer.Body), nil
}

// webhookSuffix is what follows a trigger's URL in a request, as it came. ok is false if the id
// itself did not come as it is.
func webhookSuffix(r *http.Request, id string) (suffix string, ok bool) {
	rest, ok := strings.CutPrefix(r.URL.EscapedPath(), "/webhooks/"+id)
	if !ok || rest != "" && rest[0] != '/' {
		return "", false
	}
	if r.URL.RawQuery != "" || r.URL.ForceQuery {
		rest += "?" + r.URL.RawQuery
	}
	return rest, true
}

// limitBodyTime bounds the time for a body, also for one that is not read in the end.
func (a *api) limitBodyTime(r *request) {
	if s, ok := r.ctx().Value(http.ServerContextKey).(*http.Server); ok && s.ReadTimeout > 0 {
		return
	}
	// A server that cannot do that, such as a test's, has to see to it itself.
	_ = http.NewResponseController(r.writer).SetReadDeadline(time.Now().Add(a.bodyTime))
}

// webhookBody reads the whole body, byte for byte. release must be called when it is needed no
// longer, whether there is an error or not.
func (a *api) webhookBody(r *request, id string) (body []byte, release func(), err error) {
	held := 0
	release = func() { a.buffers.give(id, held) }
	if r.http.ContentLength > maxBody {
		return nil, release, tooLarge()
	}
	if r.http.Body == nil || r.http.Body == http.NoBody {
		return nil, release, nil
	}
	reader := http.MaxBytesReader(r.writer, r.http.Body, maxBody)
	for {
		if len(body) == cap(body) {
			size := min(max(2*cap(body), minBuffer), maxBody+1)
			if !a.buffers.take(id, size-held) {
				return nil, release, tooMany(r, "too many bytes of webhooks are being received already")
			}
			held = size
			body = append(make([]byte, 0, size), body...)
		}
		n, err := reader.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		_, large := errors.AsType[*http.MaxBytesError](err)
		switch {
		case err == nil:
		case err == io.EOF:
			return body, release, nil
		case large:
			return nil, release, tooLarge()
		case errors.Is(err, os.ErrDeadlineExceeded):
			slow := badRequest("slow_body", "the body took too long to arrive", engine.Refuse(http.StatusRequestTimeout, err))
			return nil, release, slow
		default:
			return nil, release, badRequest("incomplete_body", "the body ended before its announced end", err)
		}
	}
}

func tooLarge() error {
	return &engine.Error{Code: codePayloadTooLarge, Message: "the body has more than 1 MiB"}
}

// tooMany has a client come again in a second.
func tooMany(r *request, message string) error {
	r.header.Set("Retry-After", "1")
	return &engine.Error{Code: codeRateLimit, Message: message + "; nothing was changed", Hint: "try again in a second"}
}

// buffers counts the bytes of bodies that are held.
type buffers struct {
	mu    sync.Mutex
	total int
	each  map[string]int // by trigger, those that hold some
}

func newBuffers() *buffers { return &buffers{each: make(map[string]int)} }

// take tells whether n more bytes may be held for a trigger, which then counts them.
func (b *buffers) take(id string, n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.total+n > maxBuffered || b.each[id]+n > maxBufferedEach {
		return false
	}
	b.total += n
	b.each[id] += n
	return true
}

func (b *buffers) give(id string, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.total -= n
	if b.each[id] -= n; b.each[id] == 0 {
		delete(b.each, id)
	}
}
