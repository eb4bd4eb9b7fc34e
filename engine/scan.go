package engine

import (
	"encoding/binary"
	"encoding/json"
)

// shape is what one pass over a text tells of it as JSON.
type shape struct {
	valid  bool
	spaces bool // there may be white space around its tokens
	levels int  // of objects and lists; known of a valid text alone
}

// maxScanned is how many levels [scan] follows itself.
const maxScanned = 64

// scan looks at a text as [json.Valid] does, several times as fast: every event passes here.
func scan(text []byte) (s shape) {
	var objects uint64 // which of the levels around are objects, the innermost last
	depth, i := 0, 0
	space := func() byte {
		for ; i < len(text); i++ {
			switch c := text[i]; c {
			case ' ', '\t', '\r', '\n':
				s.spaces = true
			default:
				return c
			}
		}
		return 0
	}
	name := func() bool { // and the colon behind it
		if space() != '"' {
			return false
		}
		if i = textEnd(text, i+1); i < 0 || space() != ':' {
			return false
		}
		i++
		return true
	}
value:
	for {
		switch c := space(); {
		case c == '{' || c == '[':
			if depth == maxScanned {
				return shape{valid: json.Valid(text), spaces: true, levels: nesting(text)}
			}
			i++
			depth++
			s.levels = max(s.levels, depth)
			objects <<= 1
			if c == '{' {
				objects |= 1
			}
			if end := space(); end != c+2 { // '}' for '{', and ']' for '['
				if c == '{' && !name() {
					return shape{}
				}
				continue
			}
		case c == '"':
			if i = textEnd(text, i+1); i < 0 {
				return shape{}
			}
		case c == '-' || c >= '0' && c <= '9':
			if i = numberEnd(text, i); i < 0 {
				return shape{}
			}
		case c == 't' && string(text[i:min(i+4, len(text))]) == "true", c == 'n' && string(text[i:min(i+4, len(text))]) == "null":
			i += 4
		case c == 'f' && string(text[i:min(i+5, len(text))]) == "false":
			i += 5
		default:
			return shape{}
		}
		for { // behind a value, or at the end of what is around it
			c := space()
			if depth == 0 {
				s.valid = i == len(text)
				return s
			}
			object := objects&1 == 1
			switch {
			case c == ',':
				i++
				if object && !name() {
					return shape{}
				}
				continue value
			case c == '}' && object, c == ']' && !object:
				i++
				depth--
				objects >>= 1
			default:
				return shape{}
			}
		}
	}
}

// textEnd is behind the quote that ends a text, whose first character is at i; -1: it is not valid.
func textEnd(text []byte, i int) int {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for {
		for i+8 <= len(text) { // eight bytes at a time, as long as none of them is of interest
			w := binary.LittleEndian.Uint64(text[i:])
			quote, escape := w^(ones*'"'), w^(ones*'\\')
			if ((w-ones*' ')&^w|(quote-ones)&^quote|(escape-ones)&^escape)&high != 0 {
				break
			}
			i += 8
		}
		for {
			if i >= len(text) || text[i] < ' ' {
				return -1
			}
			c := text[i]
			i++
			if c == '"' {
				return i
			}
			if c == '\\' {
				break
			}
		}
		if i >= len(text) {
			return -1
		}
		switch text[i] {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			i++
		case 'u':
			if i+5 > len(text) {
				return -1
			}
			for _, c := range text[i+1 : i+5] {
				if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'f') {
					return -1
				}
			}
			i += 5
		default:
			return -1
		}
	}
}

// numberEnd is behind a number that begins at i; -1: it is not valid.
func numberEnd(text []byte, i int) int {
	digits := func() bool {
		from := i
		for i < len(text) && text[i] >= '0' && text[i] <= '9' {
			i++
		}
		return i > from
	}
	at := func() byte {
		if i < len(text) {
			return text[i]
		}
		return 0
	}
	if at() == '-' {
		i++
	}
	if at() == '0' {
		i++
	} else if !digits() {
		return -1
	}
	if at() == '.' {
		i++
		if !digits() {
			return -1
		}
	}
	if c := at(); c == 'e' || c == 'E' {
		i++
		if c := at(); c == '+' || c == '-' {
			i++
		}
		if !digits() {
			return -1
		}
	}
	return i
}
