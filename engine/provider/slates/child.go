package slates

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// child is a process that answers batches, one at a time. It leads a process group of its
// own, so that what it starts ends with it.
type child struct {
	cmd    *exec.Cmd
	log    *slog.Logger
	stdin  *os.File
	stdout *os.File
	stderr *os.File
	guard  *guard // nil: there is none

	done   chan struct{} // closed when the process has ended and its output is read
	retire *time.Timer   // ends it when it has had nothing to do for a while

	mu      sync.Mutex
	waiting *waiter  // nil: nobody waits for an answer
	used    bool     // it has answered before
	reaped  bool     // it has ended, and its process group may be another's
	words   lastWord // on standard error
	printed lastWord // on standard output, that is no JSON
	secrets []string // not to be logged, of the batches sent last
}

// lastWord is a child's last line on a stream.
type lastWord string

func (w lastWord) behind(what string) string {
	if w == "" {
		return ""
	}
	return "; its last words on " + what + ": " + string(w)
}

// waiter waits for the answer to a batch with some ids.
type waiter struct {
	ids    []string
	answer chan line
}

// line is a document on standard output, or why there is none.
type line struct {
	text []byte
	err  error
}

// errEndedIdle is of a child that ended because it had nothing to do.
var errEndedIdle = errors.New("the integration's process had ended")

// startChild starts a process. It is told nothing of this program's own settings.
func startChild(words []string, log *slog.Logger) (*child, error) {
	c := &child{done: make(chan struct{})}
	var files []*os.File
	pipe := func() (r, w *os.File, err error) {
		if r, w, err = os.Pipe(); err == nil {
			files = append(files, r, w)
		}
		return r, w, err
	}
	fail := func(err error) (*child, error) {
		for _, f := range files {
			f.Close()
		}
		return nil, err
	}
	c.cmd = exec.Command(words[0], words[1:]...)
	var err error
	var in, out, errs *os.File // the child's ends
	if in, c.stdin, err = pipe(); err != nil {
		return fail(err)
	}
	if c.stdout, out, err = pipe(); err != nil {
		return fail(err)
	}
	if c.stderr, errs, err = pipe(); err != nil {
		return fail(err)
	}
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = in, out, errs
	c.cmd.Env = environment(os.Environ())
	ownGroup(c.cmd)
	started := make(chan error)
	exited := make(chan error, 1)
	go func() { // until the process has ended
		// Where the kernel ends a child with its parent, the parent is a thread.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := c.cmd.Start()
		started <- err
		if err == nil {
			exited <- c.cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return fail(err)
	}
	for _, f := range []*os.File{in, out, errs} {
		f.Close()
	}
	c.log = log.With("pid", c.cmd.Process.Pid)
	c.guard = startGuard(c.cmd.Process.Pid)
	c.log.Debug("the integration's process has started")
	go c.follow(exited)
	return c, nil
}

// environment is ours, without what is meant for callbackd alone, such as its encryption key.
func environment(all []string) (kept []string) {
	for _, variable := range all {
		if !strings.HasPrefix(variable, "CALLBACKD_") {
			kept = append(kept, variable)
		}
	}
	return kept
}

// follow reads what the child says until it has ended.
func (c *child) follow(exited <-chan error) {
	var reading sync.WaitGroup
	reading.Go(c.readAnswers)
	reading.Go(c.readErrors)
	<-exited // how, is in its ProcessState
	c.kill() // what it left behind holds its output open
	c.mu.Lock()
	c.reaped = true
	c.mu.Unlock()
	// One that left the group, too, is not waited for.
	late := time.AfterFunc(time.Second, func() { c.stdout.Close(); c.stderr.Close() })
	reading.Wait()
	late.Stop()
	c.guard.end()
	for _, f := range []*os.File{c.stdin, c.stdout, c.stderr} {
		f.Close()
	}
	c.log.Debug("the integration's process has ended", "status", c.cmd.ProcessState.String())
	close(c.done)
}

// exchange writes a batch with some ids and waits for its answer. After an error, the child is
// of no use.
func (c *child) exchange(ctx context.Context, p parcel) ([]byte, error) {
	w := &waiter{ids: p.ids, answer: make(chan line, 1)}
	began := time.Now()
	c.mu.Lock()
	c.waiting = w
	c.remember(p.secrets)
	used := c.used
	c.mu.Unlock()
	select {
	case <-c.done:
		if used {
			return nil, errEndedIdle
		}
	default:
	}
	written := make(chan error, 1)
	go func() { // ends with the write, which ends with the child
		_, err := c.stdin.Write(p.batch)
		written <- err
	}()
	for {
		select {
		case err := <-written:
			if err != nil {
				return nil, c.ended(ctx, "read the batch")
			}
			written = nil
		case l := <-w.answer:
			return l.text, l.err
		case <-c.done:
			select {
			case l := <-w.answer:
				return l.text, l.err
			default:
			}
			return nil, c.ended(ctx, "answered")
		case <-ctx.Done():
			return nil, late("the integration's process", began, ctx)
		}
	}
}

// give passes a line to whoever waits for it; false: nobody does.
func (c *child) give(l line) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.waiting
	if w == nil || l.err == nil && foreign(l.text, w.ids) {
		return false
	}
	c.waiting = nil
	c.used = true
	w.answer <- l
	return true
}

// ended says how the child ended, once it has.
func (c *child) ended(ctx context.Context, before string) error {
	c.stdin.Close() // one that closed its end, but runs on, is told to end
	select {
	case <-c.done:
		c.mu.Lock()
		used := c.used
		c.mu.Unlock()
		if used && c.cmd.ProcessState.Success() {
			return errEndedIdle // in good order, so it did not see the batch
		}
		return &endedError{before, c.cmd.ProcessState, c.said()}
	case <-time.After(endGrace):
	case <-ctx.Done():
	}
	return errors.New("the integration's process does not read its standard input")
}

// endedError is of a child that ended too early.
type endedError struct {
	before string // it did what
	state  *os.ProcessState
	said   string
}

func (e *endedError) Error() string {
	return fmt.Sprintf("the integration's process ended before it %s: %s%s", e.before, e.state, e.said)
}

// said is the last line of each stream, to be put behind an error. Of a child that runs on, it may
// have nothing to do with what is wrong.
func (c *child) said() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.words.behind("standard error") + c.printed.behind("standard output")
}

// remember has texts left out of what is logged of the child from now on. c.mu is held. What is
// written to a child's streams may come late, so that those of some batches before are kept.
func (c *child) remember(secrets []string) {
	for _, secret := range secrets {
		for text := range strings.SplitSeq(plain(json.RawMessage(`"`+secret+`"`)), "\n") { // as it is printed
			secrets = append(secrets, strings.TrimSpace(text))
		}
	}
	for _, secret := range secrets {
		if len(secret) >= shortestSecret && !slices.Contains(c.secrets, secret) {
			c.secrets = append(c.secrets, secret)
		}
	}
	c.secrets = c.secrets[max(len(c.secrets)-secretsKept, 0):]
}

// clean is a line without what must not be logged, bounded.
func (c *child) clean(text []byte) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	line := setting{secrets: c.secrets}.redact(string(text))
	return line[:min(len(line), maxNoise)]
}

// end has the child end: it is told so by closing its input, and killed with its group
// after a grace. It returns when it has ended.
func (c *child) end(grace time.Duration) {
	c.stdin.Close()
	timer := time.NewTimer(grace)
	defer timer.Stop()
	if grace > 0 {
		select {
		case <-c.done:
			return
		case <-timer.C:
		}
	}
	c.kill()
	<-c.done
}

// kill ends the child, and what it started, unless that has been done.
func (c *child) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.reaped {
		killGroup(c.cmd)
	}
}

// readAnswers passes on what is a document on standard output; another line is noise.
func (c *child) readAnswers() {
	r := bufio.NewReaderSize(c.stdout, 64<<10)
	noise := limiter{log: c.log, text: "the integration's process wrote a line to standard output that is no answer"}
	late := limiter{log: c.log, text: "the integration's process answered what it was not asked, or too late; that is dropped"}
	for {
		text, err := readLine(r, maxAnswer)
		if errors.Is(err, errLongLine) {
			err = fmt.Errorf("the integration's process gave an answer of more than %d MiB", maxAnswer>>20)
			c.give(line{err: err})
			c.kill() // what follows is of no use
			_, _ = io.Copy(io.Discard, r)
			return
		}
		if isDocument(text) && (err == nil || json.Valid(text)) {
			if !c.give(line{text: text}) {
				late.say(slog.LevelWarn, "") // what it says may be secret
			}
		} else if len(text) > 0 {
			line := c.clean(text)
			if text[0] != '{' { // which is perhaps part of an answer
				c.mu.Lock()
				c.printed = lastWord(excerpt(line[:min(len(line), lastKept)]))
				c.mu.Unlock()
			}
			noise.say(slog.LevelDebug, line)
		}
		if err != nil {
			return
		}
	}
}

// isDocument tells an answer from what a library printed.
func isDocument(text []byte) bool {
	if len(text) == 0 || text[0] != '{' {
		return false
	}
	var doc struct {
		Messages json.RawMessage `json:"messages"`
		Error    json.RawMessage `json:"error"`
		Version  string          `json:"jsonrpc"`
	}
	return json.Unmarshal(text, &doc) == nil && (doc.Messages != nil || doc.Error != nil && doc.Version != "")
}

// readErrors logs what the child says on standard error: at debug what begins with "debug:".
func (c *child) readErrors() {
	r := bufio.NewReaderSize(c.stderr, 4<<10)
	lines := limiter{log: c.log, text: "the integration says on standard error"}
	for {
		text, err := readLine(r, maxStderr)
		if len(text) > 0 {
			line := c.clean(text)
			c.mu.Lock()
			c.words = lastWord(excerpt(line[:min(len(line), lastKept)]))
			c.mu.Unlock()
			level := slog.LevelWarn
			if bytes.HasPrefix(text, []byte("debug:")) {
				level = slog.LevelDebug
			}
			lines.say(level, line)
		}
		if errors.Is(err, errLongLine) {
			continue
		}
		if err != nil {
			return
		}
	}
}

var errLongLine = errors.New("the line is too long")

// readLine reads a line without its end. Of one over limit bytes, it gives the first ones and
// errLongLine; what follows is the next line's.
func readLine(r *bufio.Reader, limit int) ([]byte, error) {
	var text []byte
	for {
		part, err := r.ReadSlice('\n')
		text = append(text, part...)
		if len(bytes.TrimRight(text, "\r\n")) > limit {
			return text[:limit], errLongLine
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return bytes.TrimSpace(text), err
		}
	}
}

// limiter logs some lines a second, and how many there were more.
type limiter struct {
	log     *slog.Logger
	text    string
	second  time.Time
	count   int
	dropped int
}

func (l *limiter) say(level slog.Level, line string) {
	if now := time.Now(); now.Sub(l.second) > time.Second {
		if l.dropped > 0 {
			l.log.Log(context.Background(), level, l.text+", too much to log", "lines", l.dropped)
		}
		l.second, l.count, l.dropped = now, 0, 0
	}
	if l.count++; l.count > linesPerSecond {
		l.dropped++
		return
	}
	l.log.Log(context.Background(), level, l.text, "line", excerpt(line))
}
