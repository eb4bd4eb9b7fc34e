package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/engine/provider/slates"
)

// slateFlags name integrations that become providers.
type slateFlags struct {
	Slate           []string      `sep:"none" placeholder:"NAME=TARGET" help:"Add a Slates integration as the provider NAME; TARGET is its URL, or exec: and a command that serves it over stdio. Repeatable; in the environment, one on each line."`
	MinPollInterval time.Duration `default:"600s" help:"The least time between two polls of a Slates integration's trigger, such as 60s."`
}

// connect asks all integrations at a time what they are. Who gets providers has them closed.
func (f slateFlags) connect(ctx context.Context, log *slog.Logger) ([]engine.Provider, error) {
	var options []slates.Options
	taken := make(map[string]string)
	var names []string
	for _, p := range builtin() {
		taken[p.Key], names = "the provider that is built in", append(names, p.Key)
	}
	if f.MinPollInterval < time.Second {
		return nil, errors.New("--min-poll-interval must be at least 1s")
	}
	for _, line := range strings.Split(strings.Join(f.Slate, "\n"), "\n") {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		name, target, ok := strings.Cut(line, "=")
		if !ok {
			return nil, errors.New(`--slate must be NAME=URL or "NAME=exec:COMMAND"`) // without the value, which may hold a secret
		}
		name = strings.TrimSpace(name)
		if by := taken[name]; by != "" {
			return nil, fmt.Errorf("--slate: the name %s is taken by %s; choose another (built in are: %s)", name, by, strings.Join(names, ", "))
		}
		taken[name] = "another --slate"
		options = append(options, slates.Options{Name: name, Target: strings.TrimSpace(target), MinPollInterval: f.MinPollInterval, Log: log})
	}
	providers, errs := make([]engine.Provider, len(options)), make([]error, len(options))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var asking sync.WaitGroup
	for i, o := range options {
		asking.Go(func() {
			if providers[i], errs[i] = slates.New(ctx, o); errs[i] != nil {
				errs[i] = fmt.Errorf("--slate: %w", errs[i])
				cancel() // without one of them, there is no use for the others
			}
		})
	}
	asking.Wait()
	var failed error
	for _, err := range errs {
		if failed == nil || errors.Is(failed, context.Canceled) && err != nil {
			failed = err
		}
	}
	if failed != nil {
		return nil, errors.Join(failed, closeAll(providers))
	}
	return providers, nil
}

// closeAll is for providers that no engine was opened with.
func closeAll(providers []engine.Provider) error {
	var err error
	for _, p := range providers {
		if p.Close != nil {
			err = errors.Join(err, p.Close())
		}
	}
	return err
}
