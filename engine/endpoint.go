package engine

import (
	"fmt"
	"net/url"

	"github.com/callbackd/callbackd/engine/signature"
)

// endpoint is a destination made ready for attempts.
type endpoint struct {
	Destination
	target *url.URL // nil: a function
	signer *signature.Signer
}

func newEndpoint(d Destination) (*endpoint, error) {
	signer, err := signature.NewSigner(d.SigningSecret)
	if err != nil {
		return nil, fmt.Errorf("destination %s: %w", d.ID, err)
	}
	p := &endpoint{Destination: d, signer: signer}
	if !isFunction(d.URL) {
		if p.target, err = url.Parse(d.URL); err != nil {
			return nil, fmt.Errorf("destination %s: %w", d.ID, err)
		}
	}
	return p, nil
}

// maxEndpoints bounds the destinations kept ready.
const maxEndpoints = 10_000

// endpoint is a destination as it is now.
func (d *deliverer) endpoint(seq int64) (*endpoint, error) {
	d.mu.Lock()
	p, changes := d.endpoints[seq], d.changes
	d.mu.Unlock()
	if p != nil {
		return p, nil
	}
	row, err := d.e.store.DestinationBySeq(d.work, seq)
	if err != nil {
		return nil, err
	}
	if p, err = newEndpoint(row); err != nil {
		return nil, err
	}
	d.keep(seq, p, changes)
	return p, nil
}

// still tells whether a destination is what it was when an attempt at it began: the failure of
// what it was says nothing of what it is.
func (d *deliverer) still(seq int64, p *endpoint) bool {
	now, err := d.endpoint(seq)
	return err != nil || now.Status == "active" && now.URL == p.URL
}

// keep remembers an endpoint for the next attempt, unless a destination has changed since it
// was read, when there had been so many changes.
func (d *deliverer) keep(seq int64, p *endpoint, changes int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.changes != changes {
		return
	}
	if len(d.endpoints) >= maxEndpoints {
		clear(d.endpoints)
	}
	d.endpoints[seq] = p
}
