package webhook_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// signed is a request of a sender that is right.
func signed(t testing.TB, name string, config values, body string, header ...string) engine.WebhookRequest {
	t.Helper()
	s := senders[name]
	all := values{}
	for k, v := range s.config {
		all[k] = v
	}
	for k, v := range config {
		all[k] = v
	}
	return request(t, all, s.secrets[:], body, append(s.sign(s.secrets[0], now.Unix(), body), header...)...)
}

// Each scheme knows where its senders say what happened, and what they call it.
func TestTypesAndIDs(t *testing.T) {
	t.Parallel()
	const form = "application/x-www-form-urlencoded"
	long := strings.Repeat("x", 1001)
	for name, c := range map[string]struct {
		sender, body string
		header       []string
		config       values
		want         string // type and id; "#" is the digest of the body
	}{
		"Standard":               {sender: "standard-webhooks", body: `{"type":"invoice.paid"}`, want: "invoice.paid msg_1"},
		"Svix":                   {sender: "svix", body: `{}`, want: "request.received msg_1"},
		"Stripe":                 {sender: "stripe", body: `{"id":"evt_1","type":"charge.failed"}`, want: "charge.failed evt_1"},
		"Paddle":                 {sender: "paddle", body: `{"event_id":"evt_1","event_type":"transaction.completed"}`, want: "transaction.completed evt_1"},
		"GitHub":                 {sender: "github", body: `{"ref":"x"}`, header: []string{"X-GitHub-Event", "push", "X-GitHub-Delivery", "72d3162e"}, want: "push 72d3162e"},
		"GitHubAction":           {sender: "github", body: `{"action":"opened"}`, header: []string{"X-GitHub-Event", "issues", "X-GitHub-Delivery", "72d3162e"}, want: "issues 72d3162e"},
		"GitHubForm":             {sender: "github", body: "payload=%7B%22action%22%3A%22opened%22%7D", header: []string{"Content-Type", form, "X-GitHub-Event", "issues", "X-GitHub-Delivery", "1"}, want: "issues 1"},
		"GitHubStrangeAction":    {sender: "github", body: `{"action":{"a":1}}`, header: []string{"X-GitHub-Event", "issues"}, want: "issues #"},
		"GitHubList":             {sender: "github", body: `[1]`, header: []string{"X-GitHub-Event", "x"}, want: "x #"},
		"GitHubActionAlone":      {sender: "github", body: `{"action":"opened"}`, want: "request.received #"},
		"SlackEvent":             {sender: "slack", body: `{"type":"event_callback","event":{"type":"app_mention"},"event_id":"Ev1"}`, want: "app_mention Ev1"},
		"SlackOther":             {sender: "slack", body: `{"type":"app_rate_limited","event":7}`, want: "app_rate_limited #"},
		"SlackInteraction":       {sender: "slack", body: `payload=%7B%22type%22%3A%22block_actions%22%2C%22trigger_id%22%3A%221.2%22%7D`, header: []string{"Content-Type", form}, want: "block_actions 1.2"},
		"Shopify":                {sender: "shopify", body: `{}`, header: []string{"X-Shopify-Topic", "orders/create", "X-Shopify-Webhook-Id", "w", "X-Shopify-Event-Id", "e"}, want: "orders/create w"},
		"GitLab":                 {sender: "gitlab", body: `{}`, header: []string{"X-Gitlab-Event", "Push Hook", "X-Gitlab-Event-UUID", "u", "Idempotency-Key", "k"}, want: "Push Hook k"},
		"GitLabBefore":           {sender: "gitlab", body: `{}`, header: []string{"X-Gitlab-Event", "Push Hook", "X-Gitlab-Event-UUID", "u"}, want: "Push Hook u"},
		"Linear":                 {sender: "linear", body: `{"type":"Issue","action":"create"}`, header: []string{"Linear-Delivery", "d"}, want: "Issue.create d"},
		"Meta":                   {sender: "meta", body: `{"object":"page"}`, want: "page #"},
		"Sentry":                 {sender: "sentry", body: `{"action":"created"}`, header: []string{"Sentry-Hook-Resource", "issue", "Request-ID", "r"}, want: "issue.created r"},
		"Zoom":                   {sender: "zoom", body: `{"event":"meeting.started"}`, want: "meeting.started #"},
		"Token":                  {sender: "token", body: `{"type":"x","id":1}`, want: "request.received #"},
		"HMAC":                   {sender: "hmac", body: `{"type":"x","id":1}`, want: "request.received #"},
		"HMACWithAnID":           {sender: "hmac with all", body: `{}`, want: "request.received msg_1"},
		"OwnPrograms":            {sender: "stripe", body: `{"kind":"a","n":12345678901234567890}`, config: values{"event_type": `"k." + .body.kind`, "id": ".body.n"}, want: "k.a 12345678901234567890"},
		"ProgramsOverTheRequest": {sender: "hmac", body: `{}`, header: []string{"X-A", "1", "x-a", "2"}, config: values{"event_type": `.method + .query.q + .headers["x-a"]`, "id": ".received_at"}, want: "POST/1, 2 2026-01-10T14:45:00.123Z"},
		"TheDigest":              {sender: "stripe", body: `{"id":"evt_1"}`, config: values{"id": ".digest"}, want: "request.received #"},
		"TextAsTheBody":          {sender: "hmac", body: `ring: 7`, config: values{"id": `.body | ltrimstr("ring: ")`}, want: "request.received 7"},
		"LongTypesAreCut":        {sender: "stripe", body: `{"id":1.0,"type":"` + long + `"}`, want: long[:200] + " 1.0"},
		"ControlCharacters":      {sender: "stripe", body: `{"id":"é","type":" a\u0000b\n"}`, want: "a b é"},
		"LongIDsAreHashed":       {sender: "stripe", body: `{"id":"` + long + `"}`, want: "request.received " + digest(long)},
		"UnreadableIDsAreNone":   {sender: "stripe", body: `{"id":"\ud800"}`, want: "request.received #"},
		"EmptyIDsAreNone":        {sender: "stripe", body: `{"id":"","type":""}`, want: "request.received #"},
		"StrangeOnesAreNone":     {sender: "stripe", body: `{"id":[],"type":7}`, want: "request.received #"},
		"LongNumbersAreNoMatter": {sender: "stripe", body: `{"id":"evt_1","n":` + strings.Repeat("1", 1001) + `}`, want: "request.received #"},
		"TextIsNoObject":         {sender: "stripe", body: `hello`, want: "request.received #"},
		"NoBody":                 {sender: "stripe", body: ``, want: "request.received #"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req := signed(t, c.sender, c.config, c.body, c.header...)
			req.URL += "?q=/"
			m := mapped(t, req)
			if got, want := m.Type+" "+m.SourceID, strings.Replace(c.want, "#", digest(c.body), 1); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

// A program of the config must give something; that it does not is seen.
func TestProgramsMustGiveSomething(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ field, program, want string }{
		{"id", ".body.nope", "id: the request has none"}, {"id", ".body", "id: it must give a string or a number"},
		{"id", `""`, "id: it is an empty string"}, {"id", "error", "id: jq"}, {"id", "1, 2", "more than one output"},
		{"event_type", ".body.nope", "event_type: it must give a string"}, {"event_type", "7", "event_type: it must give a string"},
		{"event_type", `"\n"`, "event_type: it must give a string"}, {"event_type", "def f: f; f", "event_type: jq"},
	} {
		req := signed(t, "stripe", values{c.field: c.program}, `{"id":"evt_1","type":"a"}`)
		result, err := trigger.Handle(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		_, err = trigger.Map(t.Context(), engine.MapRequest{Source: req.Source, Input: result.Inputs[0]})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.program, err)
		}
	}
}

// A sender's second try is known again, whatever has changed but the body.
func TestRepeatsHaveTheSameID(t *testing.T) {
	t.Parallel()
	for name, s := range senders {
		var ids []string
		for _, at := range []time.Duration{0, 10 * time.Minute} {
			req := request(t, s.config, s.secrets[:], `{"a":1}`, append(s.sign(s.secrets[0], now.Add(at).Unix(), `{"a":1}`), "X-Try", at.String())...)
			req.Now = now.Add(at)
			req.URL += "?try=" + at.String()
			ids = append(ids, mapped(t, req).SourceID)
		}
		if ids[0] != ids[1] {
			t.Errorf("%s: %v", name, ids)
		}
	}
	// What nobody signed is known by all of it.
	base := request(t, values{"verify": "none"}, nil, "{}")
	ids := map[string]string{mapped(t, base).SourceID: "base"}
	for what, change := range map[string]func(*engine.WebhookRequest){
		"method": func(r *engine.WebhookRequest) { r.Method = "GET" },
		"query":  func(r *engine.WebhookRequest) { r.URL += "?a=1" },
		"path":   func(r *engine.WebhookRequest) { r.URL += "/more" },
		"body":   func(r *engine.WebhookRequest) { r.Body = []byte("{ }") },
	} {
		req := base
		change(&req)
		id := mapped(t, req).SourceID
		if ids[id] != "" {
			t.Errorf("%s makes the same id as %s", what, ids[id])
		}
		ids[id] = what
	}
	again := base
	again.URL = "http://elsewhere:8080/webhooks/ctr_1"
	if id := mapped(t, again).SourceID; ids[id] != "base" {
		t.Error("another public URL makes another id")
	}
}

// The output is what the sender said; the input is the whole request, without what lets one in.
func TestBodies(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ kind, body, query, want string }{
		"AnObjectAsItCame":    {"application/json", `{"b": 1.0, "a":12345678901234567890,"x":"<&>\u003c"}`, "", `{"b":1.0,"a":12345678901234567890,"x":"<&>\u003c"}`},
		"AList":               {"application/json", ` [1] `, "", `[1]`},
		"AScalar":             {"application/vnd.x+json; charset=utf-8", `7`, "", `7`},
		"Null":                {"application/json", `null`, "", `null`},
		"AByteOrderMark":      {"application/json", "\uFEFF{}", "", `{}`},
		"BrokenJSON":          {"application/json", `{"a":`, "", `"{\"a\":"`},
		"JSONThatSaysText":    {"text/plain", ` {"a":1}`, "", `{"a":1}`},
		"JSONThatSaysForm":    {"application/x-www-form-urlencoded", `{"a":"b=c&d"}`, "", `{"a":"b=c&d"}`},
		"AFormOfANumber":      {"application/x-www-form-urlencoded", `7`, "", `{"7":""}`},
		"TextThatIsANumber":   {"text/plain", `7`, "", `"7"`},
		"NoType":              {"", `{"a":1}`, "", `{"a":1}`},
		"StrangeType":         {"; ;", `x`, "", `"x"`},
		"AForm":               {"application/x-www-form-urlencoded", `a=1&b=2&b=%3C`, "", `{"a":"1","b":["2","<"]}`},
		"ABrokenForm":         {"application/x-www-form-urlencoded", `a=%zz`, "", `"a=%zz"`},
		"NotUTF8":             {"application/json", "{\"a\":\"\xff\"}", "", `{"base64":"eyJhIjoi/yJ9"}`},
		"NoBodyHasAQuery":     {"", "", "a=1&b=2&b=3", `{"a":"1","b":["2","3"]}`},
		"NoBodyAndNoQuery":    {"application/json", "", "", `{}`},
		"ABodyHidesTheQuery":  {"", "x", "a=1", `"x"`},
		"APayloadIsJustAName": {"application/x-www-form-urlencoded", `payload={}`, "", `{"payload":"{}"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req := request(t, values{"verify": "none"}, nil, c.body, "Content-Type", c.kind)
			req.URL += "?" + c.query
			if m := mapped(t, req); string(m.Output) != c.want {
				t.Errorf("got %s, want %s", m.Output, c.want)
			}
		})
	}
	req := signed(t, "github", nil, `{"a":1}`, "Authorization", "Bearer t", "Cookie", "c", "Proxy-Authorization", "p", "X-Hub-Signature", "sha1=x", "X-Gitlab-Token", "g", "X-API-Key", "k", "x-auth-token", "t", "Private-Token", "t", "X-Shopify-Access-Token", "s", "X-Kept", "yes")
	req.URL += "?a=b"
	result, err := trigger.Handle(t.Context(), req)
	if err != nil || result.Response != nil || result.State != nil {
		t.Fatalf("%+v, %v", result, err)
	}
	want := `{"received_at":"2026-01-10T14:45:00.123Z","method":"POST","headers":{"x-kept":"yes"},"query":{"a":"b"},"url":"https://hooks.example.com/webhooks/ctr_1?a=b","digest":"` + digest(`{"a":1}`) + `","body":{"a":1}}`
	var own struct {
		RequestID string `json:"request_id"`
	}
	if err := json.Unmarshal(result.Inputs[0], &own); err != nil || len(own.RequestID) < 20 {
		t.Errorf("%s, %v", result.Inputs[0], err)
	}
	if got := strings.Replace(string(result.Inputs[0]), `"request_id":"`+own.RequestID+`",`, "", 1); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	req = request(t, values{"verify": "token", "header": "x-api-key"}, []string{"k"}, "", "X-API-Key", "k")
	if result, err = trigger.Handle(t.Context(), req); err != nil || strings.Contains(string(result.Inputs[0]), "x-api-key") {
		t.Errorf("%s, %v", result.Inputs, err)
	}
	if result, err = trigger.Handle(t.Context(), signed(t, "hmac", values{"header": "X-Own"}, "{}", "X-Own", hexMAC(texts[0], "{}"))); err != nil || strings.Contains(string(result.Inputs[0]), "x-own") {
		t.Errorf("%s, %v", result.Inputs, err)
	}
	// Slack would show what it is answered with.
	if result, err = trigger.Handle(t.Context(), signed(t, "slack", nil, "{}")); err != nil || result.Response == nil || result.Response.Status != 200 || result.Response.Body != nil {
		t.Errorf("%+v, %v", result, err)
	}
}

// A doorbell says the same every time, and two rings in one millisecond are two all the same.
// Mapping one again makes the same event again.
func TestRequestIDsAreOfOneRequest(t *testing.T) {
	t.Parallel()
	req := request(t, values{"verify": "none", "id": ".request_id"}, nil, "ring")
	if a, b := mapped(t, req), mapped(t, req); a.SourceID == b.SourceID {
		t.Errorf("both are %s", a.SourceID)
	}
	result, err := trigger.Handle(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	var ids [2]string
	for i := range ids {
		m, err := trigger.Map(t.Context(), engine.MapRequest{Source: req.Source, Input: result.Inputs[0]})
		if err != nil {
			t.Fatal(err)
		}
		ids[i] = m.SourceID
	}
	if ids[0] != ids[1] {
		t.Errorf("%q", ids)
	}
}

// A request that only asks about the URL makes no event, whoever sent it.
func TestMethodsThatMakeEvents(t *testing.T) {
	t.Parallel()
	for name, get := range map[string]bool{"github": false, "standard-webhooks": false, "slack": false, "gitlab": false, "meta": true, "hmac": true, "token": true, "none": true} {
		for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "GET", "HEAD", "OPTIONS"} {
			req := request(t, values{"verify": "none"}, nil, "{}")
			if name != "none" {
				req = signed(t, name, nil, "{}")
			}
			req.Method = method
			result, err := trigger.Handle(t.Context(), req)
			if err != nil {
				t.Errorf("%s %s: %v", name, method, err)
				continue
			}
			if method == "HEAD" || method == "OPTIONS" || method == "GET" && !get {
				allow := "POST, PUT, PATCH, DELETE"
				if get {
					allow += ", GET"
				}
				if r := result.Response; r == nil || r.Status != 405 || r.Header.Get("Allow") != allow || len(result.Inputs) > 0 {
					t.Errorf("%s %s: %+v, %d inputs", name, method, r, len(result.Inputs))
				}
			} else if len(result.Inputs) != 1 {
				t.Errorf("%s %s: %d inputs", name, method, len(result.Inputs))
			}
		}
	}
}

// What would be too much for an event is refused while its sender listens.
func TestRequestsThatMakeNoEventAreRefused(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	for name, c := range map[string]struct {
		body string
		want int
	}{
		"AMebibyteOfJSON":     {`"` + strings.Repeat("x", mib-2) + `"`, 0},
		"AMebibyteOfAList":    {"[" + strings.Repeat(" ", mib-2) + "]", 0},
		"TextThatGrows":       {strings.Repeat("\"", mib), 413},
		"TextThatJustFits":    {strings.Repeat("x", mib-2), 0},
		"BinaryThatGrows":     {strings.Repeat("\xff", mib), 413},
		"DeepestAllowed":      {strings.Repeat("[", 499) + strings.Repeat("]", 499), 0},
		"TooDeep":             {strings.Repeat("[", 500) + strings.Repeat("]", 500), 400},
		"BracketsInAString":   {`["` + strings.Repeat(`[\"`, 1000) + `"]`, 0},
		"DeepTextIsJustAText": {strings.Repeat("[", 100_000), 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req := request(t, values{"verify": "none"}, nil, c.body, "Content-Type", "application/json")
			result, err := trigger.Handle(t.Context(), req)
			if status(err) != c.want {
				t.Fatalf("%v", err)
			}
			if err == nil {
				if m := mapped(t, req); len(m.Output) > mib || !json.Valid(m.Output) || !json.Valid(result.Inputs[0]) {
					t.Errorf("%d bytes", len(m.Output))
				}
			}
		})
	}
}
