package main

import (
	"bytes"
	"context"
)

// batchPath is where batches are posted to.
func batchPath(callback string) string { return "/callbacks/" + callback + "/events/batch" }

// batchBody is a batch of payloads as the API takes them.
func batchBody(first int) []byte {
	events := make([][]byte, batchSize)
	for i := range events {
		events[i] = eventBody(first + i)
	}
	return append(append([]byte(`{"events":[`), bytes.Join(events, []byte(","))...), "]}"...)
}

func batchRound(ctx context.Context, s *suite) (sample, error) {
	return withAPI(ctx, s, func(c *client, callback string, to *sink) (sample, error) {
		l := load{workers: publishers, each: batchSize, to: to, publish: func(ctx context.Context, number int) error {
			return c.post(ctx, batchPath(callback), batchBody(number), nil)
		}}
		return l.measure(ctx, s.size.span)
	})
}
