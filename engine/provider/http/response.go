package http

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	nethttp "net/http"
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
	maxPage       = 10 << 20 // bytes of one page, after decompression
	maxPoll       = 32 << 20 // bytes of all pages of a poll
	maxRetryAfter = 24 * time.Hour
	shownBody     = 200      // bytes of an error's body
	maxSecret     = 16 << 10 // bytes that are read beyond them, to know what is cut off
)

// statusError is the error for an answer that is not 2xx; first says that it is of the
// first page.
func statusError(res *nethttp.Response, now time.Time, first bool) error {
	body, _ := io.ReadAll(io.LimitReader(res.Body, shownBody+maxSecret)) // as much as there is
	err := fmt.Errorf("it answered %s", strings.TrimSpace(strconv.Itoa(res.StatusCode)+" "+nethttp.StatusText(res.StatusCode)))
	if text := beginning(withoutSecrets(printable(body), res.Request), shownBody); text != "" {
		err = fmt.Errorf("%w: %s", err, text)
	}
	switch res.StatusCode {
	case nethttp.StatusTooManyRequests, nethttp.StatusServiceUnavailable:
		after, _ := outbound.RetryAfter(res.Header, now, maxRetryAfter)
		return engine.RetryAfter(after, err)
	case nethttp.StatusUnauthorized, nethttp.StatusForbidden:
		return fmt.Errorf("%w (are the credentials of the auth config right?)", err)
	case nethttp.StatusGone:
		if first { // a later page's URL may just have expired
			return engine.Permanent(err)
		}
	}
	if location := res.Header.Get("Location"); res.StatusCode/100 == 3 && location != "" {
		if u, parseErr := res.Request.URL.Parse(location); parseErr == nil {
			return fmt.Errorf("it answered %d, a redirect to %s; redirects are not followed, so change url if that is the right place",
				res.StatusCode, shown(u))
		}
	}
	return err
}

// readBody reads a page, up to limit bytes.
func readBody(res *nethttp.Response, limit int64) ([]byte, error) {
	tooLarge := fmt.Errorf("the answer is larger than %d MiB; ask for smaller pages", maxPage>>20)
	if limit < maxPage {
		tooLarge = fmt.Errorf("the pages of one poll are larger than %d MiB; lower max_pages or ask for less", maxPoll>>20)
	}
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
	body = bytes.TrimPrefix(body, []byte("\uFEFF"))
	return bytes.ToValidUTF8(body, []byte("\uFFFD")), nil
}

// withoutSecrets leaves out of a text what the request said in its parameters and headers: a
// source's error may repeat a key that it does not like.
func withoutSecrets(text string, r *nethttp.Request) string {
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

// notJSON says what came instead of JSON.
func notJSON(res *nethttp.Response, err error) error {
	kind, _, parseErr := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if parseErr != nil || kind == "application/json" || strings.HasSuffix(kind, "+json") {
		return fmt.Errorf("the answer is not JSON: %w", err)
	}
	return fmt.Errorf("it answered %s, not JSON: %w", kind, err)
}

// printable is text for an error: one line of what can be shown.
func printable(text []byte) string {
	return strings.Join(strings.FieldsFunc(string(bytes.ToValidUTF8(text, nil)), func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r)
	}), " ")
}

// innerError leaves out the URL that net/http and net/url repeat in their errors, since
// it may hold a secret.
func innerError(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}
