package http

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	nethttp "net/http"
	"regexp"
	"strconv"
	"sync"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/engine/internal/jq"
	"github.com/callbackd/callbackd/engine/provider/internal/source"
)

const (
	defaultMaxPages = 10
	maxPrograms     = 64 << 10 // bytes of all jq programs of a config: to compile one takes a time that grows with the square of its length
)

// config is a config's value, as configSchema describes it.
type config struct {
	URL       string            `json:"url"`
	Method    string            `json:"method"`
	Headers   map[string]string `json:"headers"`
	Query     map[string]string `json:"query"`
	Body      json.RawMessage   `json:"body"`
	Items     string            `json:"items"`
	ID        string            `json:"id"`
	EventType string            `json:"event_type"`
	Cursor    string            `json:"cursor"`
	NextPage  string            `json:"next_page"`
	MaxPages  int               `json:"max_pages"`
}

// The variables of each kind of program, in the order of their values.
var (
	queryVars = []string{"$cursor", "$now"}
	pageVars  = []string{"$cursor", "$now", "$headers"}
)

// parsed are configs by their text, of which each item of a poll needs the same. They are not
// to be changed.
var parsed = struct {
	sync.Mutex
	configs map[string]config
}{configs: map[string]config{}}

const maxParsed = 64

func parseConfig(value json.RawMessage) (config, error) {
	parsed.Lock()
	c, known := parsed.configs[string(value)]
	parsed.Unlock()
	if known {
		return c, nil
	}
	c, err := readConfig(value)
	if err != nil {
		return config{}, err
	}
	parsed.Lock()
	defer parsed.Unlock()
	if len(parsed.configs) >= maxParsed {
		clear(parsed.configs)
	}
	parsed.configs[string(value)] = c
	return c, nil
}

func readConfig(value json.RawMessage) (config, error) {
	var c config
	if err := json.Unmarshal(value, &c); err != nil {
		return config{}, fmt.Errorf("read the config: %w", err)
	}
	c.Method = cmp.Or(c.Method, nethttp.MethodGet)
	c.ID = cmp.Or(c.ID, ".id")
	c.EventType = cmp.Or(c.EventType, `"item.new"`)
	c.MaxPages = cmp.Or(c.MaxPages, defaultMaxPages)
	if bytes.Equal(c.Body, []byte("null")) {
		c.Body = nil
	}
	return c, nil
}

// validateConfig checks what configSchema cannot say.
func validateConfig(value json.RawMessage) []engine.FieldError {
	c, err := parseConfig(value)
	if err != nil {
		return []engine.FieldError{{Code: "invalid_type", Message: err.Error()}}
	}
	wrong := source.Check(c.URL, c.Headers)
	report := func(code, message string, path ...string) {
		wrong = append(wrong, engine.FieldError{Code: code, Message: message, Path: path})
	}
	if c.Body != nil && c.Method != nethttp.MethodPost {
		report("invalid_literal", `must be "POST" when there is a body`, "method")
	}
	total := 0
	program := func(src string, vars []string, path ...string) {
		if total += len(src); total > maxPrograms {
			report("max_length", "makes the jq programs of this config longer than 64 KiB together", path...)
			return
		}
		_, err := jq.Compile(src, vars...)
		if err == nil {
			return
		}
		message := "is not a jq program: " + err.Error()
		if wordRE.MatchString(src) {
			message += fmt.Sprintf("; if you mean the text itself, it needs quotes of its own: %q", strconv.Quote(src))
		}
		report("invalid_program", message, path...)
	}
	for _, name := range source.SortedKeys(c.Query) {
		program(c.Query[name], queryVars, "query", name)
	}
	for _, p := range []struct {
		name, src string
		vars      []string
	}{
		{"items", c.Items, nil}, {"id", c.ID, nil}, {"event_type", c.EventType, nil},
		{"cursor", c.Cursor, pageVars}, {"next_page", c.NextPage, pageVars},
	} {
		if p.src != "" {
			program(p.src, p.vars, p.name)
		}
	}
	return wrong
}

// wordRE matches what people write when they mean a text and not a program.
var wordRE = regexp.MustCompile(`^[A-Za-z][\w.-]*$`)
