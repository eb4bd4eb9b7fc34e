package store

import (
	"crypto/sha256"
	"strings"
)

// maxPlainKey is how long a source id may be to be its own key. Source ids often count
// up, and plain ones then lie side by side in the key's B-tree; a digest of each would
// touch a page of its own.
const maxPlainKey = 32

// digestMark begins a digest, and no UTF-8 text.
const digestMark = "\xff"

// dedupKey is what a source id is remembered by, for ever: itself if it is short, else
// 16 bytes of its SHA-256 behind a mark, which no plain key has.
func dedupKey(sourceID string) []byte {
	if len(sourceID) <= maxPlainKey && !strings.HasPrefix(sourceID, digestMark) {
		return []byte(sourceID)
	}
	sum := sha256.Sum256([]byte(sourceID))
	return append([]byte(digestMark), sum[:16]...)
}
