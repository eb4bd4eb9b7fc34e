package outbound

// Idle is how many connections are kept.
func (t *Transport) Idle() int {
	t.idle.mu.Lock()
	defer t.idle.mu.Unlock()
	return t.idle.count
}
