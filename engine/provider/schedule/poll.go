package schedule

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/callbackd/callbackd/engine"
)

const maxData = 64 << 10 // bytes of JSON

// config is a config's value, as configSchema describes it.
type config struct {
	Cron     string          `json:"cron"`
	Timezone string          `json:"timezone"`
	Data     json.RawMessage `json:"data"`
}

func parseConfig(value json.RawMessage) (config, error) {
	var c config
	if err := json.Unmarshal(value, &c); err != nil {
		return config{}, fmt.Errorf("read the config: %w", err)
	}
	c.Timezone = cmp.Or(c.Timezone, "UTC")
	return c, nil
}

// validateConfig checks what configSchema cannot say.
func validateConfig(value json.RawMessage) []engine.FieldError {
	c, err := parseConfig(value)
	if err != nil {
		return []engine.FieldError{{Code: "invalid_type", Message: err.Error()}}
	}
	var wrong []engine.FieldError
	report := func(code, message, field string) {
		wrong = append(wrong, engine.FieldError{Code: code, Message: message, Path: []string{field}})
	}
	zone, err := loadZone(c.Timezone)
	if err != nil {
		report("invalid_timezone", err.Error(), "timezone")
		zone = time.UTC
	}
	if _, err := parse(c.Cron, zone); err != nil {
		report("invalid_cron", err.Error(), "cron")
	}
	var data bytes.Buffer
	if json.Compact(&data, c.Data) == nil && data.Len() > maxData {
		report("max_length", fmt.Sprintf("must have at most %d KiB of JSON", maxData>>10), "data")
	}
	return wrong
}

// loadZone finds a time zone. Its error goes on after the field's name.
func loadZone(name string) (*time.Location, error) {
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" { // which would be another on another machine
		return nil, fmt.Errorf(`is not a time zone that is known here: %q; use a name such as "Europe/Berlin"`, name)
	}
	return zone, nil
}

// state is what a poll leaves for the next.
type state struct {
	// Cron and Timezone are those of the ticks: others begin anew.
	Cron     string    `json:"cron"`
	Timezone string    `json:"timezone"`
	Until    time.Time `json:"until"` // up to here, what ticked is handled
}

// readState gives the moment up to which ticks are handled. A state of another schedule, or
// one that is not understood, counts as none; so does one that is ahead, since the clock was
// set back: the engine knows the ids of ticks that come once more.
func readState(data json.RawMessage, c config, now time.Time) (until time.Time, ok bool) {
	var s state
	if len(data) == 0 || json.Unmarshal(data, &s) != nil || s.Cron != c.Cron || s.Timezone != c.Timezone || s.Until.IsZero() || s.Until.After(now) {
		return time.Time{}, false
	}
	return s.Until, true
}

// tick is an event's output.
type tick struct {
	ScheduledAt string          `json:"scheduled_at"`
	Missed      bool            `json:"missed"`
	Data        json.RawMessage `json:"data"`
}

func poll(ctx context.Context, req engine.PollRequest) (engine.PollResult, error) {
	if err := ctx.Err(); err != nil {
		return engine.PollResult{}, err
	}
	c, err := parseConfig(req.Config)
	if err != nil {
		return engine.PollResult{}, err
	}
	zone, err := loadZone(c.Timezone)
	if err != nil {
		return engine.PollResult{}, fmt.Errorf("timezone: %w", err)
	}
	ticks, err := parse(c.Cron, zone)
	if err != nil {
		return engine.PollResult{}, fmt.Errorf("cron: %w", err)
	}
	now := req.Now.UTC().Truncate(time.Second)
	result := engine.PollResult{NextPollAt: ticks.next(now)}
	if result.NextPollAt.IsZero() {
		return engine.PollResult{}, errors.New("cron: it does not tick within the next five years")
	}
	until, known := readState(req.State, c, now)
	if known {
		last := latest(ticks, until, now)
		if last.IsZero() {
			return result, nil
		}
		input, err := event(last, ticks.next(until).Before(last), c.Data)
		if err != nil {
			return engine.PollResult{}, err
		}
		result.Inputs = []json.RawMessage{input}
	}
	result.State, err = json.Marshal(state{c.Cron, c.Timezone, now})
	return result, err
}

// event is a tick as an input, which says its event itself.
func event(at time.Time, missed bool, data json.RawMessage) (json.RawMessage, error) {
	output, err := json.Marshal(tick{at.Format("2006-01-02T15:04:05.000Z07:00"), missed, data})
	if err != nil {
		return nil, err
	}
	return json.Marshal(engine.Mapped{Type: "tick", SourceID: at.Format(time.RFC3339), Output: output})
}
