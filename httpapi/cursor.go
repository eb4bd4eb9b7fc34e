package httpapi

import (
	"encoding/json"
	"math/big"
	"strings"
)

// maxCursor bounds the length of a cursor, which is a few times that of an id.
const maxCursor = 300

// decodeCursor reads a cursor: "cur_" and then, in base62 (0-9, a-z, A-Z), the JSON array
// of "after" or "before" and an item's id. Clients make them of the ids they have; the API
// itself hands out none.
func decodeCursor(text string) (direction, id string, ok bool) {
	digits, ok := strings.CutPrefix(text, "cur_")
	if !ok || len(text) > maxCursor || strings.ContainsAny(digits, "+-") { // big.Int knows signs
		return "", "", false
	}
	n, ok := new(big.Int).SetString(digits, 62)
	if !ok {
		return "", "", false
	}
	var parts []string
	if err := json.Unmarshal(n.Bytes(), &parts); err != nil || len(parts) != 2 || parts[1] == "" {
		return "", "", false
	}
	return parts[0], parts[1], parts[0] == "after" || parts[0] == "before"
}
