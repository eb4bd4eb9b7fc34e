// Package jsontext reads JSON as encoding/json does, several times as fast for what is usual:
// valid texts of few levels. It leaves the rest to encoding/json.
package jsontext

import (
	"encoding/binary"
	"encoding/json"
)

// Shape is what one pass over a text tells of it.
type Shape struct {
	Valid  bool // as JSON
	Spaces bool // there may be white space around its tokens
	Levels int  // of objects and lists, 0 for a text that is not valid
}

// maxDepth is how many levels are followed here.
const maxDepth = 64

// Look tells the shape of a text.
func Look(text []byte) Shape {
	s := scanner{text: text}
	if s.whole() {
		return Shape{Valid: true, Spaces: s.spaces, Levels: s.levels}
	}
	if s.deep && json.Valid(text) {
		return Shape{Valid: true, Spaces: true, Levels: levels(text)}
	}
	return Shape{}
}

// Elements are those of a text that is a list, without the space around them. They are parts of
// the text. ok is false for what is no list, not valid, or of many levels.
func Elements(text []byte) (elements []json.RawMessage, ok bool) {
	s := scanner{text: text}
	if s.space() != '[' {
		return nil, false
	}
	ok = s.each('[', 1, func() bool {
		s.space()
		from := s.i
		if !s.value(1) {
			return false // and may be past the end
		}
		elements = append(elements, text[from:s.i:s.i])
		return true
	})
	if s.space(); !ok || s.i < len(text) {
		return nil, false
	}
	return elements, true
}

// Members are those of a text that is an object, by name, without the space around them; of several
// with one name the last. They are parts of the text. ok is false for what is no object, not valid,
// or of many levels.
func Members(text []byte) (members map[string]json.RawMessage, ok bool) {
	s := scanner{text: text}
	if s.space() != '{' {
		return nil, false
	}
	members = make(map[string]json.RawMessage)
	ok = s.each('{', 1, func() bool {
		name, ok := s.nameText()
		if !ok {
			return false
		}
		s.space()
		from := s.i
		if !s.value(1) {
			return false // and may be past the end
		}
		members[name] = text[from:s.i:s.i]
		return true
	})
	if s.space(); !ok || s.i < len(text) {
		return nil, false
	}
	return members, true
}

// levels is how many levels of objects and lists a valid text has.
func levels(text []byte) (deepest int) {
	depth, inText := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inText && c == '\\':
			i++ // what follows ends no text
		case c == '"':
			inText = !inText
		case inText:
		case c == '{' || c == '[':
			depth++
			deepest = max(deepest, depth)
		case c == '}' || c == ']':
			depth--
		}
	}
	return deepest
}

// scanner goes through a text. Its methods return false for what is not valid, or too deep.
type scanner struct {
	text   []byte
	i      int
	spaces bool
	deep   bool
	levels int
}

// whole takes a text that is one value.
func (s *scanner) whole() bool {
	ok := s.value(0)
	s.space()
	return ok && s.i == len(s.text)
}

// space skips white space, and is what follows it; 0: nothing does.
func (s *scanner) space() byte {
	for ; s.i < len(s.text); s.i++ {
		switch c := s.text[s.i]; c {
		case ' ', '\t', '\r', '\n':
			s.spaces = true
		default:
			return c
		}
	}
	return 0
}

// value takes a value, which is in so many levels.
func (s *scanner) value(depth int) bool {
	switch c := s.space(); c {
	case '{':
		return s.each(c, depth+1, func() bool { return s.name() && s.value(depth+1) })
	case '[':
		return s.each(c, depth+1, func() bool { return s.value(depth + 1) })
	case '"':
		return s.end(textEnd(s.text, s.i+1))
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	default:
		return s.end(numberEnd(s.text, s.i))
	}
}

// each takes an object or a list, which begins here, with whatever takes one entry.
func (s *scanner) each(open byte, depth int, entry func() bool) bool {
	if depth > maxDepth {
		s.deep = true
		return false
	}
	s.levels = max(s.levels, depth)
	s.i++
	end := open + 2 // '}' for '{', and ']' for '['
	if s.space() == end {
		s.i++
		return true
	}
	for entry() {
		c := s.space()
		s.i++
		if c != ',' {
			return c == end
		}
	}
	return false
}

// name takes the name of a member, and the colon behind it.
func (s *scanner) name() bool {
	if s.space() != '"' || !s.end(textEnd(s.text, s.i+1)) || s.space() != ':' {
		return false
	}
	s.i++
	return true
}

// nameText is name, and what the name says.
func (s *scanner) nameText() (text string, ok bool) {
	s.space()
	from := s.i
	if !s.name() {
		return "", false
	}
	return Text(s.text[from:textEnd(s.text, from+1)])
}

func (s *scanner) word(word string) bool {
	end := s.i + len(word)
	return end <= len(s.text) && string(s.text[s.i:end]) == word && s.end(end)
}

// end goes on to where a token ends; -1: it does not.
func (s *scanner) end(i int) bool {
	if i < 0 {
		return false
	}
	s.i = i
	return true
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
