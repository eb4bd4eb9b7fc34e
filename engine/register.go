package engine

import (
	"context"
	"log/slog"
	"time"

	"github.com/callbackd/callbackd/store"
)

// register looks after a webhook's registration, in place of a poll, which began at a time. It
// tells whether the outcome is in the store, or there was none to be.
func (p *poller) register(ctx context.Context, log *slog.Logger, t readAhead, s Source, at time.Time) (recorded bool) {
	var err error
	p.e.clock.plan(func() {
		_, err = p.e.store.RecordPoll(context.WithoutCancel(ctx), t.PollTarget, store.Poll{At: at, NextPollAt: store.Never, Fixed: true})
	})
	if err != nil {
		log.ErrorContext(ctx, "that a webhook is received could not be recorded", keyError, err)
	}
	return err == nil
}
