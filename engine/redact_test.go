package engine_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/callbackd/callbackd/engine"
)

// safeBuffer takes a log from many goroutines.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// A provider that puts its credentials into its errors, or panics with them, does not tell
// them to the log or to who may read the instance.
func TestProvidersErrorsDoNotTellSecrets(t *testing.T) {
	t.Parallel()
	const token, inner, password = "tok/en secret+1", "inner-secret-2", "pass:word-3"
	auth := json.RawMessage(`{"token":"` + token + `","more":["x",{"key":"` + inner + `"}],"username":"somebody","password":"` + password + `","short":"a"}`)
	basic := base64.StdEncoding.EncodeToString([]byte("somebody:" + password))
	told := fmt.Sprintf("GET /a?token=%s&path=%s %s %s %s and a", url.QueryEscape(token), url.PathEscape(token), token, inner, basic)
	secrets := []string{token, inner, password, basic, url.QueryEscape(token), url.PathEscape(token)}
	for name, tell := range map[string]engine.Trigger{
		"PollError": {Poll: func(context.Context, engine.PollRequest) (engine.PollResult, error) {
			return engine.PollResult{}, errors.New(told)
		}},
		"PollPanic": {Poll: func(context.Context, engine.PollRequest) (engine.PollResult, error) { panic(told) }},
		"Permanent": {Poll: func(context.Context, engine.PollRequest) (engine.PollResult, error) {
			return engine.PollResult{}, engine.Permanent(errors.New(told))
		}},
		"MapError": {Poll: findsOne, Map: func(context.Context, engine.MapRequest) (engine.Mapped, error) {
			return engine.Mapped{}, errors.New(told)
		}},
		"MapPanic": {Poll: findsOne, Map: func(context.Context, engine.MapRequest) (engine.Mapped, error) { panic(errors.New(told)) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tell.Key = "t"
			log := new(safeBuffer)
			e := open(t, engine.Options{Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
				Providers: []engine.Provider{{Key: "p", AuthMethods: []engine.AuthMethod{{Key: "m"}}, Triggers: []engine.Trigger{tell}}}})
			ctx := t.Context()
			deployment := must(e.CreateDeployment(ctx, engine.NewDeployment{Provider: "p", Config: &engine.NewConfigValue{Value: json.RawMessage(`{}`)}}))(t)
			config := must(e.CreateAuthConfig(ctx, engine.NewAuthConfig{Method: "m", DeploymentID: deployment.ID, Value: auth}))(t)
			callback := must(e.CreateCallback(ctx, engine.NewCallback{Details: engine.Details{Name: "c"}, DeploymentID: deployment.ID}))(t)
			instance := must(e.AttachInstance(ctx, callback.ID, engine.NewInstance{ConfigID: deployment.DefaultConfig.ID, AuthConfigID: config.ID}))(t)
			start(t, e)
			var said string
			eventually(t, "the failure is recorded", func() bool {
				i, err := e.Instance(ctx, callback.ID, instance.ID)
				if err != nil || i.Triggers[0].LastError == nil {
					return false
				}
				said = i.Triggers[0].LastError.Message
				return true
			})
			for _, event := range must(e.ListEvents(ctx, callback.ID, engine.EventFilter{}, engine.Page{}))(t).Items {
				said += fmt.Sprint(event.Error)
			}
			if !strings.Contains(said, "[secret]") || !strings.Contains(said, "and a") {
				t.Errorf("the error says too little: %s", said)
			}
			for _, secret := range secrets {
				if strings.Contains(said, secret) || strings.Contains(log.String(), secret) {
					t.Errorf("%q is told: %s\n%s", secret, said, log)
				}
			}
		})
	}
}

func findsOne(context.Context, engine.PollRequest) (engine.PollResult, error) {
	return engine.PollResult{Inputs: []json.RawMessage{json.RawMessage(`{"n":1}`)}, State: json.RawMessage(`1`)}, nil
}

// Secrets are left out in whatever form an error's text has them, and so are URLs' paths and
// queries.
func TestProvidersErrorsDoNotTellEscapedSecretsOrURLs(t *testing.T) {
	t.Parallel()
	const token = "line one\n\"<two>\"&\\three"
	asJSON, err := json.Marshal(token)
	if err != nil {
		t.Fatal(err)
	}
	auth := json.RawMessage(`{"token":` + string(asJSON) + `,"pin":1234567890123456789}`)
	for name, poll := range map[string]func(req engine.PollRequest) error{
		"JSON":      func(engine.PollRequest) error { return fmt.Errorf("the source said {\"got\":%s}", asJSON) },
		"PlainJSON": func(engine.PollRequest) error { return errors.New(`the source said line one\n\"<two>\"&\\three`) },
		"Quoted":    func(engine.PollRequest) error { return fmt.Errorf("bad token %q", token) },
		"Number":    func(engine.PollRequest) error { return errors.New("bad pin 1234567890123456789") },
		"URL": func(req engine.PollRequest) error {
			_, err := req.HTTP.Get("http://127.0.0.1:1/three/1234567?key=1234567890123456789")
			return fmt.Errorf("ask: %w", err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := new(safeBuffer)
			e := open(t, engine.Options{Logger: slog.New(slog.NewTextHandler(log, nil)), Providers: []engine.Provider{{Key: "p", AuthMethods: []engine.AuthMethod{{Key: "m"}},
				Triggers: []engine.Trigger{{Key: "t", Poll: func(_ context.Context, req engine.PollRequest) (engine.PollResult, error) {
					return engine.PollResult{}, poll(req)
				}}}}}})
			ctx := t.Context()
			deployment := must(e.CreateDeployment(ctx, engine.NewDeployment{Provider: "p", Config: &engine.NewConfigValue{Value: json.RawMessage(`{}`)}}))(t)
			config := must(e.CreateAuthConfig(ctx, engine.NewAuthConfig{Method: "m", DeploymentID: deployment.ID, Value: auth}))(t)
			callback := must(e.CreateCallback(ctx, engine.NewCallback{Details: engine.Details{Name: "c"}, DeploymentID: deployment.ID}))(t)
			instance := must(e.AttachInstance(ctx, callback.ID, engine.NewInstance{ConfigID: deployment.DefaultConfig.ID, AuthConfigID: config.ID}))(t)
			start(t, e)
			var said string
			eventually(t, "the failure is recorded", func() bool {
				i, err := e.Instance(ctx, callback.ID, instance.ID)
				if err != nil || i.Triggers[0].LastError == nil {
					return false
				}
				said = i.Triggers[0].LastError.Message
				return true
			})
			if said == "" || strings.Contains(said, "three") || strings.Contains(said, "123456") || strings.Contains(log.String(), "three") {
				t.Errorf("it says %s", said)
			}
		})
	}
}
