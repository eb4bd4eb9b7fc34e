package http

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	nethttp "net/http"
	"net/url"
	"strings"
	"time"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/engine/internal/jq"
	"github.com/callbackd/callbackd/engine/provider/internal/source"
	"github.com/callbackd/callbackd/internal/jsontext"
)

const (
	maxCursor = 64 << 10      // bytes of JSON
	maxItems  = jq.MaxOutputs // of all pages of a poll
)

// poller is one poll.
type poller struct {
	config config
	auth   *engine.Auth
	client *nethttp.Client
	log    *slog.Logger
	at     time.Time
	old    state

	cursor any // the old one, as a jq value
	now    any // at, as a jq value
	unread int64
}

// page is one answer of the source.
type page struct {
	url  *url.URL
	res  *nethttp.Response
	body []byte
	none bool // 304 or 204: there is no body

	value   any // body as a jq value, once it was asked for
	decoded bool
}

func poll(ctx context.Context, req engine.PollRequest) (engine.PollResult, error) {
	c, err := parseConfig(req.Config)
	if err != nil {
		return engine.PollResult{}, err
	}
	p := &poller{
		config: c, auth: req.Auth, client: req.HTTP, log: req.Log, at: req.Now,
		old: readState(req.State, c), now: int(req.Now.Unix()), unread: maxPoll,
	}
	p.cursor = p.old.cursor()
	return p.run(ctx)
}

func (p *poller) run(ctx context.Context) (engine.PollResult, error) {
	first, err := p.firstURL(ctx)
	if err != nil {
		return engine.PollResult{}, err
	}
	var result engine.PollResult
	var last *page
	seen := map[string]bool{}
	for next := first; next != nil; {
		if len(seen) == p.config.MaxPages {
			p.log.LogAttrs(ctx, slog.LevelWarn, "there are more pages than max_pages", slog.Int("max_pages", p.config.MaxPages))
			break
		}
		seen[next.String()] = true
		last, err = p.get(ctx, next, len(seen) == 1)
		if err == nil && last.none && len(seen) == 1 {
			return engine.PollResult{}, nil // nothing new, and the state stays
		}
		var items []json.RawMessage
		if err == nil {
			items, err = p.items(ctx, last)
		}
		if len(result.Inputs)+len(items) > maxItems {
			err = fmt.Errorf("the pages of one poll have more than %d items; lower max_pages or ask for less", maxItems)
		}
		result.Inputs = append(result.Inputs, items...)
		current := next
		if err == nil {
			next, err = p.next(ctx, last, first)
		}
		if err != nil {
			where := p.config.Method + " " + source.Shown(current)
			if len(seen) > 1 {
				where = fmt.Sprintf("page %d, %s", len(seen), where)
			}
			return engine.PollResult{}, fmt.Errorf("%s: %w", where, err)
		}
		if next != nil && seen[next.String()] {
			break // a source whose last page points to itself, or around in a circle
		}
	}
	result.State, err = p.state(ctx, first, last, len(seen) == 1)
	return result, err
}

// get reads one page.
func (p *poller) get(ctx context.Context, u *url.URL, first bool) (*page, error) {
	r, err := p.request(ctx, u)
	if err != nil {
		return nil, err
	}
	if first && p.config.Method == nethttp.MethodGet {
		p.old.Ask(u, r.Header)
	}
	res, err := p.client.Do(r)
	if err != nil {
		return nil, source.InnerError(err)
	}
	defer res.Body.Close()
	page := &page{url: u, res: res}
	switch {
	case res.StatusCode == nethttp.StatusNoContent || res.StatusCode == nethttp.StatusNotModified && first:
		page.none = true
		return page, nil
	case res.StatusCode/100 != 2:
		return nil, source.StatusError(res, p.at, first) // the URL of a later page may just have expired
	}
	if page.body, err = readBody(res, min(maxPage, p.unread)); err != nil {
		return nil, err
	}
	p.unread -= int64(len(page.body))
	return page, nil
}

// decode gives the body as a jq value.
func (pg *page) decode() (any, error) {
	if !pg.decoded && !pg.none {
		v, err := jq.Decode(pg.body)
		if err != nil {
			return nil, notJSON(pg.res, err)
		}
		pg.value, pg.decoded = v, true
	}
	return pg.value, nil
}

// items are those of one page, in its order.
func (p *poller) items(ctx context.Context, pg *page) ([]json.RawMessage, error) {
	if pg.none {
		return nil, nil
	}
	if p.config.Items == "" {
		return listItems(pg)
	}
	body, err := pg.decode()
	if err != nil {
		return nil, err
	}
	program, err := jq.Compile(p.config.Items)
	if err != nil {
		return nil, fmt.Errorf("items: %w", err)
	}
	values, err := program.All(ctx, body)
	if err != nil {
		return nil, fmt.Errorf("items: %w", err)
	}
	if len(values) == 1 {
		switch v := values[0].(type) {
		case nil:
			return nil, errors.New(`items: it gave null; is the path right? (if the source says null for none, write it as ".data // []")`)
		case []any:
			values = v
		}
	}
	items := make([]json.RawMessage, len(values))
	for i, v := range values {
		if items[i], err = jq.Encode(v); err != nil {
			return nil, fmt.Errorf("items: %w", err)
		}
	}
	return items, nil
}

// listItems are the elements of a body that is a list, byte for byte.
func listItems(pg *page) ([]json.RawMessage, error) {
	if items, ok := jsontext.Elements(pg.body); ok {
		return items, nil
	}
	var items []json.RawMessage
	err := json.Unmarshal(pg.body, &items)
	if err == nil && items != nil {
		return items, nil
	}
	v, err := pg.decode()
	if err != nil {
		return nil, err
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("the body is neither a list nor an object")
	}
	lists := map[string]string{}
	for name, v := range object {
		if _, ok := v.([]any); ok {
			lists[name] = ""
		}
	}
	const ask = `the body is an object, not a list; set "items" to a jq program that gives the list`
	if len(lists) == 0 || len(lists) > 5 {
		return nil, errors.New(ask + `, such as ".data"`)
	}
	return nil, errors.New(ask + " (lists are in: " + source.Printable([]byte(strings.Join(source.SortedKeys(lists), ", "))) + ")")
}

// next is the URL of the page after pg, or nil.
func (p *poller) next(ctx context.Context, pg *page, first *url.URL) (*url.URL, error) {
	var target, from string
	if p.config.NextPage == "" {
		target, from = nextLink(pg.res.Header.Values("Link")), "the Link header"
	} else {
		v, err := p.pageProgram(ctx, "next_page", p.config.NextPage, pg)
		if err != nil {
			return nil, err
		}
		var ok bool
		if target, ok = v.(string); !ok && v != nil && v != false {
			return nil, errors.New("next_page: it must give a URL, or null after the last page")
		}
		from = "next_page"
	}
	if target == "" {
		return nil, nil
	}
	u, err := pg.url.Parse(target)
	if err != nil {
		return nil, fmt.Errorf("%s: not a URL: %w", from, source.InnerError(err))
	}
	u.Fragment, u.RawFragment = "", ""
	if !sameOrigin(u, first) || u.User != nil {
		return nil, fmt.Errorf("%s: the next page is at %s, which is not the origin of url; it is not asked, as that would send headers and credentials elsewhere",
			from, origin(u))
	}
	return u, nil
}

// pageProgram runs cursor or next_page.
func (p *poller) pageProgram(ctx context.Context, name, src string, pg *page) (any, error) {
	body, err := pg.decode()
	if err != nil {
		return nil, err
	}
	headers := make(map[string]any, len(pg.res.Header))
	for name, values := range pg.res.Header {
		headers[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	return one(ctx, name, src, pageVars, body, p.cursor, p.now, headers)
}

// state is what the next poll needs to know.
func (p *poller) state(ctx context.Context, first *url.URL, last *page, single bool) (json.RawMessage, error) {
	s := state{Config: p.old.Config, Cursor: p.old.Cursor}
	if p.config.Cursor != "" {
		v, err := p.pageProgram(ctx, "cursor", p.config.Cursor, last)
		if err != nil {
			return nil, err
		}
		if v != nil {
			if s.Cursor, err = jq.Encode(v); err != nil {
				return nil, fmt.Errorf("cursor: %w", err)
			}
			if len(s.Cursor) > maxCursor {
				return nil, fmt.Errorf("cursor: it is larger than %d KiB", maxCursor>>10)
			}
		}
	}
	if single && p.config.Method == nethttp.MethodGet {
		s.Validators = source.ValidatorsOf(first, last.res)
	}
	return json.Marshal(s)
}

// one runs the program src of the config's field name, for one output.
func one(ctx context.Context, name, src string, vars []string, input any, values ...any) (any, error) {
	program, err := jq.Compile(src, vars...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	v, err := program.One(ctx, input, values...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return v, nil
}
