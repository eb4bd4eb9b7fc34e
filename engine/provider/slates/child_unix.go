//go:build unix && !linux

package slates

import (
	"os/exec"
	"syscall"
)

// ownGroup has a process lead a group. When we are killed, its input ends, and it should end too.
func ownGroup(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// killGroup ends a process that was started, and what it started.
func killGroup(c *exec.Cmd) { _ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
