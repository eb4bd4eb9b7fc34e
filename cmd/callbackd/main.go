// Command callbackd watches providers, turns what happens there into events, and delivers
// every event to its destinations, signed and retried. See the README for a walk through.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
	_ "time/tzdata" // machines without a zone database

	"github.com/alecthomas/kong"

	"github.com/callbackd/callbackd/engine"
)

// cli is the whole command line. Every flag has an environment variable: CALLBACKD_ and its
// name.
type cli struct {
	Serve     serveCommand   `cmd:"" help:"Serve the HTTP API, poll and deliver."`
	Sandbox   sandboxCommand `cmd:"" help:"Try it: a demo source, a receiver, and what happens between them on screen."`
	Keys      keysCommand    `cmd:"" help:"Manage API keys."`
	Backup    backupCommand  `cmd:"" help:"Copy the database, while a daemon works on it or not."`
	Check     checkCommand   `cmd:"" help:"Look for damage in the database, while a daemon works on it or not."`
	RotateKey rotateCommand  `cmd:"" help:"Encrypt the database's secrets with another key. The daemon must be stopped."`
	Version   versionCommand `cmd:"" help:"Print the version."`
}

// console is where a command speaks: results on out, everything else on err.
type console struct {
	out, err io.Writer
}

func main() {
	ctx, stop := withSignals(context.Background())
	code := run(ctx, os.Args[1:], console{out: os.Stdout, err: os.Stderr})
	stop()
	os.Exit(code)
}

// sameSignal is how close together two signals count as one.
const sameSignal = 100 * time.Millisecond

// withSignals is a context that the first SIGINT or SIGTERM ends. The second one ends the
// process at once: the file survives that, and so does what was accepted.
func withSignals(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() { // ends with the process
		<-signals
		cancel()
		// Some tools signal a process and its group, which makes two of one.
		for first := time.Now(); time.Since(first) < sameSignal; {
			<-signals
		}
		fmt.Fprintln(os.Stderr, "callbackd: second signal, leaving at once")
		os.Exit(1)
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel()
	}
}

// run is the program without its process: it returns the exit code.
func run(ctx context.Context, args []string, c console) int {
	exited := -1
	parser, err := kong.New(new(cli), kong.Name("callbackd"), kong.Description("Watch providers, deliver events."),
		kong.DefaultEnvars("CALLBACKD"), kong.UsageOnError(), kong.Writers(c.out, c.err), kong.Exit(func(code int) { exited = code }))
	if err != nil {
		fmt.Fprintln(c.err, "callbackd:", err)
		return 2
	}
	command, err := parser.Parse(args)
	if exited >= 0 { // --help
		return exited
	}
	if err != nil {
		fmt.Fprintf(c.err, "callbackd: %v (try --help)\n", err)
		return 2
	}
	command.BindTo(ctx, (*context.Context)(nil))
	if err := command.Run(c); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(c.err, "callbackd:", err)
		return 1
	}
	return 0
}

type versionCommand struct{}

func (versionCommand) Run(c console) error {
	_, err := fmt.Fprintf(c.out, "callbackd %s (%s %s/%s)\n", engine.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
