package slates

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// Options say which integration becomes a provider. Name and Target are required.
type Options struct {
	// Name becomes the provider's key: 1 to 64 letters, digits, '.', '_' or '-', the first a letter
	// or digit.
	Name string
	// Target is where the integration is: an http or https URL that batches are POSTed to, of
	// whatever address, or "exec:" and a command that answers them over stdio. The command is split at
	// white space; quotes, '...' and "...", keep words together, a backslash takes the next character
	// as it is. There is no shell; name one if it is needed: exec:sh -c '...'. Its
	// environment is this program's, without variables that begin with CALLBACKD_.
	Target string

	// MinPollInterval is the least time between two polls of a trigger, whatever the integration or a
	// callback says; rounded up to seconds; 0: 600 s, the protocol's own floor.
	MinPollInterval time.Duration
	// Timeout is the longest that a batch may take, beside the deadline of the poll or request that it
	// is made for; 0: 60 s. A child process that takes longer is killed.
	Timeout time.Duration
	// StartTimeout is how long New tries to reach an integration; 0: 30 s.
	StartTimeout time.Duration
	// MaxProcesses is how many child processes a command may have at a time, each of which answers
	// one batch at a time; 0: 4. Webhooks may have one more, so that polls do not keep them out. More
	// than one are only started when that many batches are to be answered, and end after two idle minutes.
	MaxProcesses int

	// Log is told what has no trigger of its own, such as what child processes write to standard
	// error; nil: silent.
	Log *slog.Logger
}

const (
	defaultMinPollInterval = 600 * time.Second
	defaultTimeout         = 60 * time.Second
	defaultStartTimeout    = 30 * time.Second
	askAgain               = 500 * time.Millisecond // pause of New after an integration was not reached
)

var nameRE = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func (o Options) withDefaults() Options {
	if o.MinPollInterval == 0 {
		o.MinPollInterval = defaultMinPollInterval
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.StartTimeout == 0 {
		o.StartTimeout = defaultStartTimeout
	}
	if o.MaxProcesses == 0 {
		o.MaxProcesses = defaultProcesses
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

func (o Options) validate() error {
	switch {
	case !nameRE.MatchString(o.Name):
		return fmt.Errorf("slates: Options.Name %q must be 1 to 64 letters, digits, '.', '_' or '-', the first a letter or digit", o.Name)
	case o.MinPollInterval < 0, o.Timeout < 0, o.StartTimeout < 0, o.MaxProcesses < 0:
		return errors.New("slates: an Options field is negative")
	}
	return nil
}

// New asks an integration what it is and makes a provider of it, for one engine: its Close ends the
// integration's child processes. One that is not reached is asked again until StartTimeout is over; then
// the error says why. A child process that ends, and an answer of 401, 403 or 404, is only given a
// second chance, and a command that is not found none. ctx is only for asking.
// A trigger that is neither polled nor sent webhooks is left out, and so is a
// schema that cannot be used here: any object is then taken. Both are warned of.
func New(ctx context.Context, o Options) (engine.Provider, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return engine.Provider{}, err
	}
	log := o.Log.With("provider", o.Name)
	t, err := o.transport(log)
	if err != nil {
		return engine.Provider{}, fmt.Errorf("slates: Options.Target of %s: %w", o.Name, err)
	}
	i := &integration{client: newClient(t, o.Timeout, log), options: o, log: log, memo: newMemo()}
	p, err := i.ask(ctx)
	if err != nil {
		return engine.Provider{}, errors.Join(fmt.Errorf("slates: integration %s: %w", o.Name, err), t.close())
	}
	p.Close = t.close
	return p, nil
}

func (o Options) transport(log *slog.Logger) (transport, error) {
	if command, ok := strings.CutPrefix(o.Target, "exec:"); ok {
		return newPool(command, o.MaxProcesses, log)
	}
	return newHTTPTransport(o.Target)
}

// ask declares the integration, once it is reached.
func (i *integration) ask(ctx context.Context) (engine.Provider, error) {
	ctx, cancel := context.WithTimeout(ctx, i.options.StartTimeout)
	defer cancel()
	var last error
	hopeless := 0
	for {
		p, err := i.declare(ctx)
		if err == nil {
			return p, nil
		}
		if errors.Is(err, errDeclaration) || errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			return p, err // it will be the same again
		}
		after := retryAfterOf(err)
		if busy, ok := errors.AsType[*busyError](err); ok {
			after = busy.after // which says nothing new
		} else if last == nil || ctx.Err() == nil {
			if tries := triesOf(err); tries > 0 {
				if hopeless++; hopeless >= tries {
					return p, err
				}
			}
			if ctx.Err() == nil && (last == nil || last.Error() != err.Error()) {
				i.log.WarnContext(ctx, "the integration gave no answer of use, and is asked again", "err", err)
			}
			last = err
		}
		pause := time.NewTimer(max(askAgain, after))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return p, fmt.Errorf("it gave no answer of use within %s: %w", i.options.StartTimeout, last)
			}
			return p, ctx.Err()
		}
	}
}

// hopelessError is of an answer that time alone seldom mends.
type hopelessError struct{ error }

func (e *hopelessError) Unwrap() error { return e.error }

// triesOf is how often to ask what fails in this way; 0: until there is no time left.
func triesOf(err error) int {
	if ended, ok := errors.AsType[*endedError](err); ok {
		if code := ended.state.ExitCode(); code == 126 || code == 127 { // a shell's, for a command that it cannot run
			return 1
		}
		return 2
	}
	if _, ok := errors.AsType[*hopelessError](err); ok {
		return 2
	}
	return 0
}

func retryAfterOf(err error) time.Duration {
	d, _ := engine.RetryAfterOf(err)
	return d
}
