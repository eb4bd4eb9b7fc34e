package outbound_test

import (
	"errors"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/callbackd/callbackd/engine/internal/outbound"
)

func TestRetryAfter(t *testing.T) {
	t.Parallel()

	now := time.Date(2026, 1, 10, 14, 45, 0, 0, time.UTC)
	const limit = 24 * time.Hour
	for _, tt := range []struct {
		value string
		want  time.Duration
		ok    bool
	}{
		{"120", 2 * time.Minute, true},
		{" 120 ", 2 * time.Minute, true},
		{"0", 0, true},
		{"-5", 0, true},
		{"86400", limit, true},
		{"86401", limit, true},
		{"9223372037", limit, true}, // in seconds, one more than a Duration holds
		{"99999999999999999999999", limit, true},
		{"-99999999999999999999999", 0, true},
		{"Sat, 10 Jan 2026 14:50:00 GMT", 5 * time.Minute, true},
		{"Saturday, 10-Jan-26 14:50:00 GMT", 5 * time.Minute, true},
		{"Sat Jan 10 14:50:00 2026", 5 * time.Minute, true},
		{"Sat, 10 Jan 2026 14:45:00 GMT", 0, true},
		{"Sat, 10 Jan 2015 14:45:00 GMT", 0, true},
		{"Fri, 31 Dec 9999 23:59:59 GMT", limit, true},
		{"", 0, false},
		{"soon", 0, false},
		{"1.5", 0, false},
		{"1 2", 0, false},
		{"2026-01-10T14:50:00Z", 0, false},
	} {
		d, ok := outbound.RetryAfter(http.Header{"Retry-After": {tt.value}}, now, limit)
		if d != tt.want || ok != tt.ok {
			t.Errorf("RetryAfter(%q) = %v, %v, want %v, %v", tt.value, d, ok, tt.want, tt.ok)
		}
	}

	if d, ok := outbound.RetryAfter(http.Header{}, now, limit); d != 0 || ok {
		t.Errorf("RetryAfter of no header = %v, %v", d, ok)
	}
	if d, _ := outbound.RetryAfter(http.Header{"Retry-After": {"1"}}, now, 500*time.Millisecond); d != 500*time.Millisecond {
		t.Errorf("RetryAfter with a limit of 0.5 s = %v", d)
	}
}

func FuzzRetryAfter(f *testing.F) {
	f.Add("120", int64(0), int64(time.Hour))
	f.Add("-99999999999999999999999", int64(math.MaxInt64), int64(math.MaxInt64))
	f.Add("Sat, 10 Jan 2026 14:50:00 GMT", int64(math.MinInt64), int64(0))
	f.Fuzz(func(t *testing.T, value string, now, limit int64) {
		limit &= math.MaxInt64 // it is never negative
		d, ok := outbound.RetryAfter(http.Header{"Retry-After": {value}}, time.Unix(now, 0), time.Duration(limit))
		if d < 0 || d > time.Duration(limit) || !ok && d != 0 {
			t.Errorf("RetryAfter(%q) = %v, %v with limit %v", value, d, ok, time.Duration(limit))
		}
	})
}

func TestReadCapped(t *testing.T) {
	t.Parallel()

	broken := errors.New("broken")
	for _, tt := range []struct {
		name      string
		r         io.Reader
		limit     int64
		body      string
		truncated bool
		err       error
	}{
		{"Shorter", strings.NewReader("abc"), 4, "abc", false, nil},
		{"JustFits", strings.NewReader("abc"), 3, "abc", false, nil},
		{"Longer", strings.NewReader("abc"), 2, "ab", true, nil},
		{"Nothing", strings.NewReader("abc"), 0, "", true, nil},
		{"Empty", strings.NewReader(""), 0, "", false, nil},
		{"NoLimit", strings.NewReader("abc"), math.MaxInt64, "abc", false, nil},
		{"Broken", io.MultiReader(strings.NewReader("ab"), iotest.ErrReader(broken)), 9, "ab", false, broken},
		{"BrokenBehindTheLimit", io.MultiReader(strings.NewReader("ab"), iotest.ErrReader(broken)), 1, "a", true, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			body, truncated, err := outbound.ReadCapped(tt.r, tt.limit)
			if string(body) != tt.body || truncated != tt.truncated || !errors.Is(err, tt.err) {
				t.Errorf("ReadCapped = %q, %v, %v, want %q, %v, %v", body, truncated, err, tt.body, tt.truncated, tt.err)
			}
		})
	}
}
