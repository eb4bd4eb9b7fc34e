package jq

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/itchyny/gojq"

	"github.com/callbackd/callbackd/internal/jsontext"
)

// Decode reads one JSON value, with nothing after it. Numbers are json.Number, the
// text as it came; one that is longer than 1000 characters is an error.
// The error says the byte where things went wrong.
func Decode(data []byte) (any, error) {
	if v, ok := jsontext.Decode(data, maxNumber); ok {
		return v, nil
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, decodeError(err, len(data))
	}
	end := dec.InputOffset()
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("more follows the JSON value, from byte %d on", end)
	}
	if !shortNumbers(v) {
		return nil, errNumber
	}
	return v, nil
}

func decodeError(err error, size int) error {
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("byte %d: %w", syntax.Offset, err)
	}
	if err == io.EOF {
		return errors.New("it is empty")
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("it ends too early, after byte %d", size)
	}
	return err
}

func shortNumbers(v any) bool {
	switch v := v.(type) {
	case json.Number:
		return len(v) <= maxNumber
	case []any:
		for _, e := range v {
			if !shortNumbers(e) {
				return false
			}
		}
	case map[string]any:
		for _, e := range v {
			if !shortNumbers(e) {
				return false
			}
		}
	}
	return true
}

// Encode writes a value that came from [Decode] or from a program as JSON: members
// sorted by name, numbers as they are kept, NaN as null. It fails when the
// result would be larger than about [MaxOutput].
func Encode(v any) (json.RawMessage, error) {
	size := meter{left: MaxOutput}
	if err := size.tree(v, 1); err != nil {
		if errors.Is(err, errDepth) {
			return nil, err
		}
		return nil, fmt.Errorf("the value is larger than %d MiB", MaxOutput>>20)
	}
	return gojq.Marshal(v)
}
