package feed

import (
	"bytes"
	"mime"
	"net/url"
	"regexp"
	"unicode/utf8"

	"golang.org/x/net/html/charset"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/unicode"
)

// document is an answer of a source, whatever it is.
type document struct {
	body        []byte
	contentType string
	url         *url.URL
}

var (
	declaration = regexp.MustCompile(`^\s*<\?xml\s[^>]*\?>`)
	declared    = regexp.MustCompile(`\sencoding\s*=\s*["']([A-Za-z0-9._:-]+)["']`)
)

// text is the document in UTF-8, without what XML cannot have and without an XML declaration, in
// whose place are spaces, so that the lines of errors are right.
func (d document) text() []byte {
	head := d.body[:min(len(d.body), 1024)]
	body := d.body
	if e := d.encoding(head); e != nil {
		if decoded, err := e.NewDecoder().Bytes(body); err == nil {
			body = decoded
		}
	}
	body = bytes.Map(func(r rune) rune {
		switch {
		case r < ' ' && r != '\t' && r != '\n' && r != '\r', r == '\uFFFE', r == '\uFFFF', r == '\uFEFF':
			return -1
		}
		return r // what is not UTF-8 becomes U+FFFD
	}, body)
	if at := declaration.FindIndex(body); at != nil {
		for i := range at[1] {
			if body[i] != '\n' {
				body[i] = ' '
			}
		}
	}
	return body
}

// encoding is how to make UTF-8 of the document; nil: it is UTF-8.
func (d document) encoding(head []byte) encoding.Encoding {
	switch {
	case bytes.HasPrefix(head, []byte("\xEF\xBB\xBF")):
		return nil
	case bytes.HasPrefix(head, []byte("\xFE\xFF")), bytes.HasPrefix(head, []byte("\x00<")), bytes.HasPrefix(head, []byte("\x00{")):
		return unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM)
	case bytes.HasPrefix(head, []byte("\xFF\xFE")), bytes.HasPrefix(head, []byte("<\x00")), bytes.HasPrefix(head, []byte("{\x00")):
		return unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM)
	}
	var labels []string
	if m := declared.FindSubmatch(declaration.Find(head)); m != nil {
		labels = append(labels, string(m[1]))
	}
	if _, params, err := mime.ParseMediaType(d.contentType); err == nil && params["charset"] != "" {
		labels = append(labels, params["charset"])
	}
	var found encoding.Encoding
	for _, label := range labels {
		switch e, name := charset.Lookup(label); {
		case e == nil:
		case name == "utf-8" || name == "utf-16le" || name == "utf-16be": // not the latter, or it would look so
			if utf8.Valid(d.body) { // a server's default is often wrong; what is valid UTF-8 hardly ever is something else
				return nil
			}
		case found == nil:
			found = e
		}
	}
	return found
}
