package webhook_test

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/engine/provider/webhook"
)

var now = time.Date(2026, 1, 10, 14, 45, 0, 123e6, time.UTC)

var trigger = webhook.New().Triggers[0]

type values = map[string]any

// request is one to a trigger with this config; secrets is nil for an instance without auth
// config. header is names and values, by turns.
func request(t testing.TB, config values, secrets []string, body string, header ...string) engine.WebhookRequest {
	t.Helper()
	text := toJSON(t, config)
	if wrong := webhook.New().Validate(text); len(wrong) > 0 {
		t.Fatalf("%s: %v", text, wrong)
	}
	req := engine.WebhookRequest{
		Source: engine.Source{Config: text, Now: now, Log: slog.New(slog.DiscardHandler)},
		Method: "POST", URL: "https://hooks.example.com/webhooks/ctr_1", Header: http.Header{}, Body: []byte(body),
	}
	if secrets != nil {
		req.Auth = &engine.Auth{Method: "secret", Value: toJSON(t, values{"secrets": secrets})}
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	return req
}

func toJSON(t testing.TB, v any) json.RawMessage {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// mapped is the event that a request makes.
func mapped(t testing.TB, req engine.WebhookRequest) engine.Mapped {
	t.Helper()
	result, err := trigger.Handle(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Inputs) != 1 {
		t.Fatalf("%d inputs", len(result.Inputs))
	}
	m, err := trigger.Map(t.Context(), engine.MapRequest{Source: engine.Source{Config: req.Config, Now: now.Add(time.Hour)}, Input: result.Inputs[0]})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func status(err error) int {
	s, refused := engine.RefusedStatus(err)
	if err != nil && !refused {
		return 500
	}
	return s
}

func hmacOf(h func() hash.Hash, key, message string) []byte {
	m := hmac.New(h, []byte(key))
	m.Write([]byte(message))
	return m.Sum(nil)
}

func hexMAC(key, message string) string { return hex.EncodeToString(hmacOf(sha256.New, key, message)) }

// sender is a scheme as its sender has it, written down apart from the table.
type sender struct {
	config  values
	secrets [2]string // in use; a third is never
	timed   bool
	bare    bool // the body is not signed

	// sign gives names and values of headers, by turns; the first is the signature.
	sign func(secret string, at int64, body string) []string
}

const rawKeys = "0123456789abcdef0123456789abcdefABCDEFGHIJKLMNOPQRSTUVWXYZ012345"

var standardSecrets = [2]string{
	"whsec_" + base64.StdEncoding.EncodeToString([]byte(rawKeys[:32])),
	"whsec_" + base64.StdEncoding.EncodeToString([]byte(rawKeys[32:])),
}

func signStandard(prefix string) func(string, int64, string) []string {
	return func(secret string, at int64, body string) []string {
		key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
		mac := hmacOf(sha256.New, string(key), fmt.Sprintf("msg_1.%d.%s", at, body))
		return []string{prefix + "-Signature", "v1," + base64.StdEncoding.EncodeToString(mac), prefix + "-Timestamp", strconv.FormatInt(at, 10), prefix + "-Id", "msg_1"}
	}
}

var privateKeys = map[string]ed25519.PrivateKey{}

var publicSecrets = func() (secrets [2]string) {
	for i := range secrets {
		private := ed25519.NewKeyFromSeed([]byte(rawKeys[i*32:][:32]))
		secrets[i] = "whpk_" + base64.StdEncoding.EncodeToString(private.Public().(ed25519.PublicKey))
		privateKeys[secrets[i]] = private
	}
	privateKeys[""] = ed25519.NewKeyFromSeed(make([]byte, 32))
	privateKeys["whpk_wrong"] = ed25519.NewKeyFromSeed([]byte(rawKeys[16:48]))
	return secrets
}()

// overBody is a sender that signs the body alone.
func overBody(header, prefix string, encode func([]byte) string) func(string, int64, string) []string {
	return func(secret string, _ int64, body string) []string {
		return []string{header, prefix + encode(hmacOf(sha256.New, secret, body))}
	}
}

func colons(signature, timestamp string) func(string, int64, string) []string {
	return func(secret string, at int64, body string) []string {
		return []string{signature, "v0=" + hexMAC(secret, fmt.Sprintf("v0:%d:%s", at, body)), timestamp, strconv.FormatInt(at, 10)}
	}
}

var texts = [2]string{"It's a Secret to Everybody", "another one"}

var senders = map[string]sender{
	"standard-webhooks": {config: values{"verify": "standard-webhooks"}, secrets: standardSecrets, timed: true, sign: signStandard("Webhook")},
	"svix":              {config: values{"verify": "standard-webhooks"}, secrets: standardSecrets, timed: true, sign: signStandard("Svix")},
	"standard-webhooks v1a": {config: values{"verify": "standard-webhooks"}, secrets: publicSecrets, timed: true, sign: func(secret string, at int64, body string) []string {
		signature := ed25519.Sign(privateKeys[secret], fmt.Appendf(nil, "msg_1.%d.%s", at, body))
		return []string{"Webhook-Signature", "v1a," + base64.StdEncoding.EncodeToString(signature), "Webhook-Timestamp", strconv.FormatInt(at, 10), "Webhook-Id", "msg_1"}
	}},
	"stripe": {config: values{"verify": "stripe"}, secrets: [2]string{"whsec_abc", "whsec_def"}, timed: true, sign: func(secret string, at int64, body string) []string {
		return []string{"Stripe-Signature", fmt.Sprintf("t=%d,v1=%s", at, hexMAC(secret, fmt.Sprintf("%d.%s", at, body)))}
	}},
	"paddle": {config: values{"verify": "paddle"}, secrets: [2]string{"pdl_ntfset_a", "pdl_ntfset_b"}, timed: true, sign: func(secret string, at int64, body string) []string {
		return []string{"Paddle-Signature", fmt.Sprintf("ts=%d;h1=%s", at, hexMAC(secret, fmt.Sprintf("%d:%s", at, body)))}
	}},
	"github":  {config: values{"verify": "github"}, secrets: texts, sign: overBody("X-Hub-Signature-256", "sha256=", hex.EncodeToString)},
	"slack":   {config: values{"verify": "slack"}, secrets: texts, timed: true, sign: colons("X-Slack-Signature", "X-Slack-Request-Timestamp")},
	"shopify": {config: values{"verify": "shopify"}, secrets: texts, sign: overBody("X-Shopify-Hmac-Sha256", "", base64.StdEncoding.EncodeToString)},
	"gitlab": {config: values{"verify": "gitlab"}, secrets: texts, bare: true, sign: func(secret string, _ int64, _ string) []string {
		return []string{"X-Gitlab-Token", secret}
	}},
	"linear": {config: values{"verify": "linear"}, secrets: texts, sign: overBody("Linear-Signature", "", hex.EncodeToString)},
	"meta":   {config: values{"verify": "meta", "verify_token": "v"}, secrets: texts, sign: overBody("X-Hub-Signature-256", "sha256=", hex.EncodeToString)},
	"sentry": {config: values{"verify": "sentry"}, secrets: texts, sign: overBody("Sentry-Hook-Signature", "", hex.EncodeToString)},
	"zoom":   {config: values{"verify": "zoom"}, secrets: texts, timed: true, sign: colons("x-zm-signature", "x-zm-request-timestamp")},
	"token": {config: values{"verify": "token", "header": "authorization", "prefix": "Bearer "}, secrets: texts, bare: true, sign: func(secret string, _ int64, _ string) []string {
		return []string{"Authorization", "Bearer " + secret}
	}},
	"hmac":              {config: values{"verify": "hmac", "header": "x-signature"}, secrets: texts, sign: overBody("X-Signature", "", hex.EncodeToString)},
	"hmac of base64url": {config: values{"verify": "hmac", "header": "x-signature", "encoding": "base64url"}, secrets: texts, sign: overBody("X-Signature", "", base64.URLEncoding.EncodeToString)},
	"hmac as Teams has it": {
		config:  values{"verify": "hmac", "header": "Authorization", "prefix": "HMAC ", "encoding": "base64", "secret_encoding": "base64"},
		secrets: [2]string{base64.StdEncoding.EncodeToString([]byte("k1")), base64.StdEncoding.EncodeToString([]byte("k2"))},
		sign: func(secret string, _ int64, body string) []string {
			key, _ := base64.StdEncoding.DecodeString(secret)
			return []string{"Authorization", "HMAC " + base64.StdEncoding.EncodeToString(hmacOf(sha256.New, string(key), body))}
		},
	},
	"hmac with all": {
		config: values{
			"verify": "hmac", "header": "X-Sig", "prefix": "v=", "algorithm": "sha512", "encoding": "base64", "secret_encoding": "hex",
			"template": "a {timestamp}.{body}/{id}", "timestamp_header": "X-Time", "id_header": "X-Id", "tolerance_seconds": 300,
		},
		secrets: [2]string{"00ff", "0123"}, timed: true,
		sign: func(secret string, at int64, body string) []string {
			key, _ := hex.DecodeString(secret)
			mac := hmacOf(sha512.New, string(key), fmt.Sprintf("a %d.%s/msg_1", at*1000, body))
			return []string{"X-Sig", "v=" + base64.StdEncoding.EncodeToString(mac), "X-Time", strconv.FormatInt(at*1000, 10), "X-Id", "msg_1"}
		},
	},
	"hmac of sha1": {config: values{"verify": "hmac", "header": "X-Hub-Signature", "prefix": "sha1=", "algorithm": "sha1"}, secrets: texts, sign: func(secret string, _ int64, body string) []string {
		return []string{"X-Hub-Signature", "sha1=" + strings.ToUpper(hex.EncodeToString(hmacOf(sha1.New, secret, body)))}
	}},
}

// wrong is a secret of the same form that is not in use.
func (s sender) wrong() string {
	switch {
	case strings.HasPrefix(s.secrets[0], "whpk_"):
		return "whpk_wrong"
	case strings.HasPrefix(s.secrets[0], "whsec_") && s.timed && s.config["verify"] != "stripe":
		return "whsec_" + base64.StdEncoding.EncodeToString([]byte(rawKeys[16:48]))
	case s.config["secret_encoding"] == "hex":
		return "4567"
	}
	return "AAAA" + s.secrets[0]
}

func TestEverySchemeHoldsItsRules(t *testing.T) {
	t.Parallel()
	const body = `{"type": "a.b", "n": 1}`
	for name, s := range senders {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := now.Unix()
			try := func(what string, want int, body string, header []string) {
				t.Helper()
				req := request(t, s.config, s.secrets[:], body, header...)
				result, err := trigger.Handle(t.Context(), req)
				if got := status(err); got != want || (want == 0) != (len(result.Inputs) == 1) {
					t.Errorf("%s: %d (%v), %d inputs", what, got, err, len(result.Inputs))
				}
				for _, secret := range s.secrets {
					if err != nil && strings.Contains(err.Error(), secret) {
						t.Errorf("%s: the reason has the secret: %v", what, err)
					}
				}
			}
			change := func(i int, f func(string) string) []string {
				header := s.sign(s.secrets[0], at, body)
				header[i] = f(header[i])
				return header
			}
			good := s.sign(s.secrets[0], at, body)
			try("right", 0, body, good)
			try("second secret", 0, body, s.sign(s.secrets[1], at, body))
			try("wrong secret", 401, body, s.sign(s.wrong(), at, body))
			try("empty body", 0, "", s.sign(s.secrets[0], at, ""))
			try("no headers", 401, body, nil)
			try("truncated signature", 401, body, change(1, func(v string) string { return v[:len(v)-2] }))
			try("longer signature", 401, body, change(1, func(v string) string { return v + "A" }))
			try("empty signature", 401, body, change(1, func(string) string { return "" }))
			try("unicode signature", 401, body, change(1, func(v string) string { return v[:len(v)-1] + "é" }))
			try("line in the signature", 401, body, change(1, func(v string) string { return v[:len(v)-3] + "\r\n" + v[len(v)-3:] }))
			try("trailing comma", 401, body, change(1, func(v string) string { return v + "," }))
			try("long header", 401, body, change(1, func(v string) string { return strings.Repeat(" ", 9000) + v }))
			try("prefix alone", 401, body, change(1, func(v string) string { return v[:strings.LastIndexAny(strings.TrimRight(v, "="), "=, ")+1] }))
			for i := 0; i < len(good); i += 2 {
				try("without "+good[i], 401, body, append(append([]string{}, good[:i]...), good[i+2:]...))
				try(good[i]+" twice", 401, body, append(append([]string{}, good...), good[i], good[i+1]))
				try(good[i]+" tampered", 401, body, change(i+1, func(v string) string { return v[:len(v)-3] + "0x" + v[len(v)-1:] }))
				lower := append([]string{}, good...)
				lower[i] = strings.ToLower(lower[i])
				try(good[i]+" in lower case", 0, body, lower)
			}
			if !s.bare {
				try("tampered body", 401, strings.Replace(body, "1", "2", 1), good)
				try("shortened body", 401, body[:len(body)-1], good)
				try("longer body", 401, body+" ", good)
				try("no body", 401, "", good)
			}
			if s.timed {
				try("300 s late", 0, body, s.sign(s.secrets[0], at-299, body))
				try("late", 401, body, s.sign(s.secrets[0], at-300, body))
				try("300 s early", 0, body, s.sign(s.secrets[0], at+300, body))
				try("early", 401, body, s.sign(s.secrets[0], at+301, body))
				try("far", 401, body, s.sign(s.secrets[0], 1<<53, body))
				try("negative", 401, body, s.sign(s.secrets[0], -at, body))
				try("zero", 401, body, s.sign(s.secrets[0], 0, body))
			}
			// Without an auth config nothing can be verified, and so nothing is believed.
			if _, err := trigger.Handle(t.Context(), request(t, s.config, nil, body, good...)); status(err) != 500 || !strings.Contains(err.Error(), "no auth config") {
				t.Errorf("without auth config: %v", err)
			}
			if _, err := trigger.Handle(t.Context(), request(t, s.config, []string{}, body, good...)); status(err) != 500 {
				t.Errorf("without secrets: %v", err)
			}
			if _, err := trigger.Handle(t.Context(), request(t, s.config, []string{""}, body, s.sign("", at, body)...)); err == nil {
				t.Error("an empty secret is one that everybody knows")
			}
		})
	}
}

// Times that are written as no sender does are refused, also when they were signed like that.
func TestTimestampsAreDigits(t *testing.T) {
	t.Parallel()
	for _, timestamp := range []string{
		"", " ", "1e9", "+1768056300", "-1768056300", "1768056300.0", " 1768056300", "1768056300 ", "01768056300", "0x69626c6c", "1_768_056_300",
		"\u0661\u0667\u0666\u0668\u0660\u0665\u0666\u0663\u0660\u0660", "99999999999999999999999", "1768056300123", "NaN", "9223372036854775807", "999999999999999",
	} {
		mac := hexMAC("k", timestamp+".{}")
		req := request(t, values{"verify": "stripe"}, []string{"k"}, "{}", "Stripe-Signature", "t="+timestamp+",v1="+mac)
		if _, err := trigger.Handle(t.Context(), req); status(err) != 401 {
			t.Errorf("%q: %v", timestamp, err)
		}
		config := values{"verify": "hmac", "header": "X-S", "template": "{timestamp}.{body}", "timestamp_header": "X-T"}
		if timestamp == "1768056300123" {
			continue // milliseconds, which are fine here
		}
		if _, err := trigger.Handle(t.Context(), request(t, config, []string{"k"}, "{}", "X-S", mac, "X-T", timestamp)); status(err) != 401 {
			t.Errorf("hmac: %q: %v", timestamp, err)
		}
	}
}

// Some sign a date. It is the time that was signed, in the only form that RFC 3339 has for it.
func TestTimestampsMayBeDates(t *testing.T) {
	t.Parallel()
	config := values{"verify": "hmac", "header": "X-S", "encoding": "base64", "template": "{timestamp}{body}", "timestamp_header": "X-T"}
	for timestamp, want := range map[string]int{
		"2026-01-10T14:45:00Z": 0, "2026-01-10T14:45:00.123456789Z": 0, "2026-01-10T16:45:00+02:00": 0, "2026-01-10T14:40:01Z": 0, "2026-01-10T14:50:00Z": 0,
		"2026-01-10T14:40:00Z": 401, "2026-01-10T14:51:00Z": 401, "2026-01-10T14:45:00+02:00": 401,
		"2026-01-10T14:45:00": 401, "2026-01-10 14:45:00Z": 401, "2026-01-10T14:45:00z": 401, "2026-01-10T14:45:00,1Z": 401, "2026-01-10T14:45:60Z": 401,
		"2026-13-10T14:45:00Z": 401, "2026-01-10T14:45Z": 401, " 2026-01-10T14:45:00Z": 401, "2026-01-10T14:45:00Z\n": 401, "2026-1-10T14:45:00Z": 401,
	} {
		mac := base64.StdEncoding.EncodeToString(hmacOf(sha256.New, "k", timestamp+"{}"))
		if _, err := trigger.Handle(t.Context(), request(t, config, []string{"k"}, "{}", "X-S", mac, "X-T", timestamp)); status(err) != want {
			t.Errorf("%q: %v", timestamp, err)
		}
		if want == 0 {
			if _, err := trigger.Handle(t.Context(), request(t, config, []string{"k"}, "{}", "X-S", mac, "X-T", "2026-01-10T14:45:01Z")); status(err) != 401 {
				t.Errorf("another date than %s: %v", timestamp, err)
			}
		}
		stripe := "t=" + timestamp + ",v1=" + hexMAC("k", timestamp+".{}")
		if _, err := trigger.Handle(t.Context(), request(t, values{"verify": "stripe"}, []string{"k"}, "{}", "Stripe-Signature", stripe)); status(err) != 401 {
			t.Errorf("stripe: %q: %v", timestamp, err)
		}
	}
}

// Linear signs the time as a part of the body.
func TestTimeInTheBodyIsChecked(t *testing.T) {
	t.Parallel()
	for at, want := range map[string]int{
		"1768056300123": 0, "1768056000123": 0, "1768056600123": 0, "1768056000122": 401, "1768056600124": 401,
		"1": 401, "-1768056300123": 401, `"1768056300123"`: 401, "1.768056300123e12": 401, "null": 401, "[]": 401,
	} {
		body := `{"type":"Issue","webhookTimestamp":` + at + `}`
		if _, err := trigger.Handle(t.Context(), signed(t, "linear", nil, body)); status(err) != want {
			t.Errorf("%s: %v", at, err)
		}
		if _, err := trigger.Handle(t.Context(), signed(t, "sentry", nil, body)); err != nil {
			t.Errorf("sentry has no such field: %v", err)
		}
	}
	if _, err := trigger.Handle(t.Context(), signed(t, "linear", values{"tolerance_seconds": 600}, `{"webhookTimestamp":1768056000122}`)); err != nil {
		t.Error(err)
	}
}

// A time right before the body gives none of its digits to it: what is signed would be the same,
// and both times may be now.
func TestDigitsAreOfTheTimeOrTheBody(t *testing.T) {
	t.Parallel()
	const seconds, millis = "1768056300", "1768056300123"
	for _, c := range []struct {
		template, timestamp, body, signed string
		want                              int
	}{
		{"{timestamp}{body}", millis, "{}", millis + "{}", 0},
		{"{timestamp}{body}", seconds, "123{}", millis + "{}", 401},
		{"{timestamp}{body}", seconds, "", seconds, 0},
		{"{timestamp}.{body}", seconds, "123{}", seconds + ".123{}", 0},
		{"{body}{timestamp}", millis, "{}", "{}" + millis, 0},
		{"{body}{timestamp}", seconds, "a=1", "a=1" + seconds, 0},
	} {
		config := values{"verify": "hmac", "header": "X-S", "template": c.template, "timestamp_header": "X-T"}
		req := request(t, config, []string{"k"}, c.body, "X-S", hexMAC("k", c.signed), "X-T", c.timestamp)
		if _, err := trigger.Handle(t.Context(), req); status(err) != c.want {
			t.Errorf("%s, at %s, %q: %v", c.template, c.timestamp, c.body, err)
		}
	}
}

// The tolerance is the config's.
func TestToleranceIsTheConfigs(t *testing.T) {
	t.Parallel()
	s := senders["stripe"]
	for age, want := range map[int64]int{29: 0, 30: 401} { // and 123 ms
		req := request(t, values{"verify": "stripe", "tolerance_seconds": 30}, s.secrets[:], "{}", s.sign(s.secrets[0], now.Unix()-age, "{}")...)
		if _, err := trigger.Handle(t.Context(), req); status(err) != want {
			t.Errorf("%d s: %v", age, err)
		}
	}
}

// Among several signatures one that is right is enough, up to a bound on how many are looked at.
func TestSeveralSignatures(t *testing.T) {
	t.Parallel()
	at := strconv.FormatInt(now.Unix(), 10)
	right := "v1=" + hexMAC("k", at+".{}")
	standard := signStandard("Webhook")(standardSecrets[0], now.Unix(), "{}")
	for name, c := range map[string]struct {
		header string
		want   int
	}{
		"TheSecond":       {"t=" + at + ",v1=00," + right, 0},
		"TheTenth":        {"t=" + at + strings.Repeat(",v1=00", 9) + "," + right, 0},
		"TheEleventh":     {"t=" + at + strings.Repeat(",v1=00", 10) + "," + right, 401},
		"OtherVersions":   {"v0=1,t=" + at + ",v2=00," + right, 0},
		"TooManyOfOther":  {strings.Repeat("v0=1,", 19) + "t=" + at + "," + right, 401},
		"SpacesBetween":   {"t=" + at + ", " + right, 0},
		"OnlyOthers":      {"t=" + at + ",v0=" + right[3:], 401},
		"TwoTimes":        {"t=" + at + ",t=" + at + "," + right, 401},
		"NoTime":          {right, 401},
		"NotAPair":        {"t=" + at + ",x," + right, 401},
		"NoName":          {"t=" + at + ",=x," + right, 401},
		"AnEmptyField":    {"t=" + at + ",," + right, 401},
		"CapitalsOfHex":   {"t=" + at + ",v1=" + strings.ToUpper(right[3:]), 0},
		"SemicolonsNever": {"t=" + at + ";" + right, 401},
	} {
		if _, err := trigger.Handle(t.Context(), request(t, values{"verify": "stripe"}, []string{"k"}, "{}", "stripe-signature", c.header)); status(err) != c.want {
			t.Errorf("stripe, %s: %v", name, err)
		}
	}
	right = "h1=" + hexMAC("k", at+":{}")
	for header, want := range map[string]int{"ts=" + at + ";h1=00;" + right: 0, "ts=" + at + "," + right: 401, "t=" + at + ";" + right: 401, "ts=" + at + ";ts=" + at + ";" + right: 401} {
		if _, err := trigger.Handle(t.Context(), request(t, values{"verify": "paddle"}, []string{"k"}, "{}", "paddle-signature", header)); status(err) != want {
			t.Errorf("paddle, %s: %v", header, err)
		}
	}
	for name, c := range map[string]struct {
		header string
		want   int
	}{
		"TheSecond":    {"v1,AAAA " + standard[1], 0},
		"OtherKinds":   {"v1a,AAAA v9,x " + standard[1], 0},
		"TheTenth":     {strings.Repeat("v1,AAAA ", 9) + standard[1], 0},
		"TheEleventh":  {strings.Repeat("v1,AAAA ", 10) + standard[1], 401},
		"NoVersion":    {standard[1][3:], 401},
		"OtherVersion": {"v2," + standard[1][3:], 401},
		"AsPublic":     {"v1a," + standard[1][3:], 401},
	} {
		header := append([]string{}, standard...)
		header[1] = c.header
		if _, err := trigger.Handle(t.Context(), request(t, values{"verify": "standard-webhooks"}, standardSecrets[:], "{}", header...)); status(err) != c.want {
			t.Errorf("standard-webhooks, %s: %v", name, err)
		}
	}
}
