package webhook_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/callbackd/callbackd/engine"
)

const slackBody = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar" +
	"&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J" +
	"%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"

// What senders publish themselves.
func TestPublishedVectors(t *testing.T) {
	t.Parallel()
	github := request(t, values{"verify": "github"}, []string{"It's a Secret to Everybody"}, "Hello, World!",
		"X-Hub-Signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")
	slack := request(t, values{"verify": "slack"}, []string{"8f742231b10e8888abcd99yyyzzz85a5"}, slackBody,
		"X-Slack-Signature", "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
		"X-Slack-Request-Timestamp", "1531420618", "Content-Type", "application/x-www-form-urlencoded")
	slack.Now = time.Unix(1531420618, 0)
	standard := request(t, values{"verify": "standard-webhooks"}, []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}, `{"test": 2432232314}`,
		"webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp", "1614265330", "webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
	standard.Now = time.Unix(1614265330, 0)
	event := request(t, values{"verify": "slack"}, []string{"e6b19c573432dcc6b075501d51b51bb8"}, `{"token":"aF5ynEYQH0dFN9imlgcADxDB","team_id":"XXXXXXXXX","api_app_id":"YYYYYYYYY","event":{"type":"app_mention","user":"AAAAAAAAA","text":"<@EEEEEEEEE> hello world","client_msg_id":"477cc591-ch73-a14z-4db8-g0cd76321bec","ts":"1531431954.000073","channel":"TTTTTTTTT","event_ts":"1531431954.000073"},"type":"event_callback","event_id":"TvBP7LRED7","event_time":1531431954,"authed_users":["EEEEEEEEE"]}`,
		"X-Slack-Signature", "v0=adada4ed31709aef585c2580ca3267678c6a8eaeb7e0c1aca3ee57b656886b2c", "X-Slack-Request-Timestamp", "1531431954") // of the library slack-go
	event.Now = time.Unix(1531431954, 0)
	for name, req := range map[string]engine.WebhookRequest{"github": github, "slack": slack, "slack event": event, "standard-webhooks": standard} {
		if _, err := trigger.Handle(t.Context(), req); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		req.Body = append(req.Body, '!')
		if _, err := trigger.Handle(t.Context(), req); status(err) != 401 {
			t.Errorf("%s, changed: %v", name, err)
		}
	}
	if m := mapped(t, slack); m.Type != "/webhook-collect" || m.SourceID != "398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c" || !strings.Contains(string(m.Output), `"user_name":"roadrunner"`) {
		t.Errorf("%+v %s", m, m.Output)
	}
	if m := mapped(t, event); m.Type != "app_mention" || m.SourceID != "TvBP7LRED7" {
		t.Errorf("%+v", m)
	}
	if m := mapped(t, standard); m.SourceID != "msg_p5jXN8AQM9LWM0D4loKWxJek" || m.Type != "request.received" {
		t.Errorf("%+v", m)
	}
	if m := mapped(t, github); m.Type != "request.received" || string(m.Output) != `"Hello, World!"` ||
		m.SourceID != "sha256:dffd6021bb2bd5b0af676290809ec3a53191dd81c7f70a4b28688a362182986f" {
		t.Errorf("%+v %s", m, m.Output)
	}
}

// What the reference library signs is believed, and what it does not believe is not.
func TestTheReferenceLibraryAgrees(t *testing.T) {
	t.Parallel()
	const body = `{"type":"invoice.paid","data":{}}`
	at := time.Now()
	for i, secret := range standardSecrets {
		library, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			t.Fatal(err)
		}
		signature, err := library.Sign("msg_2", at, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		req := request(t, values{"verify": "standard-webhooks"}, standardSecrets[:1], body,
			"webhook-id", "msg_2", "webhook-timestamp", strconv.FormatInt(at.Unix(), 10), "webhook-signature", signature)
		req.Now = at
		if want := library.Verify([]byte(body), req.Header); want != nil {
			t.Fatal(want)
		}
		if _, err := trigger.Handle(t.Context(), req); status(err) != 401*i {
			t.Errorf("secret %d: %v", i, err)
		}
	}
}

// Signatures and secrets are compared in constant time: nothing else compares bytes or texts
// of either.
func TestComparisonsTakeConstantTime(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("verify.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{`bytes\.(Equal|Compare)`, `[!=]= ?(string\()?(want|got|token|signature|sum|k\.secret)\b`, `\b(want|got|token|sum)\)? [!=]= `, `strings\.(EqualFold|Compare)`, `slices\.(Equal|Contains|Index)`, `reflect\.`} {
		if found := regexp.MustCompile(pattern).Find(text); found != nil {
			t.Errorf("verify.go has %s", found)
		}
	}
	if n := strings.Count(string(text), "hmac.Equal("); n != 2 {
		t.Errorf("verify.go compares %d times; is each in constant time?", n)
	}
}

// The id is the one that was signed: one in another header, that nobody signed, is not looked at.
func TestUnsignedIDsAreNotBelieved(t *testing.T) {
	t.Parallel()
	header := append(signStandard("Svix")(standardSecrets[0], now.Unix(), "{}"), "Webhook-Id", "msg_other", "Webhook-Timestamp", "1")
	if m := mapped(t, request(t, values{"verify": "standard-webhooks"}, standardSecrets[:], "{}", header...)); m.SourceID != "msg_1" {
		t.Errorf("got %s", m.SourceID)
	}
	// A part of the body cannot become part of the id.
	config := values{"verify": "hmac", "header": "X-S", "template": "{id}.{body}", "id_header": "X-I"}
	for i, c := range []struct{ id, body string }{{"a", `{"n":1.5}`}, {`a.{"n":1`, `5}`}} {
		if _, err := trigger.Handle(t.Context(), request(t, config, []string{"k"}, c.body, "X-S", hexMAC("k", `a.{"n":1.5}`), "X-I", c.id)); status(err) != 401*i {
			t.Errorf("%d: %v", i, err)
		}
	}
	if m := mapped(t, request(t, config, []string{"k"}, "{}", "X-S", hexMAC("k", `a:1.{}`), "X-I", "a:1")); m.SourceID != "a:1" {
		t.Errorf("got %s", m.SourceID)
	}
}

// A secret that is none of its scheme's does no harm to the others, and the log says which it is.
func TestUnusableSecrets(t *testing.T) {
	t.Parallel()
	config := values{"verify": "standard-webhooks"}
	good := signStandard("Webhook")(standardSecrets[0], now.Unix(), "{}")
	for _, bad := range []string{"whsec_not base64", "whpk_AAAA", "whsk_" + standardSecrets[0][6:], "whsec_"} {
		if _, err := trigger.Handle(t.Context(), request(t, config, []string{bad, standardSecrets[0]}, "{}", good...)); err != nil {
			t.Errorf("%s: %v", bad, err)
		}
		if _, err := trigger.Handle(t.Context(), request(t, config, []string{standardSecrets[1], bad}, "{}", good...)); status(err) != 401 || !strings.Contains(err.Error(), "secrets.1") {
			t.Errorf("%s: %v", bad, err)
		}
		if _, err := trigger.Handle(t.Context(), request(t, config, []string{bad}, "{}", good...)); status(err) != 500 || !strings.Contains(err.Error(), "secrets.0") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	for encoding, bad := range map[string]string{"base64": "!", "hex": "0"} {
		req := request(t, values{"verify": "hmac", "header": "X-S", "secret_encoding": encoding}, []string{bad}, "{}", "X-S", "00")
		if _, err := trigger.Handle(t.Context(), req); status(err) != 500 || !strings.Contains(err.Error(), encoding) {
			t.Errorf("%s: %v", encoding, err)
		}
	}
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(sum[:])
}
