package httpapi_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/callbackd/callbackd/engine"
	"github.com/callbackd/callbackd/httpapi"
)

func TestWebhookBodiesThatAreNotWhole(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	handle := func(ctx context.Context, req engine.WebhookRequest) (engine.WebhookResult, error) {
		calls.Add(1)
		return script(ctx, req)
	}
	patient := newHookEnv(t, httpapi.Options{}, handle)
	hurried := newHookEnvWith(t, func(eng *engine.Engine) *httptest.Server {
		return httptest.NewServer(httpapi.NewWithBodyTime(eng, httpapi.Options{APIKeys: []string{rootKey}}, 200*time.Millisecond))
	}, new(httpapi.Options), handle)
	for name, tt := range map[string]struct {
		send   func(c net.Conn, head string)
		status int
	}{
		"TooLargeAnnounced": {func(c net.Conn, head string) { _, _ = fmt.Fprintf(c, "%sContent-Length: 1048577\r\n\r\n", head) }, 413},
		"TooLargeChunked": {func(c net.Conn, head string) {
			_, _ = fmt.Fprintf(c, "%sTransfer-Encoding: chunked\r\n\r\n", head)
			for err := error(nil); err == nil; { // for ever, if nobody stops it
				_, err = fmt.Fprintf(c, "10000\r\n%s\r\n", strings.Repeat("x", 1<<16))
			}
		}, 413},
		"EndsEarly": {func(c net.Conn, head string) {
			_, _ = fmt.Fprintf(c, "%sContent-Length: 10\r\n\r\nabc", head)
			_ = c.(*net.TCPConn).CloseWrite()
		}, 400},
		"ChunkThatIsNone": {func(c net.Conn, head string) {
			_, _ = fmt.Fprintf(c, "%sTransfer-Encoding: chunked\r\n\r\nzz\r\n", head)
		}, 400},
		"Slow": {func(c net.Conn, head string) { _, _ = fmt.Fprintf(c, "%sContent-Length: 10\r\n\r\nabc", head) }, 408},
		"SlowChunked": {func(c net.Conn, head string) {
			_, _ = fmt.Fprintf(c, "%sTransfer-Encoding: chunked\r\n\r\n3\r\nab", head)
		}, 408},
	} {
		t.Run(name, func(t *testing.T) {
			h := patient
			if tt.status == http.StatusRequestTimeout {
				h = hurried
			}
			head := "POST " + h.hook + " HTTP/1.1\r\nHost: x\r\n"
			if got := h.raw(t, func(c net.Conn) { tt.send(c, head) }); got != tt.status {
				t.Errorf("%d, want %d", got, tt.status)
			}
		})
	}
	if n := calls.Load(); n != 0 {
		t.Errorf("%d of them were handled", n)
	}
}
