package enginetest

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
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

	patience time.Duration
}

func newShop() *shop {
	s := &shop{}
	get := func(ctx context.Context, src engine.Source, method string) error {
		req, err := http.NewRequestWithContext(ctx, method, "https://shop.example/", nil)
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
			return engine.RetryAfter(2*time.Minute, errors.New("too many"))
		case res.StatusCode != 200:
			return errors.New(res.Status)
		}
		return nil
	}
	s.Provider = engine.Provider{
		Key:          "shop",
		ConfigSchema: json.RawMessage(`{"type": "object", "properties": {"a": {"type": "integer"}}}`),
		Validate:     func(json.RawMessage) []engine.FieldError { return nil },
		AuthMethods: []engine.AuthMethod{{Key: "key", Prepare: func(context.Context, engine.PrepareRequest) (engine.Prepared, error) {
			return engine.Prepared{Value: json.RawMessage(`"ready"`)}, nil
		}}},
		Triggers: []engine.Trigger{{
			Key:          "sale",
			OutputSchema: json.RawMessage(`{"type": "object", "required": ["n"]}`),
			Poll: func(ctx context.Context, req engine.PollRequest) (r engine.PollResult, err error) {
				if err := get(ctx, req.Source, "GET"); err != nil {
					return r, err
				}
				var last int
				if err := json.Unmarshal(orNull(req.State), &last); err != nil {
					return r, err
				}
				for n := last + 1; n <= s.sold; n++ {
					r.Inputs = append(r.Inputs, fmt.Appendf(nil, `{"n": %d}`, n))
				}
				r.State = fmt.Append(nil, s.sold)
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
				if req.Header.Get("Sum") != sum(req.Body) || len(req.Body) == 0 {
					return r, engine.Refuse(401, errors.New("not signed"))
				}
				r.Inputs = []json.RawMessage{fmt.Appendf(nil, `{"type": "x", "source_id": %q}`, req.Body)}
				return r, nil
			},
			Register: func(ctx context.Context, req engine.RegisterRequest) (engine.Registration, error) {
				return engine.Registration{Details: json.RawMessage(`"r"`)}, get(ctx, req.Source, "POST")
			},
			Unregister: func(ctx context.Context, req engine.RegisterRequest) error { return get(ctx, req.Source, "DELETE") },
		}},
		Close: func() error { return nil },
	}
	ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	hooks := 0
	s.cases = []Case{
		{Trigger: "sale", Config: `{"a": 1}`, Auth: &engine.Auth{Method: "key", Value: json.RawMessage(`{}`)}, Source: ok, Next: func() { s.sold++ }},
		{Trigger: "hook", Source: ok, Request: func(url string, _ json.RawMessage) *http.Request {
			hooks++
			body := fmt.Sprint("hook", hooks)
			req, _ := http.NewRequest("POST", url, strings.NewReader(body))
			req.Header.Set("Sum", sum([]byte(body)))
			return req
		}},
	}
	return s
}

// sum is the shop's signature.
func sum(body []byte) string {
	return fmt.Sprintf("%x", sha256.Sum256(append([]byte("secret"), body...)))
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

func TestAProviderThatKeepsTheRulesPasses(t *testing.T) {
	t.Parallel()
	if wrong := newShop().broken(t, func(string, string) bool { return false }); len(wrong) > 0 {
		t.Errorf("got %v", wrong)
	}
}

type (
	pollFunc   = func(context.Context, engine.PollRequest) (engine.PollResult, error)
	handleFunc = func(context.Context, engine.WebhookRequest) (engine.WebhookResult, error)
)

// Each rule finds who breaks it.
func TestAProviderThatBreaksARuleFails(t *testing.T) {
	t.Parallel()
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	// poll and handle change what a shop does, given what it did.
	poll := func(change func(s *shop, was pollFunc) pollFunc) func(*shop) {
		return func(s *shop) { s.Triggers[0].Poll = change(s, s.Triggers[0].Poll) }
	}
	handle := func(change func(s *shop, was handleFunc) handleFunc) func(*shop) {
		return func(s *shop) { s.Triggers[1].Handle = change(s, s.Triggers[1].Handle) }
	}
	// fails has polls and registrations that fail do so in another way.
	fails := func(as func(error) error) func(*shop) {
		return poll(func(_ *shop, was pollFunc) pollFunc {
			return func(ctx context.Context, req engine.PollRequest) (engine.PollResult, error) {
				r, err := was(ctx, req)
				if err != nil {
					err = as(err)
				}
				return r, err
			}
		})
	}
	for name, c := range map[string]struct {
		breaks     func(*shop)
		rule, says string
	}{
		"ASchemaIsNone":         {func(s *shop) { s.ConfigSchema = json.RawMessage(`{"type": 7}`) }, "DeclaresItself", "ConfigSchema"},
		"AnOutputSchemaIsNone":  {func(s *shop) { s.Triggers[0].OutputSchema = json.RawMessage(`{"type": 7}`) }, "DeclaresItself", "sale.OutputSchema"},
		"AKeyIsNone":            {func(s *shop) { s.AuthMethods[0].Key = "a b" }, "DeclaresItself", "must be a name"},
		"TheConfigIsNotAllowed": {func(s *shop) { s.cases[0].Config = `{"a": "x"}` }, "DeclaresItself", "the config"},
		"ATriggerIsNotTested":   {func(s *shop) { s.cases = s.cases[:1] }, "DeclaresItself", "trigger hook has no case"},
		"ValidatePanics": {func(s *shop) {
			s.Validate = func(v json.RawMessage) []engine.FieldError {
				if string(v) == "null" {
					panic("odd")
				}
				return nil
			}
		}, "ValidatePanicsAtNothing", "panicked"},
		"ValidateSaysNothing": {func(s *shop) {
			s.Validate = func(v json.RawMessage) (wrong []engine.FieldError) {
				if string(v) == "null" {
					wrong = make([]engine.FieldError, 1)
				}
				return wrong
			}
		}, "ValidatePanicsAtNothing", "without a Code"},
		"PrepareMakesNoJSON": {func(s *shop) {
			s.AuthMethods[0].Prepare = func(context.Context, engine.PrepareRequest) (engine.Prepared, error) { return engine.Prepared{}, nil }
		}, "AuthIsPrepared", "is not JSON"},
		"PollsFindNothing":    {func(s *shop) { s.cases[0].Next = nil }, "PollsFindEvents", "found nothing"},
		"InputsAreNoJSON":     {poll(func(*shop, pollFunc) pollFunc { return found1(`{`, `1`) }), "PollsFindEvents", "an input is not JSON"},
		"StatesAreNoJSON":     {poll(func(*shop, pollFunc) pollFunc { return found1(`{"n": 1}`, `x`) }), "PollsFindEvents", "the state is not JSON"},
		"OutputsAreNotAsSaid": {poll(func(*shop, pollFunc) pollFunc { return found1(`{}`, `1`) }), "PollsFindEvents", "not what OutputSchema says"},
		"IdsAreMadeAnew":      {func(s *shop) { s.Triggers[0].Map = counting(s, `{"n": 1}`) }, "PollsFindEvents", "is mapped to"},
		"ItemsAreMadeAnew": {poll(func(s *shop, _ pollFunc) pollFunc {
			return func(context.Context, engine.PollRequest) (engine.PollResult, error) {
				s.polls++
				return found2(s.polls), nil
			}
		}), "PollsFindEvents", "made again from the same state"},
		"AnIdStandsForManyItems": {func(s *shop) { s.Triggers[0].Map = constant("same") }, "PollsFindEvents", "two different items"},
		"AnEventHasNoId":         {func(s *shop) { s.Triggers[0].Map = constant("") }, "PollsFindEvents", "both are required"},
		"MapChangesItsInput":     {func(s *shop) { s.Triggers[0].Map = scribbling(s.Triggers[0].Map) }, "PollsFindEvents", "changes its input"},
		"ItsOwnStateIsNotTaken":  {poll(refusing(func(state string) bool { return state != "" && state != "null" })), "PollsFindEvents", "no state"},
		"NullIsNotTaken":         {poll(refusing(func(state string) bool { return state == "null" })), "PollsFindEvents", "the state null"},
		"AnOddStateIsAPanic":     {poll(panicking(`{"": null}`)), "OddStatesAreNoPanic", "panicked"},
		"AnOddRegistrationIsAPanic": {handle(func(_ *shop, was handleFunc) handleFunc {
			return func(ctx context.Context, r engine.WebhookRequest) (engine.WebhookResult, error) {
				if string(r.Registration) == "[]" {
					panic("odd")
				}
				return was(ctx, r)
			}
		}), "OddStatesAreNoPanic", "panicked"},
		"AHangingSourceHangsPolls": {poll(func(_ *shop, was pollFunc) pollFunc {
			return func(ctx context.Context, req engine.PollRequest) (engine.PollResult, error) {
				r, err := was(ctx, req)
				if errors.Is(err, context.DeadlineExceeded) {
					<-time.After(1600 * time.Millisecond)
				}
				return r, err
			}
		}), "WorkEndsWithItsContext", "s more"},
		"EveryFailureIsPermanent": {fails(engine.Permanent), "TroubleAtTheSourceIsClassified", "must not be engine.Permanent"},
		"RetryAfterIsLost":        {fails(func(err error) error { return errors.New(err.Error()) }), "TroubleAtTheSourceIsClassified", "must be engine.RetryAfter"},
		"FailuresAreSwallowed":    {fails(func(error) error { return nil }), "TroubleAtTheSourceIsClassified", "must be an error"},
		"TheSourceIsNotAsked":     {poll(func(*shop, pollFunc) pollFunc { return found1(`{"n": 1}`, `1`) }), "TroubleAtTheSourceIsClassified", "was not asked"},
		"RequestsBringNothing": {handle(func(*shop, handleFunc) handleFunc {
			return func(context.Context, engine.WebhookRequest) (r engine.WebhookResult, err error) { return }
		}), "RequestsBringEvents", "brought nothing"},
		"ARepeatIsAnotherEvent": {handle(func(s *shop, _ handleFunc) handleFunc {
			return func(context.Context, engine.WebhookRequest) (r engine.WebhookResult, err error) {
				s.polls++
				r.Inputs = []json.RawMessage{fmt.Appendf(nil, `{"type": "x", "source_id": "%d"}`, s.polls)}
				return
			}
		}), "RequestsBringEvents", "a repeat would be another event"},
		"NothingIsVerified": {handle(func(*shop, handleFunc) handleFunc { return believing }), "ForgedRequestsAreRefused", "without its signature is not refused"},
		"TheBodyIsNotVerified": {handle(func(_ *shop, was handleFunc) handleFunc {
			return func(ctx context.Context, r engine.WebhookRequest) (engine.WebhookResult, error) {
				if r.Header.Get("Sum") != "" {
					return believing(ctx, r)
				}
				return was(ctx, r)
			}
		}), "ForgedRequestsAreRefused", "was changed"},
		"TheStatusIsAnother": {handle(func(_ *shop, was handleFunc) handleFunc {
			return func(ctx context.Context, r engine.WebhookRequest) (engine.WebhookResult, error) {
				out, err := was(ctx, r)
				if err != nil {
					err = engine.Refuse(400, err)
				}
				return out, err
			}
		}), "ForgedRequestsAreRefused", "refused with 400, not 401"},
		"AForgeryIsOurFault": {handle(func(_ *shop, was handleFunc) handleFunc {
			return func(ctx context.Context, r engine.WebhookRequest) (engine.WebhookResult, error) {
				out, err := was(ctx, r)
				if err != nil {
					err = errors.New("no")
				}
				return out, err
			}
		}), "OddRequestsAreRefused", "is not refused"},
		"ALongBodyIsAPanic": {handle(func(_ *shop, was handleFunc) handleFunc {
			return func(ctx context.Context, r engine.WebhookRequest) (engine.WebhookResult, error) {
				if len(r.Body) > 1<<19 {
					panic("long")
				}
				return was(ctx, r)
			}
		}), "OddRequestsAreRefused", "panicked"},
		"RegisteringTwiceFails": {func(s *shop) { s.Triggers[1].Register = once(s.Triggers[1].Register) }, "RegisteringIsRepeatable", "to renew"},
		"NothingToUnregisterFails": {func(s *shop) {
			s.Triggers[1].Unregister = func(_ context.Context, r engine.RegisterRequest) error {
				if r.Registration == nil {
					return errors.New("nothing")
				}
				return nil
			}
		}, "RegisteringIsRepeatable", "Unregister of nothing"},
		"AGoroutineIsLeft": {poll(func(_ *shop, was pollFunc) pollFunc {
			return func(ctx context.Context, r engine.PollRequest) (engine.PollResult, error) {
				go func() { <-stop }()
				return was(ctx, r)
			}
		}), "NothingRunsOnAfterClose", "run on after Close"},
		"CloseFails": {func(s *shop) { s.Close = func() error { return errors.New("stuck") } }, "NothingRunsOnAfterClose", "stuck"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShop()
			s.patience = 500 * time.Millisecond // what breaks a rule does so for longer
			c.breaks(s)
			found := false
			wrong := s.broken(t, func(rule, problems string) bool {
				found = strings.HasSuffix(rule, c.rule) && strings.Contains(problems, c.says)
				return found
			})
			if found {
				return
			}
			t.Errorf("%s does not say %q; got %.2000v", c.rule, c.says, wrong)
		})
	}
}

func found1(input, state string) pollFunc {
	return func(context.Context, engine.PollRequest) (engine.PollResult, error) {
		return engine.PollResult{Inputs: []json.RawMessage{json.RawMessage(input)}, State: json.RawMessage(state)}, nil
	}
}

func found2(n int) engine.PollResult {
	return engine.PollResult{Inputs: []json.RawMessage{fmt.Appendf(nil, `{"n": %d}`, n)}}
}

type mapFunc = func(context.Context, engine.MapRequest) (engine.Mapped, error)

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
