package store_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/callbackd/callbackd/store"
)

// day is when everything in these tests happens.
var day = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// fixture is a store with one of everything in it.
type fixture struct {
	*store.Store
	t           testing.TB
	path        string
	provider    store.Provider
	deployment  store.Deployment // with a default config
	config      store.Config
	authConfig  store.AuthConfig
	destination store.Destination // selected by the callback, wants every type
	callback    store.Callback    // of the triggers "made" and "gone"
	instance    store.Instance    // of config and authConfig
}

// open opens a file until the test ends.
func open(t testing.TB, path string) *store.Store {
	t.Helper()
	s := must(store.Open(t.Context(), store.Options{Path: path, NoSync: true}))(t)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func setup(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{t: t, path: filepath.Join(t.TempDir(), "test.db")}
	f.Store = open(t, f.path)
	f.sync(declaration())
	f.provider = must(f.Provider(t.Context(), "acme"))(t)
	f.deployment = must(f.CreateDeployment(t.Context(), day, store.NewDeployment{Details: store.Details{Name: "ours"}, ProviderID: f.provider.ID, Config: new(f.newConfig("default"))}))(t)
	f.config = must(f.CreateConfig(t.Context(), day, f.newConfig("config")))(t)
	f.authConfig = must(f.CreateAuthConfig(t.Context(), day, f.newAuthConfig()))(t)
	f.destination = f.newDestination(store.ScopeSelected, nil)
	f.callback = f.newCallback()
	f.instance = must(f.AttachInstance(t.Context(), day, f.newInstance()))(t)
	return f
}

// fresh is the same store with a callback and an instance of the test's own.
func (f *fixture) fresh(t testing.TB) *fixture {
	t.Helper()
	own := *f
	own.t = t
	own.callback = own.newCallback()
	own.instance = must(own.AttachInstance(t.Context(), day, own.newInstance()))(t)
	return &own
}

// must is for calls that have to succeed.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// equal compares what two values print as.
func equal(t testing.TB, what string, got, want any) {
	t.Helper()
	if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); g != w && !reflect.DeepEqual(got, want) { // there may be pointers in them
		t.Errorf("%s:\n got %s\nwant %s", what, g, w)
	}
}

// declaration is a provider with two triggers.
func declaration() store.ProviderDeclaration {
	return store.ProviderDeclaration{Identifier: "acme", Name: "Acme", ConfigSchema: json.RawMessage(`{}`),
		AuthMethods: []store.AuthMethodDeclaration{{Key: "token", Type: "token", Name: "Token"}},
		Triggers: []store.TriggerDeclaration{
			{Key: "made", Name: "Made", Source: "polling", IntervalSeconds: 60, Baseline: "emit"},
			{Key: "gone", Name: "Gone", Source: "polling", IntervalSeconds: 300, Baseline: "skip"},
		}}
}

func (f *fixture) sync(declared ...store.ProviderDeclaration) {
	f.t.Helper()
	check(f.t, f.SyncProviders(f.t.Context(), day, declared))
}

func (f *fixture) newConfig(name string) store.NewConfig {
	return store.NewConfig{Details: store.Details{Name: name}, ProviderID: f.provider.ID,
		SpecificationID: f.provider.CurrentVersion.SpecificationID, Value: json.RawMessage(`{"url":"config-secret"}`)}
}

func (f *fixture) newAuthConfig() store.NewAuthConfig {
	method := must(f.AuthMethod(f.t.Context(), "token", f.provider.ID))(f.t)
	return store.NewAuthConfig{ProviderID: f.provider.ID, MethodID: method.ID, Value: json.RawMessage(`{"token":"auth-secret"}`)}
}

func (f *fixture) newInstance() store.NewInstance {
	return store.NewInstance{CallbackID: f.callback.ID, ConfigID: f.config.ID, AuthConfigID: f.authConfig.ID}
}

func (f *fixture) newDestination(scope string, eventTypes []string) store.Destination {
	f.t.Helper()
	return must(f.CreateDestination(f.t.Context(), day, store.NewDestination{SigningSecret: "signing-secret", DestinationSettings: store.DestinationSettings{
		Scope: scope, URL: "https://example.com/hook", Method: "POST", Headers: map[string]string{"X-Key": "header-secret"}, EventTypes: eventTypes,
		Retry: store.Retry{Type: "schedule", MaxAttempts: 8}, Timeout: 10 * time.Second, MaxInFlight: 4}}))(f.t)
}

// newCallback makes another callback with the fixture's deployment and destination.
func (f *fixture) newCallback() store.Callback {
	f.t.Helper()
	return must(f.CreateCallback(f.t.Context(), day, f.deployment.ID, store.CallbackSettings{},
		store.CallbackSets{DestinationIDs: &[]string{f.destination.ID}}))(f.t)
}

func (f *fixture) publish(sourceID string) store.Published {
	f.t.Helper()
	return must(f.Publish(f.t.Context(), day, f.callback.ID, store.NewEvent{Type: "thing.made", SourceID: sourceID, Output: json.RawMessage(`{}`)}))(f.t)[0]
}

// target is what the instance's trigger with this key is polled with.
func (f *fixture) target(key string) store.PollTarget {
	f.t.Helper()
	var seq int64
	row := f.Readers().QueryRowContext(f.t.Context(), `SELECT x.seq FROM instance_trigger AS x JOIN provider_trigger AS p ON p.seq = x.provider_trigger_seq
		JOIN instance AS i ON i.seq = x.instance_seq WHERE p.key = ? AND i.id = ?`, key, f.instance.ID)
	check(f.t, row.Scan(&seq))
	return must(f.PollTarget(f.t.Context(), seq))(f.t)
}

// poll records a poll that found these source ids.
func (f *fixture) poll(t store.PollTarget, state string, sourceIDs ...string) store.PollRecord {
	f.t.Helper()
	p := store.Poll{At: day, NextPollAt: day.Add(time.Minute), State: json.RawMessage(state)}
	for _, id := range sourceIDs {
		p.Items = append(p.Items, item(id))
	}
	return must(f.RecordPoll(f.t.Context(), t, p))(f.t)
}

func item(sourceID string) store.Item {
	return store.Item{Input: json.RawMessage(`{}`), Type: "thing.made", SourceID: sourceID, Output: json.RawMessage(`{}`)}
}

// events are the callback's, oldest first.
func (f *fixture) events() []store.Event {
	f.t.Helper()
	return must(f.ListEvents(f.t.Context(), f.callback.ID, store.EventFilter{}, store.Page{Limit: 10000}))(f.t).Items
}

func (f *fixture) event(id string) store.Event {
	f.t.Helper()
	return must(f.Event(f.t.Context(), f.callback.ID, id))(f.t)
}

// trigger is the instance's trigger with this key, as users see it.
func (f *fixture) trigger(key string) store.InstanceTrigger {
	f.t.Helper()
	i := must(f.Instance(f.t.Context(), f.callback.ID, f.instance.ID))(f.t)
	at := slices.IndexFunc(i.Triggers, func(t store.InstanceTrigger) bool { return t.Trigger.Key == key })
	if at < 0 {
		f.t.Fatalf("the instance has no trigger %q", key)
	}
	return i.Triggers[at]
}

func (f *fixture) count(query string, args ...any) (n int) {
	f.t.Helper()
	check(f.t, f.Readers().QueryRowContext(f.t.Context(), query, args...).Scan(&n))
	return n
}
