package store_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/callbackd/callbackd/store"
)

// Lists have more forms than statements are kept: whoever uses one that is dropped meanwhile
// does not notice.
func TestPreparedStatementsAreBounded(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.publish("a")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 300 {
				got, err := f.ListEvents(t.Context(), f.callback.ID, store.EventFilter{}, store.Page{})
				if err != nil || len(got.Items) != 1 {
					t.Errorf("%d events: %v", len(got.Items), err)
					return
				}
				if err := f.RunPrepared(t.Context(), fmt.Sprintf("SELECT %d", i)); err != nil {
					t.Error(err)
					return
				}
				if n := f.Prepared(); n > store.MaxPrepared {
					t.Errorf("%d statements are kept", n)
					return
				}
			}
		})
	}
	wg.Wait()
	for i := range 2 * store.MaxPrepared {
		check(t, f.RunPrepared(t.Context(), fmt.Sprintf("SELECT %d", i)))
	}
	if n := f.Prepared(); n > store.MaxPrepared {
		t.Errorf("%d statements are kept", n)
	}
}
