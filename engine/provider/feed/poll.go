package feed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/engine/provider/internal/source"
)

const (
	maxBody   = 10 << 20 // bytes, after decompression
	maxShared = 1000     // guids of several entries that a state remembers
)

// config is a config's value, as configSchema describes it.
type config struct {
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers"`
	Updates bool              `json:"updates"`
}

func parseConfig(value json.RawMessage) (config, error) {
	var c config
	if err := json.Unmarshal(value, &c); err != nil {
		return config{}, fmt.Errorf("read the config: %w", err)
	}
	return c, nil
}

// validateConfig checks what configSchema cannot say.
func validateConfig(value json.RawMessage) []engine.FieldError {
	c, err := parseConfig(value)
	if err != nil {
		return []engine.FieldError{{Code: "invalid_type", Message: err.Error()}}
	}
	return source.Check(c.URL, c.Headers)
}

// state is what a poll leaves for the next.
type state struct {
	Config string   `json:"config"`           // hash of the config that it fits
	Shared []string `json:"shared,omitempty"` // hashes of the guids that several entries have had
	source.Validators
}

// readState gives the state for c. One of another config, or one that is not understood, counts
// as none.
func readState(data json.RawMessage, c config) state {
	text, err := json.Marshal(c)
	if err != nil {
		text = nil // which cannot be: it is strings and a boolean
	}
	fresh := state{Config: source.Hash(string(text))}
	var s state
	if len(data) == 0 || json.Unmarshal(data, &s) != nil || s.Config != fresh.Config {
		return fresh
	}
	return s
}

func poll(ctx context.Context, req engine.PollRequest) (engine.PollResult, error) {
	c, err := parseConfig(req.Config)
	if err != nil {
		return engine.PollResult{}, err
	}
	u, err := source.ParseURL(c.URL)
	if err != nil {
		return engine.PollResult{}, fmt.Errorf("url: %w", err)
	}
	result, err := pollURL(ctx, req, c, u)
	if err != nil {
		return engine.PollResult{}, fmt.Errorf("GET %s: %w", source.Shown(u), err)
	}
	return result, nil
}

func pollURL(ctx context.Context, req engine.PollRequest, c config, u *url.URL) (engine.PollResult, error) {
	old := readState(req.State, c)
	r, err := request(ctx, c, u, req.Auth)
	if err != nil {
		return engine.PollResult{}, err
	}
	old.Ask(u, r.Header)
	res, err := req.HTTP.Do(r)
	if err != nil {
		return engine.PollResult{}, source.InnerError(err)
	}
	defer res.Body.Close()
	switch {
	case res.StatusCode == http.StatusNoContent || res.StatusCode == http.StatusNotModified:
		return engine.PollResult{}, nil // nothing new, and the state stays
	case res.StatusCode/100 != 2:
		return engine.PollResult{}, source.StatusError(res, req.Now, true)
	}
	body, err := source.ReadBody(res, maxBody, fmt.Errorf("the feed is larger than %d MiB", maxBody>>20))
	if err != nil {
		return engine.PollResult{}, err
	}
	parsed, err := parse(ctx, document{body: body, contentType: res.Header.Get("Content-Type"), url: u})
	if err != nil {
		return engine.PollResult{}, err
	}
	entries, shared := identify(parsed.Items, old.Shared, c.Updates)
	var result engine.PollResult
	about := newOrigin(parsed, u)
	for _, e := range slices.Backward(entries) {
		if err := ctx.Err(); err != nil {
			return engine.PollResult{}, err
		}
		input, err := about.event(e)
		if err != nil {
			return engine.PollResult{}, err
		}
		result.Inputs = append(result.Inputs, input)
	}
	next := state{Config: old.Config, Shared: shared, Validators: source.ValidatorsOf(u, res)}
	result.State, err = json.Marshal(next)
	return result, err
}

func request(ctx context.Context, c config, u *url.URL, auth *engine.Auth) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, source.InnerError(err)
	}
	r.Header.Set("Accept", "application/atom+xml, application/rss+xml, application/feed+json, application/xml;q=0.9, text/xml;q=0.9, application/json;q=0.8, */*;q=0.5")
	r.Header.Set("User-Agent", "callbackd")
	for name, value := range c.Headers {
		r.Header.Set(name, value)
	}
	return r, source.Authorize(r, auth)
}

// errEmpty is of an answer without anything in it.
var errEmpty = errors.New("the answer is empty, not a feed")
