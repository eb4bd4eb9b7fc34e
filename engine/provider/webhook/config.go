package webhook

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/engine/internal/jq"
)

const defaultTolerance = 300 // seconds

// config is a config's value, as configSchema describes it.
type config struct {
	Verify           string `json:"verify"`
	ToleranceSeconds int    `json:"tolerance_seconds"`
	EventType        string `json:"event_type"`
	ID               string `json:"id"`
	Handshake        string `json:"handshake"`
	VerifyToken      string `json:"verify_token"`

	// For hmac, and the first two for token too.
	Header          string `json:"header"`
	Prefix          string `json:"prefix"`
	Algorithm       string `json:"algorithm"`
	Encoding        string `json:"encoding"`
	SecretEncoding  string `json:"secret_encoding"`
	Template        string `json:"template"`
	TimestampHeader string `json:"timestamp_header"`
	IDHeader        string `json:"id_header"`
}

func parseConfig(value json.RawMessage) (config, error) {
	var c config
	if err := json.Unmarshal(value, &c); err != nil {
		return config{}, fmt.Errorf("read the config: %w", err)
	}
	c.ToleranceSeconds = cmp.Or(c.ToleranceSeconds, defaultTolerance)
	return c, nil
}

func (c *config) tolerance() time.Duration { return time.Duration(c.ToleranceSeconds) * time.Second }

// scheme is the row that verify names, with what the config adds to it. The error is of a
// config that was not validated.
func (c *config) scheme() (scheme, error) {
	s, ok := schemeNamed(c.Verify)
	if !ok {
		return scheme{}, fmt.Errorf("verify: there is no scheme %q", c.Verify)
	}
	switch s.name {
	case verifyHMAC:
		s.signed = cmp.Or(c.Template, "{body}")
		s.algorithm = cmp.Or(c.Algorithm, sha256Name)
		s.encoding = cmp.Or(c.Encoding, hexName)
		s.key = keyForm(cmp.Or(c.SecretEncoding, string(keyText)))
		s.millis, s.dates = true, true
		s.id = ".id"
		fallthrough
	case verifyToken:
		if c.Header == "" {
			return scheme{}, fmt.Errorf("header: verify %q needs the name of a header", c.Verify)
		}
		s.headers = []headerNames{{c.Header, c.TimestampHeader, c.IDHeader}}
		s.prefix = c.Prefix
	}
	s.handshake = cmp.Or(c.Handshake, s.handshake)
	return s, nil
}

// uses tells of each field that only some schemes have whether this one has it.
func (s *scheme) uses(field string, c *config) bool {
	switch field {
	case "header", "prefix":
		return s.name == verifyHMAC || s.name == verifyToken
	case "algorithm", "encoding", "secret_encoding", "template", "timestamp_header", "id_header":
		return s.name == verifyHMAC
	case "tolerance_seconds":
		return s.timed() || s.bodyTime != "" || s.name == verifyHMAC // which is looked at more closely
	case "handshake":
		return s.shakes
	default: // verify_token
		return cmp.Or(c.Handshake, s.handshake) == handshakeHub
	}
}

var schemeFields = []string{
	"header", "prefix", "algorithm", "encoding", "secret_encoding", "template", "timestamp_header", "id_header",
	"tolerance_seconds", "handshake", "verify_token",
}

// validateConfig checks what configSchema cannot say.
func validateConfig(value json.RawMessage) []engine.FieldError {
	var given map[string]json.RawMessage
	c, err := parseConfig(value)
	if err == nil {
		err = json.Unmarshal(value, &given)
	}
	if err != nil {
		return []engine.FieldError{{Code: "invalid_type", Message: err.Error()}}
	}
	var wrong []engine.FieldError
	report := func(code, field, message string) {
		wrong = append(wrong, engine.FieldError{Code: code, Message: message, Path: []string{field}})
	}
	if s, ok := schemeNamed(c.Verify); ok {
		for _, field := range schemeFields {
			if given[field] != nil && !s.uses(field, &c) {
				report("invalid_literal", field, fmt.Sprintf("means nothing with verify %q; leave it out", c.Verify))
			}
		}
		if given["header"] == nil && s.uses("header", &c) {
			report("required", "header", fmt.Sprintf("is required with verify %q: the name of the header that holds the %s", c.Verify, map[bool]string{true: "signature", false: "secret"}[s.name == verifyHMAC]))
		}
		if given["verify_token"] == nil && s.uses("verify_token", &c) {
			report("required", "verify_token", "is required for the sender's check of the URL: the text that you give there too")
		}
		if s.name == verifyHMAC {
			validateHMAC(&c, given, report)
		}
	}
	for _, p := range []struct{ field, src string }{{"event_type", c.EventType}, {"id", c.ID}} {
		if p.src == "" {
			continue
		}
		if _, err := jq.Compile(p.src); err != nil {
			message := "is not a jq program: " + err.Error()
			if wordRE.MatchString(p.src) {
				message += fmt.Sprintf("; if you mean the text itself, it needs quotes of its own: %q", strconv.Quote(p.src))
			}
			report("invalid_program", p.field, message)
		}
	}
	return wrong
}

// wordRE matches what people write when they mean a text and not a program.
var wordRE = regexp.MustCompile(`^[A-Za-z][\w.-]*$`)

// validateHMAC checks that what is signed can be put together, in one way only.
func validateHMAC(c *config, given map[string]json.RawMessage, report func(code, field, message string)) {
	parts := parseTemplate(cmp.Or(c.Template, "{body}"))
	count := map[string]int{}
	for i, p := range parts {
		if p.name == "" {
			continue
		}
		count[p.name]++
		if count[p.name] == 2 {
			report("invalid_template", "template", "must have {"+p.name+"} only once")
			return
		}
		if i > 0 && parts[i-1].name != "" && (p.name == "id" || parts[i-1].name == "id") {
			// What belongs to which could be shifted without changing what is signed.
			report("invalid_template", "template", "must have a text, such as a dot, between {id} and its neighbour")
			return
		}
	}
	for name := range count {
		if name != "id" && name != "timestamp" && name != "body" {
			report("invalid_template", "template", "must have no other placeholders than {id}, {timestamp} and {body}")
			return
		}
	}
	if given["template"] != nil && count["body"] == 0 {
		report("invalid_template", "template", "must have {body}: without it, anyone could change the body")
	}
	has := func(field string) bool { return given[field] != nil }
	switch timed := count["timestamp"] > 0; {
	case timed && !has("timestamp_header"):
		report("required", "timestamp_header", "is required when the template has {timestamp}: the name of the header that holds it")
	case !timed && has("timestamp_header"):
		report("invalid_literal", "timestamp_header", "means nothing when the template lacks {timestamp}: a time that is not signed proves nothing")
	}
	if count["timestamp"] == 0 && has("tolerance_seconds") {
		report("invalid_literal", "tolerance_seconds", "means nothing when the template lacks {timestamp}; leave it out")
	}
	switch withID := count["id"] > 0; {
	case withID && !has("id_header"):
		report("required", "id_header", "is required when the template has {id}: the name of the header that holds it")
	case !withID && has("id_header"):
		report("invalid_literal", "id_header", `means nothing when the template lacks {id}; for an id that is not signed, set "id", such as .headers["x-request-id"]`)
	}
	names := map[string]string{}
	for _, h := range []struct{ field, name string }{{"header", c.Header}, {"timestamp_header", c.TimestampHeader}, {"id_header", c.IDHeader}} {
		key := http.CanonicalHeaderKey(h.name)
		if other := names[key]; other != "" && h.name != "" {
			report("invalid_literal", h.field, "must be another header than "+other)
		}
		names[key] = h.field
	}
}
