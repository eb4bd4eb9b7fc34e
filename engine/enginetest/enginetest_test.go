package enginetest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/engine/enginetest"
	"github.com/callbackd/callbackd/engine/provider/demo"
)

// told is an engine whose one callback tells a receiver.
func told(t *testing.T) (e *engine.Engine, callback string, r *enginetest.Receiver) {
	t.Helper()
	r = enginetest.NewReceiver(t)
	e = enginetest.Open(t, engine.Options{Providers: []engine.Provider{demo.New()}})
	destination, err := e.CreateDestination(t.Context(), engine.NewDestination{DestinationSettings: engine.DestinationSettings{Name: "here", URL: r.URL,
		Retry: engine.Retry{Type: engine.RetryLinear, Delay: time.Second, MaxAttempts: 3}}})
	if err != nil {
		t.Fatal(err)
	}
	r.Verify(destination.SigningSecret)
	deployment, err := e.CreateDeployment(t.Context(), engine.NewDeployment{Provider: "demo"})
	if err != nil {
		t.Fatal(err)
	}
	c, err := e.CreateCallback(t.Context(), engine.NewCallback{Details: engine.Details{Name: "test"}, DeploymentID: deployment.ID, DestinationIDs: []string{destination.ID}})
	if err != nil {
		t.Fatal(err)
	}
	return e, c.ID, r
}

func TestAReceiverGetsWhatIsPublished(t *testing.T) {
	t.Parallel()
	e, callback, r := told(t)
	r.Fail(1) // and it is sent again
	if err := e.Publish(t.Context(), callback, engine.NewEvent{Type: "invoice.paid", SourceID: "inv_1", Output: json.RawMessage(`{"total": 5}`)}); err != nil {
		t.Fatal(err)
	}
	if d := r.Next(); d.ID == "" || !strings.Contains(string(d.Body), `{"total":5}`) {
		t.Errorf("got %s: %s", d.ID, d.Body)
	}
}

// recorder is a test that may fail.
type recorder struct {
	testing.TB
	failed string
}

func (r *recorder) Errorf(format string, args ...any) { r.failed = fmt.Sprintf(format, args...) }

func TestAReceiverTakesNothingThatIsNotSigned(t *testing.T) {
	t.Parallel()
	rec := &recorder{TB: t}
	r := enginetest.NewReceiver(rec)
	r.Verify("whsec_" + strings.Repeat("A", 32))
	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequest(http.MethodPost, r.URL, strings.NewReader("{}")))
	if w.Code != http.StatusUnauthorized || !strings.Contains(rec.failed, "is not signed as it should be") {
		t.Errorf("got %d, and the test says %q", w.Code, rec.failed)
	}
}
