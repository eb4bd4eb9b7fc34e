package main

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Stopped in order again and again, at any instant, under load: it exits with 0, every attempt
// that a receiver saw is recorded and not made again, and all that was accepted is delivered.
func TestSIGTERMUnderLoadDrainsAndExitsZero(t *testing.T) {
	t.Parallel()
	stops := 2
	if long() {
		stops = 15
	}
	w := newWorld(t, seed(t))
	w.orderly = true
	db := filepath.Join(t.TempDir(), "callbackd.db")
	w.nextLife()
	p := launchProgram(t, db)
	p.ready()
	w.setUp(p)
	var publishers sync.WaitGroup
	for i := range 3 {
		publishers.Go(func() { w.publish(i) })
	}
	defer publishers.Wait()
	defer w.settle()
	for range stops {
		w.setURL(p.url)
		w.waitForInstant()
		w.look(p)
		if code := p.end(syscall.SIGTERM); code != 0 { // publishers notice in the middle of it
			t.Fatalf("exit code %d\n%s", code, p.stderr)
		}
		w.setURL("")
		w.nextLife()
		p = launchProgram(t, db)
		p.ready()
	}
	w.settle()
	w.setURL(p.url)
	publishers.Wait()
	w.verify(p, db)
}

// A destination that takes longer than a stop may take is cut off; the exit says so, and the
// attempt is made again.
func TestSIGTERMIsBoundedAlthoughADestinationHangs(t *testing.T) {
	t.Parallel()
	if !long() {
		t.Skip("it takes 20 s; CALLBACKD_LONG=1 runs it")
	}
	entered, hang := make(chan struct{}, 10), make(chan struct{})
	var mu sync.Mutex
	var seen []string
	destination := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		seen = append(seen, r.Header.Get("webhook-id")+" attempt "+r.Header.Get("Metorial-Delivery-Attempt"))
		mu.Unlock()
		entered <- struct{}{}
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	}))
	defer destination.Close()
	db := filepath.Join(t.TempDir(), "callbackd.db")
	p := launchProgram(t, db)
	p.ready()
	d := p.call("POST", "/callback-destinations", object{"name": "d", "url": destination.URL, "timeout_seconds": 60})
	deployment := p.call("POST", "/provider-deployments", object{"provider_id": "http", "name": "none"})
	c := p.call("POST", "/callbacks", object{"name": "c", "provider_deployment_id": id(deployment), "destination_ids": []string{id(d)}})
	p.call("POST", "/callbacks/"+id(c)+"/events", object{"type": "x", "output": object{}})
	<-entered
	exited := make(chan int)
	go func() { exited <- p.end(syscall.SIGTERM) }()
	select {
	case code := <-exited:
		if code != 1 || !strings.Contains(p.stderr.String(), "will be made again") {
			t.Errorf("exit code %d\n%s", code, p.stderr)
		}
	case <-time.After(requestsTimeout + workTimeout + 5*time.Second):
		t.Fatal("it waits for ever")
	}
	close(hang)
	p = launchProgram(t, db)
	p.ready()
	eventually(t, "it is delivered", func() bool {
		return len(p.call("GET", "/callbacks/"+id(c)+"/notifications?status=delivered", nil)["items"].([]any)) == 1
	})
	mu.Lock()
	defer mu.Unlock()
	if len(seen) != 2 || seen[0] != seen[1] {
		t.Errorf("what the receiver saw: %v", seen)
	}
}
