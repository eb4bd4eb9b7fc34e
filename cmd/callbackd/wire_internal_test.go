package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// What a source says, and what is published, comes to destinations and back through the API
// byte for byte: numbers beyond float64, text that is half a character, names that stand twice.
func TestValuesStayAsTheyCame(t *testing.T) {
	t.Parallel()
	const value = `"big":12345678901234567890,"exact":9007199254740993,"fine":0.1000000000000000055511151231257827,"far":1e400,"tiny":-0.0,"one":1.0,"E":1E+2,` +
		`"half":"\ud800","pair":"\ud83d\ude00","nul":"\u0000","line":"\r\n\u2028","slash":"\/","html":"<a&b>","twice":1,"twice":2,"":null`
	received := make(chan string, 10)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		received <- string(body)
	}))
	defer receiver.Close()
	source := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `[{"id":18446744073709551617,`+value+`}]`)
	}))
	defer source.Close()
	p := serve(t, filepath.Join(t.TempDir(), "callbackd.db"))
	callback := p.attachFeed(source.URL, receiver.URL)
	// A body that is not a map of Go's, so that it is sent as it stands.
	req, err := http.NewRequest("POST", p.url+"/callbacks/"+callback+"/events", strings.NewReader(`{"type":"own","output":{`+value+`},"input":{`+value+`}}`))
	if err != nil {
		t.Fatal(err)
	}
	answer := p.raw(req)
	if strings.Count(answer, value) != 2 {
		t.Errorf("the answer to the publisher is %s", answer)
	}
	for range 2 {
		select {
		case body := <-received:
			polled := strings.Contains(body, `"source_id":"18446744073709551617"`)
			if !strings.Contains(body, value) || !polled && !strings.Contains(body, `"type":"own"`) {
				t.Errorf("%s was delivered", body)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("nothing was delivered")
		}
	}
	req, err = http.NewRequest("GET", p.url+"/callbacks/"+callback+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	if list := p.raw(req); strings.Count(list, value) != 4 || !strings.Contains(list, `"source_id":"18446744073709551617"`) {
		t.Errorf("the list is %s", list)
	}
}

// raw makes a request that must succeed, and gives its answer as it came.
func (p *process) raw(req *http.Request) string {
	p.t.Helper()
	req.Header.Set("Authorization", "Bearer "+testKey)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		p.t.Fatalf("%d %s %v", resp.StatusCode, text, err)
	}
	return string(bytes.TrimSpace(text))
}

// A proxy of the environment is not asked: it would connect where the guard cannot see.
func TestNoProxyFromTheEnvironment(t *testing.T) {
	t.Parallel()
	var proxied atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { proxied.Add(1) }))
	defer proxy.Close()
	var env []string
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"} {
		env = append(env, name+"="+proxy.URL, strings.ToLower(name)+"="+proxy.URL)
	}
	env = append(env, "NO_PROXY=", "no_proxy=")
	delivered := make(chan struct{}, 10)
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { delivered <- struct{}{} }))
	defer receiver.Close()
	polled := make(chan struct{}, 10)
	source := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `[{"id":1}]`)
		select {
		case polled <- struct{}{}:
		default:
		}
	}))
	defer source.Close()
	// 0.0.0.0 connects to this host, and is none that Go leaves to no proxy by itself.
	elsewhere := func(url string) string { return strings.Replace(url, "127.0.0.1", "0.0.0.0", 1) }
	p := serveIn(t, env, filepath.Join(t.TempDir(), "callbackd.db"))
	p.attachFeed(elsewhere(source.URL), elsewhere(receiver.URL))
	for _, done := range []chan struct{}{polled, delivered} {
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			t.Fatalf("it did not come, and the proxy was asked %d times\n%s", proxied.Load(), p.stderr)
		}
	}
	if n := proxied.Load(); n > 0 {
		t.Errorf("the proxy was asked %d times", n)
	}
}

// attachFeed makes a callback that polls source every second for a destination.
func (p *process) attachFeed(source, destination string) (callback string) {
	d := p.call("POST", "/callback-destinations", object{"name": "d", "url": destination, "max_in_flight": 4,
		"retry": object{"type": "linear", "maxAttempts": 20, "delaySeconds": 1}})
	deployment := p.call("POST", "/provider-deployments", object{"provider_id": "http", "name": "feed"})
	config := p.call("POST", "/provider-configs", object{"provider_id": "http", "provider_deployment_id": id(deployment), "name": "c", "value": object{"url": source}})
	c := p.call("POST", "/callbacks", object{"name": "c", "provider_deployment_id": id(deployment), "poll_interval_seconds_override": 1, "destination_ids": []string{id(d)}})
	p.call("POST", "/callbacks/"+id(c)+"/instances", object{"provider_config_id": id(config), "baseline": "emit"})
	return id(c)
}
