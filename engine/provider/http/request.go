package http

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	nethttp "net/http"
	"net/url"
	"strings"

	"github.com/callbackd/callbackd/engine/internal/jq"
	"github.com/callbackd/callbackd/engine/provider/internal/source"
)

// firstURL is the config's URL with the parameters of query.
func (p *poller) firstURL(ctx context.Context) (*url.URL, error) {
	u, err := source.ParseURL(p.config.URL)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	if len(p.config.Query) == 0 {
		return u, nil
	}
	query := u.Query()
	for _, name := range source.SortedKeys(p.config.Query) {
		v, err := one(ctx, "query."+name, p.config.Query[name], queryVars, nil, p.cursor, p.now)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil { // whose text has the program's, and keys to an API are often parameters
			return nil, fmt.Errorf("query.%s: its jq program failed with the present $cursor; it is not shown, as it may hold a secret", name)
		}
		values, err := parameters(v)
		if err != nil {
			return nil, fmt.Errorf("query.%s: %w", name, err)
		}
		query[name] = values
	}
	u.RawQuery = query.Encode()
	return u, nil
}

func parameters(v any) ([]string, error) {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	var values []string
	for _, v := range list {
		switch v := v.(type) {
		case nil:
		case string:
			values = append(values, v)
		case []any, map[string]any:
			return nil, errors.New("it must give a string, a number, a boolean, null or an array of these")
		default:
			text, err := jq.Encode(v)
			if err != nil {
				return nil, err
			}
			values = append(values, string(text))
		}
	}
	return values, nil
}

// request is the request for one page.
func (p *poller) request(ctx context.Context, u *url.URL) (*nethttp.Request, error) {
	var body io.Reader
	kind := ""
	if p.config.Body != nil {
		content := []byte(p.config.Body)
		kind = "application/json"
		var text string
		if json.Unmarshal(p.config.Body, &text) == nil {
			content, kind = []byte(text), "text/plain; charset=utf-8"
		}
		body = bytes.NewReader(content)
	}
	r, err := nethttp.NewRequestWithContext(ctx, p.config.Method, u.String(), body)
	if err != nil {
		return nil, source.InnerError(err)
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", "callbackd")
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	for name, value := range p.config.Headers {
		r.Header.Set(name, value)
	}
	return r, source.Authorize(r, p.auth)
}

func sameOrigin(a, b *url.URL) bool { return origin(a) == origin(b) }

func origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port
}
