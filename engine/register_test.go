package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// hooks is a source that webhooks are registered at. A registration replaces one with the same
// URL, and taking back what is not there succeeds.
type hooks struct {
	mu         sync.Mutex
	start      time.Time
	known      map[string]int // details by URL
	calls      []string       // "+URL" and "-URL", in order
	at         []time.Duration
	last       engine.RegisterRequest
	expires    time.Duration
	register   func(ctx context.Context) error // before it succeeds; nil: it does
	unregister func(ctx context.Context) error
}

func (h *hooks) called(ctx context.Context, sign string, req engine.RegisterRequest, does *func(context.Context) error) error {
	h.mu.Lock()
	h.calls = append(h.calls, sign+req.URL)
	h.at = append(h.at, time.Since(h.start).Round(time.Second))
	h.last = req
	fail := *does
	h.mu.Unlock()
	if fail != nil {
		return fail(ctx)
	}
	return nil
}

// set changes what the source does, which the engine may be asking just now.
func set[T any](h *hooks, does *T, to T) {
	h.mu.Lock()
	defer h.mu.Unlock()
	*does = to
}

func (h *hooks) provider() engine.Provider {
	handle := func(context.Context, engine.WebhookRequest) (engine.WebhookResult, error) {
		return engine.WebhookResult{}, nil
	}
	return engine.Provider{Key: "hooks", AuthMethods: []engine.AuthMethod{{Key: "token"}}, Triggers: []engine.Trigger{
		{Key: "made", Handle: handle,
			Register: func(ctx context.Context, req engine.RegisterRequest) (engine.Registration, error) {
				if err := h.called(ctx, "+", req, &h.register); err != nil {
					return engine.Registration{}, err
				}
				h.mu.Lock()
				defer h.mu.Unlock()
				h.known[req.URL] = len(h.calls)
				r := engine.Registration{Details: json.RawMessage(fmt.Sprintf(`{"id":%d}`, len(h.calls)))}
				if h.expires != 0 {
					r.ExpiresAt = req.Now.Add(h.expires)
				}
				return r, nil
			},
			Unregister: func(ctx context.Context, req engine.RegisterRequest) error {
				if err := h.called(ctx, "-", req, &h.unregister); err != nil {
					return err
				}
				h.mu.Lock()
				defer h.mu.Unlock()
				delete(h.known, req.URL)
				return nil
			}},
		{Key: "by-hand", Handle: handle},
	}}
}

// seen are the calls since the last time, with the URLs' variable end left out.
func (h *hooks) seen() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	calls := h.calls
	h.calls, h.at = nil, nil
	for i, c := range calls {
		head, id, _ := strings.Cut(c, "/webhooks/")
		if !strings.HasPrefix(id, "ctr_") {
			head = c
		}
		calls[i] = head
	}
	return calls
}

func (h *hooks) times() []time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.at)
}

func (h *hooks) request() engine.RegisterRequest {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last
}

func (h *hooks) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.known)
}

// bench is a file with a callback of the source, and the engine that has it open.
type bench struct {
	*hooks
	t *testing.T
	o engine.Options
	e *engine.Engine
	setup
	auth engine.AuthConfig
}

const hooksURL = "https://hooks.test"

// withHooks runs an engine with the source in virtual time; nothing is attached before.
func withHooks(t *testing.T, change func(*engine.Options), test func(t *testing.T, b *bench)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "callbacks.db")
	synctest.Test(t, func(t *testing.T) {
		b := &bench{hooks: &hooks{known: make(map[string]int), start: time.Now()}, t: t}
		b.o = engine.Options{Path: path, NoSync: true, PublicURL: hooksURL + "/", Providers: []engine.Provider{b.provider()},
			Random: func() float64 { return 0.5 }, HTTPClient: &http.Client{}, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
		if change != nil {
			change(&b.o)
		}
		b.open()
		ctx := t.Context()
		deployment := must(b.e.CreateDeployment(ctx, engine.NewDeployment{Provider: "hooks", Config: &engine.NewConfigValue{Value: json.RawMessage(`{"v":1}`)}}))(t)
		method := must(b.e.ListAuthMethods(ctx, engine.CatalogFilter{}, engine.Page{}))(t).Items[0]
		b.auth = must(b.e.CreateAuthConfig(ctx, engine.NewAuthConfig{Method: method.ID, Value: json.RawMessage(`{"token":"first-token"}`)}))(t)
		b.callback = must(b.e.CreateCallback(ctx, engine.NewCallback{Details: engine.Details{Name: "test"}, DeploymentID: deployment.ID}))(t)
		b.attach()
		test(t, b)
		b.shut()
		synctest.Wait()
	})
}

func (b *bench) attach() {
	b.t.Helper()
	b.instance = must(b.e.AttachInstance(b.t.Context(), b.callback.ID, engine.NewInstance{ConfigID: b.config(), AuthConfigID: b.auth.ID}))(b.t)
}

func (b *bench) config() string {
	b.t.Helper()
	return must(b.e.Deployment(b.t.Context(), b.callback.Deployment.ID))(b.t).DefaultConfig.ID
}

// open opens the file anew and starts.
func (b *bench) open() {
	b.t.Helper()
	b.e = must(engine.Open(b.t.Context(), b.o))(b.t)
	start(b.t, b.e)
}

func (b *bench) shut() {
	b.t.Helper()
	if r := must(b.e.Check(b.t.Context(), false))(b.t); len(r.Problems) > 0 {
		b.t.Errorf("the file is not in order: %+v", r.Problems)
	}
	if err := b.e.Close(); err != nil {
		b.t.Errorf("close: %v", err)
	}
}

func (b *bench) reopen(change func(*engine.Options)) {
	b.t.Helper()
	b.shut()
	if change != nil {
		change(&b.o)
	}
	b.open()
}

func (b *bench) detach() {
	b.t.Helper()
	must(b.e.DetachInstance(b.t.Context(), b.callback.ID, b.instance.ID))(b.t)
}

// trigger is the one that registers itself.
func (b *bench) trigger() engine.InstanceTrigger {
	b.t.Helper()
	for _, tr := range must(b.e.Instance(b.t.Context(), b.callback.ID, b.instance.ID))(b.t).Triggers {
		if tr.Trigger.Key == "made" {
			return tr
		}
	}
	b.t.Fatal("there is no such trigger")
	panic("unreachable")
}

// shows expects of the trigger whether it is registered, and its error.
func (b *bench) shows(registered bool, status, code, text string) engine.InstanceTrigger {
	b.t.Helper()
	tr := b.trigger()
	said := engine.Failure{}
	if tr.LastError != nil {
		said = *tr.LastError
	}
	if tr.Registered != registered || tr.Status != status || said.Code != code || !strings.Contains(said.Message, text) {
		b.t.Errorf("registered %t, status %s, %+v; want %t, %s, %q with %q", tr.Registered, tr.Status, said, registered, status, code, text)
	}
	return tr
}

func (b *bench) expect(calls ...string) {
	b.t.Helper()
	if got := b.seen(); !slices.Equal(got, calls) {
		b.t.Errorf("the source was called with %q, want %q", got, calls)
	}
}

func TestWebhookIsRegisteredWhileItIsWanted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		end  func(b *bench) error
		code string
		gone bool // the trigger is not shown any longer
	}{
		"Detached": {end: func(b *bench) error {
			_, err := b.e.DetachInstance(b.t.Context(), b.callback.ID, b.instance.ID)
			return err
		}},
		"CallbackArchived":   {end: func(b *bench) error { _, err := b.e.ArchiveCallback(b.t.Context(), b.callback.ID); return err }},
		"ConfigArchived":     {end: func(b *bench) error { _, err := b.e.ArchiveConfig(b.t.Context(), b.config()); return err }, code: "config_archived"},
		"AuthConfigArchived": {end: func(b *bench) error { _, err := b.e.ArchiveAuthConfig(b.t.Context(), b.auth.ID); return err }, code: "auth_config_archived"},
		"DeploymentArchived": {end: func(b *bench) error {
			_, err := b.e.ArchiveDeployment(b.t.Context(), b.callback.Deployment.ID)
			return err
		}, code: "deployment_archived"},
		"TriggerLeftOut": {end: func(b *bench) error {
			_, err := b.e.UpdateCallback(b.t.Context(), b.callback.ID, engine.UpdateCallback{Triggers: &[]engine.TriggerChoice{{Trigger: "by-hand"}}})
			return err
		}, gone: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			withHooks(t, nil, func(t *testing.T, b *bench) {
				synctest.Wait()
				tr := b.shows(true, "active", "", "")
				url := hooksURL + "/webhooks/" + tr.ID
				if r := b.request(); r.URL != url || string(r.Config) != `{"v":1}` || string(r.Auth.Value) != `{"token":"first-token"}` || r.Registration != nil || r.HTTP == nil || r.Log == nil {
					t.Errorf("registered with %+v", r)
				}
				time.Sleep(10 * time.Minute)
				b.expect("+" + hooksURL)
				if err := c.end(b); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				b.expect("-" + hooksURL)
				if r := b.request(); r.URL != url || string(r.Registration) != `{"id":1}` || string(r.Config) != `{"v":1}` || string(r.Auth.Value) != `{"token":"first-token"}` || b.count() != 0 {
					t.Errorf("taken back with %+v", r)
				}
				if !c.gone {
					b.shows(false, "paused", c.code, "")
				}
				b.reopen(nil)
				time.Sleep(10 * time.Minute)
				b.expect()
			})
		})
	}
}

// A person registers it: there is nothing to do, and nothing to show.
func TestWebhookThatAPersonRegistersIsLeftAlone(t *testing.T) {
	t.Parallel()
	withHooks(t, func(o *engine.Options) {
		o.PublicURL = ""
		o.Providers[0].Triggers[0].Register, o.Providers[0].Triggers[0].Unregister = nil, nil
	}, func(t *testing.T, b *bench) {
		time.Sleep(10 * time.Minute)
		if tr := b.shows(false, "active", "", ""); tr.NextPollAt.Year() != 9999 {
			t.Errorf("it is due at %s", tr.NextPollAt)
		}
		// With code that can register, it is.
		b.reopen(func(o *engine.Options) { o.Providers = []engine.Provider{b.provider()}; o.PublicURL = hooksURL })
		time.Sleep(2 * time.Second)
		b.expect("+" + hooksURL)
		b.shows(true, "active", "", "")
		// With code that cannot, what is registered stays, and is not taken back.
		b.reopen(func(o *engine.Options) {
			o.Providers[0].Triggers[0].Register, o.Providers[0].Triggers[0].Unregister = nil, nil
		})
		b.shows(true, "active", "", "")
		b.detach()
		time.Sleep(time.Second)
		b.shows(false, "paused", "", "")
		b.expect()
	})
}

func TestFailingRegistrationIsTriedAgain(t *testing.T) {
	t.Parallel()
	minute := time.Minute

	t.Run("WithBackOffOverRestarts", func(t *testing.T) {
		t.Parallel()
		withHooks(t, func(o *engine.Options) { o.PublicURL = "https://first.test" }, func(t *testing.T, b *bench) {
			var fail error = errors.New("the source says first-token is no good")
			set(b.hooks, &b.register, func(context.Context) error { return fail })
			b.detach()
			time.Sleep(time.Second)
			b.seen()
			set(b.hooks, &b.start, time.Now())
			b.attach()
			// What polls are made with has nothing to do with it.
			must(b.e.UpdateCallback(t.Context(), b.callback.ID, engine.UpdateCallback{PollIntervalOverride: new(365 * 24 * time.Hour)}))(t)
			time.Sleep(4 * minute)
			tr := b.shows(false, "failing", "registration_failed", "the source says [secret] is no good")
			if tr.ConsecutiveFailures != 3 || !tr.LastPolledAt.IsZero() {
				t.Errorf("%+v", tr)
			}
			before := b.times()
			b.reopen(nil)
			time.Sleep(28 * minute)
			want := []time.Duration{0, 1 * minute, 3 * minute, 7 * minute, 15 * minute, 31 * minute}
			got := b.times()
			if len(before) != 3 || len(got) < len(want) {
				t.Fatalf("tried at %v, then at %v", before, got)
			}
			for i := range want {
				if late := got[i] - want[i]; late < 0 || late > 15*time.Second {
					t.Errorf("try %d was %s late", i+1, late)
				}
			}
			b.seen()
			fail = nil
			time.Sleep(33 * minute)
			b.expect("+https://first.test")
			if tr := b.shows(true, "active", "", ""); tr.ConsecutiveFailures != 0 {
				t.Errorf("%+v", tr)
			}
		})
	})

	for name, c := range map[string]struct {
		fail   func(context.Context) error
		status string
		text   string
		again  time.Duration // 0: not
	}{
		"AfterAsLongAsWasAsked": {func(context.Context) error { return engine.RetryAfter(5*time.Minute, errors.New("slow down")) }, "failing", "slow down", 5 * minute},
		"NotWhenItIsPermanent":  {func(context.Context) error { return engine.Permanent(errors.New("no such plan")) }, "failing", "no such plan", 0},
		"AfterAPanic":           {func(context.Context) error { panic("bug") }, "failing", "panic: bug", 2 * minute},
		"AfterItsDeadline": {func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}, "failing", "deadline", 2 * minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			withHooks(t, func(o *engine.Options) { o.PublicURL = "" }, func(t *testing.T, b *bench) {
				synctest.Wait()
				b.shows(false, "failing", "registration_failed", "--public-url")
				set(b.hooks, &b.register, c.fail)
				// With a URL, it does not wait as long as it would have to.
				b.reopen(func(o *engine.Options) { o.PublicURL = hooksURL })
				began := time.Now()
				time.Sleep(32 * time.Second)
				tr := b.shows(false, c.status, "registration_failed", c.text)
				b.expect("+" + hooksURL)
				if c.again == 0 {
					time.Sleep(10 * time.Minute)
					b.expect()
					set(b.hooks, &b.register, nil)
					must(b.e.UpdateConfig(t.Context(), b.config(), engine.UpdateConfig{Value: json.RawMessage(`{"v":2}`)}))(t)
					time.Sleep(time.Second)
					b.shows(true, "active", "", "")
					return
				}
				if in := tr.NextPollAt.Sub(began); in < c.again-2*time.Second || in > c.again+33*time.Second {
					t.Errorf("tried again in %s, want %s", in, c.again)
				}
				set(b.hooks, &b.register, nil)
				time.Sleep(c.again + 5*time.Second)
				b.shows(true, "active", "", "")
			})
		})
	}
}

// A provider that does not heed its context is told of, and what it then says counts.
func TestRegistrationThatRunsOnIsTold(t *testing.T) {
	t.Parallel()
	withHooks(t, nil, func(t *testing.T, b *bench) {
		synctest.Wait()
		b.detach()
		time.Sleep(time.Second)
		held := make(chan struct{})
		set(b.hooks, &b.register, func(context.Context) error { <-held; return nil })
		b.attach()
		time.Sleep(40 * time.Second)
		b.shows(false, "failing", "registration_failed", "runs on")
		close(held)
		synctest.Wait()
		b.shows(true, "active", "", "")
	})
}
