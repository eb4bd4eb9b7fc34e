package engine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// What the sender is told, what the trigger shows, and that the reason stays with us, without secrets.
func TestWebhookThatIsNotHandled(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		result  engine.WebhookResult
		err     error
		code    engine.Code
		refused int
		noted   bool
	}{
		{name: "Refused", err: engine.Refuse(401, errors.New("bad secret-reason")), code: engine.CodeBadRequest, refused: 401},
		{name: "RefusedWithAStatusThatIsNone", err: engine.Refuse(200, errors.New("secret-reason")), code: engine.CodeBadRequest, refused: 400},
		{name: "RefusedWrapped", err: fmt.Errorf("read: %w", engine.Refuse(413, errors.New("secret-reason"))), code: engine.CodeBadRequest, refused: 413},
		{name: "RetryAfter", err: engine.RetryAfter(time.Minute, errors.New("secret-reason")), code: engine.CodeUnavailable, noted: true},
		{name: "Permanent", err: engine.Permanent(errors.New("secret-reason")), code: engine.CodeBadRequest, noted: true},
		{name: "Other", err: errors.New("secret-reason"), code: engine.CodeInternal, noted: true},
		{name: "StateThatIsNotJSON", result: engine.WebhookResult{State: json.RawMessage(`{`)}, code: engine.CodeInternal, noted: true},
		{name: "StatusThatIsNone", result: engine.WebhookResult{Response: &engine.WebhookResponse{Status: 101}}, code: engine.CodeInternal, noted: true},
		{name: "HeaderNameThatIsNone", result: engine.WebhookResult{Response: &engine.WebhookResponse{Header: http.Header{"A b": {"c"}}}}, code: engine.CodeInternal, noted: true},
		{name: "HeaderInjected", result: engine.WebhookResult{Response: &engine.WebhookResponse{Header: http.Header{"A": {"b\r\nSet-Cookie: c=d"}}}}, code: engine.CodeInternal, noted: true},
		{name: "TrailerInjected", result: engine.WebhookResult{Response: &engine.WebhookResponse{Header: http.Header{"Trailer:A": {"b"}}}}, code: engine.CodeInternal, noted: true},
		{name: "HeadersTooLarge", result: engine.WebhookResult{Response: &engine.WebhookResponse{Header: http.Header{"A": {strings.Repeat("b", 65<<10)}}}}, code: engine.CodeInternal, noted: true},
		{name: "BodyTooLarge", result: engine.WebhookResult{Response: &engine.WebhookResponse{Body: make([]byte, 1<<20+1)}}, code: engine.CodeInternal, noted: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.result.Inputs = []json.RawMessage{mapped("never")}
			h := openHook(t, engine.Options{}, func(context.Context, engine.WebhookRequest) (engine.WebhookResult, error) { return tt.result, tt.err })
			_, err := h.send(t, "x")
			e, ok := errors.AsType[*engine.Error](err)
			if !ok || e.Code != tt.code || strings.Contains(e.Message+e.Hint, "secret-reason") {
				t.Errorf("%v", err)
			}
			if status, refused := engine.RefusedStatus(err); status != tt.refused || refused != (tt.refused != 0) {
				t.Errorf("refused with %d", status)
			}
			if after, ok := engine.RetryAfterOf(err); ok != (tt.name == "RetryAfter") || ok && after != time.Minute {
				t.Errorf("retry after %s", after)
			}
			tr := h.trigger(t)
			if noted := tr.LastError != nil && tr.LastError.Code == "webhook_failed" && tr.Status == "failing" && tr.ConsecutiveFailures == 1; noted != tt.noted || !noted && !tr.LastReceivedAt.IsZero() {
				t.Errorf("%+v %+v", tr, tr.LastError)
			}
			if ids := h.sourceIDs(t); len(ids) != 0 {
				t.Errorf("events: %q", ids)
			}
		})
	}
}

// An answer that refuses a request is no sign that the trigger is well.
func TestWebhookThatIsAnsweredWithARefusalStoresNothing(t *testing.T) {
	t.Parallel()
	h := openHook(t, engine.Options{}, func(_ context.Context, req engine.WebhookRequest) (engine.WebhookResult, error) {
		if string(req.Body) == "fail" {
			return engine.WebhookResult{}, errors.New("no")
		}
		return engine.WebhookResult{Response: &engine.WebhookResponse{Status: 405, Header: http.Header{"Allow": {"POST"}}}}, nil
	})
	if _, err := h.send(t, "fail"); err == nil {
		t.Fatal("no error")
	}
	before := h.trigger(t)
	answer, err := h.send(t, "x")
	if err != nil || answer.Status != 405 || answer.Header.Get("Allow") != "POST" {
		t.Errorf("%+v, %v", answer, err)
	}
	if after := h.trigger(t); before.LastError == nil || after.LastError == nil || !after.LastReceivedAt.Equal(before.LastReceivedAt) {
		t.Errorf("%+v, then %+v", before, after)
	}
}

// A flood of requests that cannot be handled is noted once a second, and a request that can be
// ends it.
func TestFailedWebhooksAreNotedSeldomAndUntilOneSucceeds(t *testing.T) {
	t.Parallel()
	inVirtualTime(t, engine.Options{Providers: []engine.Provider{hookProvider(func(ctx context.Context, req engine.WebhookRequest) (engine.WebhookResult, error) {
		if string(req.Body) == "bad" {
			return engine.WebhookResult{}, errors.New("no")
		}
		return echo(ctx, req)
	})}}, nil, func(t *testing.T, e *engine.Engine) {
		h := attachHook(t, e)
		for range 3 {
			for range 10 {
				if _, err := h.send(t, "bad"); engine.CodeOf(err) != engine.CodeInternal {
					t.Error(err)
				}
			}
			time.Sleep(time.Second)
		}
		if tr := h.trigger(t); tr.ConsecutiveFailures != 3 || tr.Status != "failing" {
			t.Errorf("%+v", tr)
		}
		must(h.send(t, "good"))(t)
		if tr := h.trigger(t); tr.ConsecutiveFailures != 0 || tr.Status != "active" || tr.LastError != nil {
			t.Errorf("%+v", tr)
		}
	})
}

func TestWebhookSurvivesForeignCode(t *testing.T) {
	t.Parallel()
	h := openHook(t, engine.Options{}, func(ctx context.Context, req engine.WebhookRequest) (engine.WebhookResult, error) {
		switch string(req.Body) {
		case "panic":
			panic("a mistake")
		case "exit":
			runtime.Goexit()
		}
		return echo(ctx, req)
	})
	for _, how := range []string{"panic", "exit"} {
		if _, err := h.send(t, how); engine.CodeOf(err) != engine.CodeInternal {
			t.Errorf("%s: %v", how, err)
		}
	}
	if _, err := h.send(t, "x"); err != nil {
		t.Error(err)
	}
}

// Calls that heed no deadline are left behind, a few of them, and no request waits for ever.
func TestWebhookWhoseProviderHeedsNoDeadline(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "callbacks.db")
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var calls atomic.Int64
		e := must(engine.Open(t.Context(), engine.Options{Path: path, NoSync: true, PollTimeout: time.Second, Providers: []engine.Provider{hookProvider(func(ctx context.Context, req engine.WebhookRequest) (engine.WebhookResult, error) {
			if string(req.Body) == "hang" {
				calls.Add(1)
				<-release
			}
			return echo(ctx, req)
		})}}))(t)
		h := attachHook(t, e)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if _, err := h.send(t, "hang"); engine.CodeOf(err) != engine.CodeUnavailable {
					t.Error(err)
				}
			})
		}
		began := time.Now()
		wg.Wait()
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("requests wait for %s", took)
		}
		before := calls.Load()
		if _, err := h.send(t, "hang"); engine.CodeOf(err) != engine.CodeUnavailable || calls.Load() != before {
			t.Errorf("%v, after %d calls more", err, calls.Load()-before)
		}
		close(release)
		synctest.Wait()
		if _, err := h.send(t, "x"); err != nil {
			t.Error(err)
		}
		if ids := h.sourceIDs(t); len(ids) != 1 { // what was left behind is not believed
			t.Errorf("events: %q", ids)
		}
		if n := e.WebhooksInHand(); n != 0 {
			t.Errorf("%d doors are remembered", n)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestCloseWaitsForWebhooksInHand(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "callbacks.db")
	synctest.Test(t, func(t *testing.T) {
		entered, release := make(chan struct{}), make(chan struct{})
		e := must(engine.Open(t.Context(), engine.Options{Path: path, NoSync: true, Providers: []engine.Provider{hookProvider(func(ctx context.Context, req engine.WebhookRequest) (engine.WebhookResult, error) {
			close(entered)
			<-release
			return echo(ctx, req)
		})}}))(t)
		h := attachHook(t, e)
		sent, closed := make(chan error, 1), make(chan error, 1)
		go func() { _, err := h.send(t, "slow"); sent <- err }() // awaited below
		<-entered
		go func() { closed <- e.Close() }() // awaited below
		synctest.Wait()
		if _, err := h.send(t, "late"); engine.CodeOf(err) != engine.CodeUnavailable {
			t.Error(err)
		}
		select {
		case <-closed:
			t.Error("Close did not wait")
		default:
		}
		close(release)
		if err := <-sent; err != nil {
			t.Errorf("a request in hand: %v", err)
		}
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
}

// What does not end before Close gives up is cut short, and its sender told to come again.
func TestCloseCutsWebhooksShort(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "callbacks.db")
	synctest.Test(t, func(t *testing.T) {
		entered := make(chan struct{})
		e := must(engine.Open(t.Context(), engine.Options{Path: path, NoSync: true, PollTimeout: time.Hour, Providers: []engine.Provider{hookProvider(func(ctx context.Context, _ engine.WebhookRequest) (engine.WebhookResult, error) {
			close(entered)
			<-ctx.Done()
			return engine.WebhookResult{}, ctx.Err()
		})}}))(t)
		h := attachHook(t, e)
		sent := make(chan error, 1)
		go func() { _, err := h.send(t, "slow"); sent <- err }() // awaited below
		<-entered
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		if err := <-sent; engine.CodeOf(err) != engine.CodeUnavailable {
			t.Error(err)
		}
	})
}

func TestRefusedWebhookIsLoggedWithoutSecrets(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	p := hookProvider(func(_ context.Context, req engine.WebhookRequest) (engine.WebhookResult, error) {
		return engine.WebhookResult{}, engine.Refuse(401, fmt.Errorf("the signature is not one of %s", req.Auth.Value))
	})
	p.AuthMethods = []engine.AuthMethod{{Key: "secret"}}
	e := open(t, engine.Options{Providers: []engine.Provider{p}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	s := attach(t, e, "hooks", engine.DestinationSettings{URL: "http://127.0.0.1:1"})
	auth := must(e.CreateAuthConfig(t.Context(), engine.NewAuthConfig{Method: "secret", DeploymentID: s.callback.Deployment.ID, Value: json.RawMessage(`{"secrets":["hush-hush"]}`)}))(t)
	i := must(e.AttachInstance(t.Context(), s.callback.ID, engine.NewInstance{ConfigID: s.instance.Config.ID, AuthConfigID: auth.ID}))(t)
	_, err := e.ReceiveWebhook(t.Context(), i.Triggers[0].ID, engine.ReceivedRequest{Method: "POST", Suffix: "?token=in-query"})
	if err == nil || strings.Contains(err.Error(), "hush-hush") {
		t.Errorf("%v", err)
	}
	if text := log.String(); !strings.Contains(text, "webhook refused") || !strings.Contains(text, "signature") || strings.Contains(text, "hush-hush") || strings.Contains(text, "in-query") {
		t.Errorf("%s", text)
	}
	shown := must(e.Instance(t.Context(), s.callback.ID, i.ID))(t).Triggers[0].LastRefused
	if shown == nil || shown.Status != 401 || !strings.Contains(shown.Message, "signature") || strings.Contains(shown.Message, "hush-hush") || shown.At.IsZero() {
		t.Errorf("shown: %+v", shown)
	}
}
