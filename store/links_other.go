//go:build !unix

package store

import "io/fs"

// hardLinks is how many names a file has, where that is known.
func hardLinks(fs.FileInfo) uint64 { return 1 }
