package webhook_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/engine/enginetest"
	"github.com/callbackd/callbackd/engine/provider/webhook"
)

func TestProviderConforms(t *testing.T) {
	t.Parallel()
	const secret = "It's a Secret to Everybody"
	auth := &engine.Auth{Method: "secret", Value: toJSON(t, values{"secrets": []string{"the next one", secret}})}
	sent := 0
	post := func(url, body string, header ...string) *http.Request {
		r, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
		if err != nil {
			panic(err)
		}
		r.Header.Set("Content-Type", "application/json")
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		return r
	}
	body := func() string { sent++; return fmt.Sprintf(`{"type": "issue.opened", "id": "evt_%d"}`, sent) }
	enginetest.TestProvider(t, webhook.New(), enginetest.Case{
		Config: `{"verify": "github"}`, Auth: auth, AnyAge: true,
		Request: func(url string, _ json.RawMessage) *http.Request {
			b := body()
			return post(url, b, "X-Hub-Signature-256", "sha256="+hexMAC(secret, b), "X-GitHub-Event", "issues", "X-GitHub-Delivery", strconv.Itoa(sent))
		},
	}, enginetest.Case{
		Config: `{"verify": "stripe"}`, Auth: auth,
		Request: func(url string, _ json.RawMessage) *http.Request {
			b, at := body(), strconv.FormatInt(time.Now().Unix(), 10)
			return post(url, b, "Stripe-Signature", "t="+at+",v1="+hexMAC(secret, at+"."+b))
		},
	}, enginetest.Case{
		Config: `{"verify": "gitlab"}`, Auth: auth, AnyBody: true,
		Request: func(url string, _ json.RawMessage) *http.Request {
			return post(url, body(), "X-Gitlab-Token", secret, "X-Gitlab-Event", "Push Hook", "Idempotency-Key", strconv.Itoa(sent))
		},
	}, enginetest.Case{
		Config: `{"verify": "none"}`, AnyRequest: true,
		Request: func(url string, _ json.RawMessage) *http.Request { return post(url, body()) },
	})
}
