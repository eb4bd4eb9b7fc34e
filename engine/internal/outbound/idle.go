package outbound

import (
	"sync"
	"time"
)

const (
	maxIdle     = 2048             // connections kept, over all hosts: a fan-out talks to many
	maxIdleTime = 90 * time.Second // how long one is kept unused
)

// idle are connections that wait for their next request. The zero value is empty.
type idle struct {
	mu     sync.Mutex
	conns  map[address][]*conn // last used last
	count  int
	closed bool        // nothing more is kept
	sweep  *time.Timer // closes what has waited too long; nil: nothing waits
}

// take is a kept connection that the server has not hung up on; nil: there is none.
func (i *idle) take(key address) *conn {
	for {
		i.mu.Lock()
		kept := i.conns[key]
		if len(kept) == 0 {
			i.mu.Unlock()
			return nil
		}
		c := kept[len(kept)-1]
		kept[len(kept)-1] = nil
		i.set(key, kept[:len(kept)-1])
		i.count--
		i.mu.Unlock()
		if time.Since(c.used) < maxIdleTime && quiet(c.raw) {
			return c
		}
		c.Close()
	}
}

func (i *idle) put(c *conn) {
	c.used = time.Now()
	i.mu.Lock()
	if i.count >= maxIdle || i.closed {
		i.mu.Unlock()
		c.Close()
		return
	}
	defer i.mu.Unlock()
	if i.conns == nil {
		i.conns = make(map[address][]*conn)
	}
	i.conns[c.key] = append(i.conns[c.key], c)
	i.count++
	if i.sweep == nil {
		i.sweep = time.AfterFunc(maxIdleTime, i.closeOld)
	}
}

// set is with mu held.
func (i *idle) set(key address, kept []*conn) {
	if len(kept) == 0 {
		delete(i.conns, key)
	} else {
		i.conns[key] = kept
	}
}

// closeOld closes what has waited too long, and comes back while there is more.
func (i *idle) closeOld() {
	i.closeUnused(time.Now().Add(-maxIdleTime))
}

func (i *idle) close() {
	i.mu.Lock()
	i.closed = true
	i.mu.Unlock()
	i.closeUnused(time.Now().Add(time.Second))
}

// closeUnused closes what was last used before t.
func (i *idle) closeUnused(t time.Time) {
	var unused []*conn // closed without the lock: TLS says goodbye first, which can take its time
	defer func() {
		for _, c := range unused {
			c.Close()
		}
	}()
	i.mu.Lock()
	defer i.mu.Unlock()
	for key, kept := range i.conns {
		old := 0
		for old < len(kept) && kept[old].used.Before(t) {
			unused = append(unused, kept[old])
			old++
		}
		i.count -= old
		i.set(key, append([]*conn(nil), kept[old:]...))
	}
	if i.sweep != nil && i.count == 0 {
		i.sweep.Stop()
		i.sweep = nil
	} else if i.sweep != nil {
		i.sweep.Reset(maxIdleTime / 2)
	}
}
