package slates

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// integration is what a provider is made of.
type integration struct {
	client  *client
	options Options
	log     *slog.Logger
	memo    *memo
	methods map[string]string // ids of auth methods, by key

	anonymous bool // nobody needs to sign in
}

// errDeclaration is of an integration that is reached, but of no use.
var errDeclaration = errors.New("it cannot be used")

// action is one of slates/actions.list.
type action struct {
	ID           string          `json:"id"`
	Type         string          `json:"type"`
	Name         string          `json:"name"`
	Description  string          `json:"description"`
	InputSchema  json.RawMessage `json:"inputSchema"`
	OutputSchema json.RawMessage `json:"outputSchema"`
	Invocation   struct {
		Type               string  `json:"type"` // polling or webhook
		IntervalSeconds    float64 `json:"intervalSeconds"`
		AutoRegistration   flag    `json:"autoRegistration"`
		AutoUnregistration flag    `json:"autoUnregistration"`
		HTTP               *struct {
			Methods []string `json:"methods"` // that are taken; none: all
			Sync    struct {
				Mode      string  `json:"mode"`      // never, match or always
				TimeoutMs float64 `json:"timeoutMs"` // for the answer
			} `json:"sync"`
		} `json:"http"`
	} `json:"invocation"`
}

// flag is true, or an object that may say otherwise by "enabled".
type flag bool

func (f *flag) UnmarshalJSON(text []byte) error {
	var on bool
	if json.Unmarshal(text, &on) == nil {
		*f = flag(on)
		return nil
	}
	var object struct{ Enabled *bool }
	if json.Unmarshal(text, &object) != nil {
		return errors.New("a capability must be true, false or an object with enabled")
	}
	*f = flag(object.Enabled == nil || *object.Enabled)
	return nil
}

// declare asks the integration for all that a provider declares.
func (i *integration) declare(ctx context.Context) (engine.Provider, error) {
	p := engine.Provider{Key: i.options.Name}
	var identity map[string]json.RawMessage
	if err := i.identify(ctx, &identity); err != nil {
		return p, err
	}
	p.Name, p.Description = describe(identity)
	var actions struct {
		Actions []action `json:"actions"`
	}
	if err := i.client.call(ctx, setting{}, methodActions, struct{}{}, &actions); err != nil {
		return p, err
	}
	var config struct {
		Schema json.RawMessage `json:"schema"`
	}
	if err := i.client.call(ctx, setting{}, methodConfigSchema, struct{}{}, &config); err != nil {
		return p, err
	}
	var auth struct {
		Methods []authMethod `json:"authenticationMethods"`
	}
	if err := i.client.call(ctx, setting{}, methodAuthMethods, struct{}{}, &auth); err != nil {
		return p, err
	}
	p.ConfigSchema = i.schema("config", config.Schema)
	i.methods = make(map[string]string)
	for _, m := range auth.Methods {
		if kind := strings.TrimPrefix(m.Type, "auth."); kind == "none" || kind == "" {
			i.anonymous = true
			continue
		}
		key := keyOf(m.ID)
		if i.methods[key] != "" {
			return p, fmt.Errorf("%w: two of its auth methods have the id %s", errDeclaration, excerpt(m.ID))
		}
		i.methods[key] = m.ID
		p.AuthMethods = append(p.AuthMethods, i.authMethod(key, m))
	}
	keys := make(map[string]bool)
	for _, a := range actions.Actions {
		if a.Type != "action.trigger" {
			continue
		}
		t, ok := i.trigger(a)
		if !ok {
			i.log.WarnContext(ctx, "a trigger is left out: its invocation is neither polling nor webhook", "trigger", excerpt(a.ID), "invocation", excerpt(a.Invocation.Type))
			continue
		}
		if keys[t.Key] {
			return p, fmt.Errorf("%w: two of its triggers have the id %s", errDeclaration, excerpt(a.ID))
		}
		keys[t.Key] = true
		p.Triggers = append(p.Triggers, t)
	}
	if len(p.Triggers) == 0 {
		return p, fmt.Errorf("%w: it declares no triggers, so there is nothing to watch", errDeclaration)
	}
	return p, nil
}

// identify also finds out how the integration wants to be spoken to.
func (i *integration) identify(ctx context.Context, identity any) error {
	err := i.client.call(ctx, setting{}, methodIdentify, struct{}{}, identity)
	_, answered := errors.AsType[*Error](err)
	answered = answered || errors.Is(err, errUnanswered) || errors.Is(err, errBadAnswer)
	if !answered || i.client.asRequests.Load() {
		return err
	}
	// It answers, but not this: perhaps it takes requests only.
	i.client.asRequests.Store(true)
	if i.client.call(ctx, setting{}, methodIdentify, struct{}{}, identity) == nil {
		return nil
	}
	i.client.asRequests.Store(false)
	return err
}

// describe finds the name and description in what slates/provider.identify gives, at the top or in
// "provider".
func describe(identity map[string]json.RawMessage) (name, description string) {
	var texts struct{ Name, Description string }
	for _, field := range []string{"", "provider"} {
		from := identity
		if field != "" {
			from = nil
			_ = json.Unmarshal(identity[field], &from) // nil if it is no object
		}
		for name, to := range map[string]*string{"name": &texts.Name, "description": &texts.Description} {
			var text string
			if json.Unmarshal(from[name], &text) == nil && *to == "" {
				*to = text
			}
		}
	}
	return texts.Name, texts.Description
}

// trigger declares an action; ok is false if it is not one that we can watch.
func (i *integration) trigger(a action) (t engine.Trigger, ok bool) {
	t = engine.Trigger{Key: keyOf(a.ID), Name: a.Name, Description: a.Description,
		InputSchema: jsonOrNil(a.InputSchema), OutputSchema: jsonOrNil(a.OutputSchema)}
	w := trigger{integration: i, action: a}
	t.Map = w.mapEvent
	switch a.Invocation.Type {
	case "polling":
		t.MinInterval = wholeSeconds(i.options.MinPollInterval)
		const year = 365 * 24 * 3600
		t.Interval = max(wholeSeconds(time.Duration(min(max(a.Invocation.IntervalSeconds, 0), year)*float64(time.Second))), t.MinInterval)
		t.Poll = w.poll
	case "webhook":
		t.Handle = w.handle
		if a.Invocation.AutoRegistration {
			t.Register = w.register
			if a.Invocation.AutoUnregistration {
				t.Unregister = w.unregister
			}
		}
	default:
		return t, false
	}
	return t, true
}

// wholeSeconds rounds up.
func wholeSeconds(d time.Duration) time.Duration {
	return (d + time.Second - 1).Truncate(time.Second)
}

// keyOf is an id as the engine takes it.
func keyOf(id string) string {
	if nameRE.MatchString(id) {
		return id
	}
	key := strings.Map(func(r rune) rune {
		if r < 128 && (r == '.' || r == '_' || r == '-' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z') {
			return r
		}
		return '-'
	}, id)
	key = strings.TrimLeft(key[:min(len(key), 54)], "._-")
	if key == "" {
		key = "x"
	}
	sum := sha256.Sum256([]byte(id))
	return key + "-" + hex.EncodeToString(sum[:4])
}

func jsonOrNil(value json.RawMessage) json.RawMessage {
	if len(value) == 0 || string(value) == "null" {
		return nil
	}
	return value
}

// schema is a schema that the engine can check values by, or nil for any object. A pattern
// with what only JavaScript's regular expressions have is left out of it.
func (i *integration) schema(of string, declared json.RawMessage) json.RawMessage {
	declared = jsonOrNil(declared)
	if declared == nil || string(declared) == "{}" {
		return nil
	}
	err := engine.CheckSchema(declared)
	if err == nil {
		return declared
	}
	var doc any
	if json.Unmarshal(declared, &doc) == nil {
		if left := withoutPatterns(doc, ""); len(left) > 0 {
			if text, e := json.Marshal(doc); e == nil && engine.CheckSchema(text) == nil {
				slices.Sort(left)
				i.log.Warn("a schema has patterns that cannot be checked here, which are left out", "schema", of, "patterns", excerpt(strings.Join(left, ", ")))
				return text
			}
		}
	}
	i.log.Warn("a schema cannot be used here; any object is taken", "schema", of, "err", excerpt(err.Error()))
	return nil
}

// withoutPatterns takes regular expressions that cannot be compiled out of a schema of a property
// ("": the whole), and tells which, as "property: pattern".
func withoutPatterns(schema any, property string) (left []string) {
	switch s := schema.(type) {
	case []any:
		for _, e := range s {
			left = append(left, withoutPatterns(e, property)...)
		}
	case map[string]any:
		if pattern, ok := s["pattern"].(string); ok && !compiles(pattern) {
			delete(s, "pattern")
			left = append(left, property+": "+pattern)
		}
		if patterns, ok := s["patternProperties"].(map[string]any); ok {
			for pattern := range patterns {
				if !compiles(pattern) {
					delete(patterns, pattern)
					left = append(left, property+": "+pattern)
				}
			}
		}
		properties, _ := s["properties"].(map[string]any)
		for name, e := range properties {
			left = append(left, withoutPatterns(e, strings.TrimPrefix(property+"."+name, "."))...)
		}
		for key, e := range s {
			if key != "properties" {
				left = append(left, withoutPatterns(e, property)...)
			}
		}
	}
	return left
}

func compiles(pattern string) bool {
	_, err := regexp.Compile(pattern)
	return err == nil
}
