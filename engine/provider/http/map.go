package http

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/engine/internal/jq"
	"github.com/callbackd/callbackd/engine/provider/internal/source"
)

// mapItem makes an event of an item.
func mapItem(ctx context.Context, req engine.MapRequest) (engine.Mapped, error) {
	c, err := parseConfig(req.Config)
	if err != nil {
		return engine.Mapped{}, err
	}
	item, err := jq.Decode(req.Input)
	if err != nil {
		return engine.Mapped{}, fmt.Errorf("read the item: %w", err)
	}
	id, err := one(ctx, "id", c.ID, nil, item)
	if err != nil {
		return engine.Mapped{}, itemError(err, req.Input)
	}
	sourceID, err := idText(id)
	if err != nil {
		return engine.Mapped{}, itemError(err, req.Input)
	}
	kind, err := one(ctx, "event_type", c.EventType, nil, item)
	if err != nil {
		return engine.Mapped{}, itemError(err, req.Input)
	}
	eventType, ok := kind.(string)
	if !ok || eventType == "" {
		return engine.Mapped{}, itemError(errors.New("event_type: it must give a string that is not empty"), req.Input)
	}
	return engine.Mapped{Type: eventType, SourceID: sourceID, Output: req.Input}, nil
}

// idText is an id as text: a number is its decimal digits, as they came.
func idText(id any) (string, error) {
	switch id := id.(type) {
	case nil:
		return "", errors.New(`id: the item has none; set "id" to a jq program that gives a string or number of its own to each item`)
	case string:
		if id == "" {
			return "", errors.New("id: it is an empty string")
		}
		if strings.ContainsRune(id, utf8.RuneError) {
			// What could not be read became this one character, so that two ids may have become one.
			return "", errors.New(`id: it has the character U+FFFD, which stands for what is not valid UTF-8 or half of a surrogate pair; the source must answer in UTF-8, or "id" be another field`)
		}
		return id, nil
	case bool, []any, map[string]any:
		return "", errors.New("id: it must give a string or a number")
	default:
		text, err := jq.Encode(id)
		return string(text), err
	}
}

// itemError adds the beginning of the item that err is about.
func itemError(err error, item json.RawMessage) error {
	const most = 120
	text := source.Printable(item[:min(most, len(item))])
	if len(item) > most {
		text += "..."
	}
	return fmt.Errorf("%w (item: %s)", err, text)
}
