package http_test

import (
	"encoding/json"
	"fmt"
	nethttp "net/http"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/callbackd/callbackd/engine"
)

func TestPaging(t *testing.T) {
	t.Parallel()
	next := values{"items": ".data", "next_page": ".next"}
	for name, c := range map[string]struct {
		config values
		pages  map[string]string // request URI to next URL
		header bool              // the next URL is in a Link header
		asked  string
		err    string
	}{
		"ByLinkHeader":           {pages: map[string]string{"/": "/b?x=1", "/b?x=1": "c", "/c": ""}, header: true, asked: "/ /b?x=1 /c"},
		"ByProgram":              {config: next, pages: map[string]string{"/": "?p=2", "/?p=2": "?p=3"}, asked: "/ /?p=2 /?p=3"},
		"AProgramComesFirst":     {config: next, pages: map[string]string{"/": "/b"}, header: true, asked: "/"},
		"UpToMaxPages":           {config: values{"items": ".data", "next_page": ".next", "max_pages": 2}, pages: map[string]string{"/": "/b", "/b": "/c"}, asked: "/ /b"},
		"ALoopEnds":              {config: next, pages: map[string]string{"/": "/b", "/b": "/c", "/c": "/b"}, asked: "/ /b /c"},
		"APageOfItselfEnds":      {config: next, pages: map[string]string{"/": "/#more"}, asked: "/"},
		"AnotherOriginIsRefused": {config: next, pages: map[string]string{"/": "https://evil.example/x"}, asked: "/", err: "next_page: the next page is at https://evil.example:443, which is not the origin of url"},
		"AnotherSchemeIsRefused": {config: next, pages: map[string]string{"/": "file:///etc/passwd"}, asked: "/", err: "next_page: the next page is at file://:, which is not"},
		"AnotherOriginInTheLink": {pages: map[string]string{"/": "//evil.example/x"}, header: true, asked: "/", err: "the Link header: the next page is at http://evil.example:80"},
		"WhatIsNoURLIsAnError":   {config: next, pages: map[string]string{"/": "http://[::1"}, asked: "/", err: "next_page: not a URL: missing ']' in host"},
		"AnErrorOfALaterPageToo": {config: next, pages: map[string]string{"/": "/missing"}, asked: "/ /missing", err: "/...: it answered 410 Gone"},
		"WhatIsNotTextIsAnError": {config: values{"items": ".data", "next_page": "7"}, pages: map[string]string{"/": ""}, asked: "/", err: "next_page: it must give a URL, or null after the last page"},
		"FalseIsTheEnd":          {config: values{"items": ".data", "next_page": "false"}, pages: map[string]string{"/": ""}, asked: "/"},
		"HeadersAreInTheProgram": {config: values{"items": ".data", "next_page": `$headers["x-total"] | if . == "7" then "/b" else null end`}, pages: map[string]string{"/": ""}, asked: "/ /b"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
				next, known := c.pages[r.RequestURI]
				if r.RequestURI == "/missing" {
					w.WriteHeader(nethttp.StatusGone)
					return
				}
				if c.header && next != "" {
					w.Header().Set("Link", `<`+next+`>; rel="prev next"`)
				}
				item := fmt.Sprintf("%q", r.RequestURI)
				switch {
				case c.config == nil:
					_, _ = fmt.Fprintf(w, "[%s]", item)
				case c.header || !known || next == "":
					w.Header().Set("X-Total", strconv.Itoa(len(r.RequestURI)+6))
					_, _ = fmt.Fprintf(w, `{"data":[%s],"next":null}`, item)
				default:
					_, _ = fmt.Fprintf(w, `{"data":[%s],"next":%q}`, item, next)
				}
			})
			r, err := trigger.Poll(t.Context(), s.request(t, "/", c.config))
			var asked []string
			for _, r := range s.asked {
				asked = append(asked, r.RequestURI)
			}
			if got := strings.Join(asked, " "); got != c.asked {
				t.Errorf("asked for %s, want %s", got, c.asked)
			}
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) || engine.IsPermanent(err) {
					t.Errorf("got %v, want %s", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.ReplaceAll(inputs(r), `"`, ""); got != c.asked {
				t.Errorf("got %s, want %s", got, c.asked)
			}
		})
	}
}

func TestEveryItemOfEveryPageComesOnceAndInOrder(t *testing.T) {
	t.Parallel()
	var pages [][]int
	var byHeader bool
	s := serve(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		n, _ := strconv.Atoi(r.URL.Query().Get("page"))
		next := any(nil)
		if n+1 < len(pages) {
			next = fmt.Sprintf("/list?page=%d", n+1)
		}
		if !byHeader {
			_ = json.NewEncoder(w).Encode(values{"data": pages[n], "next": next})
			return
		}
		if next != nil {
			w.Header().Add("Link", fmt.Sprintf(`</first>; rel=first, <%s>; title="a, b; c"; rel="next last"`, next))
		}
		_ = json.NewEncoder(w).Encode(pages[n])
	})
	rapid.Check(t, func(rt *rapid.T) {
		sizes := rapid.SliceOfN(rapid.IntRange(0, 5), 1, 12).Draw(rt, "sizes")
		most := rapid.IntRange(1, 14).Draw(rt, "max_pages")
		byHeader = rapid.Bool().Draw(rt, "byHeader")
		pages = nil
		var want []string
		item := 0
		for i, size := range sizes {
			page := []int{}
			for range size {
				page = append(page, item)
				if i < most {
					want = append(want, strconv.Itoa(item))
				}
				item++
			}
			pages = append(pages, page)
		}
		config := values{"max_pages": most}
		if !byHeader {
			config["items"], config["next_page"] = ".data", ".next"
		}
		if got := inputs(mustPoll(t, s.request(t, "/list", config))); got != strings.Join(want, " ") {
			rt.Fatalf("got %s, want %v", got, want)
		}
	})
}
