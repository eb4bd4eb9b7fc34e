package http

import (
	"bytes"
	"encoding/json"

	"github.com/callbackd/callbackd/engine/internal/jq"
	"github.com/callbackd/callbackd/engine/provider/internal/source"
)

// state is what a poll leaves for the next.
type state struct {
	// Config and Request tell whether what follows still fits: they are hashes, so
	// that no secret of a URL or a header is kept here.
	Config string          `json:"config"`
	Cursor json.RawMessage `json:"cursor,omitempty"`
	source.Validators
}

// readState gives what fits c of a state. A state of another config, or one
// that is not understood, counts as none.
func readState(data json.RawMessage, c config) state {
	fresh := state{Config: c.hash()}
	var s state
	if len(data) == 0 || json.Unmarshal(data, &s) != nil || s.Config != fresh.Config {
		return fresh
	}
	return s
}

// cursor is the state's cursor as a jq value.
func (s state) cursor() any {
	if s.Cursor == nil {
		return nil
	}
	v, err := jq.Decode(s.Cursor)
	if err != nil {
		return nil
	}
	return v
}

// hash is of all that decides what a request is and how its answer is read. The ids and
// types of items and the number of pages may change without a new start.
func (c config) hash() string {
	c.ID, c.EventType, c.MaxPages = "", "", 0
	var body bytes.Buffer
	if json.Compact(&body, c.Body) == nil {
		c.Body = body.Bytes()
	}
	text, err := json.Marshal(c)
	if err != nil {
		return "" // of a body that is no JSON, which Unmarshal cannot have given
	}
	return source.Hash(string(text))
}
