//go:build unix

package slates

import (
	"os"
	"os/exec"
	"syscall"
)

// guard is a shell in a child's process group, which kills the group when we end, however that comes
// about: a wrapper's own children have nobody else to do so.
type guard struct {
	cmd   *exec.Cmd
	input *os.File // whose end it waits for
}

// startGuard guards the group that a process leads. Where there is no shell, or the process has ended
// already, there is none.
func startGuard(leader int) *guard {
	r, w, err := os.Pipe()
	if err != nil {
		return nil
	}
	defer r.Close()
	g := &guard{exec.Command("/bin/sh", "-c", "read -r line; kill -KILL 0"), w}
	g.cmd.Stdin, g.cmd.Env = r, []string{}
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pgid: leader}
	if g.cmd.Start() != nil {
		w.Close()
		return nil
	}
	return g
}

// end waits until the guard has been killed with its group.
func (g *guard) end() {
	if g == nil {
		return
	}
	_ = g.cmd.Process.Kill() // or it would kill what has the group's number by now
	g.input.Close()
	_ = g.cmd.Wait()
}
