package webhook_test

import (
	"strings"
	"testing"

	"github.com/callbackd/callbackd/engine"
)

// A request that asks whether the URL is meant is answered, and makes no event. A signed one
// is not answered unless it was verified.
func TestHandshakes(t *testing.T) {
	t.Parallel()
	zoom := hexMAC(texts[0], "qgg8vlvZRS6UYooatFL8Aw")
	for name, c := range map[string]struct {
		sender string // whose signature it has; "": verify none
		config values
		method string
		query  string
		body   string
		want   string // the answer's type and body; "": it is an event
	}{
		"Slack": {sender: "slack", body: `{"token":"t","challenge":"3eZbrw1a","type":"url_verification"}`, want: "text/plain; charset=utf-8 3eZbrw1a"},
		"Zoom": {sender: "zoom", body: `{"payload":{"plainToken":"qgg8vlvZRS6UYooatFL8Aw"},"event_ts":1654503849680,"event":"endpoint.url_validation"}`,
			want: `application/json {"encryptedToken":"` + zoom + `","plainToken":"qgg8vlvZRS6UYooatFL8Aw"}`},
		"Standard":          {sender: "standard-webhooks", body: `{"challenge":"c"}`, want: `application/json {"challenge":"c"}`},
		"StandardWithToken": {sender: "standard-webhooks", body: `{"challenge":"c","token":"t","type":"url_verification"}`, want: `application/json {"challenge":"c"}`},
		"HMAC":              {sender: "hmac", config: values{"handshake": "challenge"}, body: `{"challenge":"c"}`, want: `application/json {"challenge":"c"}`},
		"Unverified":        {config: values{"handshake": "challenge"}, body: `{"challenge":"<b>"}`, want: "application/json {\"challenge\":\"\\u003cb\\u003e\"}"},
		"Echo":              {sender: "hmac", config: values{"handshake": "echo"}, method: "GET", query: "challenge=a%20b", want: "text/plain; charset=utf-8 a b"},
		"ValidationToken":   {config: values{"handshake": "validation-token"}, query: "validationToken=Validation%3A+ok", want: "text/plain; charset=utf-8 Validation: ok"},
		"Meta":              {sender: "meta", method: "GET", query: "hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=v", want: "text/plain; charset=utf-8 1158201444"},
		"Hub":               {config: values{"handshake": "hub", "verify_token": "a b"}, method: "GET", query: "hub.mode=subscribe&hub.challenge=1&hub.verify_token=a+b", want: "text/plain; charset=utf-8 1"},

		"SlackEvent":          {sender: "slack", body: `{"type":"event_callback","challenge":"x"}`},
		"ZoomEvent":           {sender: "zoom", body: `{"event":"meeting.started","payload":{"plainToken":"x"}}`},
		"ChallengeInAnEvent":  {sender: "standard-webhooks", body: `{"challenge":"c","data":{}}`},
		"ChallengeNotAsked":   {sender: "standard-webhooks", config: values{"handshake": "none"}, body: `{"challenge":"c"}`},
		"NotConfigured":       {sender: "hmac", body: `{"challenge":"c"}`},
		"NotConfiguredEcho":   {method: "GET", query: "challenge=x"},
		"EchoOfAPost":         {config: values{"handshake": "echo"}, query: "challenge=x"},
		"TokenWithABody":      {config: values{"handshake": "validation-token"}, query: "validationToken=x", body: "{}"},
		"MetaEventWithAQuery": {sender: "meta", query: "hub.mode=subscribe&hub.challenge=1&hub.verify_token=v", body: "{}"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := values{"verify": "none"}
			for k, v := range c.config {
				config[k] = v
			}
			req := engine.WebhookRequest{}
			if c.sender == "" {
				req = request(t, config, nil, c.body)
			} else {
				delete(config, "verify")
				req = signed(t, c.sender, config, c.body)
			}
			req.URL += "?" + c.query
			if c.method != "" {
				req.Method = c.method
			}
			result, err := trigger.Handle(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if r := result.Response; r != nil && r.Body != nil {
				got = r.Header.Get("Content-Type") + " " + string(r.Body)
				if r.Status != 200 || r.Header.Get("X-Content-Type-Options") != "nosniff" {
					t.Errorf("%+v", r)
				}
			}
			if got != c.want || (got == "") != (len(result.Inputs) == 1) {
				t.Errorf("got %s and %d inputs, want %s", got, len(result.Inputs), c.want)
			}
			if len(c.body) == 0 || c.sender == "" {
				return
			}
			req.Body = append([]byte(" "), req.Body...)
			if _, err := trigger.Handle(t.Context(), req); status(err) != 401 {
				t.Errorf("with a signature that is wrong: %v", err)
			}
		})
	}
}

// A secret that is being replaced stands before its successor, which the sender asks about.
func TestHandshakeIsAnsweredWithTheSecretInUse(t *testing.T) {
	t.Parallel()
	const body = `{"event":"endpoint.url_validation","payload":{"plainToken":"p"}}`
	for _, secret := range texts {
		req := request(t, values{"verify": "zoom"}, texts[:], body, senders["zoom"].sign(secret, now.Unix(), body)...)
		result, err := trigger.Handle(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := string(result.Response.Body), `{"encryptedToken":"`+hexMAC(secret, "p")+`","plainToken":"p"}`; got != want {
			t.Errorf("signed with %q: got %s, want %s", secret, got, want)
		}
	}
}

func TestHandshakesAreRefused(t *testing.T) {
	t.Parallel()
	for body, sender := range map[string]string{
		`{"type":"url_verification","challenge":7}`: "slack", `{"type":"url_verification"}`: "slack", `{"type":"url_verification","challenge":"\u0000"}`: "slack",
		`{"event":"endpoint.url_validation"}`: "zoom", `{"event":"endpoint.url_validation","payload":{"plainToken":["x"]}}`: "zoom", `{"event":"endpoint.url_validation","payload":7}`: "zoom",
	} {
		if result, err := trigger.Handle(t.Context(), signed(t, sender, nil, body)); status(err) != 400 || len(result.Inputs) > 0 {
			t.Errorf("%s: %v", body, err)
		}
	}
	for query, want := range map[string]int{
		"hub.mode=subscribe&hub.challenge=1&hub.verify_token=w":                            403,
		"hub.mode=subscribe&hub.challenge=1&hub.verify_token=":                             403,
		"hub.mode=subscribe&hub.challenge=1":                                               403,
		"hub.mode=subscribe&hub.verify_token=v":                                            403,
		"hub.mode=unsubscribe&hub.challenge=1&hub.verify_token=v":                          403,
		"hub.mode=subscribe&hub.mode=x&hub.challenge=1&hub.verify_token=v":                 403,
		"hub.mode=subscribe&hub.challenge=1&hub.verify_token=w&hub.verify_token=v":         403,
		"hub.mode=subscribe&hub.challenge=%0a&hub.verify_token=v":                          400,
		"hub.mode=subscribe&hub.challenge=%ff&hub.verify_token=v":                          400,
		"hub.mode=subscribe&hub.challenge=&hub.verify_token=v":                             400,
		"hub.mode=subscribe&hub.verify_token=v&hub.challenge=" + strings.Repeat("x", 4097): 400,
		"":                                   401, // no handshake, and not signed
		"hub.challenge=1&hub.verify_token=v": 401,
	} {
		req := request(t, values{"verify": "meta", "verify_token": "v"}, []string{"k"}, "")
		req.Method, req.URL = "GET", req.URL+"?"+query
		result, err := trigger.Handle(t.Context(), req)
		if status(err) != want || result.Response != nil {
			t.Errorf("%s: %v", query, err)
		}
	}
}
