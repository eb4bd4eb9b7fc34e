//go:build race

package httpapi_test

// SQLite in Go is slow under the race detector.
func init() { webhooksAtATime = 100 }
