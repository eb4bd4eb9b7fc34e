package main

import (
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// program is the real program, built once.
var program = sync.OnceValues(func() (string, error) {
	path := filepath.Join(programDir, "callbackd")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// launchProgram starts the real program on a file.
func launchProgram(t *testing.T, db string, args ...string) *process {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return launch(t, exec.Command(path, serveArgs(db, args...)...))
}

// long tells whether tests may take their time, and gives them more to do.
func long() bool { return os.Getenv("CALLBACKD_LONG") != "" }

// kill ends a process as a crash does.
func (p *process) kill() {
	p.t.Helper()
	if code := p.end(syscall.SIGKILL); code != -1 {
		p.t.Fatalf("exit code %d of a process that was killed\n%s", code, p.stderr)
	}
}

// Killed again and again, at any instant, while it starts, polls, accepts and delivers, it
// loses nothing that it accepted, stores nothing twice and repeats at most what was in flight.
func TestKilledProcessLosesAndRepeatsNothing(t *testing.T) {
	t.Parallel()
	worlds, kills := 1, 5
	if long() {
		worlds, kills = 3, 60
	}
	first := seed(t)
	for i := range worlds {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			killAgainAndAgain(t, newWorld(t, first+uint64(i)), kills)
		})
	}
}

func killAgainAndAgain(t *testing.T, w *world, kills int) {
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
	for range kills {
		w.setURL(p.url)
		w.waitForInstant()
		w.look(p)
		w.setURL("")
		p.kill()
		for {
			w.nextLife()
			p = launchProgram(t, db)
			w.mu.Lock()
			early, instant := w.chance() < 0.3, time.Duration(w.chance()*w.chance()*float64(80*time.Millisecond))
			w.mu.Unlock()
			if !early {
				break
			}
			<-time.After(instant)
			p.kill()
		}
		p.ready()
	}
	w.settle()
	w.setURL(p.url)
	publishers.Wait()
	w.verify(p, db)
}

// waitForInstant returns at a random time, or when one of the next things happens, or a moment
// after it.
func (w *world) waitForInstant() {
	w.mu.Lock()
	things, timed := 1+w.random.IntN(60), w.chance() < 0.3
	limit := 600 * time.Millisecond
	if timed {
		things, limit = 1<<30, time.Duration(w.chance()*float64(400*time.Millisecond))
	}
	later := time.Duration(w.chance() * w.chance() * float64(3*time.Millisecond))
	w.mu.Unlock()
	deadline := time.After(limit)
	for range things {
		select {
		case <-w.instants:
		case <-deadline:
			return
		}
	}
	if later > time.Millisecond {
		<-time.After(later)
	}
}

// look asks, now and then, what has been delivered: that is not to be repeated.
func (w *world) look(p *process) {
	w.mu.Lock()
	looks, life := w.chance() < 0.3, w.life
	w.mu.Unlock()
	if !looks {
		return
	}
	list := p.call("GET", "/callbacks/"+w.callback+"/notifications?status=delivered&order=desc&limit=100", nil)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range list["items"].([]any) {
		if _, ok := w.shown[id(n.(object))]; !ok {
			w.shown[id(n.(object))] = life
		}
	}
}

// Killed while it brings an old file forward, it does so the next time.
func TestKilledWhileTheSchemaChanges(t *testing.T) {
	t.Parallel()
	const key = "J8JM1mUCr8zZ8Gu53mxzX0p9dedE4bbgi+tmg13Bq30=" // see store/migrate_test.go
	old := unzip(t, filepath.Join("..", "..", "store", "testdata", "v1.db.gz"))
	files := 3
	if long() {
		files = 40
	}
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, seed(t))
	for range files {
		db := filepath.Join(t.TempDir(), "old.db")
		if err := os.WriteFile(db, old, 0o600); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			begun := make(chan struct{})
			cmd := exec.Command(path, serveArgs(db, "--encryption-key", key)...)
			cmd.Stderr = &signalled{want: "brought to a new schema", seen: func() { close(begun) }}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			select {
			case <-begun:
				w.pause(15 * time.Millisecond)
			case <-time.After(200 * time.Millisecond): // there was nothing left to bring forward
			}
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		p := launchProgram(t, db, "--encryption-key", key)
		p.ready()
		events := 0
		callback := id(p.call("GET", "/callbacks", nil)["items"].([]any)[0].(object))
		p.walk("/callbacks/"+callback+"/events?order=asc", func(object) { events++ })
		if events < 14 { // its demo provider has found more by now
			t.Errorf("%d events of 14", events)
		}
		if code := p.end(syscall.SIGTERM); code != 0 {
			t.Errorf("exit code %d\n%s", code, p.stderr)
		}
		intact(t, db)
	}
}

func unzip(t *testing.T, path string) []byte {
	t.Helper()
	packed, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	r, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

// Killed while it makes its file, it makes it the next time.
func TestKilledWhileItMakesItsFile(t *testing.T) {
	t.Parallel()
	kills := 3
	if long() {
		kills = 40
	}
	w := newWorld(t, seed(t))
	w.settle()
	for range kills {
		db := filepath.Join(t.TempDir(), "callbackd.db")
		p := launchProgram(t, db)
		w.pause(60 * time.Millisecond)
		p.kill()
		p = launchProgram(t, db)
		p.ready()
		w.setUp(p)
		if code := p.end(syscall.SIGTERM); code != 0 {
			t.Errorf("exit code %d\n%s", code, p.stderr)
		}
	}
}
