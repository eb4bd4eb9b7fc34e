package outbound

import "net"

// Idle is how many connections are kept.
func (t *Transport) Idle() int {
	t.idle.mu.Lock()
	defer t.idle.mu.Unlock()
	return t.idle.count
}

// Resolve has names looked up by another resolver.
func (t *Transport) Resolve(r *net.Resolver) { t.dialer.Resolver = r }
