package store

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrClosed is the answer to every write after Close; for reads, ask [IsClosed].
	ErrClosed = errors.New("the store is closed")
	// ErrUnavailable wraps every failure to write that is the disk's or the file's
	// fault, not the caller's. Trying again later may help.
	ErrUnavailable = errors.New("the store is unable to write")
	// ErrUncertain is wrapped, besides ErrUnavailable, by a failure of the commit itself, or of
	// finding the file where it was after it: what was written may be there all the same.
	ErrUncertain = errors.New("what was written may be stored or not")
)

// IsClosed tells whether a call failed because it came after Close.
func IsClosed(err error) bool {
	if err == nil || errors.Is(err, ErrClosed) {
		return err != nil
	}
	// What database/sql says of a pool that was closed has no name, only a text.
	text := err.Error()
	return strings.HasSuffix(text, "sql: database is closed") || strings.HasSuffix(text, "sql: statement is closed")
}

// NotFoundError says that there is no such row, or none that may be used here.
type NotFoundError struct {
	Entity string // what kind of thing, in the wire's words
	ID     string // as it was asked for
	That   string // what else it would have to be; may be ""
}

func (e *NotFoundError) Error() string {
	text := fmt.Sprintf("there is no %s %q", e.Entity, e.ID)
	if e.That != "" {
		text += " that " + e.That
	}
	return text
}

// ConflictError says that a row's state forbids what was asked.
type ConflictError struct {
	Message string
	Hint    string // what to do about it; "" when the message says enough
}

func (e *ConflictError) Error() string { return e.Message }

// InvalidReferencesError names the references in an input that cannot be used.
type InvalidReferencesError []Reference

// Reference is an entry of a list in an input.
type Reference struct {
	Entity string // what kind of thing
	ID     string // as it was given
	Index  int    // where it stands in its list
}

func (e InvalidReferencesError) Error() string {
	texts := make([]string, len(e))
	for i, r := range e {
		texts[i] = fmt.Sprintf("there is no %s %q that can be used here", r.Entity, r.ID)
	}
	return strings.Join(texts, "; ")
}

// notFound turns "no rows" into a NotFoundError and leaves every other error.
func notFound(err error, entity, id string) error {
	if errors.Is(err, sql.ErrNoRows) {
		return &NotFoundError{Entity: entity, ID: id}
	}
	return err
}
