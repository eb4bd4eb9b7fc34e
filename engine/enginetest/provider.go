package enginetest

import (
	"encoding/json"
	"iter"
	"net/http"
	"strings"
	"testing"

	"github.com/callbackd/callbackd/engine"
)

// Case is a trigger at work: with which config, and with which source.
type Case struct {
	Trigger string // key; "": the provider's only one

	// Config is a value that the provider's schema allows; "": {}. In it, and in Auth, $SOURCE
	// stands for the URL of the source.
	Config string
	Auth   *engine.Auth // nil: none

	// Source plays the source: it answers what is asked of $SOURCE with the HTTP client that the
	// provider is given. It must have the same items each time, but for those of Next. nil: the
	// provider asks nobody, or does so in its own way; then what it does when its source is in
	// trouble is not tested.
	Source http.Handler
	// Hosts are further hosts, with their ports if they have any, for which Source answers. nil: none,
	// and asking another host fails.
	Hosts []string

	// Next makes something new happen at the source, of which the config wants to hear. It is called before each
	// of four polls, and 250 times for a backlog of several pages. nil: time goes by, which may be enough; then a
	// backlog is not tested.
	Next func()
	// Late says that the poll after Next need not find what happened.
	Late bool

	// Forget has the source forget what Prepare made, so that it is no longer accepted. nil: the source
	// answers 401 to everything for a while.
	Forget func()

	// Request is a new webhook as the source sends it to a URL, which is http and of this machine, with its
	// signature, for a trigger with Handle: another event each time it is called. registration is what Register returned as
	// Details; nil without one.
	Request func(url string, registration json.RawMessage) *http.Request
	// AnyBody says that the source signs nothing of the body, as those do that only send a token
	// along.
	AnyBody bool
	// AnyAge says that the source does not sign a time.
	AnyAge bool
	// AnyRequest says that the config has every request believed.
	AnyRequest bool

	// Registered is the URLs to which Source sends webhooks by now, for a trigger with Register. nil:
	// what registrations leave behind is not tested.
	Registered func() []string
}

// sourceURL is what $SOURCE stands for.
const sourceURL = "http://source.test"

func withSource(text json.RawMessage) json.RawMessage {
	return json.RawMessage(strings.ReplaceAll(string(text), "$SOURCE", sourceURL))
}

// TestProvider holds a provider to what the engine expects of each, with at least one case for
// every trigger, each rule a subtest. At the end it closes the provider. A cause is told once for each
// case, and a case ends when Register fails. While it runs, the URL that a trigger registers is served on
// this machine, for a source that asks whether it is there. The rules:
//
//   - What it declares is valid, as are its schemas; the case's config is valid for it.
//   - Validate does not panic, whatever it is given.
//   - Prepare makes valid JSON, to be renewed later than now. Its source being down is a plain error, 429 is
//     [engine.RetryAfter] and 401 [engine.Permanent].
//   - A poll finds something, in valid JSON, and each input maps to an event that the trigger's
//     OutputSchema allows, the same each time.
//   - A poll after something happened finds it, and the polls of a trigger together find all that a poll without
//     a state does.
//   - A poll that does not find all of a backlog says More.
//   - Every state is valid JSON and can be polled from again, old ones too, and null; from the same state at the same
//     time it finds the same. A state that is not understood is an error or ignored, and no panic.
//   - One source id never stands for two different items.
//   - Polls, mappings, requests, registrations and Prepare end soon after their context.
//   - A source that is down, or answers 500, fails a poll or registration, but not for good; one that answers 429
//     with Retry-After, in seconds or as a date, has it wait that long; one that answers 401, or rubbish, fails it or is
//     ignored.
//   - What Prepare made and the source does not accept any longer is [engine.Unauthorized], and can be prepared anew.
//   - No host is asked but those of the case.
//   - A request that is not signed, or that was changed on its way, or that comes a day late, is refused with 401;
//     odd ones are refused. A genuine one is read the same each time.
//   - Registering and unregistering can be repeated, and there may be nothing to be unregistered. A URL is
//     registered once, although what Register returned was lost, and not after Unregister; others are left alone.
//   - Nothing runs on after Close.
func TestProvider(t *testing.T, p engine.Provider, cases ...Case) {
	t.Helper()
	s := &suite{provider: p, cases: cases}
	t.Cleanup(s.release)
	next, stop := iter.Pull2(s.run(t.Context(), t.TempDir())) // so that a failure is at the caller's line
	defer stop()
	for name, problems, ok := next(); ok; name, problems, ok = next() {
		t.Run(name, func(t *testing.T) {
			t.Helper()
			for _, problem := range problems {
				t.Error(problem)
			}
		})
	}
}
