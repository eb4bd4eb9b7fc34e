package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/callbackd/callbackd/engine/internal/outbound"
	"github.com/callbackd/callbackd/store"
)

// Options say what an engine is made of. Only Path is required.
type Options struct {
	// Path of the database file, which is made if it is missing. PATH.lock and, unless Key
	// is given, PATH.key are kept beside it.
	Path string
	// Key encrypts secrets at rest; 32 bytes. nil: the key in PATH.key.
	Key []byte
	// NoSync lets the last commits vanish in a power cut (never in a crash of the process),
	// for speed. Default: what was accepted is on the disk.
	NoSync bool

	// Providers are the sources that callbacks can watch. A provider that the file knows and
	// that is missing here is archived: what watches it fails, saying so, until it is back.
	Providers []Provider
	// Functions are destinations inside this program.
	Functions []Function

	// PublicURL is the URL under which the world reaches package httpapi's handler, such as
	// "https://hooks.example.com": the URLs of webhooks begin with it. With another one, webhooks are
	// registered anew after the start. "": they are not known, and no webhook can be registered.
	PublicURL string

	// AllowPrivateNetworks lets deliveries and polls reach loopback, private and other special
	// addresses. Default: they are refused when connecting, whatever name led there.
	AllowPrivateNetworks bool

	// MaxPolls is how many polls run at a time; 0: 256.
	MaxPolls int
	// PollTimeout is the deadline of a poll, and again of the mapping of what it found; 0: 30 s.
	PollTimeout time.Duration
	// MaxDeliveries is how many attempts run at a time, over all destinations; 0: 1024.
	MaxDeliveries int

	// Retention is how long events are kept, with their notifications and attempts, after the last
	// thing that happened to them; 0: 30 days; negative: for ever. An event that is still being
	// delivered or mapped stays, and so does what tells a repeated source id. A callback may have
	// a setting of its own.
	Retention time.Duration

	// Logger is told what happens, one wide record per poll and per attempt; nil: silent.
	Logger *slog.Logger
	// Now is the wall clock; nil: time.Now. Timers follow the real one. While the engine runs, a
	// jump of Now by more than 3 s is taken for a clock that was set: what is planned moves along.
	Now func() time.Time
	// Random jitters polls and retries, with numbers in [0, 1); nil: math/rand.
	Random func() float64
	// HTTPClient replaces the guarded client of polls, and its Transport that of deliveries,
	// for which nothing else of it counts; for tests. nil: the guarded ones.
	HTTPClient *http.Client
}

func (o Options) withDefaults() Options {
	if o.MaxPolls == 0 {
		o.MaxPolls = 256
	}
	if o.PollTimeout == 0 {
		o.PollTimeout = 30 * time.Second
	}
	if o.MaxDeliveries == 0 {
		o.MaxDeliveries = 1024
	}
	if o.Retention == 0 {
		o.Retention = 30 * 24 * time.Hour
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Random == nil {
		o.Random = randomFraction
	}
	return o
}

func (o Options) validate() error {
	if o.Path == "" {
		return errors.New("engine: Options.Path is empty")
	}
	if u, err := url.Parse(o.PublicURL); o.PublicURL != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || strings.ContainsAny(o.PublicURL, "?#")) {
		return errors.New("engine: Options.PublicURL must be an absolute http or https URL without user, query and fragment")
	}
	for name, value := range map[string]int{"MaxPolls": o.MaxPolls, "MaxDeliveries": o.MaxDeliveries, "PollTimeout": int(o.PollTimeout)} {
		if value < 0 {
			return fmt.Errorf("engine: Options.%s is negative", name)
		}
	}
	return nil
}

// clients are the guarded ways out: a delivery is one plain request, sent once; polls may
// be answered compressed and over HTTP/2.
func (o Options) clients() (deliveries http.RoundTripper, polls *http.Client) {
	if o.HTTPClient != nil {
		return cmp.Or(o.HTTPClient.Transport, http.DefaultTransport), o.HTTPClient
	}
	return outbound.NewTransport(o.AllowPrivateNetworks, nil),
		outbound.NewClient(outbound.Options{AllowPrivate: o.AllowPrivateNetworks})
}

var keyRE = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// declared is a provider with its schemas compiled.
type declared struct {
	Provider
	config   *schema
	auth     map[string]*schema // by auth method
	methods  map[string]AuthMethod
	triggers map[string]*Trigger
}

// declare checks a provider and makes the rows' form of it.
func declare(p Provider) (*declared, store.ProviderDeclaration, error) {
	var none store.ProviderDeclaration
	fail := func(format string, args ...any) (*declared, store.ProviderDeclaration, error) {
		return nil, none, fmt.Errorf("engine: provider %q: %s", p.Key, fmt.Sprintf(format, args...))
	}
	if !keyRE.MatchString(p.Key) {
		return fail("Key must be 1 to 64 letters, digits, '.', '_' or '-'")
	}
	if len(p.Triggers) == 0 {
		return fail("it has no Triggers")
	}
	d := &declared{Provider: p, auth: make(map[string]*schema), methods: make(map[string]AuthMethod), triggers: make(map[string]*Trigger)}
	rows := store.ProviderDeclaration{Identifier: p.Key, Name: orDefault(p.Name, p.Key), Description: p.Description, ConfigSchema: orDefaultSchema(p.ConfigSchema)}
	var err error
	if d.config, err = compileSchema(rows.ConfigSchema); err != nil {
		return fail("ConfigSchema: %v", err)
	}
	for _, m := range p.AuthMethods {
		if !keyRE.MatchString(m.Key) || d.auth[m.Key] != nil {
			return fail("auth method %q: Key must be a name of its own", m.Key)
		}
		if !slices.Contains([]string{"", "token", "oauth", "custom"}, m.Type) {
			return fail("auth method %q: Type must be token, oauth or custom", m.Key)
		}
		input := orDefaultSchema(m.InputSchema)
		if d.auth[m.Key], err = compileSchema(input); err != nil {
			return fail("auth method %q: InputSchema: %v", m.Key, err)
		}
		if !validOrNil(m.OutputSchema) {
			return fail("auth method %q: OutputSchema is not JSON", m.Key)
		}
		d.methods[m.Key] = m
		rows.AuthMethods = append(rows.AuthMethods, store.AuthMethodDeclaration{Key: m.Key, Type: orDefault(m.Type, "custom"), Name: orDefault(m.Name, m.Key),
			Description: m.Description, InputSchema: input, OutputSchema: compact(m.OutputSchema)})
	}
	for i := range p.Triggers {
		t := p.Triggers[i]
		switch {
		case !keyRE.MatchString(t.Key) || d.triggers[t.Key] != nil:
			return fail("trigger %q: Key must be a name of its own", t.Key)
		case (t.Poll == nil) == (t.Handle == nil):
			return fail("trigger %q must have either Poll or Handle", t.Key)
		case t.Register != nil && t.Handle == nil, t.Unregister != nil && t.Register == nil:
			return fail("trigger %q: Register goes with Handle, and Unregister with Register", t.Key)
		case t.Interval != 0 && t.Interval < time.Second, !wholeSeconds(t.Interval):
			return fail("trigger %q: Interval must be whole seconds, at least 1", t.Key)
		case t.MinInterval < 0, !wholeSeconds(t.MinInterval):
			return fail("trigger %q: MinInterval must be whole seconds", t.Key)
		case t.Baseline != "" && t.Baseline != BaselineEmit && t.Baseline != BaselineSkip:
			return fail("trigger %q: Baseline must be emit or skip", t.Key)
		case !validOrNil(t.InputSchema) || !validOrNil(t.OutputSchema):
			return fail("trigger %q: a schema is not JSON", t.Key)
		}
		if t.Interval == 0 {
			t.Interval = time.Minute
		}
		d.triggers[t.Key] = &t
		rows.Triggers = append(rows.Triggers, store.TriggerDeclaration{Key: t.Key, Name: orDefault(t.Name, t.Key), Description: t.Description, Source: t.source(),
			IntervalSeconds: int64(t.Interval / time.Second), MinIntervalSeconds: int64(t.MinInterval / time.Second),
			AutoRegistration: t.Register != nil, AutoUnregistration: t.Unregister != nil, Baseline: orDefault(string(t.Baseline), string(BaselineEmit)),
			InputSchema: compact(t.InputSchema), OutputSchema: compact(t.OutputSchema)})
	}
	return d, rows, nil
}

// source is how a trigger learns of what happened.
func (t *Trigger) source() string {
	if t.Handle != nil {
		return "webhook"
	}
	return "polling"
}

func orDefault(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func orDefaultSchema(s json.RawMessage) json.RawMessage {
	if s == nil {
		return json.RawMessage(`{"type":"object"}`)
	}
	return compact(s)
}

func validOrNil(s json.RawMessage) bool { return s == nil || json.Valid(s) }

// mapInput is a trigger's Map, or the default.
func (t *Trigger) mapInput(ctx context.Context, req MapRequest) (m Mapped, err error) {
	if t.Map != nil {
		return t.Map(ctx, req)
	}
	if err := json.Unmarshal(req.Input, &m); err != nil {
		return m, Permanent(fmt.Errorf("the input is not the JSON of an event: %w", err))
	}
	return m, nil
}
