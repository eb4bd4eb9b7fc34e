package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// What must not be told is planted everywhere, driven through success and failure, and then
// looked for in all that the daemon wrote, in its answers and in its files.
func TestSecretsAreNotTold(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"json", "text"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			plantAndLook(t, format)
		})
	}
}

func plantAndLook(t *testing.T, format string) {
	const (
		header, query, path, userinfo  = "canary-header-0f3a", "canary-query-77b1", "canary-path-c921", "canary-userinfo-5d60"
		token, password, custom, value = "canary-token-e8f2", "canary-password-19ac", "canary-custom-4b7d", "canary-config-a360"
		program, unquoted, guessed     = "canary-program-2c1e", "canary_unquoted_9d04", "cbk_canary-guessed-60aa"
	)
	secrets := []string{testKey, base64.StdEncoding.EncodeToString([]byte("user:" + password)), header, query, path, userinfo, token, password, custom, value, program, unquoted, guessed}

	// A receiver that repeats what it was asked, in all that it can answer with.
	mood := make(chan int, 100)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		status := 200
		select {
		case status = <-mood:
		default:
		}
		w.Header().Set("Location", "https://elsewhere.test"+r.URL.RequestURI())
		w.WriteHeader(status)
		_, _ = io.WriteString(w, r.URL.RequestURI()+r.Header.Get("X-Secret"))
	}))
	defer receiver.Close()
	// A source that does so too, after it answered well once.
	var mu sync.Mutex
	asked := make(map[string]int)
	source := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked[r.URL.Path]++
		n := asked[r.URL.Path]
		mu.Unlock()
		all := fmt.Sprintf("%s %v", r.URL.RequestURI(), r.Header)
		if user, pass, ok := r.BasicAuth(); ok {
			all += user + pass
		}
		switch {
		case n == 1:
			w.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprintf(w, `[{"id":%d}]`, n)
		case n%3 == 0:
			w.Header().Set("Location", "/other?"+r.URL.RawQuery)
			w.WriteHeader(302)
		case n%3 == 1:
			w.Header().Set("Content-Type", "text/html; secret="+r.URL.Query().Get("key"))
			_, _ = io.WriteString(w, all) // no JSON
		default:
			w.WriteHeader(401)
			_, _ = io.WriteString(w, all)
		}
	}))
	defer source.Close()

	db := filepath.Join(t.TempDir(), "callbackd.db")
	p := serve(t, db, "--log-level", "debug", "--log-format", format)
	var answers strings.Builder // that must not have them
	look := func(path string) object {
		o := p.call("GET", path, nil)
		text, _ := json.Marshal(o)
		answers.Write(text)
		return o
	}

	signing := []string{}
	destination := func(url string) string {
		d := p.call("POST", "/callback-destinations", object{"name": "d", "url": url, "headers": object{"X-Secret": header},
			"retry": object{"type": "linear", "maxAttempts": 2, "delaySeconds": 1}})
		signing = append(signing, d["signing_secret"].(string))
		return id(d)
	}
	destinations := []string{destination(receiver.URL + "/" + path + "?key=" + query), destination("http://127.0.0.1:1/" + path + "?key=" + query),
		destination("https://" + strings.TrimPrefix(receiver.URL, "http://") + "/" + path + "?key=" + query)}
	for _, status := range []int{500, 302, 307} {
		mood <- status
	}
	deployment := id(p.call("POST", "/provider-deployments", object{"provider_id": "http", "name": "d"}))
	attach := func(config object, method string, auth object) (callback string) {
		c := p.call("POST", "/provider-configs", object{"provider_id": "http", "provider_deployment_id": deployment, "name": "c", "value": config})
		callback = id(p.call("POST", "/callbacks", object{"name": "c", "provider_deployment_id": deployment, "poll_interval_seconds_override": 1, "destination_ids": destinations}))
		body := object{"provider_config_id": id(c), "baseline": "emit"}
		if method != "" {
			body["provider_auth_config_id"] = id(p.call("POST", "/provider-auth-configs", object{"provider_auth_method_id": method, "provider_deployment_id": deployment, "value": auth}))
		}
		p.call("POST", "/callbacks/"+callback+"/instances", body)
		return callback
	}
	callbacks := []string{
		attach(object{"url": source.URL + "/bearer?key=" + query, "headers": object{"X-Config": value}}, "bearer", object{"token": token}),
		attach(object{"url": source.URL + "/basic", "query": object{"key": `"` + program + `"`}}, "basic", object{"username": "user", "password": password}),
		attach(object{"url": source.URL + "/header"}, "header", object{"name": "X-Key", "value": custom}),
		attach(object{"url": source.URL + "/program", "cursor": "1", "query": object{"key": `"` + program + `" + $cursor`}}, "", nil),
		attach(object{"url": "http://127.0.0.1:1/" + path + "?key=" + query}, "bearer", object{"token": token}),
		attach(object{"url": "https://" + strings.TrimPrefix(source.URL, "http://") + "/" + path + "?key=" + query}, "basic", object{"username": "user", "password": password}),
	}
	// What is refused is told to its sender, and not to the log.
	for _, wrong := range []object{
		{"url": source.URL, "query": object{"key": unquoted}}, {"url": source.URL, "id": `"` + program}, {"url": "http://user:" + userinfo + "@127.0.0.1/"}, {"url": "http://127.0.0.1:" + userinfo + "/"},
		{"url": source.URL, "headers": object{"X-Config": value + "\n"}}, {"url": source.URL, "max_pages": value},
	} {
		if status, answer := p.try("POST", "/provider-configs", object{"provider_id": "http", "value": wrong}); status != 400 {
			t.Errorf("%v: %d %v", wrong, status, answer)
		}
	}
	p.try("POST", "/provider-auth-configs", object{"provider_auth_method_id": "bearer", "value": object{"token": token + " with a space"}})
	p.try("POST", "/callback-destinations", object{"name": "d", "url": "http://user:" + userinfo + "@127.0.0.1/" + path})
	p.try("POST", "/callback-destinations", object{"name": "d", "url": receiver.URL, "headers": object{"X-Secret": header + "\n"}})
	p.try("GET", "/callbacks?cursor="+query+"&status="+value+"&%zz", nil)
	for _, given := range []string{"Bearer " + guessed, "Basic " + guessed, "Bearer " + guessed + " " + guessed} {
		req, err := http.NewRequest("GET", p.url+"/callbacks", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", given)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		answers.Write(text)
	}

	eventually(t, "the sources have failed in each way", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return asked["/bearer"] >= 4 && asked["/basic"] >= 4 && asked["/header"] >= 4
	})
	for _, callback := range callbacks {
		var instance object
		eventually(t, "a poll has failed", func() bool {
			instance = p.call("GET", "/callbacks/"+callback+"/instances", nil)["items"].([]any)[0].(object)
			return instance["triggers"].([]any)[0].(object)["last_error"] != nil
		})
		look("/callbacks/" + callback + "/instances")
		look("/callbacks/" + callback + "/events")
	}
	eventually(t, "deliveries have ended", func() bool {
		failed := p.call("GET", "/callbacks/"+callbacks[0]+"/notifications?status=failed", nil)["items"].([]any)
		delivered := p.call("GET", "/callbacks/"+callbacks[0]+"/notifications?status=delivered", nil)["items"].([]any)
		return len(failed)+len(delivered) == len(destinations)
	})
	for _, path := range []string{"/health", "/providers", "/provider-deployments", "/provider-configs", "/provider-auth-configs", "/provider-triggers", "/provider-specifications", "/provider-auth-methods"} {
		look(path)
	}
	if code := p.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}

	log := p.stderr.String()
	for _, proof := range []string{"delivered", "delivery failed", "poll failed", "unauthorized", "invalid_data", "it answered 401", "redirect"} {
		if !strings.Contains(log, proof) {
			t.Errorf("there is no %q in the log, so this test proves little:\n%s", proof, log)
		}
	}
	find := func(where, text string, secrets []string) {
		for _, secret := range secrets {
			if at := strings.Index(text, secret); at >= 0 {
				t.Errorf("%s has %s: ...%s...", where, secret, text[max(0, at-200):min(len(text), at+100)])
			}
		}
	}
	all := append(secrets, signing...)
	find("the log", log, all)
	find("an answer", answers.String(), all)
	files, err := filepath.Glob(db + "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		// What a receiver or a source says is kept as it came, and so is a destination's URL.
		find(file, string(text), append([]string{token, password, custom, value, program, unquoted, userinfo, guessed}, signing...))
	}
}
