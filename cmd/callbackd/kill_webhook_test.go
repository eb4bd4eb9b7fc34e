package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Killed again and again under a load of signed webhooks, it has every request that it answered
// with 200, once: also those that were cut off and sent again, and those that were sent twice.
func TestKilledProcessKeepsTheWebhooksItAnswered(t *testing.T) {
	t.Parallel()
	const senders, secret = 4, "It's a Secret to Everybody"
	kills := 5
	if long() {
		kills = 60
	}
	w := newWorld(t, seed(t))
	db := filepath.Join(t.TempDir(), "callbackd.db")
	p := launchProgram(t, db)
	p.ready()
	deployment := id(p.call("POST", "/provider-deployments", object{"provider_id": "webhook", "name": "hooks"}))
	config := id(p.call("POST", "/provider-configs", object{"provider_id": "webhook", "provider_deployment_id": deployment, "value": object{"verify": "github"}}))
	auth := id(p.call("POST", "/provider-auth-configs", object{"provider_auth_method_id": "secret", "provider_deployment_id": deployment, "value": object{"secrets": []string{secret}}}))
	callback := "/callbacks/" + id(p.call("POST", "/callbacks", object{"name": "c", "provider_deployment_id": deployment}))
	instance := p.call("POST", callback+"/instances", object{"provider_config_id": config, "provider_auth_config_id": auth})
	hook := "/webhooks/" + id(instance["triggers"].([]any)[0].(object))

	// send sends what will be one event until it is answered, and now and then again.
	send := func(delivery string) (answers int) {
		body := `{"of":"` + delivery + `"}`
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(body))
		for {
			w.mu.Lock()
			for w.url == "" && !w.calm {
				w.up.Wait()
			}
			url, enough := w.url, w.calm || answers > 0 && w.chance() < 0.9
			w.mu.Unlock()
			if enough {
				return answers
			}
			req, err := http.NewRequest("POST", url+hook, strings.NewReader(body))
			if err != nil {
				t.Error(err)
				return answers
			}
			req.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
			req.Header.Set("X-GitHub-Delivery", delivery)
			req.Header.Set("X-GitHub-Event", "push")
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				continue // it was killed
			}
			resp.Body.Close()
			if answers++; resp.StatusCode != http.StatusOK {
				t.Errorf("%s: %d", delivery, resp.StatusCode)
				return answers
			}
			w.happens()
		}
	}
	sent := make([]map[string]int, senders) // how often each was answered
	var sending sync.WaitGroup
	for i := range sent {
		sent[i] = make(map[string]int)
		sending.Go(func() {
			for n, calm := 0, false; !calm; n++ {
				delivery := fmt.Sprintf("%d-%d", i, n)
				sent[i][delivery] = send(delivery)
				w.mu.Lock()
				calm = w.calm
				w.mu.Unlock()
			}
		})
	}
	defer sending.Wait()
	defer w.settle()
	for range kills {
		w.setURL(p.url)
		w.waitForInstant()
		w.setURL("")
		p.kill()
		p = launchProgram(t, db)
		p.ready()
	}
	w.settle()
	sending.Wait()
	stored := make(map[string]int)
	p.walk(callback+"/events?order=asc", func(e object) { stored[e["source_id"].(string)]++ })
	answered := 0
	for _, own := range sent {
		for delivery, answers := range own {
			if answers > 0 {
				answered++
			}
			if n := stored[delivery]; n > 1 || n == 0 && answers > 0 {
				t.Errorf("%s was answered %d times and is there %d times", delivery, answers, n)
			}
			delete(stored, delivery)
		}
	}
	if len(stored) > 0 || answered == 0 {
		t.Errorf("nobody sent %v; %d were answered", stored, answered)
	}
	t.Logf("%d lives, %d webhooks answered", kills+1, answered)
	if code := p.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d\n%s", code, p.stderr)
	}
	intact(t, db)
}
