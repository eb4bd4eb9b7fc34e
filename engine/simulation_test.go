package engine_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// The simulation runs whole engines in virtual time, on real files, among sources and
// destinations that fail, hang, answer late, repeat and reorder, while the process crashes at
// any commit. A seed makes a run: CALLBACKD_SEED=N repeats one, with the engine's log, and
// CALLBACKD_LONG=1 runs seeds for a minute.
//
// What happens at different instants of virtual time happens in the same order each time. Within
// one instant goroutines race, which nothing can be done about from here. What the world does is
// a function of names and so does not depend on it, and no invariant does; but with a crash in
// that very instant, or several who publish at a time, a seed may have two histories.

const (
	seedEnv = "CALLBACKD_SEED"
	longEnv = "CALLBACKD_LONG"
)

func TestSimulation(t *testing.T) {
	t.Parallel()
	template := newTemplate(t)
	if text := os.Getenv(seedEnv); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		s := simulate(t, seed, template, slog.New(slog.NewTextHandler(t.Output(), nil)))
		t.Logf("seed %d:\n%s", seed, s.story())
		return
	}
	const least, fixed = 2, 50 // runs, however slow they are; seeds that come first, each time
	budget := 1500 * time.Millisecond
	if os.Getenv(longEnv) != "" {
		budget = time.Minute
	}
	begun := time.Now()
	var runs atomic.Uint64
	var failed atomic.Bool // one failing seed is enough
	t.Run("Seeds", func(t *testing.T) {
		for range runtime.GOMAXPROCS(0) {
			t.Run("Worker", func(t *testing.T) {
				t.Parallel()
				for !failed.Load() {
					n := runs.Add(1)
					if n > least && time.Since(begun) > budget {
						runs.Add(^uint64(0))
						return
					}
					seed := n
					if n > fixed {
						seed = rand.Uint64()
					}
					if s := simulate(t, seed, template, discard); len(s.violations) > 0 {
						failed.Store(true)
					}
				}
			})
		}
	})
	t.Logf("%d runs in %s", runs.Load(), time.Since(begun))
}

// newTemplate makes a file with the provider's rows, which runs begin with a copy of: to make
// the schema takes longer than many a run.
func newTemplate(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "callbacks.db")
	synctest.Test(t, func(t *testing.T) { // where it is the year 2000, as in the runs
		p, err := openProcess(newWorld(0), 0, path, engine.Options{Logger: discard})
		if err == nil {
			err = p.close()
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	return path
}

// The same seed has the same history, but for races within an instant: so nearly all have.
func TestSimulationIsRepeatable(t *testing.T) {
	t.Parallel()
	template := newTemplate(t)
	const seeds = 3
	same := 0
	var odd string
	for seed := range uint64(seeds) {
		first, second := simulate(t, seed, template, discard).story(), simulate(t, seed, template, discard).story()
		if first == second {
			same++
		} else {
			odd = fmt.Sprintf("seed %d has two histories:\n%s\nand\n%s", seed, first, second)
		}
	}
	if same < seeds/2 {
		t.Errorf("%d of %d seeds have one history; %s", same, seeds, odd)
	}
}

// simulate runs one seed, and fails the test with its history if an invariant does not hold.
func simulate(t *testing.T, seed uint64, template string, log *slog.Logger) *simulation {
	t.Helper()
	dir := filepath.Join(t.TempDir(), fmt.Sprint(seed))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	var s *simulation
	ended := false
	defer func() {
		if !ended {
			t.Logf("seed %d did not end:\n%s", seed, s.story())
		}
	}()
	synctest.Test(t, func(*testing.T) {
		s = newSimulation(seed, template, dir, log)
		s.run()
	})
	ended = true
	if len(s.violations) > 0 {
		t.Errorf("seed %d: %d invariants do not hold, the first is: %s\nrepeat it with %s=%d go test ./engine -run 'TestSimulation$' -v\n%s", seed, len(s.violations), s.violations[0], seedEnv, seed, s.story())
	}
	return s
}
