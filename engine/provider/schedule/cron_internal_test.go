package schedule

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // so that the tests do not depend on the machine

	"pgregory.net/rapid"
)

func mustParse(t testing.TB, expression, zone string) ticker {
	t.Helper()
	z, err := loadZone(zone)
	if err != nil {
		t.Fatal(err)
	}
	ticks, err := parse(expression, z)
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return ticks
}

// A tick per line: what the clock on the wall shows, and its offset.
func TestTicks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, cron, zone, after string
		want                    []string
	}{
		{"FiveFields", "30 9 * * MON-FRI", "UTC", "2026-01-09T09:30:00Z", []string{"2026-01-12T09:30:00Z", "2026-01-13T09:30:00Z"}},
		{"SixFields", "*/20 0 0 1 1 *", "UTC", "2026-01-01T00:00:00Z", []string{"2026-01-01T00:00:20Z", "2026-01-01T00:00:40Z", "2027-01-01T00:00:00Z"}},
		{"EitherDayIsEnough", "0 0 13 * FRI", "UTC", "2026-02-06T00:00:00Z", []string{"2026-02-13T00:00:00Z", "2026-02-20T00:00:00Z"}},
		{"ALeapDay", "0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", []string{"2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"}},
		{"Descriptor", "@weekly", "America/New_York", "2026-01-01T00:00:00Z", []string{"2026-01-04T00:00:00-05:00"}},
		{"EveryCountsFromTheEpoch", "@every 6h", "Asia/Kathmandu", "2026-01-01T05:59:59.5Z", []string{"2026-01-01T11:45:00+05:45", "2026-01-01T17:45:00+05:45"}},
		{"EveryBeforeTheEpoch", "@every 90s", "UTC", "1969-12-31T23:58:29Z", []string{"1969-12-31T23:58:30Z", "1970-01-01T00:00:00Z"}},

		{"BerlinSkippedHourTicksAtTheChange", "30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", []string{"2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"}},
		{"BerlinSkippedHourOfAStarDoesNotTick", "30 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", []string{"2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00"}},
		{"BerlinSkippedTicksAreOne", "*/20 2 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", []string{"2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"}},
		{"BerlinSkippedOnTheOnlyDay", "30 2 29 3 *", "Europe/Berlin", "2026-01-01T00:00:00Z", []string{"2026-03-29T03:00:00+02:00", "2027-03-29T02:30:00+02:00"}},
		{"BerlinRepeatedHourTicksOnce", "30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", []string{"2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"}},
		{"BerlinRepeatedHourOfAStarTicksTwice", "30 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", []string{"2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00", "2026-10-25T03:30:00+01:00"}},
		{"BerlinFromWithinTheRepeatedHour", "45 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", []string{"2026-10-26T02:45:00+01:00"}},
		{"NewYorkSkippedHour", "0 2 * * *", "America/New_York", "2026-03-08T00:00:00Z", []string{"2026-03-08T03:00:00-04:00", "2026-03-09T02:00:00-04:00"}},
		{"NewYorkRepeatedHour", "0 1 * * *", "America/New_York", "2026-11-01T00:00:00Z", []string{"2026-11-01T01:00:00-04:00", "2026-11-02T01:00:00-05:00"}},
		{"LordHoweSkipsHalfAnHour", "15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", []string{"2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"}},
		{"LordHoweLosesNothingLater", "0 3 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", []string{"2026-10-04T03:00:00+11:00", "2026-10-05T03:00:00+11:00"}},
		{"LordHoweRepeatsHalfAnHour", "45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00:00Z", []string{"2026-04-05T01:45:00+11:00", "2026-04-06T01:45:00+10:30"}},
		{"MidnightIsSkipped", "0 12 * * SUN", "America/Sao_Paulo", "2018-11-03T00:00:00Z", []string{"2018-11-04T12:00:00-02:00", "2018-11-11T12:00:00-02:00"}},
		{"MidnightItselfIsSkipped", "@daily", "America/Sao_Paulo", "2018-11-03T12:00:00Z", []string{"2018-11-04T01:00:00-02:00", "2018-11-05T00:00:00-02:00"}},
		{"ADayIsSkipped", "0 9 * * *", "Pacific/Apia", "2011-12-29T20:00:00Z", []string{"2011-12-31T00:00:00+14:00", "2011-12-31T09:00:00+14:00"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ticks := mustParse(t, c.cron, c.zone)
			zone, _ := loadZone(c.zone)
			at, err := time.Parse(time.RFC3339, c.after)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range c.want {
				at = ticks.next(at)
				if got := at.In(zone).Format(time.RFC3339); got != want {
					t.Fatalf("got %s, want %s", got, want)
				}
			}
		})
	}
}

// changes are days around which clocks change in all the ways there are.
var changes = []struct{ zone, day string }{
	{"Europe/Berlin", "2026-03-28"}, {"Europe/Berlin", "2026-10-24"}, {"America/New_York", "2026-03-07"}, {"America/New_York", "2026-10-31"},
	{"Australia/Lord_Howe", "2026-10-03"}, {"Australia/Lord_Howe", "2026-04-04"}, {"America/Sao_Paulo", "2018-11-03"}, {"America/Sao_Paulo", "2018-02-17"},
	{"Africa/Cairo", "2026-04-23"}, {"Africa/Casablanca", "2026-02-14"}, {"Pacific/Apia", "2011-12-29"}, {"Asia/Kathmandu", "1985-12-31"}, {"UTC", "2026-01-01"},
}

func field(rt *rapid.T, name string, low, high int) string {
	n := rapid.IntRange(low, high)
	switch rapid.IntRange(0, 3).Draw(rt, name+" form") {
	case 0:
		return "*"
	case 1:
		return fmt.Sprintf("*/%d", rapid.IntRange(1, 7).Draw(rt, name+" step"))
	case 2:
		from := n.Draw(rt, name+" from")
		return fmt.Sprintf("%d-%d", from, rapid.IntRange(from, high).Draw(rt, name+" to"))
	default:
		return fmt.Sprintf("%d,%d", n.Draw(rt, name), n.Draw(rt, name+" too"))
	}
}

// The ticks are those that one finds by looking at the clock on the wall every minute.
func TestTicksAreWhatTheClockShows(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		c := rapid.SampledFrom(changes).Draw(rt, "change")
		expression := strings.Join([]string{field(rt, "minute", 0, 59), field(rt, "hour", 0, 4), "*", "*", field(rt, "weekday", 0, 6)}, " ")
		zone, err := loadZone(c.zone)
		if err != nil {
			rt.Fatal(err)
		}
		begin, err := time.ParseInLocation(time.DateOnly, c.day, zone)
		if err != nil {
			rt.Fatal(err)
		}
		end := begin.Add(72 * time.Hour)
		ticks, err := parse(expression, zone)
		if err != nil {
			rt.Fatal(err)
		}
		w := ticks.(wallTicker)
		matches := func(shown time.Time) bool { return w.fields.Next(shown.Add(-time.Second)).Equal(shown) }
		shown := func(at time.Time) time.Time { return at.UTC().Add(offsetAt(at, zone)) }

		var want, got []time.Time
		highest := shown(begin)
		for at := begin.Add(time.Minute); !at.After(end); at = at.Add(time.Minute) {
			s := shown(at)
			tick := matches(s)
			if !w.everyHour() {
				tick = tick && s.After(highest)
				for skipped := highest.Add(time.Minute); skipped.Before(s); skipped = skipped.Add(time.Minute) {
					tick = tick || matches(skipped)
				}
			}
			if s.After(highest) {
				highest = s
			}
			if tick {
				want = append(want, at.UTC())
			}
		}
		for at := ticks.next(begin); !at.After(end); at = ticks.next(at) {
			got = append(got, at)
		}
		if !slices.EqualFunc(got, want, time.Time.Equal) {
			rt.Fatalf("%s in %s:\n got %v\nwant %v", expression, c.zone, got, want)
		}
		// From wherever one starts, the next is the same; and the latest is the last of them.
		from := begin.Add(time.Duration(rapid.Int64Range(0, int64(72*time.Hour)).Draw(rt, "from")))
		i := slices.IndexFunc(want, from.Before)
		if next := ticks.next(from); i >= 0 && !next.Equal(want[i]) || i < 0 && !next.After(end) {
			rt.Fatalf("%s in %s: after %v comes %v", expression, c.zone, from, next)
		}
		var last time.Time
		if i >= 0 {
			last = want[len(want)-1]
		}
		if found := latest(ticks, from, end); !found.Equal(last) {
			rt.Fatalf("%s in %s: the latest after %v is %v, not %v", expression, c.zone, from, found, last)
		}
	})
}

// counted counts how often it is asked.
type counted struct {
	ticker
	asked int
}

func (c *counted) next(t time.Time) time.Time {
	c.asked++
	return c.ticker.next(t)
}

func TestAYearOfTicksIsFoundInAFewSteps(t *testing.T) {
	t.Parallel()
	for _, expression := range []string{"* * * * * *", "@every 1s", "59 59 23 31 12 *", "0 0 29 2 *"} {
		c := &counted{ticker: mustParse(t, expression, "Europe/Berlin")}
		until := time.Date(2026, 12, 31, 23, 59, 59, 5e8, time.UTC)
		found := latest(c, until.AddDate(-3, 0, 0), until)
		if found.IsZero() || !c.ticker.next(found).After(until) || c.asked > 100 {
			t.Errorf("%s: found %v, asked %d times", expression, found, c.asked)
		}
	}
}

func TestWhatIsNoCronExpressionIsRefused(t *testing.T) {
	t.Parallel()
	const five = "must have 5 fields (minute, hour, day of the month, month, day of the week), or 6 with the second before them, and has "
	const or = "; or be such as @daily or @every 90s"
	for expression, want := range map[string]string{
		"":                                      "must be a cron expression, such as 0 9 * * MON-FRI, @daily or @every 90s",
		"TZ=UTC":                                `must not name a time zone; use the field "timezone"`,
		" CRON_TZ=Europe/Berlin":                `must not name a time zone; use the field "timezone"`,
		"TZ=UTC 0 9 * * *":                      `must not name a time zone; use the field "timezone"`,
		"* * * *":                               five + "4" + or,
		"* * * * * * *":                         five + "7" + or,
		"0 0 30 2 *":                            "never ticks: there is no such date",
		"0 0 31 4,6,9,11 *":                     "never ticks: there is no such date",
		", * * * * *":                           `is not a cron expression: nothing beside a comma in ","`,
		"0 0 1,,2 * *":                          `is not a cron expression: nothing beside a comma in "1,,2"`,
		"*-5 * * * *":                           `is not a cron expression: "*-5"`,
		"60 * * * *":                            "is not a cron expression: end of range (60) above maximum (59): 60",
		"*/0 * * * *":                           "is not a cron expression: step of range should be a positive number: */0",
		"a * * * *":                             `is not a cron expression: failed to parse int from a: strconv.Atoi: parsing "a": invalid syntax`,
		"@noon":                                 "is not a cron expression: unrecognized descriptor: @noon",
		"@every":                                `needs a duration after @every, such as 90s or 1h30m, not ""`,
		"@every 5":                              `needs a duration after @every, such as 90s or 1h30m, not "5"`,
		"@every 500ms":                          `needs a duration in whole seconds after @every, 1s to 8784h, not "500ms"`,
		"@every 1.5s":                           `needs a duration in whole seconds after @every, 1s to 8784h, not "1.5s"`,
		"@every -1h":                            `needs a duration in whole seconds after @every, 1s to 8784h, not "-1h"`,
		"@every 8785h":                          `needs a duration in whole seconds after @every, 1s to 8784h, not "8785h"`,
		strings.Repeat("1,", 128) + "1 * * * *": "must have at most 256 characters",
	} {
		if _, err := parse(expression, time.UTC); err == nil || err.Error() != want {
			t.Errorf("%q:\n got %v\nwant %s", expression, err, want)
		}
	}
}

// FuzzCron has any text be refused, or tick in whole seconds that go forward.
func FuzzCron(f *testing.F) {
	for _, seed := range []string{
		"30 9 * * MON-FRI", "*/5 0-59/2 1,2 ? jan-dec *", "@every 90s", "@hourly", "TZ=UTC", "CRON_TZ=x", ", * * * * *", "0 0 30 2 *", "*/9223372036854775807 * * * *",
		"* * * * * 0-6/7", "@every 9223372036854775807ns", "\u00a00 0 * * *", "0 0 * * 7", "59 59 23 31 12 *",
	} {
		f.Add(seed, int64(1774745999), uint8(4))
	}
	f.Fuzz(func(t *testing.T, expression string, at int64, zone uint8) {
		z, err := loadZone(changes[int(zone)%len(changes)].zone)
		if err != nil {
			t.Fatal(err)
		}
		ticks, err := parse(expression, z)
		if err != nil {
			if err.Error() == "" {
				t.Errorf("%q: an error without a word", expression)
			}
			return
		}
		from := time.Unix(at%(4e9), 5e8) // 1843 to 2096
		for range 3 {
			next := ticks.next(from)
			if next.IsZero() {
				t.Fatalf("%q never ticks after %v", expression, from)
			}
			if !next.After(from) || next.Nanosecond() != 0 {
				t.Fatalf("%q ticks at %v after %v", expression, next, from)
			}
			if between := from.Add(next.Sub(from) / 2); !ticks.next(between).Equal(next) {
				t.Fatalf("%q: after %v comes %v, and after %v %v", expression, from, next, between, ticks.next(between))
			}
			from = next
		}
	})
}
