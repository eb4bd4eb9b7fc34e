package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Bounds of what an unknown sender may have us look at.
const (
	maxHeader     = 8 << 10 // bytes of a header that is read
	maxSignatures = 10      // in one request; senders that replace a secret send two
	maxID         = 1000    // characters
	maxTimestamp  = 15      // digits
	firstMillis   = 1e11    // from here on, a number is in milliseconds: as seconds it is the year 5138
)

// claim is what a request says of itself. Nothing of it is true yet.
type claim struct {
	signatures []string // without prefix
	public     []string // those by a public key
	timestamp  string
	id         string
}

// claimOf reads the headers of a scheme.
func (s *scheme) claimOf(header http.Header) (c claim, err error) {
	names := s.headers[0]
	for _, n := range s.headers {
		if len(header.Values(n.signature)) > 0 {
			names = n
			break
		}
	}
	value, err := only(header, names.signature)
	if err != nil {
		return claim{}, err
	}
	switch s.form {
	case single:
		signature, ok := strings.CutPrefix(value, s.prefix)
		if !ok {
			return claim{}, fmt.Errorf("the header %s does not begin with %q", names.signature, s.prefix)
		}
		c.signatures = []string{signature}
	case spaced:
		err = c.readSpaced(value, s)
	case pairs:
		err = c.readPairs(value, s)
	}
	if err != nil {
		return claim{}, fmt.Errorf("the header %s: %w", names.signature, err)
	}
	if names.timestamp != "" {
		if c.timestamp, err = only(header, names.timestamp); err != nil {
			return claim{}, err
		}
	}
	if names.id != "" {
		if c.id, err = only(header, names.id); err != nil {
			return claim{}, err
		}
		if len(c.id) > maxID {
			return claim{}, fmt.Errorf("the header %s is longer than %d bytes", names.id, maxID)
		}
	}
	return c, nil
}

// only is the value of a header that must be there once: of two, it would be open which one
// was meant.
func only(header http.Header, name string) (string, error) {
	values := header.Values(name)
	switch {
	case len(values) == 0 || len(values) == 1 && values[0] == "":
		return "", fmt.Errorf("the header %s is missing", name)
	case len(values) > 1:
		return "", fmt.Errorf("the header %s is there %d times", name, len(values))
	case len(values[0]) > maxHeader:
		return "", fmt.Errorf("the header %s is longer than %d bytes", name, maxHeader)
	}
	return values[0], nil
}

// readSpaced reads "v1,BASE64 v1a,BASE64". Those of other versions may stand beside them.
func (c *claim) readSpaced(value string, s *scheme) error {
	count := 0
	for field := range strings.FieldsSeq(value) {
		if count++; count > maxSignatures {
			return fmt.Errorf("it holds more than %d signatures", maxSignatures)
		}
		if signature, ok := strings.CutPrefix(field, s.prefix); ok {
			c.signatures = append(c.signatures, signature)
		} else if signature, ok := strings.CutPrefix(field, s.public); ok {
			c.public = append(c.public, signature)
		}
	}
	if c.signatures == nil && c.public == nil {
		return fmt.Errorf("it holds no signature that begins with %s or %s", s.prefix, s.public)
	}
	return nil
}

// readPairs reads what is like "t=SECONDS,v1=HEX,v1=HEX". Other names may stand beside them.
func (c *claim) readPairs(value string, s *scheme) error {
	count := 0
	for field := range strings.SplitSeq(value, s.between) {
		if count++; count > 2*maxSignatures {
			return fmt.Errorf("it holds more than %d fields", 2*maxSignatures)
		}
		field = strings.TrimSpace(field)
		name, v, ok := strings.Cut(field, "=")
		if !ok || name == "" {
			return errors.New("a field of it is not NAME=VALUE")
		}
		if name == s.timeKey {
			if c.timestamp != "" {
				return fmt.Errorf("it holds more than one %s=", s.timeKey)
			}
			c.timestamp = v
		} else if signature, ok := strings.CutPrefix(field, s.prefix); ok {
			c.signatures = append(c.signatures, signature)
		}
	}
	switch {
	case c.timestamp == "":
		return fmt.Errorf("it holds no %s=", s.timeKey)
	case c.signatures == nil:
		return fmt.Errorf("it holds no %s", s.prefix)
	case len(c.signatures) > maxSignatures:
		return fmt.Errorf("it holds more than %d signatures", maxSignatures)
	}
	return nil
}

// checkTimestamp refuses what was signed too long ago, or is said to have been in the future.
func (s *scheme) checkTimestamp(timestamp string, now time.Time, tolerance time.Duration) error {
	if s.dates && dateRE.MatchString(timestamp) {
		at, err := time.Parse(time.RFC3339, timestamp)
		if err != nil {
			return errors.New("the timestamp is no date")
		}
		return near(at, now, tolerance)
	}
	// Digits alone: no sender writes a sign or a zero in front, and the time must be what was signed.
	if timestamp == "" || len(timestamp) > maxTimestamp || timestamp[0] == '0' || strings.Trim(timestamp, "0123456789") != "" {
		return errors.New("the timestamp is not a number of seconds")
	}
	n, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return errors.New("the timestamp is not a number of seconds")
	}
	at := time.Unix(n, 0)
	if s.millis && n >= firstMillis {
		at = time.UnixMilli(n)
	}
	return near(at, now, tolerance)
}

// dateRE is stricter than [time.Parse]. No text that it matches is the beginning of another one.
var dateRE = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$`)

// checkBodyTime refuses a body that says it was sent at another time. It was verified before, so
// nobody can have taken the time out.
func (s *scheme) checkBodyTime(body []byte, now time.Time, tolerance time.Duration) error {
	var fields map[string]json.RawMessage
	if s.bodyTime == "" || json.Unmarshal(body, &fields) != nil || fields[s.bodyTime] == nil {
		return nil
	}
	if err := s.checkTimestamp(string(fields[s.bodyTime]), now, tolerance); err != nil {
		return fmt.Errorf("%s of the body: %w", s.bodyTime, err)
	}
	return nil
}

func near(at, now time.Time, tolerance time.Duration) error {
	if age := now.Sub(at); age > tolerance {
		return fmt.Errorf("it was signed %v ago, more than the %v allowed; if it is new, check this machine's clock", age.Round(time.Second), tolerance)
	}
	if ahead := at.Sub(now); ahead > tolerance {
		return fmt.Errorf("it was signed %v in the future, more than the %v allowed; check this machine's clock", ahead.Round(time.Second), tolerance)
	}
	return nil
}
