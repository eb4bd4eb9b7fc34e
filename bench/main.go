// Command bench measures what callbackd costs, beside a bare loop that does the least that
// the same promises need, in one run:
//
//	go run ./bench            # everything, about twenty minutes and 15 GB of disk
//	go run ./bench -short     # small sizes, about a minute
//	go run ./bench -run 'throughput|latency'
//	go run ./bench -scale 100000 -dir /mnt/disk
//
// # How to read the figures
//
// The bare loop (bare.go) is one SQLite writer with group commit, synced, and signed POSTs
// with net/http: no retries, no lists, no settings. A ratio is ours over the bare loop's, of
// the same minutes: rounds alternate between the two, and each figure is the median of its
// rounds, so that what else the machine does weighs on both. The generator and the receiver
// run in the same process and take their share of the cores from both; CPU figures
// include them. Absolute figures say little about another machine, ratios do.
//
// A rate counts from the first publish to the last receipt, so a backlog that is still
// being delivered counts against it. Latency is measured in an open loop: from when an
// event was to be published, not from when the generator got to it.
//
// Every receipt is checked off by number and every hundredth signature is verified. A
// missed goal is no error, since this measures and does not assert: the exit code is 1 only
// if something could not be run, an event was lost or a signature was wrong.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"runtime/pprof"
	"syscall"
	"time"
)

func main() {
	short := flag.Bool("short", false, "small sizes, about a minute")
	only := flag.String("run", "", "only the sections whose name matches this `regexp`: throughput, latency, memory, disk, start, triggers, events, destinations, waiting, readers, retention")
	scale := flag.Int("scale", 0, "the largest `size` of the scale tables, instead of each one's own")
	dir := flag.String("dir", "", "`folder` for the files that are measured; default: the one for temporary files")
	profile := flag.String("cpuprofile", "", "write a CPU profile of the run to this `file`")
	flag.Parse()
	size := whole
	if *short {
		size = small
	}
	if *scale > 0 {
		size = size.upTo(*scale)
	}
	sections, err := regexp.Compile(*only)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: -run:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	if *profile != "" {
		file, err := os.Create(*profile)
		if err == nil {
			err = pprof.StartCPUProfile(file)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench: -cpuprofile:", err)
			os.Exit(2)
		}
	}
	r, err := run(ctx, size, sections, *dir, os.Stderr)
	pprof.StopCPUProfile()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	r.print(os.Stdout)
	if len(r.failures) > 0 {
		os.Exit(1)
	}
}

// section is a part of the run that can be chosen by name.
type section struct {
	name string
	run  func(context.Context, *suite) error
}

// sections are in the order of the report. Those that need files of millions of rows, which
// leave the machine's caches in another state, come last.
var sections = []section{
	{"throughput", throughput},
	{"latency", latency},
	{"disk", disk},
	{"start", coldStart},
	{"memory", memory},
	{"triggers", triggers},
	{"destinations", destinations},
	{"waiting", waiting},
	{"readers", readers},
	{"retention", retention},
	{"events", events},
}

// run measures the chosen sections, saying on progress what it is at. It returns an
// error only if it could not begin; what happened to a section is in the report.
func run(ctx context.Context, size sizes, chosen *regexp.Regexp, dir string, progress *os.File) (*report, error) {
	s, err := newSuite(ctx, size, dir, progress)
	if err != nil {
		return nil, err
	}
	defer s.close()
	s.report.machine = describeMachine(ctx, s.dir, size)
	for _, part := range sections {
		if !chosen.MatchString(part.name) {
			continue
		}
		started := time.Now()
		s.note("%s", part.name)
		if err := part.run(ctx, s); err != nil {
			s.report.fail(part.name, err)
			s.note("%s: %v", part.name, err)
			if ctx.Err() != nil {
				break // what was measured is still worth printing
			}
		}
		s.note("%s took %s", part.name, time.Since(started).Round(time.Second))
	}
	s.reportWAL()
	return s.report, nil
}
