package http

import "strings"

const linkSpace = " \t"

// nextLink is the target of the first link with the relation "next" in the values of
// Link headers (RFC 8288, read as its appendix B.2 says), or "". Links about
// something else than the page itself, by an anchor, do not count.
func nextLink(values []string) string {
	for _, rest := range values {
		for {
			var l link
			var ok bool
			if l, rest, ok = cutLink(rest); !ok {
				break
			}
			if l.next && !l.anchored && l.target != "" {
				return l.target
			}
		}
	}
	return ""
}

type link struct {
	target   string
	next     bool
	anchored bool
}

// cutLink reads one link off s and gives what follows it; false at the end or at what is no link.
func cutLink(s string) (l link, rest string, ok bool) {
	s = strings.TrimLeft(s, linkSpace+",")
	if !strings.HasPrefix(s, "<") {
		return link{}, "", false
	}
	target, s, ok := strings.Cut(s[1:], ">")
	if !ok {
		return link{}, "", false
	}
	l.target = strings.Trim(target, linkSpace)
	hasRel := false
	for {
		s = strings.TrimLeft(s, linkSpace)
		if !strings.HasPrefix(s, ";") {
			// a comma, the end, or what does not belong here
			if i := strings.IndexByte(s, ','); i >= 0 {
				return l, s[i+1:], true
			}
			return l, "", true
		}
		var name, value string
		name, value, s = cutParam(s[1:])
		switch strings.ToLower(name) {
		case "rel":
			if hasRel { // the first one counts
				continue
			}
			hasRel = true
			for _, relation := range strings.Fields(value) {
				l.next = l.next || strings.EqualFold(relation, "next")
			}
		case "anchor":
			l.anchored = true
		}
	}
}

// cutParam reads name or name=value or name="value" off s, up to the next ';' or ','.
func cutParam(s string) (name, value, rest string) {
	s = strings.TrimLeft(s, linkSpace)
	end := strings.IndexAny(s, linkSpace+"=;,")
	if end < 0 {
		return s, "", ""
	}
	name, s = s[:end], strings.TrimLeft(s[end:], linkSpace)
	if !strings.HasPrefix(s, "=") {
		return name, "", s
	}
	s = strings.TrimLeft(s[1:], linkSpace)
	if strings.HasPrefix(s, `"`) {
		value, rest = cutQuoted(s[1:])
		return name, value, rest
	}
	if end = strings.IndexAny(s, ";,"); end < 0 {
		end = len(s)
	}
	return name, strings.TrimRight(s[:end], linkSpace), s[end:]
}

// cutQuoted reads a quoted string off s, whose first quote is gone already.
func cutQuoted(s string) (value, rest string) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:]
		case '\\':
			if i++; i == len(s) {
				return b.String(), ""
			}
		}
		b.WriteByte(s[i])
	}
	return b.String(), ""
}
