package signature

import (
	"crypto/hmac"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	standardVersion  = "v1,"
	defaultTolerance = 5 * time.Minute
)

// Options says what to verify a webhook with.
type Options struct {
	// Secrets are the signing secrets in use, at least one. One signature that matches
	// one of them is enough, so a secret is replaced by first adding the new one here.
	Secrets []string
	// Tolerance is how far the signature's timestamp may be from now, in the past or
	// the future. 0 means 5 minutes; a negative one, such as -1, that the
	// timestamp is never checked, which lets anyone replay an old webhook.
	Tolerance time.Duration
	// Now is the clock that the timestamp is compared with. nil means [time.Now].
	Now func() time.Time
}

// Verify checks the Standard Webhooks signature of a request with this header and
// body, and returns nil if it is genuine. The body is what was received, byte for
// byte. The error is [ErrMissingHeader], [ErrMalformed], [ErrTimestamp] or
// [ErrMismatch], which should be answered with 400 or 401, or [ErrSecret], which
// says that opts.Secrets is empty or holds something that is no secret.
func Verify(header http.Header, body []byte, opts Options) error {
	keys, err := keysOf(opts.Secrets, standardKey)
	if err != nil {
		return err
	}
	for _, name := range []string{HeaderID, HeaderTimestamp, HeaderSignature} {
		if header.Get(name) == "" {
			return fmt.Errorf("%w: %s", ErrMissingHeader, name)
		}
	}
	signatures, err := parseStandard(header.Get(HeaderSignature))
	if err != nil {
		return err
	}
	id, timestamp := header.Get(HeaderID), header.Get(HeaderTimestamp)
	if err := opts.checkTimestamp(HeaderTimestamp, timestamp); err != nil {
		return err
	}
	return match(signatures, keys, func(m *mac) []byte {
		return m.appendStandard(nil, id, timestamp, body)
	})
}

// VerifyMetorial is [Verify] for the Metorial signature. Its secrets can be any
// strings that are not empty.
func VerifyMetorial(header http.Header, body []byte, opts Options) error {
	keys, err := keysOf(opts.Secrets, metorialKey)
	if err != nil {
		return err
	}
	value := header.Get(HeaderMetorial)
	if value == "" {
		return fmt.Errorf("%w: %s", ErrMissingHeader, HeaderMetorial)
	}
	timestamp, signatures, err := parseMetorial(value)
	if err != nil {
		return err
	}
	if err := opts.checkTimestamp(HeaderMetorial, timestamp); err != nil {
		return err
	}
	return match(signatures, keys, func(m *mac) []byte {
		return m.appendMetorial(nil, timestamp, body)
	})
}

// match compares signatures as text, not decoded: there is one way to write each,
// and whatever else decodes to the same bytes was not written by a sender.
func match(signatures []string, keys [][]byte, sign func(*mac) []byte) error {
	for _, key := range keys {
		want := sign(newMAC(key))
		for _, got := range signatures {
			if hmac.Equal([]byte(got), want) {
				return nil
			}
		}
	}
	return fmt.Errorf("%w: check that the secret is this sender's and that the body is as received", ErrMismatch)
}

// parseStandard finds the signatures of the one version that is symmetric; those of
// other versions may stand beside them.
func parseStandard(value string) ([]string, error) {
	var signatures []string
	for s := range strings.FieldsSeq(value) {
		if strings.HasPrefix(s, standardVersion) {
			signatures = append(signatures, s)
		}
	}
	if signatures == nil {
		return nil, fmt.Errorf("%w: %s holds no %sBASE64", ErrMalformed, HeaderSignature, standardVersion)
	}
	return signatures, nil
}

// parseMetorial splits t=SECONDS,v1=HEX. Several v1 and unknown names are fine, so
// that senders can add to the header; a second t is not, since it
// would be open which one was signed.
func parseMetorial(value string) (timestamp string, signatures []string, err error) {
	for field := range strings.SplitSeq(value, ",") {
		switch name, v, _ := strings.Cut(strings.TrimSpace(field), "="); name {
		case "t":
			if timestamp != "" {
				return "", nil, fmt.Errorf("%w: %s holds more than one t=", ErrMalformed, HeaderMetorial)
			}
			timestamp = v
		case "v1":
			signatures = append(signatures, v)
		}
	}
	if timestamp == "" || signatures == nil {
		return "", nil, fmt.Errorf("%w: %s is not t=SECONDS,v1=HEX", ErrMalformed, HeaderMetorial)
	}
	return timestamp, signatures, nil
}

func (o Options) checkTimestamp(header, timestamp string) error {
	seconds, err := strconv.ParseUint(timestamp, 10, 63) // unsigned: no sender writes a sign
	if err != nil {
		return fmt.Errorf("%w: the timestamp in %s is not in Unix seconds", ErrMalformed, header)
	}
	if o.Tolerance < 0 {
		return nil
	}
	tolerance := o.Tolerance
	if tolerance == 0 {
		tolerance = defaultTolerance
	}
	now := time.Now()
	if o.Now != nil {
		now = o.Now()
	}
	at := time.Unix(int64(seconds), 0)
	if age := now.Sub(at); age > tolerance {
		return fmt.Errorf("%w: signed %v ago, more than %v; if it is new, check this machine's clock", ErrTimestamp, age.Round(time.Second), tolerance)
	}
	if ahead := at.Sub(now); ahead > tolerance {
		return fmt.Errorf("%w: signed %v in the future, more than %v; check this machine's clock", ErrTimestamp, ahead.Round(time.Second), tolerance)
	}
	return nil
}
