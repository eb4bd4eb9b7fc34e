package httpapi

import (
	"net/http"
	"time"

	"github.com/callbackd/callbackd/engine"
)

var (
	DecodeCursor  = decodeCursor
	HalfPair      = halfPair
	WebhookSuffix = webhookSuffix
)

// MaxBufferedEach is how many bytes of the bodies of one trigger's webhooks are held at a time.
const MaxBufferedEach = maxBufferedEach

// NewWithBodyTime is New with another time for the body of a webhook.
func NewWithBodyTime(eng *engine.Engine, o Options, d time.Duration) http.Handler {
	o.bodyTime = d
	return New(eng, o)
}

// PollingFor are options with which an answer waits for a poll at most so long.
func PollingFor(o Options, wait time.Duration) Options {
	o.pollWait = wait
	return o
}

// Routes are the methods and paths of the API's table.
func Routes() []string {
	names := make([]string, len(routes))
	for i, rt := range routes {
		names[i] = rt.method + " " + rt.path
	}
	return names
}

// WebhookRoutes are the methods and paths that need no place in the table.
func WebhookRoutes() []string {
	var names []string
	for _, method := range webhookMethods {
		if method == http.MethodHead { // as everywhere, where GET is
			continue
		}
		names = append(names, method+" "+webhookPath)
	}
	return names
}
