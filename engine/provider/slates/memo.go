package slates

import (
	"crypto/sha256"
	"encoding/json"
	"sync"
	"time"

	"github.com/callbackd/callbackd/engine"
)

const (
	memoLife  = 5 * time.Minute // a poll and its mapping take less
	memoItems = 20_000
	memoBytes = 64 << 20 // of outputs
)

// memo keeps what inputs were mapped to, in batches, until the engine asks for each. What is not
// in it any longer is asked for again.
type memo struct {
	mu    sync.Mutex
	items map[memoKey]memoItem
	bytes int // of their outputs
}

type memoKey [sha256.Size]byte

type memoItem struct {
	mapped engine.Mapped
	err    error
	at     time.Time
}

func newMemo() *memo { return &memo{items: make(map[memoKey]memoItem)} }

// memoKeyOf tells inputs of different triggers, configs and accounts apart.
func memoKeyOf(action string, s setting, input json.RawMessage) memoKey {
	h := sha256.New()
	for _, part := range [][]byte{[]byte(action), s.config, []byte(s.authMethod), s.authOutput, input} {
		sum := sha256.Sum256(part)
		h.Write(sum[:])
	}
	return memoKey(h.Sum(nil))
}

func (m *memo) put(key memoKey, mapped engine.Mapped, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop(key)
	if len(m.items) < memoItems && m.bytes+len(mapped.Output) <= memoBytes {
		m.items[key] = memoItem{mapped, err, time.Now()}
		m.bytes += len(mapped.Output)
	}
}

// take gives an item at most once.
func (m *memo) take(key memoKey) (item memoItem, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	item, ok = m.items[key]
	m.drop(key)
	return item, ok
}

// drop forgets an item, if there is one. m.mu is held.
func (m *memo) drop(key memoKey) {
	m.bytes -= len(m.items[key].mapped.Output)
	delete(m.items, key)
}

// forget drops what nobody asked for.
func (m *memo) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, item := range m.items {
		if time.Since(item.at) > memoLife {
			m.drop(key)
		}
	}
}
