package jq

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/itchyny/gojq"
)

var (
	errBudget = errors.New("it needs too much memory or too many steps")
	errDepth  = fmt.Errorf("a value is nested deeper than %d levels", maxDepth)
	errTime   = fmt.Errorf("it took too long (at most %s)", TimeLimit)
)

// nameError is about a name that a program must not use.
type nameError struct{ name, text string }

func (e *nameError) Error() string { return e.text }

func parseError(src string, err error) error {
	e, ok := errors.AsType[*gojq.ParseError](err)
	if !ok {
		return err
	}
	// Offset is behind what was read last, which is the token unless the text ended.
	at := min(e.Offset, len(src))
	if strings.HasSuffix(src[:at], e.Token) {
		at -= len(e.Token)
	}
	return fmt.Errorf("%s: %w", position(src, at), err)
}

// compileError adds where the name that err complains of is. gojq does not say, so
// it is the first place of that name in the program.
func compileError(src string, err error) error {
	name := ""
	if e, ok := errors.AsType[*nameError](err); ok {
		name = e.name
	} else {
		_, name, _ = strings.Cut(err.Error(), ": ")
	}
	if at := wordIndex(src, name); at >= 0 {
		return fmt.Errorf("%s: %w", position(src, at), err)
	}
	return err
}

func wordIndex(src, word string) int {
	if word == "" {
		return -1
	}
	isWord := func(i int) bool {
		return i >= 0 && i < len(src) && (src[i] == '_' || src[i] == '$' ||
			'0' <= src[i] && src[i] <= '9' || 'a' <= src[i]|0x20 && src[i]|0x20 <= 'z')
	}
	for from := 0; ; {
		i := strings.Index(src[from:], word)
		if i < 0 {
			return -1
		}
		i += from
		if !isWord(i-1) && !isWord(i+len(word)) {
			return i
		}
		from = i + 1
	}
}

// position says where byte at of src is, for a person.
func position(src string, at int) string {
	before := src[:at]
	line := strings.Count(before, "\n") + 1
	column := utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1
	if line == 1 {
		return "column " + strconv.Itoa(column)
	}
	return fmt.Sprintf("line %d, column %d", line, column)
}

// quoted is a program in an error text: shortened, and on one line.
func quoted(src string) string {
	src = strings.Join(strings.Fields(src), " ")
	const most = 80
	if len(src) > most {
		cut := most
		for !utf8.RuneStart(src[cut]) {
			cut--
		}
		src = src[:cut] + "..."
	}
	return "`" + src + "`"
}

// explain turns an error of a run into one for a person. An error that carries a
// value is not asked for its text: that text may be as large as the value is as
// a tree.
func (m *meter) explain(err error) error {
	if m.why != nil {
		return m.why
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return errTime
	}
	if errors.Is(err, context.Canceled) {
		return context.Canceled
	}
	if e, ok := errors.AsType[gojq.ValueError](err); ok {
		return errors.New(preview(e.Value()))
	}
	return err
}

// preview is the text of an error that a program raised by itself.
func preview(v any) string {
	const most = 200
	s, ok := v.(string)
	if !ok {
		return gojq.Preview(v)
	}
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}
