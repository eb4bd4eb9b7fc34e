package enginetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/callbackd/callbackd/engine"
)

func TestAProviderThatKeepsTheRulesPasses(t *testing.T) {
	t.Parallel()
	if wrong := newShop().broken(t, func(string, string) bool { return false }); len(wrong) > 0 {
		t.Errorf("got %v", wrong)
	}
}

func TestASourceMayAskWhetherAURLIsServedWhenItIsRegistered(t *testing.T) {
	t.Parallel()
	s := newShop()
	s.asks = true
	if wrong := s.broken(t, func(string, string) bool { return false }); len(wrong) > 0 {
		t.Errorf("got %v", wrong)
	}
}

// A case says what its source does not do.
func TestACaseMayAskForLess(t *testing.T) {
	t.Parallel()
	s := newShop()
	handle, poll := s.Triggers[1].Handle, s.Triggers[0].Poll
	s.Triggers[1].Handle = func(ctx context.Context, req engine.WebhookRequest) (engine.WebhookResult, error) {
		req.Now = time.Now()
		return handle(ctx, req)
	}
	s.cases[1].AnyAge = true
	s.cases[0].Late = true // every second sale is told of with the next
	s.Triggers[0].Poll = func(ctx context.Context, req engine.PollRequest) (engine.PollResult, error) {
		sold := s.sold
		s.sold -= sold % 2
		defer func() { s.sold = sold }()
		return poll(ctx, req)
	}
	s.cases[0].Hosts = []string{"shop.example"}
	poll2 := s.Triggers[0].Poll
	s.Triggers[0].Poll = func(ctx context.Context, req engine.PollRequest) (engine.PollResult, error) {
		if err := askOther(ctx, req.Source); err != nil {
			return engine.PollResult{}, err
		}
		return poll2(ctx, req)
	}
	if wrong := s.broken(t, func(string, string) bool { return false }); len(wrong) > 0 {
		t.Errorf("got %v", wrong)
	}
}

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
	prepare := func(change func(*engine.Prepared, *error)) func(*shop) {
		return func(s *shop) {
			was := s.AuthMethods[0].Prepare
			s.AuthMethods[0].Prepare = func(ctx context.Context, req engine.PrepareRequest) (engine.Prepared, error) {
				p, err := was(ctx, req)
				change(&p, &err)
				return p, err
			}
		}
	}
	// registers has a shop register with another method, and unregister another URL.
	registers := func(method, url string) func(*shop) {
		return func(s *shop) {
			s.Triggers[1].Register = func(ctx context.Context, req engine.RegisterRequest) (engine.Registration, error) {
				return engine.Registration{}, ask(ctx, req.Source, method, req.URL, engine.Unauthorized)
			}
			if url != "" {
				s.Triggers[1].Unregister = func(ctx context.Context, req engine.RegisterRequest) error {
					return ask(ctx, req.Source, "DELETE", url, engine.Unauthorized)
				}
			}
		}
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
		"PrepareIsRenewedAlways": {prepare(func(p *engine.Prepared, _ *error) { p.RenewAt = p.RenewAt.Add(-time.Hour) }), "AuthIsPrepared", "prepared all the time"},
		"PrepareIsNeverForGood": {prepare(func(_ *engine.Prepared, err *error) {
			if engine.IsPermanent(*err) {
				*err = errors.New("no")
			}
		}), "TroubleWithSigningInIsClassified", "answers 401: got the error no; it must be engine.Permanent"},
		"PrepareIsForGood": {prepare(func(_ *engine.Prepared, err *error) {
			if *err != nil {
				*err = engine.Permanent(*err)
			}
		}), "TroubleWithSigningInIsClassified", "Prepare: the source is down"},
		"PrepareIsImpatient": {prepare(func(_ *engine.Prepared, err *error) {
			if _, limited := engine.RetryAfterOf(*err); limited {
				*err = errors.New("no")
			}
		}), "TroubleWithSigningInIsClassified", "Prepare: the source answers 429"},
		"PrepareHangs": {func(s *shop) {
			was := s.AuthMethods[0].Prepare
			s.AuthMethods[0].Prepare = func(_ context.Context, req engine.PrepareRequest) (engine.Prepared, error) {
				return was(context.Background(), req)
			}
		}, "WorkEndsWithItsContext", "Prepare with a context that"},
		"AForgottenTokenIsForGood": {fails(func(err error) error {
			if engine.IsPermanent(err) {
				err = engine.Permanent(errors.New("no"))
			}
			return err
		}), "WhatIsNotAcceptedIsPreparedAnew", "the source answers 401: got the error no; it must be engine.Unauthorized"},
		"AForgottenTokenIsNotPreparedAnew": {func(s *shop) {
			was, forgot := s.Triggers[0].Poll, false
			s.cases[0].Forget = func() { forgot = true }
			s.Triggers[0].Poll = func(ctx context.Context, req engine.PollRequest) (engine.PollResult, error) {
				r, err := was(ctx, req)
				if forgot && err == nil {
					err = engine.Unauthorized(errors.New("who?"))
				}
				return r, err
			}
		}, "WhatIsNotAcceptedIsPreparedAnew", "prepared anew: who?"},
		"AnotherHostIsAsked": {poll(func(_ *shop, was pollFunc) pollFunc {
			return func(ctx context.Context, req engine.PollRequest) (engine.PollResult, error) {
				_ = askOther(ctx, req.Source)
				return was(ctx, req)
			}
		}), "PollsFindEvents", `asks the host "shop.example"`},
		"TheCursorIsOneTooFar":         {poll(tooFar), "PollsFindEvents", "finds nothing new"},
		"TheCursorIsOneTooFarAndLate":  {func(s *shop) { poll(tooFar)(s); s.cases[0].Late = true }, "PollsFindEvents", "it is lost"},
		"ABacklogIsReadWithoutMore":    {poll(says(func(r *engine.PollResult) { r.More = false })), "ABacklogIsReadToItsEnd", "does not say More"},
		"MoreWithoutEnd":               {poll(says(func(r *engine.PollResult) { r.More, r.State = true, append(r.State, ' ') })), "PollsFindEvents", "says More and keeps its state"},
		"MoreWithoutAnEndAndNewStates": {poll(counted), "PollsFindEvents", "is there an end?"},
		"PollsFindNothing":             {func(s *shop) { s.cases[0].Next = nil }, "PollsFindEvents", "found nothing"},
		"InputsAreNoJSON":              {poll(func(*shop, pollFunc) pollFunc { return found1(`{`, `1`) }), "PollsFindEvents", "an input is not JSON"},
		"StatesAreNoJSON":              {poll(func(*shop, pollFunc) pollFunc { return found1(`{"n": 1}`, `x`) }), "PollsFindEvents", "the state is not JSON"},
		"OutputsAreNotAsSaid":          {poll(func(*shop, pollFunc) pollFunc { return found1(`{}`, `1`) }), "PollsFindEvents", "not what OutputSchema says"},
		"IdsAreMadeAnew":               {func(s *shop) { s.Triggers[0].Map = counting(s, `{"n": 1}`) }, "PollsFindEvents", "is mapped to"},
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
		}), "WorkEndsWithItsContext", "still ran after"},
		"EveryFailureIsPermanent": {fails(engine.Permanent), "TroubleAtTheSourceIsClassified", "must not be engine.Permanent"},
		"RetryAfterIsLost":        {fails(func(err error) error { return errors.New(err.Error()) }), "TroubleAtTheSourceIsClassified", "must be engine.RetryAfter"},
		"RetryAfterIsNoDate": {fails(func(err error) error {
			if strings.Contains(err.Error(), "GMT") {
				err = errors.New("no")
			}
			return err
		}), "TroubleAtTheSourceIsClassified", "a date as Retry-After, in 120 s: got the error no"},
		"FailuresAreSwallowed": {fails(func(error) error { return nil }), "TroubleAtTheSourceIsClassified", "must be an error"},
		"TheSourceIsNotAsked":  {poll(func(*shop, pollFunc) pollFunc { return found1(`{"n": 1}`, `1`) }), "TroubleAtTheSourceIsClassified", "was not asked"},
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
		}), "ForgedRequestsAreRefused", "is not refused"},
		"AnOddRequestIsBelieved": {handle(func(_ *shop, was handleFunc) handleFunc {
			return func(ctx context.Context, r engine.WebhookRequest) (engine.WebhookResult, error) {
				if string(r.Body) == "{}" {
					return believing(ctx, r)
				}
				return was(ctx, r)
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
		"RegisteringTwiceFails":         {func(s *shop) { s.Triggers[1].Register = once(s.Triggers[1].Register) }, "RegisteringIsRepeatable", "to renew"},
		"ARegistrationIsDoubled":        {registers("POST", ""), "RegisteringIsRepeatable", "registered 2 times, not once"},
		"ARegistrationIsLeft":           {registers("PUT", "none"), "RegisteringIsRepeatable", "still registered 1 times"},
		"RegistrationsOfOthersAreTaken": {registers("PUT", "all"), "RegisteringIsRepeatable", "leave others alone"},
		"AChallengeIsNotAnswered": {func(s *shop) {
			s.asks = true
			was := s.Triggers[1].Handle
			s.Triggers[1].Handle = func(ctx context.Context, req engine.WebhookRequest) (engine.WebhookResult, error) {
				r, err := was(ctx, req)
				if r.Response != nil {
					err = engine.Refuse(401, errors.New("not signed"))
				}
				return r, err
			}
		}, "RegisteringIsRepeatable", "Register: 400"},
		"AnOldRequestIsBelieved": {handle(func(_ *shop, was handleFunc) handleFunc {
			return func(ctx context.Context, r engine.WebhookRequest) (engine.WebhookResult, error) {
				r.Now = time.Now()
				return was(ctx, r)
			}
		}), "OldRequestsAreRefused", "a day late"},
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

// A cause is said once, and nothing more is tested of what cannot be registered.
func TestACauseIsSaidOnce(t *testing.T) {
	t.Parallel()
	s := newShop()
	s.Triggers[0].Poll = func(context.Context, engine.PollRequest) (engine.PollResult, error) { panic("odd") }
	s.Triggers[1].Register = func(context.Context, engine.RegisterRequest) (engine.Registration, error) {
		return engine.Registration{}, errors.New("no")
	}
	wrong := s.broken(t, func(string, string) bool { return false })
	all := fmt.Sprint(wrong)
	if got := strings.Count(all, "panicked: odd"); got != 1 {
		t.Errorf("a panic is said %d times: %s", got, all)
	}
	if got := strings.Count(all, "Register: no"); got != 1 || len(wrong) > 3 {
		t.Errorf("a registration that fails is said %d times: %s", got, all)
	}
}

// Who knows no contexts is waited for once.
func TestHangingIsWaitedForOnce(t *testing.T) {
	t.Parallel()
	s := newShop()
	s.patience = 500 * time.Millisecond
	was := s.Triggers[0].Poll
	s.Triggers[0].Poll = func(_ context.Context, req engine.PollRequest) (engine.PollResult, error) {
		return was(context.Background(), req)
	}
	wrong := s.broken(t, func(string, string) bool { return false })
	if got := strings.Count(fmt.Sprint(wrong), "still ran"); got != 1 || len(wrong) != 1 {
		t.Errorf("got %v", wrong)
	}
}
