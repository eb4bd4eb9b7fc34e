package engine

import (
	"context"
	"sync"
	"time"

	"github.com/robfig/cron/v3"
)

const (
	// retentionInterval is how often the engine looks for events that have been kept for long
	// enough; it also does when it starts.
	retentionInterval = time.Minute
	// retentionBatch is how many events are removed in one transaction, which others wait for.
	retentionBatch = 50
	// retentionRest is how long it rests after a batch, in times of what the batch took: the more
	// others have to write, the longer.
	retentionRest = 3
)

// remover removes events that have been kept for long enough.
type remover struct {
	e      *Engine
	cron   *cron.Cron
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func newRemover(e *Engine) *remover { return &remover{e: e} }

func (r *remover) start(work context.Context) {
	ctx, cancel := context.WithCancel(work)
	r.cancel = cancel
	r.cron = cron.New(cron.WithLocation(time.UTC))
	due := make(chan struct{}, 1)
	due <- struct{}{}
	r.cron.Schedule(cron.Every(retentionInterval), cron.FuncJob(func() {
		select {
		case due <- struct{}{}:
		default:
		}
	}))
	r.cron.Start()
	r.wg.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-due:
				r.sweep(ctx)
			}
		}
	})
}

func (r *remover) stop() {
	<-r.cron.Stop().Done()
	r.cancel()
	r.wg.Wait()
}

// sweep removes all that has expired by now.
func (r *remover) sweep(ctx context.Context) {
	began, rows := time.Now(), int64(0)
	err := r.remove(ctx, &rows)
	if rows > 0 {
		r.e.log.InfoContext(ctx, "old events were removed", "rows", rows, "took", time.Since(began).Round(time.Millisecond))
	}
	if err != nil && ctx.Err() == nil {
		r.e.log.ErrorContext(ctx, "old events could not be removed; it is tried again in a minute", keyError, err)
	}
}

func (r *remover) remove(ctx context.Context, rows *int64) error {
	expiries, err := r.e.store.Expiries(ctx, r.e.now(), r.e.options.Retention)
	if err != nil {
		return err
	}
	for _, x := range expiries {
		for {
			began := time.Now()
			n, err := r.e.store.RemoveEvents(ctx, x, retentionBatch)
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
			*rows += n
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(retentionRest * time.Since(began)):
			}
		}
	}
	return nil
}
