package engine_test

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/callbackd/callbackd/engine"
)

func TestRetentionRemovesWhatIsOldAndDoneWith(t *testing.T) {
	t.Parallel()
	var up atomic.Bool
	deliver := func(*http.Request) (*http.Response, error) {
		if !up.Load() {
			return answer(500, nil, ""), nil
		}
		return answer(200, nil, ""), nil
	}
	inVirtualTime(t, engine.Options{Providers: []engine.Provider{(&source{}).provider()}, Retention: 5 * time.Minute}, deliver, func(t *testing.T, e *engine.Engine) {
		// One try every eight minutes: what fails at first is on its way for longer than it is kept.
		s := attach(t, e, "source", engine.DestinationSettings{URL: "http://receiver.test", Retry: engine.Retry{Type: engine.RetryLinear, MaxAttempts: 3, Delay: 8 * time.Minute}})
		start(t, e)
		count := func() int {
			return len(must(e.ListEvents(t.Context(), s.callback.ID, engine.EventFilter{}, engine.Page{}))(t).Items)
		}
		publish(t, e, s.callback.ID)
		time.Sleep(time.Second)
		up.Store(true)
		publish(t, e, s.callback.ID)
		publish(t, e, s.callback.ID) // the newest is kept
		for _, step := range []struct {
			sleep time.Duration
			want  int
			why   string
		}{
			{4 * time.Minute, 3, "before the time is up"},
			{150 * time.Second, 2, "when it is up: the first is still being delivered"},
			{2 * time.Minute, 2, "just after the first was delivered"},
			{6 * time.Minute, 1, "five minutes after the first was delivered"},
		} {
			time.Sleep(step.sleep)
			if got := count(); got != step.want {
				t.Errorf("%d events %s, want %d", got, step.why, step.want)
			}
		}
		forever := time.Duration(-1)
		must(e.UpdateCallback(t.Context(), s.callback.ID, engine.UpdateCallback{Retention: &forever}))(t)
		publish(t, e, s.callback.ID)
		time.Sleep(10 * time.Minute)
		if got := count(); got != 2 {
			t.Errorf("%d events of a callback that keeps them for ever, want 2", got)
		}
	})
}
