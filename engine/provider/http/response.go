package http

import (
	"bytes"
	"fmt"
	"mime"
	nethttp "net/http"
	"strings"

	"github.com/callbackd/callbackd/engine/provider/internal/source"
)

const (
	maxPage = 10 << 20 // bytes of one page, after decompression
	maxPoll = 32 << 20 // bytes of all pages of a poll
)

// readBody reads a page, up to limit bytes.
func readBody(res *nethttp.Response, limit int64) ([]byte, error) {
	tooLarge := fmt.Errorf("the answer is larger than %d MiB; ask for smaller pages", maxPage>>20)
	if limit < maxPage {
		tooLarge = fmt.Errorf("the pages of one poll are larger than %d MiB; lower max_pages or ask for less", maxPoll>>20)
	}
	body, err := source.ReadBody(res, limit, tooLarge)
	if err != nil {
		return nil, err
	}
	body = bytes.TrimPrefix(body, []byte("\uFEFF"))
	return bytes.ToValidUTF8(body, []byte("\uFFFD")), nil
}

// notJSON says what came instead of JSON.
func notJSON(res *nethttp.Response, err error) error {
	kind, _, parseErr := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if parseErr != nil || kind == "application/json" || strings.HasSuffix(kind, "+json") {
		return fmt.Errorf("the answer is not JSON: %w", err)
	}
	return fmt.Errorf("it answered %s, not JSON: %w", kind, err)
}
