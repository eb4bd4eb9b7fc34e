package enginetest

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// shop is a provider that keeps all rules, to be broken, and its source.
type shop struct {
	engine.Provider
	cases []Case
	sold  int
	polls int

	mu    sync.Mutex
	hooks []string // URLs
	asks  bool     // whether there is somebody at a URL, before it is a hook

	patience time.Duration
}

// page is how many sales a poll finds.
const page = 100

func newShop() *shop {
	s := &shop{}
	s.Provider = engine.Provider{
		Key:          "shop",
		ConfigSchema: json.RawMessage(`{"type": "object", "properties": {"a": {"type": "integer"}}}`),
		Validate:     func(json.RawMessage) []engine.FieldError { return nil },
		AuthMethods: []engine.AuthMethod{{Key: "key", Prepare: func(ctx context.Context, req engine.PrepareRequest) (engine.Prepared, error) {
			return engine.Prepared{Value: json.RawMessage(`"ready"`), RenewAt: req.Now.Add(time.Hour)}, ask(ctx, req.Source, "LOGIN", "", engine.Permanent)
		}}},
		Triggers: []engine.Trigger{{
			Key:          "sale",
			OutputSchema: json.RawMessage(`{"type": "object", "required": ["n"]}`),
			Poll: func(ctx context.Context, req engine.PollRequest) (r engine.PollResult, err error) {
				if err := ask(ctx, req.Source, "GET", "", engine.Unauthorized); err != nil {
					return r, err
				}
				var last int
				if err := json.Unmarshal(orNull(req.State), &last); err != nil {
					return r, err
				}
				to := min(s.sold, last+page)
				for n := last + 1; n <= to; n++ {
					r.Inputs = append(r.Inputs, fmt.Appendf(nil, `{"n": %d}`, n))
				}
				r.State, r.More = fmt.Append(nil, to), to < s.sold
				return r, nil
			},
			Map: func(_ context.Context, req engine.MapRequest) (engine.Mapped, error) {
				var item struct{ N int }
				err := json.Unmarshal(req.Input, &item)
				return engine.Mapped{Type: "sale", SourceID: fmt.Sprint(item.N), Output: req.Input}, err
			},
		}, {
			Key: "hook",
			Handle: func(_ context.Context, req engine.WebhookRequest) (r engine.WebhookResult, err error) {
				if string(req.Body) == "anybody?" {
					r.Response = &engine.WebhookResponse{Status: http.StatusAccepted, Body: []byte("yes")}
					return r, nil
				}
				at, err := time.Parse(time.RFC3339, req.Header.Get("Time"))
				if req.Header.Get("Sum") != sum(req.Body, req.Header.Get("Time")) || len(req.Body) == 0 || err != nil || req.Now.Sub(at).Abs() > time.Hour {
					return r, engine.Refuse(401, errors.New("not signed"))
				}
				r.Inputs = []json.RawMessage{fmt.Appendf(nil, `{"type": "x", "source_id": %q}`, req.Body)}
				return r, nil
			},
			Register: func(ctx context.Context, req engine.RegisterRequest) (engine.Registration, error) {
				return engine.Registration{Details: json.RawMessage(`"r"`)}, ask(ctx, req.Source, "PUT", req.URL, engine.Unauthorized)
			},
			Unregister: func(ctx context.Context, req engine.RegisterRequest) error {
				return ask(ctx, req.Source, "DELETE", req.URL, engine.Unauthorized)
			},
		}},
		Close: func() error { return nil },
	}
	hooks := 0
	s.cases = []Case{
		{Trigger: "sale", Config: `{"a": 1}`, Auth: &engine.Auth{Method: "key", Value: json.RawMessage(`{}`)}, Source: s, Next: func() { s.sold++ }},
		{Trigger: "hook", Source: s, Registered: s.registered, Request: func(url string, _ json.RawMessage) *http.Request {
			hooks++
			body, at := fmt.Sprint("hook", hooks), time.Now().Format(time.RFC3339)
			req, _ := http.NewRequest("POST", url, strings.NewReader(body))
			req.Header.Set("Time", at)
			req.Header.Set("Sum", sum([]byte(body), at))
			return req
		}},
	}
	return s
}

// ask asks the shop, which may not accept who asks.
func ask(ctx context.Context, src engine.Source, method, url string, refused func(error) error) error {
	req, err := http.NewRequestWithContext(ctx, method, sourceURL, strings.NewReader(url))
	if err != nil {
		return err
	}
	res, err := src.HTTP.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	switch {
	case res.StatusCode == 429:
		return engine.RetryAfter(2*time.Minute, errors.New("too many until "+res.Header.Get("Retry-After")))
	case res.StatusCode == 401:
		return refused(errors.New("not accepted"))
	case res.StatusCode != 200:
		return errors.New(res.Status)
	}
	return nil
}

// ServeHTTP is the shop's source, which keeps URLs.
func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	url := string(body)
	if s.asks && r.Method == "PUT" {
		res, err := http.Post(url, "text/plain", strings.NewReader("anybody?"))
		if err != nil {
			w.WriteHeader(400)
			return
		}
		defer res.Body.Close()
		if answer, _ := io.ReadAll(res.Body); string(answer) != "yes" || res.StatusCode != http.StatusAccepted {
			w.WriteHeader(400)
			return
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch known := slices.Contains(s.hooks, url); {
	case r.Method == "POST", r.Method == "PUT" && !known: // a POST is another hook each time
		s.hooks = append(s.hooks, url)
	case r.Method == "DELETE":
		s.hooks = slices.DeleteFunc(s.hooks, func(hook string) bool { return hook == url || url == "all" })
	}
}

func (s *shop) registered() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.hooks)
}

// sum is the shop's signature.
func sum(body []byte, at string) string {
	return fmt.Sprintf("%x", sha256.Sum256(append([]byte("secret"+at), body...)))
}

func orNull(state json.RawMessage) json.RawMessage {
	if state == nil {
		return json.RawMessage("null")
	}
	return state
}

// broken is what is wrong with a shop, by rule, up to what is looked for.
func (s *shop) broken(t *testing.T, found func(rule, problems string) bool) map[string]string {
	t.Helper()
	all := make(map[string]string)
	suite := &suite{provider: s.Provider, cases: s.cases, patience: s.patience}
	defer suite.release()
	for name, problems := range suite.run(t.Context(), t.TempDir()) {
		if len(problems) > 0 {
			if all[name] = strings.Join(problems, "\n"); found(name, all[name]) {
				break
			}
		}
	}
	return all
}

type (
	pollFunc   = func(context.Context, engine.PollRequest) (engine.PollResult, error)
	handleFunc = func(context.Context, engine.WebhookRequest) (engine.WebhookResult, error)
	mapFunc    = func(context.Context, engine.MapRequest) (engine.Mapped, error)
)

func found1(input, state string) pollFunc {
	return func(context.Context, engine.PollRequest) (engine.PollResult, error) {
		return engine.PollResult{Inputs: []json.RawMessage{json.RawMessage(input)}, State: json.RawMessage(state)}, nil
	}
}

func found2(n int) engine.PollResult {
	return engine.PollResult{Inputs: []json.RawMessage{fmt.Appendf(nil, `{"n": %d}`, n)}}
}

func constant(id string) mapFunc {
	return func(_ context.Context, req engine.MapRequest) (engine.Mapped, error) {
		return engine.Mapped{Type: "sale", SourceID: id, Output: req.Input}, nil
	}
}

func counting(s *shop, output string) mapFunc {
	return func(context.Context, engine.MapRequest) (engine.Mapped, error) {
		s.polls++
		return engine.Mapped{Type: "sale", SourceID: fmt.Sprint(s.polls), Output: json.RawMessage(output)}, nil
	}
}

func scribbling(was mapFunc) mapFunc {
	return func(ctx context.Context, req engine.MapRequest) (engine.Mapped, error) {
		m, err := was(ctx, req)
		m.Output = []byte(strings.Clone(string(m.Output)))
		req.Input[0] = ' '
		return m, err
	}
}

func refusing(refuses func(state string) bool) func(*shop, pollFunc) pollFunc {
	return func(_ *shop, was pollFunc) pollFunc {
		return func(ctx context.Context, req engine.PollRequest) (engine.PollResult, error) {
			if refuses(string(req.State)) {
				return engine.PollResult{}, fmt.Errorf("no state: %s", req.State)
			}
			return was(ctx, req)
		}
	}
}

func panicking(state string) func(*shop, pollFunc) pollFunc {
	return func(_ *shop, was pollFunc) pollFunc {
		return func(ctx context.Context, req engine.PollRequest) (engine.PollResult, error) {
			if string(req.State) == state {
				panic("odd")
			}
			return was(ctx, req)
		}
	}
}

func believing(_ context.Context, req engine.WebhookRequest) (r engine.WebhookResult, err error) {
	r.Inputs = []json.RawMessage{fmt.Appendf(nil, `{"type": "x", "source_id": %q}`, "b"+string(req.Body[:min(5, len(req.Body))]))}
	return r, nil
}

func once(was func(context.Context, engine.RegisterRequest) (engine.Registration, error)) func(context.Context, engine.RegisterRequest) (engine.Registration, error) {
	return func(ctx context.Context, req engine.RegisterRequest) (engine.Registration, error) {
		if req.Registration != nil {
			return engine.Registration{}, errors.New("it is registered already")
		}
		return was(ctx, req)
	}
}

// askOther asks a host that is not the shop's.
func askOther(ctx context.Context, src engine.Source) error {
	req, err := http.NewRequestWithContext(ctx, "GET", "https://shop.example/", nil)
	if err != nil {
		return err
	}
	res, err := src.HTTP.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != 200 {
		return ask(ctx, src, "GET", "", engine.Unauthorized) // which fails as well
	}
	return nil
}

// says changes what polls that succeed return.
func says(change func(*engine.PollResult)) func(*shop, pollFunc) pollFunc {
	return func(_ *shop, was pollFunc) pollFunc {
		return func(ctx context.Context, req engine.PollRequest) (engine.PollResult, error) {
			r, err := was(ctx, req)
			if err == nil {
				change(&r)
			}
			return r, err
		}
	}
}

// tooFar leaves out one sale after each poll.
func tooFar(s *shop, was pollFunc) pollFunc {
	return says(func(r *engine.PollResult) {
		if !r.More && len(r.Inputs) > 0 {
			r.State = fmt.Append(nil, s.sold+1)
		}
	})(s, was)
}

// counted always says More, each time with another state.
func counted(s *shop, _ pollFunc) pollFunc {
	return func(_ context.Context, req engine.PollRequest) (r engine.PollResult, err error) {
		var last int
		err = json.Unmarshal(orNull(req.State), &last)
		return engine.PollResult{State: fmt.Append(nil, last+1), More: true}, err
	}
}
