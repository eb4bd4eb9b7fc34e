package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime/debug"
	"time"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/engine/provider/demo"
	feedprovider "github.com/callbackd/callbackd/engine/provider/feed"
	httpprovider "github.com/callbackd/callbackd/engine/provider/http"
	"github.com/callbackd/callbackd/engine/provider/schedule"
	"github.com/callbackd/callbackd/engine/provider/webhook"
	"github.com/callbackd/callbackd/httpapi"
)

const (
	headerTimeout   = 10 * time.Second // to read a request's line and headers
	requestTimeout  = 30 * time.Second // to read a request
	answerTimeout   = 30 * time.Second // after that, to work on it and to answer
	maxHeaders      = 128 << 10        // bytes of a request's line and headers, of which a query may be half
	idleTimeout     = 2 * time.Minute  // of a kept connection
	requestsTimeout = 10 * time.Second // at the end, for requests in flight
	workTimeout     = 20 * time.Second // then for polls and attempts in flight
)

type serveCommand struct {
	databaseFlags
	logFlags
	slateFlags
	Addr                 string   `default:"127.0.0.1:8420" help:"Address to listen on; port 0 takes a free one."`
	PublicURL            *url.URL `name:"public-url" help:"URL under which the world reaches this daemon, if not by --addr: the URLs of webhooks begin with it."`
	APIKey               string   `name:"api-key" help:"A key that is accepted besides the stored ones. Without it, and with no key stored, one is made and printed."`
	AllowPrivateNetworks bool     `help:"Let polls and deliveries reach loopback, private and other special addresses."`
	Retention            string   `default:"720h" help:"How long events are kept after the last thing that happened to them, such as 36h; forever for ever. A callback may have its own retention_seconds."`
	NoSync               bool     `help:"Faster, but a power cut may lose the last commits."`
}

// databaseFlags are what commands that open the file have in common.
type databaseFlags struct {
	DB            string `name:"db" default:"callbackd.db" help:"Database file. serve and keys create make it if it is missing." type:"path"`
	EncryptionKey string `help:"Key for secrets in the file, 32 bytes as base64. Default: the key in FILE.key, which is made with the file."`
}

func (f databaseFlags) key() ([]byte, error) {
	return encryptionKey("--encryption-key", f.EncryptionKey)
}

// encryptionKey is the value of a flag as a key; nil if it is empty.
func encryptionKey(flag, value string) ([]byte, error) {
	if value == "" {
		return nil, nil
	}
	key, err := base64.StdEncoding.DecodeString(value)
	if err != nil || len(key) != 32 {
		return nil, errors.New(flag + " must be 32 bytes as base64, such as from: openssl rand -base64 32")
	}
	return key, nil
}

// exists makes no file of a mistyped name.
func (f databaseFlags) exists() error {
	if _, err := os.Stat(f.DB); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no database %s (name it with --db)", f.DB)
	}
	return nil
}

// builtin are the providers that the daemon comes with.
func builtin() []engine.Provider {
	return []engine.Provider{httpprovider.New(), webhook.New(), feedprovider.New(), schedule.New(), demo.New()}
}

func (s serveCommand) Run(ctx context.Context, c console) error {
	log := s.logger(c.err)
	if u := s.PublicURL; u != nil && (u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		return errors.New("--public-url must be an absolute http or https URL")
	} else if u != nil && u.User != nil {
		return errors.New("--public-url must not hold a user or password: it is shown to everybody")
	} else if u != nil && (u.RawQuery != "" || u.ForceQuery || u.Fragment != "") {
		return errors.New("--public-url must not hold a query or fragment: the paths of webhooks follow it")
	}
	key, err := s.key()
	if err != nil {
		return err
	}
	retention, err := s.retention()
	if err != nil {
		return err
	}
	// The port comes first: without it, no file is made and no key shown.
	listener, err := net.Listen("tcp", s.Addr)
	if err != nil {
		return fmt.Errorf("%w (choose another --addr)", err)
	}
	defer listener.Close()
	base := localURL(listener.Addr())
	if s.PublicURL != nil {
		base = s.PublicURL.String()
	}
	integrations, err := s.connect(ctx, log)
	if err != nil {
		return err
	}
	eng, err := engine.Open(ctx, engine.Options{Path: s.DB, Key: key, NoSync: s.NoSync, Providers: append(builtin(), integrations...), AllowPrivateNetworks: s.AllowPrivateNetworks,
		PublicURL: base, Retention: retention, Logger: log})
	if err != nil {
		return err
	}
	defer func() {
		if err := eng.Close(); err != nil {
			log.Error("the engine did not close in order", "err", err)
		}
	}()
	o := httpapi.Options{Logger: log}
	if s.APIKey != "" {
		o.APIKeys = []string{s.APIKey}
	} else if err := firstKey(ctx, eng, c); err != nil {
		return err
	}
	api := newServer(httpapi.New(eng, o), log)
	if err := eng.Start(ctx); err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- api.Serve(listener) }()
	if s.PublicURL == nil {
		log.Info("without --public-url, the URLs of webhooks are good for this machine alone", "url", base)
	}
	log.Info("ready", "addr", listener.Addr().String(), "url", base, "db", s.DB, "version", engine.Version, "private_networks", s.AllowPrivateNetworks)
	fmt.Fprintf(c.out, "callbackd listening on http://%s\n", listener.Addr())
	debug.FreeOSMemory() // what starting took, and an idle daemon would keep
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	log.Info("stopping: what is in flight may finish")
	err = stop(api, eng)
	log.Info("stopped")
	return err
}

// localURL is where this machine reaches a listener; one that listens on all addresses is also at
// localhost.
func localURL(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		return "http://" + net.JoinHostPort("localhost", port)
	}
	return "http://" + addr.String()
}

func (s serveCommand) retention() (time.Duration, error) {
	if s.Retention == "forever" {
		return -1, nil
	}
	d, err := time.ParseDuration(s.Retention)
	if err != nil || d <= 0 {
		return 0, errors.New("--retention must be a time above zero such as 36h or 90m, or forever")
	}
	return d, nil
}

// newServer is an HTTP server that does not wait for ever for a slow client. WriteTimeout counts
// from the headers on, so that it has to leave time for the body: whoever took too long over one
// is told so.
func newServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: headerTimeout, ReadTimeout: requestTimeout, WriteTimeout: requestTimeout + answerTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeaders, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
}

// stop lets requests finish, then polls and attempts.
func stop(api *http.Server, eng *engine.Engine) error {
	requests, cancel := context.WithTimeout(context.Background(), requestsTimeout)
	defer cancel()
	err := api.Shutdown(requests)
	if err != nil {
		err = fmt.Errorf("some requests were cut off: %w", errors.Join(err, api.Close()))
	}
	work, cancel := context.WithTimeout(context.Background(), workTimeout)
	defer cancel()
	if stopped := eng.Stop(work); stopped != nil {
		err = errors.Join(err, fmt.Errorf("some polls or attempts were cut off, and will be made again: %w", stopped))
	}
	return err
}

// firstKey makes a key when there is none, because without one nobody could do anything.
func firstKey(ctx context.Context, eng *engine.Engine, c console) error {
	keys, err := eng.ListAPIKeys(ctx)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if k.RevokedAt.IsZero() {
			return nil
		}
	}
	_, secret, err := eng.CreateAPIKey(ctx, "first", "write")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.err, "callbackd: there was no API key, so this one was made; it is shown only now:\n\n    %s\n\n", secret)
	return err
}
