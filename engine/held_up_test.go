package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// manyDestinations makes destinations, linked to callbacks of 100 each.
func manyDestinations(t *testing.T, e *engine.Engine, n int, url func(i int) string, s engine.DestinationSettings) (callbacks []string) {
	t.Helper()
	deployment := must(e.CreateDeployment(t.Context(), engine.NewDeployment{Provider: "source"}))(t)
	var ids []string
	for i := range n {
		s.Name, s.URL = fmt.Sprint("destination ", i), url(i)
		ids = append(ids, must(e.CreateDestination(t.Context(), engine.NewDestination{DestinationSettings: s}))(t).ID)
		if len(ids) == 100 || i == n-1 {
			c := must(e.CreateCallback(t.Context(), engine.NewCallback{Details: engine.Details{Name: "many"}, DeploymentID: deployment.ID, DestinationIDs: ids}))(t)
			callbacks, ids = append(callbacks, c.ID), nil
		}
	}
	return callbacks
}

// Destinations that take attempts and give no whole answer do not take all the room there is,
// once that is known of them: others are told at once.
func TestSilentDestinationsHoldUpNoOther(t *testing.T) {
	t.Parallel()
	for name, ill := range map[string]roundTrip{
		"NoAnswer": func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		},
		"NoEndOfTheAnswer": func(r *http.Request) (*http.Response, error) {
			a := answer(200, nil, "")
			a.Body = io.NopCloser(endless{r.Context()})
			return a, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			holdUpNoOther(t, ill)
		})
	}
}

// endless is a body that gives nothing until its request ends.
type endless struct{ ctx context.Context }

func (e endless) Read([]byte) (int, error) {
	<-e.ctx.Done()
	return 0, e.ctx.Err()
}

func holdUpNoOther(t *testing.T, ill roundTrip) {
	var mu sync.Mutex
	var delays []time.Duration
	deliver := func(r *http.Request) (*http.Response, error) {
		if r.URL.Host != "well.test" {
			return ill(r)
		}
		var body struct {
			Data struct{ At time.Time }
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		delays = append(delays, time.Since(body.Data.At))
		return answer(200, nil, ""), nil
	}
	const silent, at = 100, 8
	inVirtualTime(t, engine.Options{Providers: []engine.Provider{(&source{}).provider()}, MaxDeliveries: at}, deliver, func(t *testing.T, e *engine.Engine) {
		well := attach(t, e, "source", engine.DestinationSettings{URL: "http://well.test"})
		callbacks := manyDestinations(t, e, silent, func(i int) string { return fmt.Sprintf("http://%d.test", i) },
			engine.DestinationSettings{Retry: engine.Retry{Type: engine.RetryLinear, MaxAttempts: 100, Delay: time.Second}})
		start(t, e)
		for _, c := range callbacks {
			publish(t, e, c)
			publish(t, e, c)
		}
		time.Sleep(15 * time.Second * (2*silent/at + 1)) // each has been asked
		const events = 30
		for range events {
			at := must(json.Marshal(map[string]time.Time{"at": time.Now()}))(t)
			if err := e.Publish(t.Context(), well.callback.ID, engine.NewEvent{Type: "x", Output: at}); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Second)
		}
		time.Sleep(time.Second)
		mu.Lock()
		defer mu.Unlock()
		if len(delays) != events {
			t.Errorf("%d of %d have arrived", len(delays), events)
		}
		for _, d := range delays {
			if d > time.Second {
				t.Errorf("one came after %s", d)
			}
		}
	})
}

// A destination that refuses at once is not asked as fast as it can refuse, however much waits for
// it, and has all of it soon after it is there again.
func TestARefusingDestinationIsAskedSlowly(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	there, asked, delivered := false, 0, 0
	deliver := func(*http.Request) (*http.Response, error) {
		mu.Lock()
		defer mu.Unlock()
		asked++
		if !there {
			return nil, errors.New("connection refused")
		}
		delivered++
		return answer(200, nil, ""), nil
	}
	inVirtualTime(t, engine.Options{Providers: []engine.Provider{(&source{}).provider()}}, deliver, func(t *testing.T, e *engine.Engine) {
		const events = 500
		d := attach(t, e, "source", engine.DestinationSettings{URL: "http://refusing.test", Retry: engine.Retry{Type: engine.RetryLinear, MaxAttempts: 10, Delay: 10 * time.Second}})
		start(t, e)
		for range events {
			publish(t, e, d.callback.ID)
		}
		time.Sleep(time.Second)
		mu.Lock()
		if asked < 50 || asked > 101 { // 1 + 2 + ... + 99 times 0.2 ms are a second
			t.Errorf("in a second it was asked %d times", asked)
		}
		first := asked
		there = true
		mu.Unlock()
		time.Sleep(time.Second)
		mu.Lock()
		if delivered != events-first {
			t.Errorf("a second later it has %d of the %d that it was not asked to take yet", delivered, events-first)
		}
		mu.Unlock()
		time.Sleep(10 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		if delivered != events {
			t.Errorf("it has %d of %d in the end", delivered, events)
		}
	})
}
