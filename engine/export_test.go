package engine

// WebhooksInHand is how many triggers have requests in hand, or calls that were left behind.
func (e *Engine) WebhooksInHand() int {
	e.inbound.mu.Lock()
	defer e.inbound.mu.Unlock()
	return len(e.inbound.doors)
}
