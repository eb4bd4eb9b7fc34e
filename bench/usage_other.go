//go:build !unix

package main

import "time"

// cpuTime is not known here: CPU figures are zero.
func cpuTime() time.Duration { return 0 }
