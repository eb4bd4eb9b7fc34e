package schedule

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

const (
	maxCron  = 256              // bytes
	maxEvery = 8784 * time.Hour // a leap year

	maxOffsets = 100 // that a zone has in five years, and then some
)

var parser = cron.NewParser(cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)

// someDay is where it is tried whether an expression ever ticks: the five years that Next looks ahead
// have every date.
var someDay = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

// ticker is a set of moments, in whole seconds.
type ticker interface {
	// next is the first moment after t, in UTC; zero if there is none within five years. It never
	// goes back when t goes forward.
	next(t time.Time) time.Time
}

// parse reads a cron expression. Its error goes on after the field's name.
func parse(expression string, zone *time.Location) (t ticker, err error) {
	expression = strings.TrimSpace(expression)
	if expression == "" {
		return nil, errors.New("must be a cron expression, such as 0 9 * * MON-FRI, @daily or @every 90s")
	}
	if len(expression) > maxCron {
		return nil, fmt.Errorf("must have at most %d characters", maxCron)
	}
	if strings.HasPrefix(expression, "TZ=") || strings.HasPrefix(expression, "CRON_TZ=") {
		return nil, errors.New(`must not name a time zone; use the field "timezone"`)
	}
	if duration, ok := strings.CutPrefix(expression, "@every"); ok {
		return parseEvery(strings.TrimSpace(duration))
	}
	if !strings.HasPrefix(expression, "@") {
		if err := checkFields(strings.Fields(expression)); err != nil {
			return nil, err
		}
	}
	defer func() { // the parser has panicked before
		if r := recover(); r != nil {
			t, err = nil, errors.New("is not a cron expression")
		}
	}()
	schedule, err := parser.Parse(expression)
	if err != nil {
		return nil, fmt.Errorf("is not a cron expression: %w", err)
	}
	fields, ok := schedule.(*cron.SpecSchedule)
	if !ok {
		return nil, errors.New("is not a cron expression")
	}
	fields.Location = time.UTC // of the clock on the wall, see wallTicker
	if fields.Next(someDay).IsZero() {
		return nil, errors.New("never ticks: there is no such date")
	}
	return wallTicker{fields, zone}, nil
}

// checkFields is for what the parser lets pass.
func checkFields(fields []string) error {
	if n := len(fields); n != 5 && n != 6 {
		return fmt.Errorf("must have 5 fields (minute, hour, day of the month, month, day of the week), or 6 with the second before them, and has %d; or be such as @daily or @every 90s", n)
	}
	for _, field := range fields {
		for part := range strings.SplitSeq(field, ",") {
			// To the parser this is no value, and a field without any takes seconds to find out that
			// it never ticks.
			if part == "" {
				return fmt.Errorf("is not a cron expression: nothing beside a comma in %q", field)
			}
			// Nor does it see what follows the star.
			if bound, _, _ := strings.Cut(part, "/"); len(bound) > 1 && (bound[0] == '*' || bound[0] == '?') {
				return fmt.Errorf("is not a cron expression: %q", part)
			}
		}
	}
	return nil
}

func parseEvery(text string) (ticker, error) {
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return nil, fmt.Errorf("needs a duration after @every, such as 90s or 1h30m, not %q", text)
	case d < time.Second || d > maxEvery || d%time.Second != 0:
		return nil, fmt.Errorf("needs a duration in whole seconds after @every, 1s to %dh, not %q", int(maxEvery.Hours()), text)
	}
	return everyTicker(d / time.Second), nil
}

// everyTicker ticks each time so many seconds have passed since 1970.
type everyTicker int64

func (e everyTicker) next(t time.Time) time.Time {
	n := int64(e)
	s := t.Unix()
	past := s % n
	if past < 0 {
		past += n
	}
	return time.Unix(s-past+n, 0).UTC()
}

// wallTicker ticks when the clock on the wall of a zone shows certain times. The library's own
// Next is only asked about UTC: at changes of an offset it depends on where it starts, and
// loses ticks where half an hour or midnight is skipped.
type wallTicker struct {
	fields *cron.SpecSchedule
	zone   *time.Location
}

// everyHour tells whether the hour field is a star: see the package documentation on what
// that means when an offset changes.
func (w wallTicker) everyHour() bool { return w.fields.Hour>>63 == 1 }

func (w wallTicker) next(t time.Time) time.Time {
	from := t.UTC().Truncate(time.Second).Add(time.Second) // the first moment that counts
	for range maxOffsets {
		offset := offsetAt(from, w.zone)
		start, end := from.In(w.zone).ZoneBounds()
		if !w.everyHour() && !start.IsZero() {
			// What the clock shows for the second time does not tick again.
			repeated := start.UTC().Add(offsetAt(start.Add(-time.Second), w.zone) - offset)
			if from.Before(repeated) {
				from = repeated
			}
		}
		shown := w.fields.Next(from.Add(offset - time.Second))
		if shown.IsZero() {
			return time.Time{}
		}
		if found := shown.Add(-offset); end.IsZero() || found.Before(end) {
			return found
		}
		from = end.UTC()
		if !w.everyHour() && shown.Before(from.Add(offsetAt(from, w.zone))) {
			return from // the clock skips it
		}
	}
	return time.Time{}
}

// offsetAt is by how much a zone's clocks are ahead of UTC.
func offsetAt(t time.Time, zone *time.Location) time.Duration {
	_, seconds := t.In(zone).Zone()
	return time.Duration(seconds) * time.Second
}

// latest is the last tick after one moment and not after another; zero if there is none. It
// takes as long for a year of ticks as for a few.
func latest(t ticker, after, until time.Time) time.Time {
	found := t.next(after)
	if found.IsZero() || found.After(until) {
		return time.Time{}
	}
	// The last tick is at or after found, and before none.
	for none := until; ; {
		middle := found.Add(none.Sub(found) / 2).Truncate(time.Second)
		next := t.next(middle)
		switch {
		case !next.IsZero() && !next.After(until):
			found = next
		case !middle.After(found):
			return found
		default:
			none = middle
		}
	}
}
