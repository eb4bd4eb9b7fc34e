package enginetest

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// work asks the source for something.
func (r *trial) work() error {
	if polls(r) {
		_, err := r.poll(r.ctx, "a poll", nil, deadline)
		return err
	}
	_, err := r.register(r.ctx, "a registration", r.url, nil, deadline)
	return err
}

// difficulty is a trouble, and what a provider makes of it.
type difficulty struct {
	what    string
	trouble trouble
	check   func(error) string // what is wrong with its error
}

// difficulties are those that are the same for all.
func (r *trial) difficulties() []difficulty {
	anything := func(error) string { return "" }
	return []difficulty{
		{"is down", down, isPlain},
		{"answers 500", answers(500, `{"error": "out of order"}`), isPlain},
		{"answers 429 with Retry-After: 120", answers(429, `{}`, "Retry-After", "120"), isLimited},
		{"answers 429 with a date as Retry-After, in 120 s", answers(429, `{}`, "Retry-After", r.now.Add(2*time.Minute).Format(http.TimeFormat)), isLimited},
		{"answers rubbish", answers(200, "<\x00not JSON"), anything},
		{"answers odd JSON", answers(200, `{"a": [null, {"id": {}}]}`), anything},
	}
}

// inTrouble does some work in all difficulties, and tells whether the source was asked.
func (r *trial) inTrouble(all []difficulty, who string, work func() error) (asked bool) {
	for _, d := range all {
		r.source.be(d.trouble)
		err := work()
		if _, ok := err.(unwell); ok {
			continue
		}
		if !r.source.wasAsked() {
			return false
		}
		if problem := d.check(err); problem != "" {
			r.failFor(who+d.what, "%sthe source %s: got the error %v; it %s", who, d.what, err, problem)
		}
	}
	return true
}

func checkTrouble(r *trial) {
	isError := func(err error) string {
		if err == nil {
			return "must be an error"
		}
		return ""
	}
	if !r.inTrouble(append(r.difficulties(), difficulty{"answers 401", answers(401, `{}`), isError}), "", r.work) {
		r.fail("the source was not asked: use the HTTP client of the request, which refuses private addresses, or leave Source out of the case")
	}
}

func isPlain(err error) string {
	switch _, limited := engine.RetryAfterOf(err); {
	case err == nil:
		return "must be an error"
	case engine.IsPermanent(err):
		return "must not be engine.Permanent: the source may be back in a minute"
	case limited:
		return "must not be engine.RetryAfter: the source has not asked for it"
	case errors.Is(err, context.Canceled):
		return "must not look as if the poll had been cancelled"
	}
	return ""
}

func isLimited(err error) string {
	if after, ok := engine.RetryAfterOf(err); !ok || after < 115*time.Second || after > 24*time.Hour {
		return "must be engine.RetryAfter with at least that"
	}
	return ""
}
