package httpapi_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/callbackd/callbackd/engine"
)

// While the file cannot be written, callbackd says that it is not ready and why, refuses
// writes and goes on to read.
func TestReadiness(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "test.db")
	eng, err := engine.Open(t.Context(), engine.Options{Path: path, NoSync: true, Providers: []engine.Provider{crm()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = eng.Close() })
	e := serve(t, eng)
	ready := func(want int) answer {
		t.Helper()
		a := e.do("GET", "/health/ready", "", "Authorization", "")
		if a.Status != want {
			t.Errorf("readiness %d, want %d: %s", a.Status, want, a.Body)
		}
		return a
	}
	if a := ready(http.StatusServiceUnavailable); !strings.Contains(a.Body, "not started") {
		t.Error(a.Body)
	}
	if err := eng.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a := ready(http.StatusOK); a.Body != `{"status":"ready","reasons":[],"stuck_triggers":0,"failing_destinations":0}`+"\n" {
		t.Error(a.Body)
	}
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	a := e.do("POST", "/callback-destinations", `{"name":"a","url":"http://a.test"}`)
	if a.Status != http.StatusServiceUnavailable || a.Header.Get("Retry-After") != "5" || !strings.Contains(a.Body, "deleted or replaced") {
		t.Errorf("a write: %d %s", a.Status, a.Body)
	}
	if a := ready(http.StatusServiceUnavailable); !strings.Contains(a.Body, "deleted or replaced") || strings.Contains(a.Body, path) {
		t.Error(a.Body)
	}
	e.must("GET", "/callback-destinations", "")
	e.must("GET", "/health", "")
	if err := os.Rename(path+".away", path); err != nil {
		t.Fatal(err)
	}
	e.must("POST", "/callback-destinations", `{"name":"a","url":"http://a.test"}`)
	ready(http.StatusOK)
	if err := eng.Close(); err != nil {
		t.Fatal(err)
	}
	if a := ready(http.StatusServiceUnavailable); !strings.Contains(a.Body, "stopped") {
		t.Error(a.Body)
	}
}
