// Package schedule is the provider of events that come at given times: its identifier is
// "schedule", and its trigger "tick" makes an event whenever a cron expression says so. A
// config:
//
//	{
//	  "cron": "0 9 * * MON-FRI",
//	  "timezone": "Europe/Berlin",
//	  "data": {"report": "daily"}
//	}
//
// and an event, whose source_id is the time of the tick:
//
//	{
//	  "type": "tick",
//	  "source_id": "2026-01-12T08:00:00Z",
//	  "output": {
//	    "scheduled_at": "2026-01-12T08:00:00.000Z",
//	    "missed": false,
//	    "data": {"report": "daily"}
//	  }
//	}
//
// # Config
//
//   - cron: required, in one of these forms:
//     five fields, minute, hour, day of the month, month (1-12 or JAN-DEC), day of the week (0-6
//     or SUN-SAT, 0 is Sunday), of which each may be *, a value, a range 1-5, a step */15 or
//     10-50/20, or a list of these with commas;
//     six fields, of which the first is the second;
//     @yearly (@annually), @monthly, @weekly, @daily (@midnight) or @hourly;
//     @every and a duration in whole seconds, 1s to 8784h, such as @every 90s or @every 1h30m.
//     When both the day of the month and the day of the week are restricted, either is enough.
//   - timezone: a name of the IANA time zone database, such as "America/New_York". Default
//     "UTC". @every does not depend on it.
//   - data: any JSON of at most 64 KiB, to be put into each event. Default null.
//
// # When ticks come
//
// The first poll of an instance makes no event, and the first tick is the next one after it. The
// same goes after cron or timezone was changed.
//
// @every counts from 1970-01-01T00:00:00Z and not from the start, so that a restart neither
// moves nor repeats a tick: @every 6h ticks at 0, 6, 12 and 18 o'clock UTC.
//
// Ticks that were missed, because the daemon did not run, the trigger was paused, the machine
// slept or the clock was set forward, give one event for the latest of them, whose output
// has "missed": true. It is true of an event before which at least one tick had none. An event
// that is only late has false: compare scheduled_at with the event's created_at. A tick has
// one event at most, also when the clock was set back.
//
// When a zone changes its offset, as for daylight saving time:
//
//   - With an hour field of * (and @hourly), ticks follow the time that passes: every 15 minutes is
//     every 15 minutes, through the skipped hour and through both of the repeated ones.
//   - With any other hour field, they follow the clock on the wall: what falls into the hour that
//     is skipped ticks once, in the moment of the change, and what falls into the hour that
//     is repeated ticks in the first one only. So "30 2 * * *" ticks once on every day.
//
// Where the database of time zones is not on the machine, a program that embeds the engine
// should import time/tzdata, as the daemon does.
package schedule
