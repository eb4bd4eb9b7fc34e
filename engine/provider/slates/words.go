package slates

import (
	"errors"
	"strings"
)

// splitWords splits a command into its words: at white space, except between single or double
// quotes. A backslash takes the next character as it is, but not between single quotes, and
// between double ones only in front of a double quote or a backslash. There is no shell: nothing
// is expanded.
func splitWords(command string) ([]string, error) {
	var words []string
	var word strings.Builder
	inWord, quote, escaped := false, rune(0), false
	for _, r := range command {
		switch {
		case escaped:
			if quote == '"' && r != '"' && r != '\\' {
				word.WriteByte('\\')
			}
			word.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			inWord, escaped = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			inWord, quote = true, r
		case strings.ContainsRune(" \t\r\n", r):
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
		default:
			inWord = true
			word.WriteRune(r)
		}
	}
	switch {
	case quote != 0:
		return nil, errors.New("the command has a quote that does not end")
	case escaped:
		return nil, errors.New("the command ends with a backslash")
	case inWord:
		words = append(words, word.String())
	}
	if len(words) == 0 || words[0] == "" {
		return nil, errors.New("exec: has no command behind it")
	}
	return words, nil
}
