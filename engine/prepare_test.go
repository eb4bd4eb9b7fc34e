package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// account is a source whose polls need a token, which is made of a password.
type account struct {
	mu       sync.Mutex
	made     int
	requests []engine.PrepareRequest
	polled   map[string]int // by token
	lives    time.Duration  // 0: for ever
	fail     func(ctx context.Context) error
	refuses  func(token string) bool
}

func (a *account) provider() engine.Provider {
	return engine.Provider{Key: "account", AuthMethods: []engine.AuthMethod{{Key: "password", Prepare: func(ctx context.Context, req engine.PrepareRequest) (engine.Prepared, error) {
		a.mu.Lock()
		a.made++
		n, fail := a.made, a.fail
		a.requests = append(a.requests, req)
		a.mu.Unlock()
		if fail != nil {
			if err := fail(ctx); err != nil {
				return engine.Prepared{}, err
			}
		}
		time.Sleep(3 * time.Second)
		p := engine.Prepared{Value: json.RawMessage(fmt.Sprintf(`{"token":"token-%d"}`, n))}
		if a.lives != 0 {
			p.RenewAt = req.Now.Add(a.lives)
		}
		return p, nil
	}}}, Triggers: []engine.Trigger{{Key: "items", Interval: time.Minute, Poll: func(_ context.Context, req engine.PollRequest) (engine.PollResult, error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.polled[string(req.Auth.Prepared)]++
		if a.refuses != nil && a.refuses(string(req.Auth.Prepared)) {
			return engine.PollResult{}, engine.Unauthorized(errors.New("401"))
		}
		return engine.PollResult{}, nil
	}}}}
}

// set changes it while it is in use.
func (a *account) set(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
}

// first is the first request since the last time.
func (a *account) first() engine.PrepareRequest {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.requests[0]
}

// take is how often it was prepared, and what polls were made with, since the last time.
func (a *account) take() (made int, polled string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	made, polled = a.made, fmt.Sprint(a.polled)
	a.requests, a.polled = nil, make(map[string]int)
	return made, polled
}

func (a *account) expect(t *testing.T, made int, polled string) {
	t.Helper()
	if n, p := a.take(); n != made || p != polled {
		t.Errorf("prepared %d times, polled with %s; want %d, %s", n, p, made, polled)
	}
}

// attachAll attaches one auth config to so many callbacks.
func (a *account) attachAll(t *testing.T, e *engine.Engine, count int) (engine.AuthConfig, []engine.Instance) {
	t.Helper()
	ctx := t.Context()
	deployment := must(e.CreateDeployment(ctx, engine.NewDeployment{Provider: "account", Config: &engine.NewConfigValue{Value: json.RawMessage(`{"v":1}`)}}))(t)
	auth := must(e.CreateAuthConfig(ctx, engine.NewAuthConfig{Method: "password", DeploymentID: deployment.ID, Value: json.RawMessage(`{"password":"the-password"}`)}))(t)
	var instances []engine.Instance
	for range count {
		c := must(e.CreateCallback(ctx, engine.NewCallback{Details: engine.Details{Name: "test"}, DeploymentID: deployment.ID}))(t)
		instances = append(instances, must(e.AttachInstance(ctx, c.ID, engine.NewInstance{ConfigID: deployment.DefaultConfig.ID, AuthConfigID: auth.ID}))(t))
	}
	return auth, instances
}

func (a *account) run(t *testing.T, test func(t *testing.T, e *engine.Engine)) {
	t.Helper()
	a.polled = make(map[string]int)
	inVirtualTime(t, engine.Options{Providers: []engine.Provider{a.provider()}}, nil, test)
}

func TestPrepare(t *testing.T) {
	t.Parallel()

	t.Run("IsCalledOnceForAllWhoNeedItAtATime", func(t *testing.T) {
		t.Parallel()
		a := &account{lives: 90 * time.Second}
		a.run(t, func(t *testing.T, e *engine.Engine) {
			a.attachAll(t, e, 50)
			start(t, e)
			time.Sleep(10 * time.Second)
			if r := a.first(); string(r.Value) != `{"password":"the-password"}` || r.Prepared != nil || r.Auth != nil || string(r.Config) != `{"v":1}` || r.HTTP == nil || r.Log == nil {
				t.Errorf("prepared with %+v", r)
			}
			a.expect(t, 1, `map[{"token":"token-1"}:50]`)
			time.Sleep(time.Minute)
			a.expect(t, 1, `map[{"token":"token-1"}:50]`)
			time.Sleep(65 * time.Second)
			if r := a.first(); string(r.Prepared) != `{"token":"token-1"}` {
				t.Errorf("renewed with %+v", r)
			}
			a.expect(t, 2, `map[{"token":"token-2"}:50]`)
		})
	})

	t.Run("IsMadeAnewWhenItIsRefused", func(t *testing.T) {
		t.Parallel()
		revoked := false
		a := &account{refuses: func(token string) bool { return revoked && token == `{"token":"token-1"}` }}
		a.run(t, func(t *testing.T, e *engine.Engine) {
			_, instances := a.attachAll(t, e, 3)
			start(t, e)
			time.Sleep(10 * time.Second)
			a.expect(t, 1, `map[{"token":"token-1"}:3]`)
			a.set(func() { revoked = true })
			time.Sleep(time.Minute)
			if made, polled := a.take(); made != 2 || !strings.Contains(polled, `{"token":"token-2"}:3`) { // one to three find out
				t.Errorf("prepared %d times, polled with %s", made, polled)
			}
			time.Sleep(time.Minute)
			a.expect(t, 2, `map[{"token":"token-2"}:3]`)
			for _, i := range instances {
				if got := must(e.Instance(t.Context(), i.CallbackID, i.ID))(t).Triggers[0]; got.Status != "active" {
					t.Errorf("%+v", got.LastError)
				}
			}
		})
	})

	t.Run("PausesWhenItIsRefusedAgain", func(t *testing.T) {
		t.Parallel()
		a := &account{refuses: func(string) bool { return true }}
		a.run(t, func(t *testing.T, e *engine.Engine) {
			_, instances := a.attachAll(t, e, 1)
			start(t, e)
			time.Sleep(time.Hour)
			a.expect(t, 2, `map[{"token":"token-1"}:1 {"token":"token-2"}:1]`)
			if got := must(e.Instance(t.Context(), instances[0].CallbackID, instances[0].ID))(t).Triggers[0]; got.Status != "paused" {
				t.Errorf("%+v", got)
			}
		})
	})

	t.Run("IsKept", func(t *testing.T) {
		t.Parallel()
		a := &account{polled: make(map[string]int)}
		path := filepath.Join(t.TempDir(), "callbacks.db")
		synctest.Test(t, func(t *testing.T) {
			o := engine.Options{Path: path, NoSync: true, Providers: []engine.Provider{a.provider()}}
			for i := range 2 {
				e := must(engine.Open(t.Context(), o))(t)
				if i == 0 {
					a.attachAll(t, e, 1)
				}
				start(t, e)
				time.Sleep(70 * time.Second)
				if err := e.Close(); err != nil {
					t.Error(err)
				}
			}
			if made, _ := a.take(); made != 1 {
				t.Errorf("prepared %d times", made)
			}
		})
	})

	t.Run("IsCalledForANewValue", func(t *testing.T) {
		t.Parallel()
		a := &account{}
		a.run(t, func(t *testing.T, e *engine.Engine) {
			auth, _ := a.attachAll(t, e, 3)
			start(t, e)
			time.Sleep(10 * time.Second)
			a.expect(t, 1, `map[{"token":"token-1"}:3]`)
			must(e.UpdateAuthConfig(t.Context(), auth.ID, engine.UpdateConfig{UpdateDetails: engine.UpdateDetails{Name: new("name")}}))(t)
			time.Sleep(time.Minute)
			a.expect(t, 1, `map[{"token":"token-1"}:3]`)
			must(e.UpdateAuthConfig(t.Context(), auth.ID, engine.UpdateConfig{Value: json.RawMessage(`{"password":"another"}`)}))(t)
			time.Sleep(10 * time.Second)
			if r := a.first(); string(r.Value) != `{"password":"another"}` || r.Prepared != nil {
				t.Errorf("prepared with %+v", r)
			}
			a.expect(t, 2, `map[{"token":"token-2"}:3]`)
		})
	})

	t.Run("IsNotUsedForLessThanAMoment", func(t *testing.T) {
		t.Parallel()
		a := &account{lives: -time.Hour}
		a.run(t, func(t *testing.T, e *engine.Engine) {
			a.attachAll(t, e, 20)
			start(t, e)
			time.Sleep(10 * time.Second)
			a.expect(t, 1, `map[{"token":"token-1"}:20]`)
		})
	})

	for name, c := range map[string]struct {
		err    error
		status string
		code   string
		next   time.Duration // 0: none
	}{
		"ThatFailsFailsAllPollsOnce":  {errors.New("the-password is wrong"), "failing", "poll_failed", time.Minute},
		"ThatIsPermanentPauses":       {engine.Permanent(errors.New("the-password is wrong")), "paused", "permanent", 0},
		"ThatIsLimitedIsLeftAlone":    {engine.RetryAfter(5*time.Minute, errors.New("the-password is wrong")), "failing", "rate_limited", 5 * time.Minute},
		"ThatPanicsFails":             {nil, "failing", "poll_failed", time.Minute},
		"ThatDoesNotEndInTimeFailsIt": {context.DeadlineExceeded, "failing", "timeout", time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := &account{fail: func(ctx context.Context) error {
				switch c.err {
				case nil:
					panic("the-password is wrong")
				case context.DeadlineExceeded:
					<-ctx.Done()
					return ctx.Err()
				}
				return c.err
			}}
			a.run(t, func(t *testing.T, e *engine.Engine) {
				_, instances := a.attachAll(t, e, 20)
				start(t, e)
				time.Sleep(35 * time.Second)
				a.expect(t, 1, `map[]`)
				now := time.Now()
				for _, i := range instances {
					tr := must(e.Instance(t.Context(), i.CallbackID, i.ID))(t).Triggers[0]
					if tr.Status != c.status || tr.LastError == nil || tr.LastError.Code != c.code || strings.Contains(tr.LastError.Message, "the-password") {
						t.Fatalf("%s, %+v", tr.Status, tr.LastError)
					}
					if tr.NextPollAt.IsZero() != (c.next == 0) {
						t.Errorf("the next poll is at %s", tr.NextPollAt)
					} else if in := tr.NextPollAt.Sub(now); c.next != 0 && (in < c.next-37*time.Second || in > c.next+time.Second) {
						t.Errorf("the next poll is in %s", in)
					}
				}
				// One that comes meanwhile heeds it, too.
				a.set(func() { a.fail = nil })
				if c.next > time.Minute {
					must(e.DetachInstance(t.Context(), instances[0].CallbackID, instances[0].ID))(t)
					must(e.AttachInstance(t.Context(), instances[0].CallbackID, engine.NewInstance{ConfigID: instances[0].Config.ID, AuthConfigID: instances[0].AuthConfig.ID}))(t)
					time.Sleep(5 * time.Second)
					a.expect(t, 1, `map[]`)
				}
				if c.next > 0 {
					time.Sleep(c.next + 5*time.Second)
					a.expect(t, 2, `map[{"token":"token-2"}:20]`)
				}
			})
		})
	}
}

func TestProvidersAreClosedOnce(t *testing.T) {
	t.Parallel()
	closed := make(map[string]int)
	polling := make(chan struct{})
	provider := func(key string, end func() error) engine.Provider {
		p := engine.Provider{Key: key, Close: func() error { closed[key]++; return end() }}
		p.Triggers = []engine.Trigger{{Key: "t", Poll: func(ctx context.Context, _ engine.PollRequest) (engine.PollResult, error) {
			polling <- struct{}{}
			if <-polling; len(closed) > 0 {
				t.Error("the provider was closed while it was polled")
			}
			return engine.PollResult{}, nil
		}}}
		return p
	}
	path := filepath.Join(t.TempDir(), "callbacks.db")
	o := engine.Options{Path: path, NoSync: true, Providers: []engine.Provider{
		provider("one", func() error { return nil }), provider("two", func() error { return errors.New("is stuck") }), provider("three", func() error { panic("bug") }),
		{Key: "four", Triggers: []engine.Trigger{{Key: "t", Poll: func(context.Context, engine.PollRequest) (engine.PollResult, error) { return engine.PollResult{}, nil }}}}}}
	expect := func(n int, err error) {
		t.Helper()
		for _, key := range []string{"one", "two", "three"} {
			if closed[key] != n {
				t.Errorf("provider %s was closed %d times, want %d", key, closed[key], n)
			}
		}
		if err == nil || !strings.Contains(err.Error(), "close provider two: is stuck") || !strings.Contains(err.Error(), "close provider three: panic: bug") {
			t.Errorf("the error is %v", err)
		}
		clear(closed)
	}
	e := must(engine.Open(t.Context(), o))(t)
	attach(t, e, "one", engine.DestinationSettings{URL: "http://receiver.test"})
	start(t, e)
	<-polling
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		if err := e.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	polling <- struct{}{}
	<-stopped
	expect(1, e.Close())
	if err := e.Close(); err != nil && strings.Contains(err.Error(), "provider") || len(closed) > 0 {
		t.Errorf("closed again: %v, %v", err, closed)
	}

	first := must(engine.Open(t.Context(), engine.Options{Path: path, NoSync: true}))(t)
	_, err := engine.Open(t.Context(), o) // another has the file
	expect(1, err)
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	o.PublicURL = "nowhere"
	_, err = engine.Open(t.Context(), o)
	expect(1, err)
}
