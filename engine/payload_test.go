package engine

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/callbackd/callbackd/engine/signature"
	"github.com/callbackd/callbackd/store"
)

func TestPayloadIsWhatTheContractSays(t *testing.T) {
	t.Parallel()
	d := store.Delivery{EventID: "cte_1", CallbackID: "clb_1", InstanceID: "cbi_1", TriggerKey: "messages.created", Type: "message.created", SourceID: "thr_1",
		Output: json.RawMessage(`{"n":12345678901234567890,"s":"<&>"}`), CreatedAt: time.Date(2026, 1, 10, 14, 45, 0, 0, time.UTC)}
	want := `{"object":"callback.event_payload","id":"cte_1","type":"message.created","timestamp":"2026-01-10T14:45:00.000Z","callback_id":"clb_1",` +
		`"callback_instance_id":"cbi_1","trigger_key":"messages.created","source_id":"thr_1","data":{"n":12345678901234567890,"s":"<&>"}}`
	if got := string(payload(d)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	d.InstanceID, d.Output = "", nil
	want = `{"object":"callback.event_payload","id":"cte_1","type":"message.created","timestamp":"2026-01-10T14:45:00.000Z","callback_id":"clb_1",` +
		`"callback_instance_id":null,"trigger_key":"messages.created","source_id":"thr_1","data":null}`
	if got := string(payload(d)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// Whatever a source calls things, the body is JSON that says so.
func TestPayloadKeepsAnyText(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := store.Delivery{Type: rapid.String().Draw(t, "type"), SourceID: rapid.String().Draw(t, "source id"), Output: json.RawMessage(`1`)}
		var got struct {
			Type     string `json:"type"`
			SourceID string `json:"source_id"`
		}
		if err := json.Unmarshal(payload(d), &got); err != nil {
			t.Fatal(err)
		}
		if got.Type != d.Type || got.SourceID != d.SourceID {
			t.Fatalf("got %q, %q", got.Type, got.SourceID)
		}
	})
}

func TestHeadersOfAnAttempt(t *testing.T) {
	t.Parallel()
	signer, err := signature.NewSigner("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	d := store.Delivery{NotificationID: "sdi_1", EventID: "cte_1"}
	body, at := payload(d), time.Unix(1614265330, 0)
	h := http.Header{}
	setHeaders(h, map[string]string{"X-Own": "yes", "user-agent": "no"}, signer, "wh_1", d, 3, at, body)
	for name, want := range map[string]string{
		"Content-Type": "application/json", "User-Agent": "callbackd/" + Version, "X-Own": "yes", "webhook-id": "sdi_1", "webhook-timestamp": "1614265330",
		"Metorial-Webhook-Id": "wh_1", "Metorial-Notification-Id": "sdi_1", "Metorial-Event-Id": "cte_1", "Metorial-Delivery-Attempt": "3", "Metorial-Version": payloadVersion,
	} {
		if got := h.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	o := signature.Options{Secrets: []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}, Now: func() time.Time { return at }}
	if err := signature.Verify(h, body, o); err != nil {
		t.Error(err)
	}
	if err := signature.VerifyMetorial(h, body, o); err != nil {
		t.Error(err)
	}
	for name := range h {
		if name != "X-Own" && !ownHeader(name) {
			t.Errorf("%s is set by us and may be overwritten by users", name)
		}
	}
}

func TestOutputIsAnObject(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{`{"a":1}`: `{"a":1}`, `5`: `{"value":5}`, `null`: `{}`, ``: `{}`} {
		if got := string(asObject(json.RawMessage(given))); got != want {
			t.Errorf("%q became %q, want %q", given, got, want)
		}
	}
}
