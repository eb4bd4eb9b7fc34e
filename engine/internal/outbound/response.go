package outbound

import (
	"errors"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// RetryAfter is how long the server asks to be left alone, by the Retry-After header
// of its answer: a number of seconds, or a date, which is compared with now. A time
// that has passed is 0, as is a negative number, and one longer than limit, which is
// not negative, is limit. ok is false if the header is missing or cannot be read.
func RetryAfter(h http.Header, now time.Time, limit time.Duration) (d time.Duration, ok bool) {
	value := strings.TrimSpace(h.Get("Retry-After"))
	seconds, err := strconv.ParseInt(value, 10, 64)
	switch {
	case err == nil || errors.Is(err, strconv.ErrRange): // out of range, seconds is the nearest that fits
		if seconds > int64(limit/time.Second) {
			return limit, true
		}
		d = time.Duration(max(seconds, 0)) * time.Second
	default:
		at, err := http.ParseTime(value)
		if err != nil {
			return 0, false
		}
		d = max(at.Sub(now), 0)
	}
	return min(d, limit), true
}

// ReadCapped reads r to its end, but returns no more than limit bytes of it, 0 or more;
// truncated says that there was more. When reading fails, body is what came before;
// what ended the request's context ends the reading too. Closing an answer's body that
// was truncated drops the rest with its connection (of HTTP/2, its stream).
func ReadCapped(r io.Reader, limit int64) (body []byte, truncated bool, err error) {
	if limit == math.MaxInt64 {
		limit-- // room for the one byte that tells whether there is more
	}
	limited := io.LimitedReader{R: r, N: limit + 1}
	body = make([]byte, 0, 64) // answers to webhooks are short, or empty
	for err == nil {
		var n int
		n, err = limited.Read(body[len(body):cap(body)])
		if body = body[:len(body)+n]; len(body) == cap(body) {
			body = append(body, 0)[:len(body)]
		}
	}
	if err == io.EOF {
		err = nil
	}
	if int64(len(body)) > limit {
		return body[:limit], true, err
	}
	return body, false, err
}
