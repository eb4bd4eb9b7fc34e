package schedule_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/engine/provider/schedule"
)

var trigger = schedule.New().Triggers[0]

// event is a tick as an event.
type event struct {
	Type     string `json:"type"`
	SourceID string `json:"source_id"`
	Output   struct {
		ScheduledAt string          `json:"scheduled_at"`
		Missed      bool            `json:"missed"`
		Data        json.RawMessage `json:"data"`
	} `json:"output"`
}

func (e event) String() string {
	if e.Output.Missed {
		return e.SourceID + " missed"
	}
	return e.SourceID
}

// daemon polls a trigger by a fake clock.
type daemon struct {
	t      rapid.TB
	config string
	state  json.RawMessage
	next   time.Time
}

func (d *daemon) poll(at time.Time) (events []event) {
	d.t.Helper()
	r, err := trigger.Poll(context.Background(), engine.PollRequest{Source: engine.Source{Config: json.RawMessage(d.config), Now: at}, State: d.state})
	if err != nil {
		d.t.Fatal(err)
	}
	if !r.NextPollAt.After(at) || r.NextPollAt.Nanosecond() != 0 {
		d.t.Fatalf("at %v, the next poll is at %v", at, r.NextPollAt)
	}
	for _, input := range r.Inputs {
		var e event
		if err := json.Unmarshal(input, &e); err != nil {
			d.t.Fatal(err)
		}
		events = append(events, e)
	}
	if r.State != nil {
		d.state = r.State
	}
	d.next = r.NextPollAt
	return events
}

func (d *daemon) want(at string, want ...string) {
	d.t.Helper()
	when, err := time.Parse(time.RFC3339, at)
	if err != nil {
		d.t.Fatal(err)
	}
	var got []string
	for _, e := range d.poll(when) {
		got = append(got, e.String())
	}
	if !slices.Equal(got, want) {
		d.t.Errorf("at %s: got %q, want %q", at, got, want)
	}
}

func TestAnEventIsWhole(t *testing.T) {
	t.Parallel()
	d := &daemon{t: t, config: `{"cron":"0 9 * * *","timezone":"Europe/Berlin","data":{"report":"daily"}}`}
	d.want("2026-01-11T12:00:00Z")
	r, err := trigger.Poll(t.Context(), engine.PollRequest{Source: engine.Source{Config: json.RawMessage(d.config), Now: time.Date(2026, 1, 12, 8, 0, 0, 3e8, time.UTC)}, State: d.state})
	if err != nil || len(r.Inputs) != 1 {
		t.Fatal(r.Inputs, err)
	}
	const want = `{"type":"tick","source_id":"2026-01-12T08:00:00Z","output":{"scheduled_at":"2026-01-12T08:00:00.000Z","missed":false,"data":{"report":"daily"}}}`
	if string(r.Inputs[0]) != want {
		t.Errorf("got %s\nwant %s", r.Inputs[0], want)
	}
}

func TestTheFirstPollPlans(t *testing.T) {
	t.Parallel()
	d := &daemon{t: t, config: `{"cron":"@hourly"}`}
	d.want("2026-01-10T14:00:00Z") // a tick, but nobody had asked for it before
	if got := d.next.Format(time.RFC3339); got != "2026-01-10T15:00:00Z" {
		t.Errorf("the next poll is at %s", got)
	}
	d.want("2026-01-10T14:59:59Z") // called early
	d.want("2026-01-10T15:00:00Z", "2026-01-10T15:00:00Z")
	d.want("2026-01-10T15:00:00Z")
	d.want("2026-01-10T15:00:01Z")
}

func TestMissedTicksGiveOneEvent(t *testing.T) {
	t.Parallel()
	d := &daemon{t: t, config: `{"cron":"*/10 * * * *","data":7}`}
	d.want("2026-01-10T14:00:00Z")
	d.want("2026-01-10T14:19:59Z", "2026-01-10T14:10:00Z") // late, but none was missed
	d.want("2026-01-12T09:35:00Z", "2026-01-12T09:30:00Z missed")
	d.want("2026-01-12T09:40:00Z", "2026-01-12T09:40:00Z")
}

func TestAnotherScheduleBeginsAnew(t *testing.T) {
	t.Parallel()
	d := &daemon{t: t, config: `{"cron":"@hourly"}`}
	d.want("2026-01-10T14:30:00Z")
	d.config = `{"cron":"0,10 * * * *"}`
	d.want("2026-01-10T15:05:00Z") // neither had a tick that the other would have had
	d.want("2026-01-10T15:10:00Z", "2026-01-10T15:10:00Z")
	d.config = `{"cron":"0,10 * * * *","timezone":"Asia/Kathmandu"}`
	d.want("2026-01-10T16:20:00Z")
	d.config = `{"cron":"0,10 * * * *","timezone":"Asia/Kathmandu","data":1}` // the same ticks
	d.want("2026-01-10T16:26:00Z", "2026-01-10T16:25:00Z")
	for _, state := range []string{"null", "7", "{", `{"cron":"0,10 * * * *"}`, `{"cron":7}`} {
		d.state = json.RawMessage(state)
		d.want("2026-01-10T18:20:00Z")
	}
}

// The engine knows the ids of ticks that come again, so none becomes two events.
func TestAClockThatWasSetBackIsFollowed(t *testing.T) {
	t.Parallel()
	d := &daemon{t: t, config: `{"cron":"@hourly"}`}
	d.want("2099-01-10T14:30:00Z")
	d.want("2026-01-10T14:30:00Z")
	d.want("2026-01-10T15:00:00Z", "2026-01-10T15:00:00Z")
	d.want("2026-01-10T14:50:00Z")
	d.want("2026-01-10T15:00:00Z", "2026-01-10T15:00:00Z")
}

func TestEveryKeepsItsBeatOverRestarts(t *testing.T) {
	t.Parallel()
	d := &daemon{t: t, config: `{"cron":"@every 90s"}`}
	d.want("2026-01-10T14:00:17Z")
	d.want("2026-01-10T14:02:00Z", "2026-01-10T14:01:30Z")
	d.want("2026-01-10T14:03:29Z", "2026-01-10T14:03:00Z")
	d.want("2026-01-10T14:07:31Z", "2026-01-10T14:07:30Z missed")
}

// However a daemon is run, its events are ticks in order, each once, and after each poll the
// last tick has its event; missed says whether the one before it has none.
func TestEveryLastTickHasOneEvent(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		every := rapid.SampledFrom([]int64{1, 7, 60, 90, 3600}).Draw(rt, "every")
		d := &daemon{t: rt, config: fmt.Sprintf(`{"cron":"@every %ds"}`, every)}
		now := time.Date(2026, 1, 10, 14, 0, 0, 0, time.UTC)
		begin := now
		d.poll(now)
		last := now.Unix() / every * every
		for range rapid.IntRange(1, 20).Draw(rt, "polls") {
			if rapid.Bool().Draw(rt, "on time") {
				now = d.next
			} else {
				now = now.Add(time.Duration(rapid.Int64Range(0, 5*every*int64(time.Second)).Draw(rt, "later")))
			}
			due := now.Unix() / every * every
			got := d.poll(now)
			if due == last {
				if len(got) > 0 {
					rt.Fatalf("at %v: %v again", now, got)
				}
				continue
			}
			at := time.Unix(due, 0).UTC()
			if len(got) != 1 || got[0].SourceID != at.Format(time.RFC3339) || got[0].Output.Missed != (due != last+every) {
				rt.Fatalf("since %v, at %v: got %v after %d, want %d", begin, now, got, last, due)
			}
			last = due
		}
	})
}

func TestValidate(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("x", 64<<10)
	for config, want := range map[string][]string{
		`{"cron":"0 9 * * MON-FRI","timezone":"Europe/Berlin","data":[1, {"a": null}]}`: nil,
		`{"cron":"@every 90s"}`:                              nil,
		`{"cron":"*/10 * * * * *","data":"` + big[2:] + `"}`: nil,
		`{"cron":"@daily","data":"` + big[1:] + `"}`:         {"data: must have at most 64 KiB of JSON"},
		`{"cron":"@daily","timezone":"Mars/Olympus"}`:        {`timezone: is not a time zone that is known here: "Mars/Olympus"; use a name such as "Europe/Berlin"`},
		`{"cron":"@daily","timezone":"Local"}`:               {`timezone: is not a time zone that is known here: "Local"; use a name such as "Europe/Berlin"`},
		`{"cron":"0 0 30 2 *","timezone":"../etc/passwd"}`:   {`timezone: is not a time zone that is known here: "../etc/passwd"; use a name such as "Europe/Berlin"`, "cron: never ticks: there is no such date"},
		`{"cron":"TZ=UTC"}`:                                  {`cron: must not name a time zone; use the field "timezone"`},
		`[]`:                                                 {": read the config: json: cannot unmarshal array into Go value of type schedule.config"},
	} {
		var got []string
		for _, e := range schedule.New().Validate(json.RawMessage(config)) {
			got = append(got, strings.Join(e.Path, ".")+": "+e.Message)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%.80s\n got %q\nwant %q", config, got, want)
		}
	}
}

func TestWhatIsNotUnderstoodIsAnError(t *testing.T) {
	t.Parallel()
	for _, config := range []string{`[]`, `{}`, `{"cron":"TZ=UTC"}`, `{"cron":"@daily","timezone":"Nowhere"}`} {
		if _, err := trigger.Poll(t.Context(), engine.PollRequest{Source: engine.Source{Config: json.RawMessage(config), Now: time.Now()}}); err == nil {
			t.Errorf("%s: no error", config)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := trigger.Poll(ctx, engine.PollRequest{Source: engine.Source{Config: json.RawMessage(`{"cron":"@daily"}`)}}); err == nil {
		t.Error("a cancelled poll succeeded")
	}
}

func TestSchemasAreJSON(t *testing.T) {
	t.Parallel()
	for _, s := range []json.RawMessage{schedule.New().ConfigSchema, trigger.InputSchema, trigger.OutputSchema} {
		if !json.Valid(s) {
			t.Errorf("not JSON: %s", s)
		}
	}
}

// In an engine, ticks come at their second and are delivered.
func TestTicksAreDelivered(t *testing.T) {
	t.Parallel()
	type arrival struct {
		engine.Message
		at time.Time
	}
	delivered := make(chan arrival, 100)
	ctx := t.Context()
	e, err := engine.Open(ctx, engine.Options{
		Path: filepath.Join(t.TempDir(), "callbacks.db"), NoSync: true, Providers: []engine.Provider{schedule.New()}, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Functions: []engine.Function{{Name: "tick", Handle: func(_ context.Context, m engine.Message) error {
			delivered <- arrival{m, time.Now()}
			return nil
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	deployment, err := e.CreateDeployment(ctx, engine.NewDeployment{Provider: "schedule", Config: &engine.NewConfigValue{Value: json.RawMessage(`{"cron":"* * * * * *","data":{"n":1}}`)}})
	if err != nil {
		t.Fatal(err)
	}
	callback, err := e.CreateCallback(ctx, engine.NewCallback{Details: engine.Details{Name: "ticks"}, DeploymentID: deployment.ID, DestinationIDs: []string{"func:tick"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.AttachInstance(ctx, callback.ID, engine.NewInstance{ConfigID: deployment.DefaultConfig.ID}); err != nil {
		t.Fatal(err)
	}
	if err := e.Start(ctx); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for range 2 {
		select {
		case m := <-delivered:
			at, err := time.Parse(time.RFC3339, m.SourceID)
			if err != nil || m.Type != "tick" || seen[m.SourceID] || m.at.Before(at) {
				t.Errorf("got %s %s at %v, %v", m.Type, m.SourceID, m.at, err)
			}
			seen[m.SourceID] = true
		case <-time.After(20 * time.Second):
			t.Fatal("no tick within 20 s")
		}
	}
}
