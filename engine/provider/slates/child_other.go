//go:build !unix

package slates

import "os/exec"

// ownGroup does nothing: there are no process groups here.
func ownGroup(*exec.Cmd) {}

// killGroup ends a process that was started. What it started notices that its input ended.
func killGroup(c *exec.Cmd) { _ = c.Process.Kill() }
