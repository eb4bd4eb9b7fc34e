//go:build !unix

package slates

// guard is nothing where there are no process groups.
type guard struct{}

func startGuard(int) *guard { return nil }

func (*guard) end() {}
