package store

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"sync"
	"time"
)

// Prefixes of the ids that users see.
const (
	prefixAPIKey          = "key"
	prefixProvider        = "pro"
	prefixVersion         = "prv"
	prefixSpecification   = "psp"
	prefixTrigger         = "ptr"
	prefixAuthMethod      = "pam"
	prefixDeployment      = "pde"
	prefixConfig          = "pcf"
	prefixAuthConfig      = "pac"
	prefixDestination     = "dest"
	prefixWebhook         = "wh"
	prefixCallback        = "clb"
	prefixCallbackTrigger = "cbt"
	prefixInstance        = "cbi"
	prefixInstanceTrigger = "ctr"
	prefixEvent           = "cte"
	prefixNotification    = "sdi"
	prefixAttempt         = "sda"
)

const (
	idTimeLen = 9  // base36 milliseconds since 1970; nine digits reach the year 5188
	idTailLen = 13 // base62, about 77 random bits
	base62    = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	base36    = "0123456789abcdefghijklmnopqrstuvwxyz"
)

// ids makes ids that sort by when they were made: within one millisecond, or when the
// clock goes backwards, the tail counts on from the last one in random steps.
type ids struct {
	mu   sync.Mutex
	now  func() time.Time
	rand *bufio.Reader
	ms   int64
	tail [idTailLen]byte // digits, 0 to 61
}

func newIDs(now func() time.Time, rand io.Reader) *ids {
	return &ids{now: now, rand: bufio.NewReaderSize(rand, 1024)}
}

func (g *ids) next(prefix string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if ms := g.now().UnixMilli(); ms > g.ms {
		g.ms = ms
		for i := range g.tail {
			g.tail[i] = g.digit()
		}
	} else {
		g.step()
	}
	b := make([]byte, 0, len(prefix)+1+idTimeLen+idTailLen)
	b = append(append(b, prefix...), '_')
	b = b[:len(b)+idTimeLen]
	for i, ms := len(b)-1, g.ms; i >= len(prefix)+1; i-- {
		b[i] = base36[ms%36]
		ms /= 36
	}
	for _, d := range g.tail {
		b = append(b, base62[d])
	}
	return string(b)
}

// follow has the ids to come sort behind an id that was made before.
func (g *ids) follow(id string) {
	_, digits, ok := strings.Cut(id, "_")
	if !ok || !isID(id[:len(id)-len(digits)-1], id) {
		return // not of this form: nothing sorts behind it
	}
	var ms int64
	var tail [idTailLen]byte
	for _, c := range []byte(digits[:idTimeLen]) {
		ms = ms*36 + int64(strings.IndexByte(base36, c))
	}
	for i, c := range []byte(digits[idTimeLen:]) {
		tail[i] = byte(strings.IndexByte(base62, c))
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if ms > g.ms || ms == g.ms && bytes.Compare(tail[:], g.tail[:]) > 0 {
		g.ms, g.tail = ms, tail
	}
}

// isID tells whether an id has the form of those with this prefix.
func isID(prefix, id string) bool {
	digits, ok := strings.CutPrefix(id, prefix+"_")
	if !ok || len(digits) != idTimeLen+idTailLen {
		return false
	}
	for i, c := range []byte(digits) {
		if i < idTimeLen && strings.IndexByte(base36, c) < 0 || strings.IndexByte(base62, c) < 0 {
			return false
		}
	}
	return true
}

// digit is a uniform random digit of base62.
func (g *ids) digit() byte {
	for {
		c, err := g.rand.ReadByte()
		if err != nil {
			panic("store: no random bytes: " + err.Error()) // crypto/rand never fails
		}
		if c < 248 { // the largest multiple of 62 in a byte
			return c % 62
		}
	}
}

// step adds a random number of up to nine digits to the tail.
func (g *ids) step() {
	carry := byte(1) // so that the step is never zero
	for i := idTailLen - 1; i >= 0; i-- {
		sum := g.tail[i] + carry
		if i >= idTailLen-9 {
			sum += g.digit()
		}
		g.tail[i], carry = sum%62, sum/62
	}
	g.ms += int64(carry) // the tail began anew
}
