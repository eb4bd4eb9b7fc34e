package store_test

import (
	"bytes"
	"crypto/rand"
	"io"
	"regexp"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/callbackd/callbackd/store"
)

func TestIDs(t *testing.T) {
	t.Parallel()

	t.Run("HaveAPrefixATimeAndATail", func(t *testing.T) {
		t.Parallel()
		next := store.NewIDs(func() time.Time { return time.UnixMilli(36*36 + 35) }, bytes.NewReader(bytes.Repeat([]byte{255, 61, 62}, 100)))
		// Of the random bytes, 255 is refused, 61 is the last digit and 62 the first again.
		equal(t, "id", next("cte"), "cte_00000010z"+"z0z0z0z0z0z0z")
		format := regexp.MustCompile(`^cte_[0-9a-z]{9}[0-9A-Za-z]{13}$`)
		if id := store.NewIDs(time.Now, rand.Reader)("cte"); !format.MatchString(id) {
			t.Errorf("%s does not look like an id", id)
		}
	})

	// Whatever the clock and the random numbers do.
	t.Run("SortByWhenTheyWereMade", func(t *testing.T) {
		t.Parallel()
		rapid.Check(t, func(t *rapid.T) {
			now := time.UnixMilli(1_800_000_000_000)
			// Few random numbers near the end of their range make overflows likely.
			bytes := rapid.SliceOfN(rapid.OneOf(rapid.Just(byte(61)), rapid.Byte().Filter(func(b byte) bool { return b < 248 })), 1, 40).Draw(t, "random")
			next := store.NewIDs(func() time.Time { return now }, &endless{bytes: bytes})
			last := ""
			for _, step := range rapid.SliceOfN(rapid.IntRange(-3, 3), 1, 50).Draw(t, "steps") {
				now = now.Add(time.Duration(step) * time.Millisecond)
				if id := next("cte"); id <= last {
					t.Fatalf("%s came after %s", id, last)
				} else {
					last = id
				}
			}
		})
	})
}

// endless reads the same bytes over and over.
type endless struct {
	bytes []byte
	at    int
}

var _ io.Reader = (*endless)(nil)

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = e.bytes[e.at%len(e.bytes)]
		e.at++
	}
	return len(p), nil
}
