package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/textproto"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/callbackd/callbackd/store"
)

const (
	// maxHandled is how often a request is handled because the state, or the config, changed
	// meanwhile.
	maxHandled = 20
	// maxResponseHeader is how many bytes the headers of an answer may have.
	maxResponseHeader = 64 << 10
	// maxResponseBody is how many bytes the body of an answer may have.
	maxResponseBody = 1 << 20
)

// ReceivedRequest is a request to a trigger's URL, as it came.
type ReceivedRequest struct {
	Method string
	// Suffix is what followed the trigger's own URL, percent-encoded as it came: "", or path and
	// query, beginning with '/' or '?'.
	Suffix string
	Header http.Header
	Body   []byte // whole and as it came: signatures are made over it; at most 1 MiB
}

// WebhookURL is where the source of a trigger with a webhook sends its requests; "": the public
// URL is not known. It holds for every id: whether there is such a trigger is not looked at.
func (e *Engine) WebhookURL(triggerID string) string {
	if e.options.PublicURL == "" {
		return ""
	}
	return strings.TrimRight(e.options.PublicURL, "/") + webhookPath(triggerID)
}

func webhookPath(triggerID string) string { return "/webhooks/" + triggerID }

// CheckWebhook tells whether requests to a trigger's URL are taken at the moment: it returns the
// error that [Engine.ReceiveWebhook] would return without looking at the request, or nil. Whoever serves the
// URL asks before reading a body of unknown size.
func (e *Engine) CheckWebhook(ctx context.Context, triggerID string) error {
	_, err := e.webhookTarget(ctx, triggerID)
	return err
}

// webhookTarget is a trigger that takes requests.
func (e *Engine) webhookTarget(ctx context.Context, id string) (store.PollTarget, error) {
	if err := e.store.WriteError(); err != nil && e.state.Load() == lifeRunning { // then somebody looks whether it goes again
		return store.PollTarget{}, wrap(err)
	}
	t, open, err := e.store.WebhookTarget(ctx, id)
	switch {
	case err != nil:
		if missing, ok := errors.AsType[*store.NotFoundError](err); ok {
			return t, &Error{Code: CodeNotFound, Entity: missing.Entity, ID: excerpt(id), Message: "there is no webhook here"}
		}
		return t, wrap(err)
	case open == store.WebhookClosed:
		return t, &Error{Code: CodeGone, Message: "this webhook takes no requests any longer", Hint: "remove it where it is registered"}
	case open == store.WebhookPaused:
		return t, &Error{Code: CodeUnavailable, Message: "this webhook is paused; nothing was accepted", Hint: "try again later"}
	}
	return t, nil
}

// ReceiveWebhook has a request to a trigger's URL handled by its provider. When it returns an
// answer, what the request brought is on the disk, and the deliveries are on their way if the
// engine runs. A request that brings only what was there before is answered all the same, and
// changes nothing.
//
// Every error is for the sender, and says nothing of the reason, which is in the log: with
// [CodeNotFound] there is no such webhook, [CodeGone] it takes no requests any longer,
// [CodeUnavailable] it is paused, or nothing can be stored, or the provider wants to be left alone
// (for as long as [RetryAfterOf] tells), [CodeBadRequest] the provider refuses the request (with
// the status that [RefusedStatus] tells, else 400), [CodeInternal] the provider failed. Nothing was
// stored then, but that a request could not be handled: the trigger shows it, unless it
// was refused. When ctx ends before the outcome is being stored, nothing is stored, and its
// error returned.
func (e *Engine) ReceiveWebhook(ctx context.Context, triggerID string, r ReceivedRequest) (WebhookResponse, error) {
	ctx, done, ok := e.inbound.begin(ctx)
	if !ok {
		return WebhookResponse{}, errWebhooksClosed()
	}
	defer done()
	if r.Suffix != "" && r.Suffix[0] != '/' && r.Suffix[0] != '?' {
		return WebhookResponse{}, &Error{Code: CodeBadRequest, Message: "what follows a webhook's URL begins with / or ?"}
	}
	t, err := e.webhookTarget(ctx, triggerID)
	if err != nil {
		return WebhookResponse{}, err
	}
	d := e.inbound.door(t.Seq)
	defer d.leave()
	in := &incoming{e: e, door: d, request: r, target: t, at: e.now(), began: time.Now(),
		log: e.log.With(keyProvider, t.ProviderIdentifier, keyTrigger, t.ID, keyInstance, t.InstanceID, keyCallback, t.CallbackID, "method", r.Method, "bytes", len(r.Body))}
	defer in.giveTurn()
	return in.receive(ctx)
}

// incoming is a request in hand.
type incoming struct {
	e       *Engine
	door    *door
	request ReceivedRequest
	target  store.PollTarget // as it was when the request was handled last
	at      time.Time        // by the engine's clock
	began   time.Time
	turn    bool // it is this one's turn to change the state
	auth    *Auth
	log     *slog.Logger
}

// answered is what a provider made of a request, and with what, which may be prepared anew.
type answered struct {
	WebhookResult
	source Source
}

// handled is what came of a request.
type handled struct {
	response WebhookResponse
	state    json.RawMessage
	inputs   int
	items    []store.Item
}

// receive handles the request until what came of it is stored: again, if the trigger's state, or
// its config, is another one by then. Only who has a new state waits for others who
// have: before that, nobody knows whether the source has sent the request at all.
func (in *incoming) receive(ctx context.Context) (WebhookResponse, error) {
	for range maxHandled {
		h, err := in.handle(ctx)
		if err == nil && h.state != nil {
			err = in.takeTurn(ctx)
		}
		if ctx.Err() != nil {
			return WebhookResponse{}, in.cutShort(ctx)
		}
		if err != nil {
			return WebhookResponse{}, in.failed(ctx, err)
		}
		if h.response.Status/100 == 4 && h.state == nil && h.inputs == 0 {
			in.log.LogAttrs(ctx, slog.LevelInfo, "webhook refused", slog.Int("status", h.response.Status), slog.Duration(keyDuration, time.Since(in.began)))
			return h.response, nil
		}
		recorded, err := in.record(ctx, h)
		if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			return WebhookResponse{}, in.cutShort(ctx)
		}
		if err != nil {
			in.log.ErrorContext(ctx, "a webhook could not be recorded, its sender is told so", keyError, err)
			return WebhookResponse{}, wrap(err)
		}
		if recorded {
			return h.response, nil
		}
		if in.target, err = in.e.webhookTarget(ctx, in.target.ID); err != nil {
			return WebhookResponse{}, err
		}
	}
	return WebhookResponse{}, &Error{Code: CodeUnavailable, Message: "the webhook is being changed all the time; nothing was accepted", Hint: "try again"}
}

// cutShort is the error of a request whose context has ended.
func (in *incoming) cutShort(ctx context.Context) error {
	if in.e.inbound.ended.Err() != nil {
		return errWebhooksClosed()
	}
	return context.Cause(ctx)
}

func errWebhooksClosed() error {
	return &Error{Code: CodeUnavailable, Message: "the engine is closed; nothing was accepted"}
}

// errNoTurn is of a request that would have to wait for too many others.
var errNoTurn = errors.New("other requests with a state take too long")

func (in *incoming) takeTurn(ctx context.Context) error {
	if in.turn {
		return nil
	}
	timer := time.NewTimer(in.e.options.PollTimeout)
	defer timer.Stop()
	select {
	case in.door.turn <- struct{}{}:
		in.turn = true
		return nil
	case <-timer.C:
		return errNoTurn
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (in *incoming) giveTurn() {
	if in.turn {
		<-in.door.turn
	}
}

// handle has the provider read the request, and maps what it brought.
func (in *incoming) handle(ctx context.Context) (h handled, err error) {
	t, e := in.target, in.e
	if in.door.blocked() {
		return h, errLeftBehind
	}
	limited, cancel := context.WithTimeout(ctx, e.options.PollTimeout)
	defer cancel()
	trigger, source, err := e.source(limited, t, in.at, in.log)
	defer func() { in.auth = source.Auth }()
	if err != nil {
		return h, err
	}
	url := e.WebhookURL(t.ID)
	if url == "" {
		url = webhookPath(t.ID)
	}
	// A call that is left behind must not change what goes on here: it has a source of its own.
	got, err := within(ctx, in.door, e.options.PollTimeout+lateGrace, func() (a answered, err error) {
		a.source = source
		a.WebhookResult, err = signedIn(limited, e, t, &a.source, func() (WebhookResult, error) {
			own := a.source
			return guard(ctx, in.log, func() (WebhookResult, error) {
				return trigger.Handle(limited, WebhookRequest{Source: own, Method: in.request.Method, URL: url + in.request.Suffix, Header: in.request.Header,
					Body: in.request.Body, State: t.State, Registration: t.Registration})
			})
		})
		return a, err
	})
	found := got.WebhookResult
	if got.source.Log != nil { // it was not left behind
		source = got.source
	}
	if err != nil {
		return h, err
	}
	if found.State != nil && !json.Valid(found.State) {
		return h, errors.New("the provider gave a state that is not JSON")
	}
	if h.response, err = answerOf(found.Response); err != nil {
		return h, err
	}
	h.state, h.inputs = found.State, len(found.Inputs)
	h.items, err = within(ctx, in.door, e.options.PollTimeout+lateGrace, func() ([]store.Item, error) {
		return e.mapAll(ctx, in.log, trigger, source, found.Inputs)
	})
	return h, err
}

// record tells whether what came of the request is stored: it is not if the trigger has changed.
func (in *incoming) record(ctx context.Context, h handled) (recorded bool, err error) {
	e := in.e
	w := store.Webhook{State: h.state, Items: h.items, Problem: unmapped(h.items), Duration: time.Since(in.began)}
	var out store.PollRecord
	e.clock.plan(func() {
		w.At, w.RecordedAt = in.at, e.now()
		for i := range w.Items {
			if !w.Items[i].NextMapAt.IsZero() {
				w.Items[i].NextMapAt = w.RecordedAt.Add(mapDelays[0])
			}
		}
		if out, err = e.store.RecordWebhook(ctx, in.target, w); err != nil || out.Dropped {
			return
		}
		e.deliverer.offer(out.Deliveries)
		e.poller.planMapping(w.Items)
	})
	if err != nil || out.Dropped {
		return false, err
	}
	level := slog.LevelDebug
	attrs := []slog.Attr{slog.Int("status", h.response.Status), slog.Int("inputs", h.inputs), slog.Int("events", out.Events), slog.Duration(keyDuration, w.Duration)}
	if out.Events > 0 {
		level = slog.LevelInfo
		if w.Problem != nil {
			level = slog.LevelWarn
			attrs = append(attrs, slog.String(keyError, w.Problem.Message))
		}
	}
	in.log.LogAttrs(ctx, level, "webhook received", attrs...)
	return true, nil
}

// failed is what the sender is told of a request that could not be handled, after it was logged
// and, if it was not refused, noted.
func (in *incoming) failed(ctx context.Context, err error) error {
	text, took := shorten(told(err, in.auth, in.target.Registration)), time.Since(in.began)
	if status, refused := RefusedStatus(err); refused {
		if status < 400 || status > 499 {
			status = http.StatusBadRequest
		}
		in.log.LogAttrs(ctx, slog.LevelInfo, "webhook refused", slog.Int("status", status), slog.String(keyError, text), slog.Duration(keyDuration, took))
		in.e.inbound.refuse(in.target.ID, Refusal{At: in.at, Status: status, Message: text})
		return &Error{Code: CodeBadRequest, Message: "the request was refused", Err: Refuse(status, errors.New(text))}
	}
	in.log.LogAttrs(ctx, slog.LevelWarn, "webhook could not be handled", slog.String(keyError, text), slog.Duration(keyDuration, took))
	if in.e.inbound.note(in.target.Seq) {
		if err := in.e.store.RecordWebhookFailure(ctx, in.target, in.at, took, text); err != nil {
			in.log.ErrorContext(ctx, "that a webhook could not be handled could not be recorded", keyError, err)
		}
	}
	cause := errors.New(text)
	after, wait := RetryAfterOf(err)
	switch {
	case wait, errors.Is(err, errNoProvider), errors.Is(err, errNoTrigger), errors.Is(err, errNoTurn), errors.Is(err, errLeftBehind):
		return &Error{Code: CodeUnavailable, Message: "the request cannot be handled at the moment; nothing was accepted", Hint: "try again later", Err: RetryAfter(after, cause)}
	case IsPermanent(err): // sending it again is pointless
		return &Error{Code: CodeBadRequest, Message: "the request cannot be handled", Err: cause}
	}
	return &Error{Code: CodeInternal, Message: "the request could not be handled", Err: cause}
}

// ofTheConnection are headers that say nothing of an answer, but of how it is brought.
var ofTheConnection = map[string]bool{"Connection": true, "Content-Length": true, "Date": true, "Keep-Alive": true, "Proxy-Authenticate": true,
	"Proxy-Connection": true, "Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true}

// answerOf is a provider's answer as it can be sent. Text of the request may be in it, so that it
// is looked at closely.
func answerOf(r *WebhookResponse) (WebhookResponse, error) {
	if r == nil {
		return WebhookResponse{Status: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(`{"ok":true}`)}, nil
	}
	a := WebhookResponse{Status: r.Status, Header: make(http.Header), Body: r.Body}
	if a.Status == 0 {
		a.Status = http.StatusOK
	}
	if a.Status < 200 || a.Status > 599 {
		return a, fmt.Errorf("the provider answers with the status %d, which must be 200 to 599", r.Status)
	}
	if len(a.Body) > maxResponseBody {
		return a, fmt.Errorf("the provider answers with %d bytes, more than 1 MiB", len(a.Body))
	}
	named := make(map[string]bool) // by Connection
	for key, values := range r.Header {
		if strings.EqualFold(key, "Connection") {
			for _, value := range values {
				for name := range strings.SplitSeq(value, ",") {
					named[textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name))] = true
				}
			}
		}
	}
	size := 0
	for key, values := range r.Header {
		if !httpguts.ValidHeaderFieldName(key) {
			return a, fmt.Errorf("the provider answers with a header %q, which is no name of one", excerpt(key))
		}
		key = http.CanonicalHeaderKey(key)
		if ofTheConnection[key] || named[key] {
			continue
		}
		for _, value := range values {
			if !httpguts.ValidHeaderFieldValue(value) {
				return a, fmt.Errorf("the provider answers with a header %s whose value has control characters", key)
			}
			if size += len(key) + len(value); size > maxResponseHeader {
				return a, errors.New("the provider answers with headers of more than 64 KiB")
			}
			a.Header.Add(key, strings.Trim(value, " \t"))
		}
	}
	return a, nil
}
