package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The test binary is the program too, so that a test can run it, signal it and kill it.
func TestMain(m *testing.M) {
	if os.Getenv("CALLBACKD_TEST_MAIN") != "" {
		main()
		return
	}
	dir, err := os.MkdirTemp("", "callbackd-test-")
	if err != nil {
		panic(err)
	}
	programDir = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// programDir is where tests build the program.
var programDir string

// process is a running callbackd.
type process struct {
	*exec.Cmd
	url    string // once it is ready
	stdout *bufio.Reader
	stderr *bytes.Buffer
	t      *testing.T
}

const testKey = "test-key"

// serve runs "callbackd serve" and waits until it is ready.
func serve(t *testing.T, db string, args ...string) *process {
	t.Helper()
	return serveIn(t, nil, db, args...)
}

// serveIn is serve with more in its environment.
func serveIn(t *testing.T, env []string, db string, args ...string) *process {
	t.Helper()
	cmd := command(serveArgs(db, append([]string{"--no-sync"}, args...)...)...)
	cmd.Env = append(cmd.Env, env...)
	p := launch(t, cmd)
	p.ready()
	return p
}

func serveArgs(db string, args ...string) []string {
	return append([]string{"serve", "--addr", "127.0.0.1:0", "--db", db, "--api-key", testKey, "--allow-private-networks"}, args...)
}

// launch starts a callbackd that ends with the test.
func launch(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{Cmd: cmd, t: t, stderr: new(bytes.Buffer)}
	p.Stderr = p.stderr
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdout = bufio.NewReader(out)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.end(syscall.SIGKILL) })
	return p
}

// ready waits until a process says where it listens.
func (p *process) ready() {
	p.t.Helper()
	line, err := p.stdout.ReadString('\n')
	if err != nil {
		_ = p.Wait() // and all that it said is there
		p.t.Fatalf("no ready line: %v\n%s", err, p.stderr)
	}
	match := regexp.MustCompile(`^callbackd listening on (http://127\.0\.0\.1:\d+)\n$`).FindStringSubmatch(line)
	if match == nil {
		p.t.Fatalf("ready line: %q", line)
	}
	p.url = match[1]
}

func command(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "CALLBACKD_TEST_MAIN=1")
	return cmd
}

// end signals the process and returns its exit code; -1 if the signal killed it.
func (p *process) end(signal os.Signal) int {
	if p.ProcessState != nil {
		return p.ProcessState.ExitCode()
	}
	_ = p.Process.Signal(signal)
	_ = p.Wait()
	return p.ProcessState.ExitCode()
}

type object = map[string]any

// call makes an API call that must succeed.
func (p *process) call(method, path string, body any) object {
	p.t.Helper()
	status, answer := p.try(method, path, body)
	if status != http.StatusOK {
		p.t.Fatalf("%s %s: %d %v\n%s", method, path, status, answer, p.stderr)
	}
	return answer
}

func (p *process) try(method, path string, body any) (int, object) {
	p.t.Helper()
	var r io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			p.t.Fatal(err)
		}
		r = bytes.NewReader(text)
	}
	req, err := http.NewRequest(method, p.url+path, r)
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+testKey)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil // it is down, or going down
	}
	defer resp.Body.Close()
	var answer object
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return 0, nil
	}
	return resp.StatusCode, answer
}

func id(o object) string { return o["id"].(string) }

// eventually waits for a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-deadline:
			t.Fatalf("not within 30 s: %s", what)
		case <-tick.C:
		}
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	t.Parallel()
	db := filepath.Join(t.TempDir(), "callbackd.db")
	serve(t, db)
	out, err := command("serve", "--db", db, "--addr", "127.0.0.1:0").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "in use by another callbackd process") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestKeysWorkBesideARunningDaemon(t *testing.T) {
	t.Parallel()
	db := filepath.Join(t.TempDir(), "callbackd.db")
	p := serve(t, db)
	get := func(key string) int {
		req, err := http.NewRequest("GET", p.url+"/callbacks", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+key)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"keys", "create", "--db", db, "--name", "ci", "--scope", "read"}, console{&out, &errs}); code != 0 {
		t.Fatalf("exit code %d: %s", code, &errs)
	}
	key := strings.TrimSpace(out.String())
	eventually(t, "the key is accepted", func() bool { return get(key) == 200 })
	keyID := regexp.MustCompile(`key_\w+`).FindString(errs.String())
	out.Reset()
	if code := run(t.Context(), []string{"keys", "list", "--db", db}, console{&out, &errs}); code != 0 || !strings.Contains(out.String(), keyID) || strings.Contains(out.String(), key) {
		t.Errorf("keys list: exit code %d: %s", code, &out)
	}
	if code := run(t.Context(), []string{"keys", "revoke", "--db", db, keyID}, console{&out, &errs}); code != 0 {
		t.Fatalf("exit code %d: %s", code, &errs)
	}
	eventually(t, "the key is refused", func() bool { return get(key) == 401 })
}

func TestFirstKeyIsMadeAndShownOnce(t *testing.T) {
	t.Parallel()
	db := filepath.Join(t.TempDir(), "callbackd.db")
	shown := func() string {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		out, errs := &signalled{want: "listening", seen: cancel}, new(bytes.Buffer)
		if code := run(ctx, []string{"serve", "--db", db, "--addr", "127.0.0.1:0"}, console{out, errs}); code != 0 {
			t.Fatalf("exit code %d: %s", code, errs)
		}
		return regexp.MustCompile(`cbk_[\w-]{43}`).FindString(errs.String())
	}
	if shown() == "" {
		t.Error("no key was shown at the first start")
	}
	if key := shown(); key != "" {
		t.Errorf("%s was shown at the second start", key)
	}
}

// signalled is a writer that tells when a text was written to it.
type signalled struct {
	mu   sync.Mutex
	text bytes.Buffer
	want string
	seen func()
}

func (s *signalled) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(p)
	if s.seen != nil && strings.Contains(s.text.String(), s.want) {
		s.seen()
		s.seen = nil
	}
	return len(p), nil
}

func (s *signalled) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func TestSandboxShowsADeliveryAndCleansUp(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out := &signalled{want: "delivered ", seen: cancel}
	if code := run(ctx, []string{"sandbox"}, console{out, out}); code != 0 {
		t.Fatalf("exit code %d: %s", code, out)
	}
	for _, want := range []string{"polled", "both signatures verify", "message.created", "answered 200", "everything is cleaned up"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not on screen:\n%s", want, out)
		}
	}
	left, err := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestSandboxKeepsItsDatabaseIfAsked(t *testing.T) {
	t.Parallel()
	db := filepath.Join(t.TempDir(), "kept.db")
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		out := &signalled{want: "delivered ", seen: cancel}
		if code := run(ctx, []string{"sandbox", "--db", db}, console{out, out}); code != 0 {
			t.Fatalf("exit code %d: %s", code, out)
		}
		if !strings.Contains(out.String(), "both signatures verify") {
			t.Errorf("nothing was received:\n%s", out)
		}
		cancel()
	}
}

func TestBadFlagsAreExplained(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"serve", "--addr", "127.0.0.1:0", "--nonsense"}, "unknown flag --nonsense"},
		{[]string{"serve", "--addr", "127.0.0.1:0", "--encryption-key", "short", "--db", filepath.Join(t.TempDir(), "x.db")}, "32 bytes as base64"},
		{[]string{"serve", "--addr", "127.0.0.1:0", "--db", filepath.Join(t.TempDir(), "missing", "x.db")}, "folder does not exist"},
		{[]string{"serve", "--addr", "127.0.0.1:0", "--public-url", "nonsense", "--db", filepath.Join(t.TempDir(), "x.db")}, "absolute http or https URL"},
		{[]string{"serve", "--addr", "127.0.0.1:0", "--retention", "30d", "--db", filepath.Join(t.TempDir(), "x.db")}, "above zero such as 36h"},
		{[]string{"serve", "--addr", "127.0.0.1:0", "--public-url", "https://hooks.test/?a=b", "--db", filepath.Join(t.TempDir(), "x.db")}, "must not hold a query"},
		{[]string{"serve", "--addr", "127.0.0.1:0", "--public-url", "https://hooks.test/?", "--db", filepath.Join(t.TempDir(), "x.db")}, "must not hold a query"},
		{[]string{"serve", "--addr", "127.0.0.1:0", "--public-url", "https://user:pass@hooks.test", "--db", filepath.Join(t.TempDir(), "x.db")}, "must not hold a user or password"},
		{[]string{"serve", "--addr", "127.0.0.1:0", "--slate", "https://host/secret", "--db", filepath.Join(t.TempDir(), "x.db")}, "NAME=URL"},
		{[]string{"serve", "--addr", "127.0.0.1:0", "--slate", "x=exec:/nowhere/at/all", "--db", filepath.Join(t.TempDir(), "x.db")}, "integration x: "},
		{[]string{"serve", "--addr", "127.0.0.1:0", "--slate", "feed=exec:/nowhere/at/all", "--db", filepath.Join(t.TempDir(), "x.db")}, "the name feed is taken by the provider that is built in; choose another (built in are: http, webhook, feed, schedule, demo)"},
		{[]string{"serve", "--addr", "127.0.0.1:0", "--slate", "x=exec:/nowhere/at/all", "--slate", "x=http://127.0.0.1:1", "--db", filepath.Join(t.TempDir(), "x.db")}, "the name x is taken by another --slate"},
		{[]string{"serve", "--addr", "127.0.0.1:0", "--min-poll-interval", "1ms", "--db", filepath.Join(t.TempDir(), "x.db")}, "at least 1s"},
		{[]string{"keys", "create", "--scope", "admin", "--db", filepath.Join(t.TempDir(), "x.db")}, "must be one of"},
	} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), tt.args, console{&out, &errs}); code == 0 || !strings.Contains(errs.String(), tt.want) {
			t.Errorf("%v: exit code %d: %s%s", tt.args, code, &out, &errs)
		}
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if code := run(t.Context(), []string{"version"}, console{&out, &out}); code != 0 || !strings.HasPrefix(out.String(), "callbackd ") {
		t.Errorf("exit code %d: %s", code, &out)
	}
}
