package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/engine/internal/outbound"
)

const (
	maxRetryAfter = 24 * time.Hour
	shownBody     = 200      // bytes of an error's body
	maxSecret     = 16 << 10 // bytes that are read beyond them, to know what is cut off
)

// StatusError is the error for an answer that is not 2xx, with the beginning of its body, but
// without what the request said in its parameters and headers. gone says that what answered
// was the source itself, so that 410 is for good.
func StatusError(res *http.Response, now time.Time, gone bool) error {
	body, _ := io.ReadAll(io.LimitReader(res.Body, shownBody+maxSecret)) // as much as there is
	err := fmt.Errorf("it answered %s", strings.TrimSpace(strconv.Itoa(res.StatusCode)+" "+http.StatusText(res.StatusCode)))
	if text := beginning(withoutSecrets(Printable(body), res.Request), shownBody); text != "" {
		err = fmt.Errorf("%w: %s", err, text)
	}
	switch res.StatusCode {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		after, _ := outbound.RetryAfter(res.Header, now, maxRetryAfter)
		return engine.RetryAfter(after, err)
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("%w (are the credentials of the auth config right?)", err)
	case http.StatusGone:
		if gone {
			return engine.Permanent(err)
		}
	}
	if location := res.Header.Get("Location"); res.StatusCode/100 == 3 && location != "" {
		if u, parseErr := res.Request.URL.Parse(location); parseErr == nil {
			return fmt.Errorf("it answered %d, a redirect to %s; redirects are not followed, so change url if that is the right place",
				res.StatusCode, Shown(u))
		}
	}
	return err
}

// ReadBody reads an answer of at most limit bytes, after decompression. tooLarge is the error of a larger one.
func ReadBody(res *http.Response, limit int64, tooLarge error) ([]byte, error) {
	if res.ContentLength > limit {
		return nil, tooLarge
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if int64(len(body)) > limit {
		return nil, tooLarge
	}
	return body, nil
}

// withoutSecrets leaves out of a text what the request said in its parameters and headers: a
// source's error may repeat a key that it does not like.
func withoutSecrets(text string, r *http.Request) string {
	if r == nil {
		return text
	}
	var said []string
	for _, values := range r.URL.Query() {
		said = append(said, values...)
	}
	for name, values := range r.Header {
		switch name {
		case "Accept", "Content-Type", "User-Agent":
			continue
		}
		for _, value := range values {
			said = append(said, value)
			if _, credentials, ok := strings.Cut(value, " "); ok { // Bearer TOKEN
				said = append(said, credentials)
			}
		}
	}
	if user, password, ok := r.BasicAuth(); ok {
		said = append(said, user, password)
	}
	slices.SortFunc(said, func(a, b string) int { return len(b) - len(a) })
	for _, s := range said {
		if len(s) >= 6 { // what is shorter is there by chance
			text = strings.ReplaceAll(text, s, "[secret]")
		}
	}
	return text
}

// beginning is at most so many bytes of a text, of which it cuts no character in two.
func beginning(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "")
}

// Printable is text for an error: one line of what can be shown.
func Printable(text []byte) string {
	return strings.Join(strings.FieldsFunc(string(bytes.ToValidUTF8(text, nil)), func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r)
	}), " ")
}

// InnerError leaves out the URL that net/http and net/url repeat in their errors, since
// it may hold a secret.
func InnerError(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// Shown is u as an error may show it: a path or a query may hold a secret.
func Shown(u *url.URL) string {
	text := u.Scheme + "://" + u.Host
	if len(u.Path) > 1 || u.RawQuery != "" {
		text += "/..."
	}
	return text
}
