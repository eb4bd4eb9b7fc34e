package engine

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestAlarm(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var woken []time.Duration
		a := alarm{pause: 50 * time.Millisecond, wake: func() { woken = append(woken, time.Since(began)) }}
		ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
		expect := func(want ...time.Duration) {
			t.Helper()
			time.Sleep(time.Second)
			synctest.Wait()
			if !slices.Equal(woken, want) {
				t.Errorf("woken at %v, want %v", woken, want)
			}
			began, woken = time.Now(), nil
		}

		a.begin()
		a.set(ms(1)) // not before the pause is over
		expect(ms(50))
		a.begin()
		a.set(ms(300))
		a.set(ms(200))
		a.set(ms(400)) // the earliest counts
		expect(ms(200))
		a.begin()
		a.set(ms(300))
		a.begin() // which forgets it
		expect()
		a.set(0) // the pause is over
		expect(0)
	})
}
