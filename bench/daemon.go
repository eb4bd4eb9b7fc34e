package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// build builds the daemon into a folder. It must run inside the module.
func build(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, "callbackd")
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, "github.com/callbackd/callbackd/cmd/callbackd")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as the README has it
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the daemon: %w\n%s", err, out)
	}
	return path, nil
}

// daemon is a real `callbackd serve`.
type daemon struct {
	cmd     *exec.Cmd
	log     string // file of its standard error
	url     string
	readyIn time.Duration // from its start to its ready line
	drained chan struct{}
	unwatch func()
}

// readyWithin is how long a daemon may take to say that it is ready.
const readyWithin = 2 * time.Minute

// serve starts a daemon on a file, with the defaults but for what a run of this needs.
func (s *suite) serve(ctx context.Context, path, when string) (*daemon, error) {
	binary, err := s.binary()
	if err != nil {
		return nil, err
	}
	d := &daemon{log: path + ".log", drained: make(chan struct{})}
	log, err := os.Create(d.log)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own
	d.cmd = exec.Command(binary, "serve", "--db", path, "--addr", "127.0.0.1:0", "--api-key", apiKey, "--allow-private-networks")
	d.cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "CALLBACKD_") })
	d.cmd.Stderr = log
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	started := time.Now()
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	d.unwatch = s.watchWAL(path, when)
	ready := make(chan string, 1)
	go func() {
		defer close(d.drained)
		defer close(ready)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if _, url, ok := strings.Cut(lines.Text(), "callbackd listening on "); ok {
				d.readyIn = time.Since(started)
				ready <- url
			}
		}
	}()
	select {
	case url, ok := <-ready:
		if ok {
			d.url = url
			return d, nil
		}
		err = errors.New("it ended before it was ready")
	case <-time.After(readyWithin):
		err = fmt.Errorf("it was not ready in %s", readyWithin)
	case <-ctx.Done():
		err = ctx.Err()
	}
	err = fmt.Errorf("callbackd serve: %w\n%s", err, d.lastWords())
	return nil, errors.Join(err, d.stop())
}

// lastWords is the end of the daemon's log.
func (d *daemon) lastWords() []byte {
	text, _ := os.ReadFile(d.log)
	return text[max(0, bytes.LastIndexByte(text[:max(0, len(text)-1000)], '\n')):]
}

// stopWithin is longer than the daemon itself gives what it has in flight.
const stopWithin = 45 * time.Second

// stop ends the daemon in order, or else at once.
func (d *daemon) stop() error {
	d.unwatch()
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		_ = d.cmd.Process.Kill()
	}
	late := time.AfterFunc(stopWithin, func() { _ = d.cmd.Process.Kill() })
	defer late.Stop()
	<-d.drained
	if err := d.cmd.Wait(); err != nil {
		return fmt.Errorf("callbackd serve did not end in order: %w\n%s", err, d.lastWords())
	}
	return nil
}

// errNoRSS says that this system does not tell how much memory a process has.
var errNoRSS = errors.New("this system does not tell the memory of a process")

// rss is the daemon's memory that is in the machine's.
func (d *daemon) rss() (int64, error) {
	value, ok := strings.CutSuffix(field(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid), "VmRSS"), " kB")
	n, err := strconv.ParseInt(value, 10, 64)
	if !ok || err != nil {
		return 0, errNoRSS
	}
	return n * 1024, nil
}

// watchRSS is the most memory that the daemon has within a span of time.
func (d *daemon) watchRSS(ctx context.Context, span time.Duration) (most int64, err error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for until := time.Now().Add(span); time.Now().Before(until); {
		n, err := d.rss()
		if err != nil {
			return 0, err
		}
		most = max(most, n)
		select {
		case <-ctx.Done():
			return most, ctx.Err()
		case <-tick.C:
		}
	}
	return most, nil
}
