package engine

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// A Code says what kind of error an [Error] is. Codes are the wire's words;
// httpapi maps each to one HTTP status.
type Code string

const (
	CodeInvalid     Code = "invalid_data" // a value is wrong; Fields says which
	CodeBadRequest  Code = "bad_request"  // the request as a whole is wrong; Reason says how
	CodeNotFound    Code = "not_found"    // Entity and ID say what was looked for
	CodeConflict    Code = "conflict"     // it is there already, or in a state that forbids this
	CodeGone        Code = "gone"         // it was there, and is no more
	CodeUnavailable Code = "unavailable"  // shutting down, or the store is unable to write
	CodeInternal    Code = "internal_server_error"
)

// Error is every error that is meant for the caller of the engine. Its Message
// may be shown to a client; the wrapped Err may not.
type Error struct {
	Code    Code
	Message string
	Hint    string       // what to do about it; "" when the message says enough
	Reason  string       // a finer word than Code, such as "invalid_callback_trigger"; may be ""
	Entity  string       // for CodeNotFound: what kind of thing, such as "callback.instance"
	ID      string       // for CodeNotFound: the id that was asked for
	Fields  []FieldError // for CodeInvalid: every offending field
	Err     error        // the cause, for the log; may be nil
}

// FieldError is one offending field of an input.
type FieldError struct {
	Code     string // invalid_type, invalid_enum, invalid_literal, max_length, invalid_min, invalid_max, required, ...
	Message  string
	Path     []string // from the outermost name to the innermost; list indexes in decimal
	Expected string   // may be ""
	Received string   // may be ""
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Message)
	for i, f := range e.Fields {
		sep := "; "
		if i == 0 {
			sep = ": "
		}
		fmt.Fprintf(&b, "%s%s: %s", sep, strings.Join(f.Path, "."), f.Message)
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	return b.String()
}

// Unwrap returns the cause, or nil.
func (e *Error) Unwrap() error { return e.Err }

// CodeOf is the code of err: "" for nil, and [CodeInternal] for an error that
// is not an [Error].
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInternal
}

// retryAfterError is a provider's wish to be left alone for a while.
type retryAfterError struct {
	after time.Duration
	err   error
}

func (e *retryAfterError) Error() string { return e.err.Error() }
func (e *retryAfterError) Unwrap() error { return e.err }

// RetryAfter is what a provider's Poll, Register, Unregister or Prepare returns to be left alone
// for d, because it is rate limited or because its source said so. The poll counts as failed
// with err as its reason, but does not back off further than d. From Handle, it asks the sender of
// the request to try again after d. A d that is not
// positive is the same as err alone.
func RetryAfter(d time.Duration, err error) error {
	if d <= 0 {
		return err
	}
	return &retryAfterError{after: d, err: err}
}

// permanentError ends retries until a person acts.
type permanentError struct {
	err          error
	unauthorized bool
}

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

// Permanent says that trying again is pointless. From Poll or Prepare it pauses the trigger
// until someone attaches it again, makes it active, or changes its config or auth config; from Register it leaves
// the webhook unregistered until then; from Unregister it leaves the webhook at its
// source; from Map it fails the event; from Handle it tells the sender not to try again; from a
// [Function] it fails the notification.
func Permanent(err error) error { return &permanentError{err: err} }

// Unauthorized says that what the provider signed in with is not accepted. If that came from an auth
// method's Prepare, it is prepared anew, and the call made once more, or the input mapped again later;
// if it is refused again, or there is no Prepare, it is the same as [Permanent].
func Unauthorized(err error) error { return &permanentError{err: err, unauthorized: true} }

// IsUnauthorized tells whether err, or an error it wraps, came from [Unauthorized].
func IsUnauthorized(err error) bool {
	e, ok := errors.AsType[*permanentError](err)
	return ok && e.unauthorized
}

// refusedError is a request that is not to be believed.
type refusedError struct {
	status int
	err    error
}

func (e *refusedError) Error() string { return e.err.Error() }
func (e *refusedError) Unwrap() error { return e.err }

// Refuse is what a trigger's Handle returns of a request that it does not believe or cannot read:
// it is answered with the status, 400 to 499, and without the reason, which goes to the log.
func Refuse(status int, err error) error { return &refusedError{status: status, err: err} }

// RefusedStatus is the status that [Refuse] was given, and whether err came from it.
func RefusedStatus(err error) (status int, refused bool) {
	if e, ok := errors.AsType[*refusedError](err); ok {
		return e.status, true
	}
	return 0, false
}

// IsPermanent tells whether err, or an error it wraps, came from [Permanent] or [Unauthorized].
func IsPermanent(err error) bool {
	_, ok := errors.AsType[*permanentError](err)
	return ok
}

// RetryAfterOf is the time that a provider asked to be left alone, and whether it did.
func RetryAfterOf(err error) (time.Duration, bool) {
	if e, ok := errors.AsType[*retryAfterError](err); ok {
		return e.after, true
	}
	return 0, false
}
