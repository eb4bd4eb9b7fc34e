package source

import (
	"errors"
	"fmt"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"github.com/callbackd/callbackd/engine"
)

// Check is what is wrong with the fields "url" and "headers" of a config.
func Check(address string, headers map[string]string) []engine.FieldError {
	var wrong []engine.FieldError
	if _, err := ParseURL(address); err != nil {
		wrong = append(wrong, engine.FieldError{Code: "invalid_url", Message: err.Error(), Path: []string{"url"}})
	}
	there := make(map[string]bool)
	for _, name := range SortedKeys(headers) {
		reason := headerFault(name, headers[name])
		if key := textproto.CanonicalMIMEHeaderKey(name); there[key] { // which one counts would be chance
			reason = "is there twice, in upper and lower case"
		} else {
			there[key] = true
		}
		if reason != "" {
			wrong = append(wrong, engine.FieldError{Code: "invalid_header", Message: reason, Path: []string{"headers", name}})
		}
	}
	return wrong
}

// ParseURL reads the URL of a config, without its fragment. Its error goes on after the
// field's name.
func ParseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, fmt.Errorf("is not a URL: %w", InnerError(err))
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("must be an absolute http or https URL")
	case u.Hostname() == "":
		return nil, errors.New("must have a host")
	case u.User != nil:
		return nil, errors.New("must not hold a user and password; use an auth config with the method \"basic\"")
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

// ownHeaders are set by the HTTP client, or would break it.
var ownHeaders = []string{
	"Accept-Encoding", "Connection", "Content-Length", "Expect", "Host", "If-Modified-Since", "If-None-Match",
	"Keep-Alive", "Proxy-Authorization", "Proxy-Connection", "Range", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

func headerFault(name, value string) string {
	const tokens = "!#$%&'*+-.^_`|~"
	for _, c := range []byte(name) {
		if c != c&0x7f || !('0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' || strings.IndexByte(tokens, c) >= 0) {
			return fmt.Sprintf("must not have %q in its name", rune(c))
		}
	}
	if name == "" {
		return "must have a name"
	}
	if slices.Contains(ownHeaders, textproto.CanonicalMIMEHeaderKey(name)) {
		return "is a header that cannot be set"
	}
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		return "must not contain control characters or line breaks"
	}
	return ""
}

// SortedKeys are the names in m, in order.
func SortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
