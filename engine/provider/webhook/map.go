package webhook

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/engine/internal/jq"
)

const (
	defaultType = "request.received"
	maxType     = 200  // characters
	maxSourceID = 1000 // characters
)

// mapInput makes an event of a request. What it needs is all in the input and the config.
func mapInput(ctx context.Context, req engine.MapRequest) (engine.Mapped, error) {
	c, err := parseConfig(req.Config)
	if err != nil {
		return engine.Mapped{}, err
	}
	s, err := c.scheme()
	if err != nil {
		return engine.Mapped{}, err
	}
	var in input
	if err := json.Unmarshal(req.Input, &in); err != nil {
		return engine.Mapped{}, fmt.Errorf("read the request: %w", err)
	}
	// Decoded, a body can take fifty times its bytes: nothing is, if no program looks at it.
	request := sync.OnceValues(func() (any, error) {
		decoded, err := jq.Decode(req.Input)
		if fields, ok := decoded.(map[string]any); ok && in.Text != "" {
			fields["body"] = in.Text
		}
		return decoded, err
	})
	m := engine.Mapped{Output: in.output()}
	if m.Type, err = typeOf(ctx, &c, &s, request); err != nil {
		return engine.Mapped{}, err
	}
	if m.SourceID, err = idOf(ctx, &c, &s, request); err != nil {
		return engine.Mapped{}, err
	}
	if m.SourceID == "" {
		m.SourceID = in.Digest
	}
	return m, nil
}

// output is the body, which the engine puts into an object if it is none. A request without a
// body has said what it has to say in its query.
func (in *input) output() json.RawMessage {
	var v any
	switch {
	case in.Body != nil:
		return in.Body
	case in.Text != "":
		v = in.Text
	case in.Base64 != "":
		v = map[string]string{"base64": in.Base64}
	default:
		v = in.Query
	}
	out, _ := encode(v) // strings always encode
	return out
}

// typeOf is the event's type: what the config's program gives, and it must give one, or what
// the scheme's does.
func typeOf(ctx context.Context, c *config, s *scheme, request func() (any, error)) (string, error) {
	v, err := run(ctx, "event_type", c.EventType, s.eventType, request)
	if err != nil {
		return "", err
	}
	text, _ := v.(string)
	if text = cleanType(text); text == "" {
		if c.EventType != "" {
			return "", errors.New("event_type: it must give a string that is not empty")
		}
		return defaultType, nil
	}
	return text, nil
}

// cleanType makes of a sender's text what a type may be: one line of at most 200 characters.
func cleanType(text string) string {
	text = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text))
	if runes := []rune(text); len(runes) > maxType {
		text = string(runes[:maxType])
	}
	return text
}

// idOf is the sender's id of what it sent: what the config's program gives, and it must give
// one, or what the scheme's does, which may be "".
func idOf(ctx context.Context, c *config, s *scheme, request func() (any, error)) (string, error) {
	v, err := run(ctx, "id", c.ID, s.id, request)
	if err != nil {
		return "", err
	}
	text, err := idText(v)
	if err != nil && c.ID == "" {
		return "", ctx.Err()
	}
	return text, err
}

// run runs the config's program, or else the scheme's, which was not made for this request in
// particular: what goes wrong with it is no result.
func run(ctx context.Context, field, own, schemes string, request func() (any, error)) (any, error) {
	src := own
	if src == "" {
		src = schemes
	}
	if src == "" {
		return nil, nil
	}
	program, err := jq.Compile(src)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", field, err)
	}
	v, err := request()
	if err == nil {
		v, err = program.One(ctx, v)
	}
	if err != nil && own == "" {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", field, err)
	}
	return v, nil
}

// idText is an id as text: a number is its decimal digits, as they came, and a long one its digest.
func idText(id any) (string, error) {
	var text string
	switch id := id.(type) {
	case nil:
		return "", errors.New(`id: the request has none; let the jq program give a string or number of its own to each request, such as by // .digest at its end`)
	case string:
		text = id
	case bool, []any, map[string]any:
		return "", errors.New("id: it must give a string or a number")
	default:
		number, err := jq.Encode(id)
		if err != nil {
			return "", fmt.Errorf("id: %w", err)
		}
		text = string(number)
	}
	switch {
	case text == "":
		return "", errors.New("id: it is an empty string")
	case strings.ContainsRune(text, utf8.RuneError):
		// What could not be read became this one character, so that two ids may have become one.
		return "", errors.New("id: it has the character U+FFFD, which stands for what is not valid UTF-8 or half of a surrogate pair")
	case utf8.RuneCountInString(text) > maxSourceID || strings.ContainsRune(text, 0):
		sum := sha256.Sum256([]byte(text))
		text = "sha256:" + hex.EncodeToString(sum[:])
	}
	return text, nil
}
