package engine_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/callbackd/callbackd/engine"
)

// hookProvider is a provider with one webhook, which a test handles.
func hookProvider(handle func(context.Context, engine.WebhookRequest) (engine.WebhookResult, error)) engine.Provider {
	return engine.Provider{Key: "hooks", Triggers: []engine.Trigger{{Key: "sent", Handle: handle}}}
}

// echo makes an event of each request, with its body as source id.
func echo(_ context.Context, req engine.WebhookRequest) (engine.WebhookResult, error) {
	return engine.WebhookResult{Inputs: []json.RawMessage{mapped(string(req.Body))}}, nil
}

func mapped(id string) json.RawMessage {
	text, _ := json.Marshal(engine.Mapped{Type: "sent", SourceID: id}) // texts always marshal
	return text
}

// hook is a setup with the id of its webhook.
type hook struct {
	setup
	e  *engine.Engine
	id string
}

func openHook(t *testing.T, o engine.Options, handle func(context.Context, engine.WebhookRequest) (engine.WebhookResult, error)) hook {
	t.Helper()
	o.Providers = []engine.Provider{hookProvider(handle)}
	e := open(t, o)
	return attachHook(t, e)
}

func attachHook(t *testing.T, e *engine.Engine) hook {
	t.Helper()
	s := attach(t, e, "hooks", engine.DestinationSettings{URL: "http://127.0.0.1:1"})
	return hook{setup: s, e: e, id: s.instance.Triggers[0].ID}
}

func (h hook) send(t *testing.T, body string) (engine.WebhookResponse, error) {
	return h.e.ReceiveWebhook(t.Context(), h.id, engine.ReceivedRequest{Method: "POST", Body: []byte(body)})
}

// sourceIDs are those of the callback's events, oldest first.
func (h hook) sourceIDs(t *testing.T) (ids []string) {
	t.Helper()
	for _, event := range must(h.e.ListEvents(t.Context(), h.callback.ID, engine.EventFilter{}, engine.Page{Limit: 10_000}))(t).Items {
		ids = append(ids, event.SourceID)
	}
	return ids
}

func (h hook) trigger(t *testing.T) engine.InstanceTrigger {
	t.Helper()
	return must(h.e.Instance(t.Context(), h.callback.ID, h.instance.ID))(t).Triggers[0]
}

func TestWebhookIsAnsweredOnceItIsStored(t *testing.T) {
	t.Parallel()
	h := openHook(t, engine.Options{}, echo)
	a, err := h.send(t, "one")
	if err != nil || a.Status != 200 || string(a.Body) != `{"ok":true}` || a.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%d %v %s, %v", a.Status, a.Header, a.Body, err)
	}
	if ids := h.sourceIDs(t); len(ids) != 1 || ids[0] != "one" {
		t.Errorf("events: %q", ids)
	}
	if n := must(h.e.ListNotifications(t.Context(), h.callback.ID, engine.NotificationFilter{}, engine.Page{}))(t).Items; len(n) != 1 {
		t.Errorf("%d notifications", len(n))
	}
	if a, err := h.send(t, "one"); err != nil || a.Status != 200 {
		t.Errorf("repeated: %d, %v", a.Status, err)
	}
	if ids := h.sourceIDs(t); len(ids) != 1 {
		t.Errorf("events after a repeat: %q", ids)
	}
	if tr := h.trigger(t); tr.Status != "active" || tr.LastReceivedAt.IsZero() || tr.LastItems == nil || *tr.LastItems != 1 || tr.LastError != nil {
		t.Errorf("%+v", tr)
	}
}

// While another has the file locked, nothing is committed, and nothing answered.
func TestWebhookIsNotAnsweredBeforeTheCommit(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "callbacks.db")
	reached := make(chan struct{})
	p := hookProvider(echo)
	p.Triggers[0].Map = func(_ context.Context, req engine.MapRequest) (m engine.Mapped, err error) {
		defer close(reached)
		return m, json.Unmarshal(req.Input, &m)
	}
	h := attachHook(t, open(t, engine.Options{Path: path, Providers: []engine.Provider{p}}))
	db := must(sql.Open("sqlite", path+"?_txlock=immediate"))(t)
	defer db.Close()
	lock := must(db.Begin())(t)
	done := make(chan error, 1)
	go func() { _, err := h.send(t, "one"); done <- err }() // awaited below
	<-reached
	for range 10_000 { // long enough for one that does not wait
		runtime.Gosched()
	}
	select {
	case err := <-done:
		t.Errorf("it was answered: %v", err)
		done <- nil
	default:
	}
	if err := lock.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if ids := h.sourceIDs(t); len(ids) != 1 {
		t.Errorf("events: %q", ids)
	}
}

func TestWebhookThatCannotBeStoredIsNotAccepted(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "callbacks.db")
	h := openHook(t, engine.Options{Path: path}, echo)
	db := must(sql.Open("sqlite", path))(t)
	must(db.Exec("CREATE TRIGGER broken BEFORE INSERT ON event_payload BEGIN SELECT RAISE(ABORT, 'broken'); END"))(t)
	if _, err := h.send(t, "one"); err == nil {
		t.Error("it was accepted")
	}
	if tr := h.trigger(t); !tr.LastReceivedAt.IsZero() || len(h.sourceIDs(t)) > 0 {
		t.Errorf("half of it is stored: %+v", tr)
	}
	must(db.Exec("DROP TRIGGER broken"))(t)
	if err := errors.Join(db.Close(), os.Remove(path)); err != nil {
		t.Fatal(err)
	}
	if _, err := h.send(t, "one"); engine.CodeOf(err) != engine.CodeUnavailable {
		t.Errorf("without a file: %v", err)
	}
}

// A trigger whose baseline is to skip what is there already has nothing to skip: what it is sent
// happened since.
func TestFirstWebhookIsNoBaseline(t *testing.T) {
	t.Parallel()
	p := hookProvider(echo)
	p.Triggers[0].Baseline = engine.BaselineSkip
	h := attachHook(t, open(t, engine.Options{Providers: []engine.Provider{p}}))
	must(h.send(t, "one"))(t)
	if ids := h.sourceIDs(t); len(ids) != 1 {
		t.Errorf("events: %q", ids)
	}
}

func TestWebhookRequestIsHandedOverAsItCame(t *testing.T) {
	t.Parallel()
	got := make(chan engine.WebhookRequest, 1)
	handle := func(_ context.Context, req engine.WebhookRequest) (engine.WebhookResult, error) {
		got <- req
		return engine.WebhookResult{}, nil
	}
	for public, want := range map[string]string{"": "/webhooks/", "https://hooks.test/deep/": "https://hooks.test/deep/webhooks/"} {
		h := openHook(t, engine.Options{PublicURL: public}, handle)
		r := engine.ReceivedRequest{Method: "PUT", Suffix: "/a%2Fb//?c=%20", Header: http.Header{"X-Own": {"1", "2"}}, Body: []byte("\x1f\x8b\x00")}
		must(h.e.ReceiveWebhook(t.Context(), h.id, r))(t)
		req := <-got
		if req.URL != want+h.id+r.Suffix || req.Method != "PUT" || len(req.Header["X-Own"]) != 2 || !bytes.Equal(req.Body, r.Body) || string(req.Config) != "{}" {
			t.Errorf("%+v", req)
		}
		if url := h.trigger(t).WebhookURL; public == "" && url != "" || public != "" && url != want+h.id {
			t.Errorf("the trigger says %q", url)
		}
	}
}

// Each request adds one to a state: none is lost, although all are handled at once.
func TestConcurrentWebhooksLoseNoUpdateOfTheState(t *testing.T) {
	t.Parallel()
	const requests = 100
	count := func(_ context.Context, req engine.WebhookRequest) (engine.WebhookResult, error) {
		n := 0
		if req.State != nil {
			var err error
			if n, err = strconv.Atoi(string(req.State)); err != nil {
				return engine.WebhookResult{}, err
			}
		}
		n++
		return engine.WebhookResult{State: json.RawMessage(strconv.Itoa(n)), Inputs: []json.RawMessage{mapped(strconv.Itoa(n))}}, nil
	}
	h := openHook(t, engine.Options{}, count)
	var wg sync.WaitGroup
	for range requests {
		wg.Go(func() {
			if _, err := h.send(t, "x"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	seen := make(map[string]bool)
	for _, id := range h.sourceIDs(t) {
		seen[id] = true
	}
	for i := range requests {
		if !seen[strconv.Itoa(i+1)] {
			t.Errorf("no request counted to %d", i+1)
		}
	}
}

// What an instance was given another config for, counts for a request that was being handled.
func TestWebhookIsHandledAgainWithAnotherConfig(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	handle := func(_ context.Context, req engine.WebhookRequest) (engine.WebhookResult, error) {
		if string(req.Config) == "{}" {
			close(entered)
			<-release
			return engine.WebhookResult{Inputs: []json.RawMessage{mapped("old")}}, nil
		}
		return engine.WebhookResult{Inputs: []json.RawMessage{mapped("new")}}, nil
	}
	h := openHook(t, engine.Options{}, handle)
	done := make(chan error, 1)
	go func() { _, err := h.send(t, "x"); done <- err }() // awaited below
	<-entered
	must(h.e.UpdateConfig(t.Context(), h.instance.Config.ID, engine.UpdateConfig{Value: json.RawMessage(`{"v":2}`)}))(t)
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if ids := h.sourceIDs(t); len(ids) != 1 || ids[0] != "new" {
		t.Errorf("events: %q", ids)
	}
}

func TestWebhookOfAnInstanceThatWasDetachedMeanwhileIsGone(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	h := openHook(t, engine.Options{}, func(ctx context.Context, req engine.WebhookRequest) (engine.WebhookResult, error) {
		close(entered)
		<-release
		return echo(ctx, req)
	})
	done := make(chan error, 1)
	go func() { _, err := h.send(t, "x"); done <- err }() // awaited below
	<-entered
	must(h.e.DetachInstance(t.Context(), h.callback.ID, h.instance.ID))(t)
	close(release)
	if err := <-done; engine.CodeOf(err) != engine.CodeGone {
		t.Error(err)
	}
	if ids := h.sourceIDs(t); len(ids) != 0 {
		t.Errorf("events: %q", ids)
	}
}

// The path of a webhook follows the public URL, and must not become a part of something else.
func TestPublicURLCanBeFollowedByAPath(t *testing.T) {
	t.Parallel()
	for public, ok := range map[string]bool{
		"https://a.test": true, "http://a.test:1/b/": true,
		"https://a.test/?": false, "https://a.test?b": false, "https://a.test/#": false, "https://a.test#b": false, "https://b@a.test": false, "a.test": false, "ftp://a.test": false,
	} {
		e, err := engine.Open(t.Context(), engine.Options{Path: filepath.Join(t.TempDir(), "a.db"), NoSync: true, PublicURL: public})
		if (err == nil) != ok {
			t.Errorf("%s: %v", public, err)
		}
		if err == nil {
			t.Cleanup(func() { _ = e.Close() })
		}
	}
}

func TestWebhookTakesRequestsOnlyWhileItIsAttendedTo(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*testing.T, hook){
		"Detached":           func(t *testing.T, h hook) { must(h.e.DetachInstance(t.Context(), h.callback.ID, h.instance.ID))(t) },
		"CallbackArchived":   func(t *testing.T, h hook) { must(h.e.ArchiveCallback(t.Context(), h.callback.ID))(t) },
		"ConfigArchived":     func(t *testing.T, h hook) { must(h.e.ArchiveConfig(t.Context(), h.instance.Config.ID))(t) },
		"DeploymentArchived": func(t *testing.T, h hook) { must(h.e.ArchiveDeployment(t.Context(), h.callback.Deployment.ID))(t) },
		"TriggerNotNamed": func(t *testing.T, h hook) {
			must(h.e.UpdateCallback(t.Context(), h.callback.ID, engine.UpdateCallback{Triggers: &[]engine.TriggerChoice{}}))(t)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int64
			h := openHook(t, engine.Options{}, func(ctx context.Context, req engine.WebhookRequest) (engine.WebhookResult, error) {
				calls.Add(1)
				return echo(ctx, req)
			})
			if err := h.e.CheckWebhook(t.Context(), h.id); err != nil {
				t.Error(err)
			}
			end(t, h)
			if _, err := h.send(t, "x"); engine.CodeOf(err) != engine.CodeGone || calls.Load() != 0 {
				t.Errorf("%v, after %d calls", err, calls.Load())
			}
			if err := h.e.CheckWebhook(t.Context(), h.id); engine.CodeOf(err) != engine.CodeGone {
				t.Error(err)
			}
		})
	}
	t.Run("Unknown", func(t *testing.T) {
		t.Parallel()
		e := open(t, engine.Options{Providers: []engine.Provider{(&source{}).provider()}})
		s := attach(t, e, "source", engine.DestinationSettings{URL: "http://127.0.0.1:1"})
		for _, id := range []string{"", "ctr_unknown", s.instance.Triggers[0].ID, s.instance.ID} { // the third is polled
			if _, err := e.ReceiveWebhook(t.Context(), id, engine.ReceivedRequest{}); engine.CodeOf(err) != engine.CodeNotFound {
				t.Errorf("%q: %v", id, err)
			}
		}
	})
	t.Run("AttachedAgain", func(t *testing.T) {
		t.Parallel()
		h := openHook(t, engine.Options{}, echo)
		must(h.e.DetachInstance(t.Context(), h.callback.ID, h.instance.ID))(t)
		must(h.e.AttachInstance(t.Context(), h.callback.ID, engine.NewInstance{ConfigID: h.instance.Config.ID}))(t)
		if _, err := h.send(t, "x"); err != nil {
			t.Error(err)
		}
	})
}
