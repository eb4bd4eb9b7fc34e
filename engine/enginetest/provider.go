package enginetest

import (
	"encoding/json"
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

	// Source plays the source: it answers whatever is asked with the HTTP client that the provider
	// is given, for every host. It must have the same items each time, but for those of Next. nil: the
	// provider asks nobody, or does so in its own way; then what it does when its source is in
	// trouble is not tested.
	Source http.Handler

	// Next makes something new happen at the source. It is called before each of four polls. nil:
	// time goes by, which may be enough.
	Next func()

	// Request is a new webhook as the source sends it to a URL, with its signature, for a trigger with
	// Handle: another event each time it is called. registration is what Register returned as
	// Details; nil without one.
	Request func(url string, registration json.RawMessage) *http.Request
	// AnyBody says that the source signs nothing of the body, as those do that only send a token
	// along.
	AnyBody bool
	// AnyRequest says that the config has every request believed.
	AnyRequest bool
}

// sourceURL is what $SOURCE stands for.
const sourceURL = "http://source.test"

func withSource(text json.RawMessage) json.RawMessage {
	return json.RawMessage(strings.ReplaceAll(string(text), "$SOURCE", sourceURL))
}

// TestProvider holds a provider to what the engine expects of each, with at least one case for
// every trigger, each rule a subtest. At the end it closes the provider. The rules:
//
//   - What it declares is valid, as are its schemas; the case's config is valid for it.
//   - Validate does not panic, whatever it is given.
//   - A poll finds something, in valid JSON, and each input maps to an event that the trigger's
//     OutputSchema allows, the same each time.
//   - Every state is valid JSON and can be polled from again, old ones too, and null; from the same state at the same
//     time it finds the same. A state that is not understood is an error or ignored, and no panic.
//   - One source id never stands for two different items.
//   - Polls, mappings, requests and registrations end soon after their context.
//   - A source that is down, or answers 500, fails a poll or registration, but not for good; one that answers 429
//     with Retry-After has it wait that long; one that answers 401, or rubbish, fails it or is
//     ignored.
//   - A request that is not signed, or that was changed on its way, is refused with 401; odd ones
//     are refused. A genuine one is read the same each time.
//   - Registering and unregistering can be repeated, and there may be nothing to be unregistered.
//   - Nothing runs on after Close.
func TestProvider(t *testing.T, p engine.Provider, cases ...Case) {
	s := &suite{provider: p, cases: cases}
	t.Cleanup(s.release)
	for name, problems := range s.run(t.Context(), t.TempDir()) {
		t.Run(name, func(t *testing.T) {
			for _, problem := range problems {
				t.Error(problem)
			}
		})
	}
}
