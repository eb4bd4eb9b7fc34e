package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/callbackd/callbackd/engine"
)

const (
	// triggerInterval makes a hundredth of all triggers due each second.
	triggerInterval = 100 * time.Second
	// configsPerCallback is how many instances a callback of the seed has.
	configsPerCallback = 1_000
)

// triggers has very many triggers polled, by a provider whose poll costs nothing, so that what
// is seen is the engine's own.
func triggers(ctx context.Context, s *suite) error {
	t := &table{title: "Triggers, each polled every 100 s",
		note: "Lag is from when a poll was due to when the provider was called; due times are spread evenly. Starved: due for over a second at the end and not polled. " +
			"Then the same after a stop of ten minutes, when all are overdue at the start: a stampede would show as polls that run at once (MaxPolls is 256).",
		head: []string{"triggers", "due/s", "polls/s", "lag p50", "lag p99", "lag max", "starved", "CPU of a core", "all overdue: at once", "polled in", "most in 1 s"}}
	var worst watchedPolls
	for _, n := range s.size.triggers {
		got, err := s.pollMany(ctx, n)
		if err != nil {
			return fmt.Errorf("%s triggers: %w", count(n), err)
		}
		t.add(count(n), count(n/100), count(int(got.rate)), millis(got.p50), millis(got.p99), millis(got.max), count(got.starved), fmt.Sprintf("%.0f %%", 100*got.cpu),
			count(got.atOnce), got.caughtUp, count(got.peak))
		s.note("  %s triggers: lag p99 %s, %d starved, overdue: %s", count(n), millis(got.p99), got.starved, got.caughtUp)
		worst = got
	}
	s.report.table(t)
	n := largest(s.size.triggers)
	s.report.add(row{what: fmt.Sprintf("%s triggers, %s due a second: lag p99 (%d starved, %.0f %% of a core)", count(n), count(n/100), worst.starved, 100*worst.cpu), goal: "< 1 s, none starved",
		value: millis(worst.p99), met: yes(worst.p99 < time.Second && worst.starved == 0)})
	return nil
}

// watchedPolls is what was seen of many triggers.
type watchedPolls struct {
	rate          float64
	p50, p99, max time.Duration
	starved       int
	cpu           float64 // of one core
	atOnce        int
	caughtUp      string
	peak          int
}

func (s *suite) pollMany(ctx context.Context, n int) (got watchedPolls, err error) {
	w := &pollWatcher{}
	provider := engine.Provider{Key: "many", Triggers: []engine.Trigger{{Key: "tick", Interval: triggerInterval, Poll: w.poll}}}
	path, err := s.triggerFile(ctx, n, "many", provider, triggerInterval)
	if err != nil {
		return got, err
	}
	defer s.remove(path)
	first := time.Now().Truncate(time.Second)
	if err := s.plantTriggers(ctx, path, n, plan{first: first, over: triggerInterval, state: true}); err != nil {
		return got, err
	}
	cpu, err := s.runTriggers(ctx, path, w, provider, first.Add(-2*time.Second), func(ctx context.Context) error {
		return sleep(ctx, first.Add(s.size.pollSpan).Sub(w.now()))
	})
	if err != nil {
		return got, err
	}
	end := first.Add(s.size.pollSpan)
	lags := w.lagsUntil(end)
	got.rate = float64(len(lags)) / s.size.pollSpan.Seconds()
	// Those due in the last second may be on their way.
	dueBefore := end.Add(-time.Second)
	got.starved = plan{first: first, over: triggerInterval}.dueBefore(n, dueBefore) - w.polledOf(dueBefore)
	got.p50, got.p99, got.max = quantile(lags, 0.5), quantile(lags, 0.99), quantile(lags, 1)
	got.cpu = cpu

	// The file again, as if it had been closed for ten minutes.
	w.forget()
	_, err = s.runTriggers(ctx, path, w, provider, end.Add(2*triggerInterval+10*time.Minute), func(ctx context.Context) error { return w.until(ctx, n, s.size.catchUp) })
	polled, took := w.progress()
	if got.caughtUp = fmt.Sprintf("%.1f s", took.Seconds()); polled < n {
		got.caughtUp = fmt.Sprintf("%s in %.0f s", count(polled), took.Seconds())
	}
	got.atOnce, got.peak = w.most, w.peak()
	return got, err
}

// runTriggers runs an engine on a file until watch returns, and says what share of a core
// that took. The engine's clock is put to a time when it starts, so that however long the file took
// to make, what is due in it is due then.
func (s *suite) runTriggers(ctx context.Context, path string, w *pollWatcher, provider engine.Provider, at time.Time, watch func(context.Context) error) (cpu float64, err error) {
	p, err := s.openWith(ctx, path, "triggers", func(o *engine.Options) { o.Now = w.now }, provider)
	if err != nil {
		return 0, err
	}
	// Whole seconds, because the engine's ticks follow the real clock, too.
	w.ahead.Store(int64(time.Until(at).Truncate(time.Second)))
	before, started := cpuTime(), time.Now()
	if err = p.Start(ctx); err == nil {
		err = watch(ctx)
	}
	cpu = float64(cpuTime()-before) / float64(time.Since(started))
	return cpu, errors.Join(err, p.close())
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// triggerFile makes a closed file with a provider in use and the seed of n triggers: callbacks
// that share configs, all of which are attached to the first callback.
func (s *suite) triggerFile(ctx context.Context, n int, key string, provider engine.Provider, interval time.Duration) (path string, err error) {
	if path, err = s.file(); err != nil {
		return "", err
	}
	p, err := s.open(ctx, path, "set-up", provider)
	if err != nil {
		return "", err
	}
	return path, errors.Join(p.seedTriggers(ctx, n, key, interval), p.close())
}

func (p *product) seedTriggers(ctx context.Context, n int, key string, interval time.Duration) error {
	configs := min(n, configsPerCallback)
	deployment, err := p.CreateDeployment(ctx, engine.NewDeployment{Provider: key})
	if err != nil {
		return err
	}
	callbacks := make([]string, (n+configs-1)/configs)
	for i := range callbacks { // one by one: copies count on from the first
		c, err := p.CreateCallback(ctx, engine.NewCallback{Details: engine.Details{Name: "many"}, DeploymentID: deployment.ID, PollIntervalOverride: interval})
		if err != nil {
			return err
		}
		callbacks[i] = c.ID
	}
	return each(ctx, publishers, configs, func(ctx context.Context, i int) error {
		c, err := p.CreateConfig(ctx, engine.NewConfig{Provider: key, DeploymentID: deployment.ID, Value: json.RawMessage(`{}`)})
		if err != nil {
			return err
		}
		_, err = p.AttachInstance(ctx, callbacks[0], engine.NewInstance{ConfigID: c.ID, Baseline: engine.BaselineEmit})
		return err
	})
}

// plan says when planted triggers, which are numbered from 1, are due: spread over some time, by the
// millisecond.
type plan struct {
	first time.Time
	over  time.Duration
	state bool // the state says when each is due, for a pollWatcher
}

// planStep is prime: neighbours are far apart.
const planStep = 7919

// dueBefore counts those of the first n triggers that are due before a time.
func (p plan) dueBefore(n int, at time.Time) (due int) {
	for i := range n {
		if p.first.UnixMilli()+int64(i+1)*planStep%p.over.Milliseconds() < at.UnixMilli() {
			due++
		}
	}
	return due
}

// plantTriggers attaches the seed's configs to its other callbacks, by copying rows, and
// spreads all triggers over time.
func (s *suite) plantTriggers(ctx context.Context, path string, n int, p plan) error {
	due := func(number string) string {
		return fmt.Sprintf("%d + %s * %d %% %d", p.first.UnixMilli(), number, planStep, p.over.Milliseconds())
	}
	state := func(due string) string { return fmt.Sprintf(`CAST(printf('{"due":%%d}', %s) AS BLOB)`, due) }
	configs := min(n, configsPerCallback)
	number := fmt.Sprintf("(t.seq + k * %d)", configs)
	c := copying{tables: []string{"instance", "instance_trigger"}, set: map[string]string{"callback_seq": "t.callback_seq + k", "next_poll_at": due(number)}}
	seed := "UPDATE instance_trigger SET next_poll_at = " + due("seq")
	if p.state {
		c.set["state"] = state(due(number))
		seed += ", state = " + state(due("seq"))
	}
	if err := alter(ctx, path, seed); err != nil {
		return err
	}
	return multiply(ctx, path, c, (n+configs-1)/configs)
}
