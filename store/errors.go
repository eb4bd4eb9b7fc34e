package store

import (
	"database/sql"
	"errors"
	"fmt"
)

var (
	// ErrClosed is the answer to every write after Close; reads fail with an error of their own.
	ErrClosed = errors.New("the store is closed")
	// ErrUnavailable wraps every failure to write that is the disk's or the file's
	// fault, not the caller's. Trying again later may help.
	ErrUnavailable = errors.New("the store is unable to write")
)

// NotFoundError says that there is no such row, or none that may be used here.
type NotFoundError struct {
	Entity string // what kind of thing, in the wire's words
	ID     string // as it was asked for
}

func (e *NotFoundError) Error() string { return fmt.Sprintf("no %s %q", e.Entity, e.ID) }

// ConflictError says that a row's state forbids what was asked.
type ConflictError struct{ Message string }

func (e *ConflictError) Error() string { return e.Message }

// InvalidReferenceError says that one of several references in an input cannot be
// used.
type InvalidReferenceError struct {
	Entity string // what kind of thing
	ID     string // as it was given
	Index  int    // where it stands in its list
}

func (e *InvalidReferenceError) Error() string {
	return fmt.Sprintf("no %s %q that can be used here", e.Entity, e.ID)
}

// notFound turns "no rows" into a NotFoundError and leaves every other error.
func notFound(err error, entity, id string) error {
	if errors.Is(err, sql.ErrNoRows) {
		return &NotFoundError{Entity: entity, ID: id}
	}
	return err
}
