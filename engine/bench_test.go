package engine_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/callbackd/callbackd/engine"
	httpprovider "github.com/callbackd/callbackd/engine/provider/http"
)

// BenchmarkPublish is from Publish, by 32 goroutines, to the last event's receipt, with every
// commit synced: events per second, one signed destination, 600 bytes each.
func BenchmarkPublish(b *testing.B) {
	var got atomic.Int64
	done := make(chan struct{}, 1)
	want := int64(b.N)
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if got.Add(1) == want {
			done <- struct{}{}
		}
	}))
	defer server.Close()
	e, err := engine.Open(b.Context(), engine.Options{Path: filepath.Join(b.TempDir(), "bench.db"), AllowPrivateNetworks: true, Providers: []engine.Provider{(&source{}).provider()}})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	d, err := e.CreateDestination(b.Context(), engine.NewDestination{DestinationSettings: engine.DestinationSettings{Name: "bench", URL: server.URL}})
	if err != nil {
		b.Fatal(err)
	}
	deployment, err := e.CreateDeployment(b.Context(), engine.NewDeployment{Provider: "source"})
	if err != nil {
		b.Fatal(err)
	}
	callback, err := e.CreateCallback(b.Context(), engine.NewCallback{Details: engine.Details{Name: "bench"}, DeploymentID: deployment.ID, DestinationIDs: []string{d.ID}})
	if err != nil {
		b.Fatal(err)
	}
	if err := e.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	output := json.RawMessage(`{"text":"` + strings.Repeat("x", 580) + `"}`)
	b.ReportAllocs()
	b.SetParallelism(16)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := e.Publish(b.Context(), callback.ID, engine.NewEvent{Type: "bench", Output: output}); err != nil {
				b.Error(err)
				return
			}
		}
	})
	<-done
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkPolled is from the attaching of 16 feeds, each with 1,000 new items a second, to the
// last event's receipt.
func BenchmarkPolled(b *testing.B) {
	const feeds, items = 16, 1000
	var got atomic.Int64
	done := make(chan struct{}, 1)
	want := int64(b.N)
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if got.Add(1) == want {
			done <- struct{}{}
		}
	}))
	defer server.Close()
	var shown atomic.Int64
	text := strings.Repeat("x", 560)
	source := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		last := shown.Add(items)
		body := []byte{'['}
		for i := last - items; i < min(last, want); i++ {
			if len(body) > 1 {
				body = append(body, ',')
			}
			body = fmt.Appendf(body, `{"id":%d,"text":%q}`, i, text)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(append(body, ']'))
	}))
	defer source.Close()
	e, err := engine.Open(b.Context(), engine.Options{Path: filepath.Join(b.TempDir(), "bench.db"), AllowPrivateNetworks: true, Providers: []engine.Provider{httpprovider.New()}})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	d, err := e.CreateDestination(b.Context(), engine.NewDestination{DestinationSettings: engine.DestinationSettings{Name: "bench", URL: server.URL}})
	if err != nil {
		b.Fatal(err)
	}
	deployment, err := e.CreateDeployment(b.Context(), engine.NewDeployment{Provider: "http"})
	if err != nil {
		b.Fatal(err)
	}
	callback, err := e.CreateCallback(b.Context(), engine.NewCallback{Details: engine.Details{Name: "bench"}, DeploymentID: deployment.ID, PollIntervalOverride: time.Second, DestinationIDs: []string{d.ID}})
	if err != nil {
		b.Fatal(err)
	}
	if err := e.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for range feeds {
		config, err := e.CreateConfig(b.Context(), engine.NewConfig{Provider: "http", DeploymentID: deployment.ID, Value: fmt.Appendf(nil, `{"url":%q}`, source.URL)})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := e.AttachInstance(b.Context(), callback.ID, engine.NewInstance{ConfigID: config.ID, Baseline: engine.BaselineEmit}); err != nil {
			b.Fatal(err)
		}
	}
	<-done
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
