//go:build race

package engine_test

import "flag"

// SQLite in Go is slow under the race detector, and a property that is tried ten times races as
// much as one that is tried a hundred times.
func init() { _ = flag.Set("rapid.checks", "10") }
