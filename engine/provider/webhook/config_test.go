package webhook_test

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/engine/provider/webhook"
)

func TestValidate(t *testing.T) {
	t.Parallel()
	const nothing = `means nothing with verify "github"; leave it out`
	for config, want := range map[string][]string{
		`{"verify":"github"}`: nil,
		`{"verify":"none","handshake":"hub","verify_token":"v"}`:                                   nil,
		`{"verify":"hmac","header":"X-S"}`:                                                         nil,
		`{"verify":"hmac","header":"X-S","template":"{timestamp}{body}","timestamp_header":"X-T"}`: nil,
		`{"verify":"hmac","header":"X-S","template":"{{body}}"}`:                                   nil,
		`{"verify":"hmac","header":"X-S","template":"{body}","tolerance_seconds":9}`:               {"tolerance_seconds: means nothing when the template lacks {timestamp}; leave it out"},
		`{"verify":"stripe","tolerance_seconds":9}`:                                                nil,
		`{"verify":"linear","tolerance_seconds":9}`:                                                nil,
		`{}`: nil, // the schema's
		`{"verify":"github","header":"X","prefix":"p","algorithm":"sha1","encoding":"hex"}`:               {"header: " + nothing, "prefix: " + nothing, "algorithm: " + nothing, "encoding: " + nothing},
		`{"verify":"github","secret_encoding":"hex","template":"{body}","timestamp_header":"X"}`:          {"secret_encoding: " + nothing, "template: " + nothing, "timestamp_header: " + nothing},
		`{"verify":"github","id_header":"X","tolerance_seconds":1,"handshake":"echo","verify_token":"v"}`: {"id_header: " + nothing, "tolerance_seconds: " + nothing, "handshake: " + nothing, "verify_token: " + nothing},
		`{"verify":"gitlab","handshake":"echo"}`:                                                          {`handshake: means nothing with verify "gitlab"; leave it out`},
		`{"verify":"token","tolerance_seconds":9}`:                                                        {`tolerance_seconds: means nothing with verify "token"; leave it out`, `header: is required with verify "token": the name of the header that holds the secret`},
		`{"verify":"hmac"}`:                                                                                         {`header: is required with verify "hmac": the name of the header that holds the signature`},
		`{"verify":"meta"}`:                                                                                         {"verify_token: is required for the sender's check of the URL: the text that you give there too"},
		`{"verify":"none","handshake":"hub"}`:                                                                       {"verify_token: is required for the sender's check of the URL: the text that you give there too"},
		`{"verify":"hmac","header":"X-S","template":"x"}`:                                                           {"template: must have {body}: without it, anyone could change the body"},
		`{"verify":"hmac","header":"X-S","template":"{body}{Body}"}`:                                                {"template: must have no other placeholders than {id}, {timestamp} and {body}"},
		`{"verify":"hmac","header":"X-S","template":"{body}{}"}`:                                                    {"template: must have no other placeholders than {id}, {timestamp} and {body}"},
		`{"verify":"hmac","header":"X-S","template":"{body}.{body}"}`:                                               {"template: must have {body} only once"},
		`{"verify":"hmac","header":"X-S","template":"{id}{body}","id_header":"X-I"}`:                                {"template: must have a text, such as a dot, between {id} and its neighbour"},
		`{"verify":"hmac","header":"X-S","template":"{timestamp}.{body}"}`:                                          {"timestamp_header: is required when the template has {timestamp}: the name of the header that holds it"},
		`{"verify":"hmac","header":"X-S","template":"{id}.{body}"}`:                                                 {"id_header: is required when the template has {id}: the name of the header that holds it"},
		`{"verify":"hmac","header":"X-S","timestamp_header":"X-T"}`:                                                 {"timestamp_header: means nothing when the template lacks {timestamp}: a time that is not signed proves nothing"},
		`{"verify":"hmac","header":"X-S","id_header":"X-I"}`:                                                        {`id_header: means nothing when the template lacks {id}; for an id that is not signed, set "id", such as .headers["x-request-id"]`},
		`{"verify":"hmac","header":"X-S","template":"{id}.{body}","id_header":"x-s"}`:                               {"id_header: must be another header than header"},
		`{"verify":"none","id":".a[","event_type":"push"}`:                                                          {`event_type: is not a jq program: column 1: function not defined: push/0; if you mean the text itself, it needs quotes of its own: "\"push\""`, "id: is not a jq program: column 4: unexpected EOF"},
		`{"verify":"hmac","header":"X","template":"{timestamp}{id}.{body}","timestamp_header":"T","id_header":"I"}`: {"template: must have a text, such as a dot, between {id} and its neighbour"},
	} {
		var got []string
		for _, f := range webhook.New().Validate(json.RawMessage(config)) {
			got = append(got, strings.Join(f.Path, ".")+": "+f.Message)
			if f.Code == "" {
				t.Errorf("%s: %v has no code", config, f)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s\ngot  %q\nwant %q", config, got, want)
		}
	}
	if wrong := webhook.New().Validate(json.RawMessage(`{"verify":7}`)); len(wrong) != 1 || wrong[0].Code != "invalid_type" {
		t.Errorf("%v", wrong)
	}
}

// A config that was never validated, such as one of another version, is an error and no panic.
func TestConfigsOfOthersAreErrors(t *testing.T) {
	t.Parallel()
	for _, config := range []string{`{}`, `null`, `[]`, `{"verify":"other"}`, `{"verify":"hmac"}`, `{"verify":"token"}`, `{"verify":"hmac","header":"X-S","template":"{timestamp}{x}{id}"}`} {
		req := request(t, values{"verify": "none"}, []string{"k"}, "{}", "X-S", "00")
		req.Config = json.RawMessage(config)
		if _, err := trigger.Handle(t.Context(), req); err == nil {
			t.Errorf("%s is taken for one", config)
		}
	}
	for _, input := range []string{`7`, `[]`, `{`} {
		_, err := trigger.Map(t.Context(), engine.MapRequest{Source: engine.Source{Config: json.RawMessage(`{"verify":"none"}`)}, Input: json.RawMessage(input)})
		if err == nil {
			t.Errorf("%.20s is taken for a request", input)
		}
	}
}

// The engine takes the provider as it is, and what its schemas forbid.
func TestTheEngineChecksConfigsAndSecrets(t *testing.T) {
	t.Parallel()
	e, err := engine.Open(t.Context(), engine.Options{Path: filepath.Join(t.TempDir(), "callbacks.db"), Providers: []engine.Provider{webhook.New()}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for value, want := range map[string]string{
		`{"verify":"github"}`:               "",
		`{"verify":"sha256"}`:               "verify",
		`{}`:                                "verify",
		`{"verify":"none","event_type":""}`: "event_type",
		`{"verify":"hmac","header":"X S"}`:  "header",
		`{"verify":"hmac","header":"X-S","algorithm":"md5"}`:          "algorithm",
		`{"verify":"stripe","tolerance_seconds":0}`:                   "tolerance_seconds",
		`{"verify":"stripe","tolerance_seconds":86401}`:               "tolerance_seconds",
		`{"verify":"github","secret":"x"}`:                            "secret",
		`{"verify":"github","tolerance_seconds":5,"header":"X Y"}`:    "header tolerance_seconds",
		`{"verify":"hmac","header":"X-S","template":"{x}","id":".["}`: "id template",
	} {
		_, err := e.CreateConfig(t.Context(), engine.NewConfig{Provider: "webhook", Value: json.RawMessage(value)})
		if got := faults(t, err); got != want {
			t.Errorf("%s: %s", value, got)
		}
	}
	for value, want := range map[string]string{
		`{"secrets":["a b"]}`:        "",
		`{"secrets":["a"," b"]}`:     "secrets.1",
		`{"secrets":["a\n"]}`:        "secrets.0",
		`{"secrets":["a\nb"]}`:       "",
		`{"secrets":[""]}`:           "secrets.0",
		`{"secrets":[]}`:             "secrets",
		`{"secrets":["a","a"]}`:      "secrets",
		`{"secrets":"a"}`:            "secrets",
		`{}`:                         "secrets",
		`{"secrets":["a"],"more":1}`: "more",
		`{"secrets":["0","1","2","3","4","5","6","7","8","9","10"]}`: "secrets",
	} {
		_, err := e.CreateAuthConfig(t.Context(), engine.NewAuthConfig{Method: "secret", Value: json.RawMessage(value)})
		if got := faults(t, err); got != want {
			t.Errorf("%s: %s", value, got)
		}
	}
}

// What is wrong with a secret is said in words, and without the secret.
func TestFaultsOfSecretsAreForPeople(t *testing.T) {
	t.Parallel()
	e, err := engine.Open(t.Context(), engine.Options{Path: filepath.Join(t.TempDir(), "callbacks.db"), Providers: []engine.Provider{webhook.New()}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for value, want := range map[string]string{
		`{"secrets":[" hush"]}`:    "must not begin or end with a space or line break",
		`{"secrets":["hush\r\n"]}`: "must not begin or end with a space or line break",
		`{"secrets":[""]}`:         "must have at least 1 characters",
	} {
		_, err := e.CreateAuthConfig(t.Context(), engine.NewAuthConfig{Method: "secret", Value: json.RawMessage(value)})
		wrong, ok := err.(*engine.Error)
		if !ok || len(wrong.Fields) != 1 || wrong.Fields[0].Message != want {
			t.Errorf("%s: %+v", value, wrong)
		}
	}
}

// faults are the paths of what is wrong.
func faults(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	e, ok := err.(*engine.Error)
	if !ok || e.Code != engine.CodeInvalid {
		t.Fatal(err)
	}
	var paths []string
	for _, f := range e.Fields {
		paths = append(paths, strings.TrimPrefix(strings.Join(f.Path, "."), "value."))
	}
	slices.Sort(paths)
	return strings.Join(paths, " ")
}
