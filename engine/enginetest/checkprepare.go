package enginetest

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/callbackd/callbackd/engine"
)

func (r *trial) prepare(ctx context.Context, what string, last json.RawMessage, limit time.Duration) (engine.Prepared, error) {
	req := engine.PrepareRequest{Source: r.given(), Value: bytes.Clone(r.Auth.Value), Prepared: bytes.Clone(last)}
	req.Auth = nil
	return call(r, ctx, what, limit, func(ctx context.Context) (engine.Prepared, error) { return r.method.Prepare(ctx, req) })
}

func checkPrepare(r *trial) {
	for _, what := range []string{"Prepare", "Prepare, to renew"} {
		p, err := r.prepare(r.ctx, what, r.prepared, deadline)
		if err != nil {
			r.fail("%s: %v", what, err)
			r.stuck = true
			return
		}
		if !json.Valid(p.Value) {
			r.fail("%s: what it made is not JSON: %.200q", what, p.Value)
			r.stuck = true
			return
		}
		if !p.RenewAt.IsZero() && !p.RenewAt.After(r.now) {
			r.fail("%s: it is to be renewed at %s, and it is %s: it would be prepared all the time", what, p.RenewAt, r.now)
		}
		r.prepared = p.Value
	}
}

// checkPrepareTrouble says nothing of a Prepare that asks nobody.
func checkPrepareTrouble(r *trial) {
	isPermanent := func(err error) string {
		if !engine.IsPermanent(err) {
			return "must be engine.Permanent: what the user gave is not accepted"
		}
		return ""
	}
	r.inTrouble(append(r.difficulties(), difficulty{"answers 401", answers(401, `{}`), isPermanent}), "Prepare: ", func() error {
		_, err := r.prepare(r.ctx, "Prepare", nil, deadline)
		return err
	})
}

// checkForgotten is for what was prepared and is no longer accepted.
func checkForgotten(r *trial) {
	what := "the source answers 401"
	if r.Forget != nil {
		what = "the source has forgotten what was prepared"
		r.Forget()
	} else {
		r.source.be(answers(401, `{}`))
	}
	err := r.work()
	if _, ok := err.(unwell); ok || !r.source.wasAsked() {
		return // which is told elsewhere
	}
	if !engine.IsUnauthorized(err) {
		r.fail("%s: got the error %v; it must be engine.Unauthorized, so that it is prepared anew", what, err)
	}
	r.source.be(well)
	p, err := r.prepare(r.ctx, "Prepare", nil, deadline)
	if err != nil {
		r.fail("%s, and Prepare is called anew: %v", what, err)
		return
	}
	r.prepared = p.Value
	if err := r.work(); err != nil {
		r.fail("%s, and was asked with what was prepared anew: %v", what, err)
	}
}
