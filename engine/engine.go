// Package engine is the callback engine: it polls providers, turns what is new into
// events, and delivers every event to the destinations that want it, with everything it
// knows in one SQLite file.
//
//	eng, err := engine.Open(ctx, engine.Options{Path: "callbacks.db", Providers: []engine.Provider{...}})
//	defer eng.Close()
//	err = eng.Run(ctx) // or Start and Stop
//
// The nouns, from the source to the receiver: a provider (code) is taken into use as a
// deployment and configured by a config and perhaps an auth config; a callback says which
// triggers of a deployment are watched and which destinations are told; an instance puts
// a callback to work with one config; its triggers find events; each event makes one
// notification per destination; a notification ends after one or more attempts.
//
// # Guarantees
//
// What was accepted is on the disk: before Publish returns, before a poll's state
// advances. A provider's event is stored once for each of its source ids. Every event has
// exactly one notification per matching destination, made in the same transaction. Every
// notification is attempted at least once, unless its destination ends first, and ends as
// delivered or failed, with the true reason. A crash at any instant loses nothing accepted and repeats at most what was in
// flight; a notification's id is the same at every attempt, so receivers can drop repeats.
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/callbackd/callbackd/store"
)

// Engine is an open engine. Its methods may be called from many goroutines, whether it
// runs or not; what is accepted while it does not run is delivered when it does.
type Engine struct {
	store      *store.Store
	providers  map[string]*declared
	functions  map[string]Function // by URL
	deliveries http.RoundTripper
	polls      *http.Client
	options    Options
	log        *slog.Logger
	keys       keyRing
	clock      *clock
	preparing  preparing
	failing    *failing
	stuck      *stuck

	poller    *poller
	deliverer *deliverer
	remover   *remover
	inbound   *inbound

	closeProviders func() error // the first time; later: nothing

	state      atomic.Int32 // a lifeState; set with mu held, which Start holds for long
	mu         sync.Mutex   // over what follows
	cutShort   bool         // a Stop did not wait for work in flight
	cancelWork context.CancelFunc
	unwatch    func()        // ends what looks after the clock, the file and the triggers
	stopped    chan struct{} // closed when everything has stopped
}

// Open opens the file and makes the declared providers and functions known in it. It
// starts nothing. A file that another process has open is an error that says so. With an error,
// the providers are closed.
func Open(ctx context.Context, o Options) (*Engine, error) {
	o = o.withDefaults()
	e, err := openEngine(ctx, o)
	if err != nil {
		return nil, errors.Join(err, closeProviders(o.Logger, o.Providers))
	}
	return e, nil
}

func openEngine(ctx context.Context, o Options) (*Engine, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	e := &Engine{providers: make(map[string]*declared), options: o, log: o.Logger, clock: newClock(o.Now), stopped: make(chan struct{})}
	e.deliveries, e.polls = o.clients()
	var rows []store.ProviderDeclaration
	for _, p := range o.Providers {
		d, row, err := declare(p)
		if err != nil {
			return nil, err
		}
		if e.providers[p.Key] != nil {
			return nil, fmt.Errorf("engine: two providers are called %q", p.Key)
		}
		e.providers[p.Key] = d
		rows = append(rows, row)
	}
	functions, functionRows, err := declareFunctions(o.Functions)
	if err != nil {
		return nil, err
	}
	e.functions = functions
	if e.store, err = store.Open(ctx, store.Options{Path: o.Path, Key: o.Key, NoSync: o.NoSync, Now: o.Now, Logger: o.Logger}); err != nil {
		return nil, err
	}
	err = e.store.SyncProviders(ctx, e.now(), rows)
	if err == nil {
		err = e.store.SyncFunctions(ctx, e.now(), functionRows)
	}
	if err != nil {
		return nil, errors.Join(err, e.store.Close())
	}
	e.poller, e.stuck, e.failing = newPoller(e), newStuck(e), newFailing(e.log)
	e.deliverer = newDeliverer(e)
	e.remover = newRemover(e)
	var once sync.Once
	e.closeProviders = func() (err error) {
		once.Do(func() { err = closeProviders(e.log, o.Providers) })
		return err
	}
	e.inbound = newInbound()
	return e, nil
}

func (e *Engine) now() time.Time { return e.clock.now() }
