package httpapi_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/engine/provider/demo"
	"github.com/callbackd/callbackd/httpapi"
)

// BenchmarkPublish is POST /callbacks/:id/events by 64 connections for each CPU, to the
// answer, without a destination.
func BenchmarkPublish(b *testing.B) {
	e, err := engine.Open(b.Context(), engine.Options{Path: filepath.Join(b.TempDir(), "bench.db"), Providers: []engine.Provider{demo.New()}})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	deployment, err := e.CreateDeployment(b.Context(), engine.NewDeployment{Provider: "demo"})
	if err != nil {
		b.Fatal(err)
	}
	callback, err := e.CreateCallback(b.Context(), engine.NewCallback{Details: engine.Details{Name: "bench"}, DeploymentID: deployment.ID})
	if err != nil {
		b.Fatal(err)
	}
	_, key, err := e.CreateAPIKey(b.Context(), "bench", "write")
	if err != nil {
		b.Fatal(err)
	}
	server := httptest.NewServer(httpapi.New(e, httpapi.Options{}))
	defer server.Close()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
	body := []byte(`{"type":"bench","output":{"text":"` + strings.Repeat("x", 580) + `"}}`)
	b.ReportAllocs()
	b.SetParallelism(64)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			req, _ := http.NewRequestWithContext(b.Context(), http.MethodPost, server.URL+"/callbacks/"+callback.ID+"/events", bytes.NewReader(body))
			req.Header.Set("Authorization", "Bearer "+key)
			req.Header.Set("Content-Type", "application/json")
			resp, err := client.Do(req)
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				b.Errorf("status %d", resp.StatusCode)
				return
			}
		}
	})
}
