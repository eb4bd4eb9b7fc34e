package http

import (
	"io"
	nethttp "net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func TestThePagesOfAPollAreBoundedTogether(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(nethttp.HandlerFunc(func(w nethttp.ResponseWriter, _ *nethttp.Request) {
		_, _ = io.WriteString(w, "[1,2]")
	}))
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	p := &poller{config: config{Method: "GET"}, client: server.Client(), unread: 7}
	if _, err := p.get(t.Context(), u, true); err != nil {
		t.Fatal(err)
	}
	_, err = p.get(t.Context(), u, false)
	if err == nil || !strings.Contains(err.Error(), "the pages of one poll are larger than 32 MiB; lower max_pages or ask for less") {
		t.Errorf("got %v", err)
	}
}
