//go:build linux || darwin

package store

import "syscall"

// freeRoom is how many bytes may still be written to the file system of a folder.
func freeRoom(dir string) (uint64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return uint64(s.Bavail) * uint64(s.Bsize), nil //nolint:unconvert // their types differ by system
}
