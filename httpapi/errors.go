package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/callbackd/callbackd/engine"
)

// Codes of errors that only HTTP knows.
const (
	codeUnauthorized     engine.Code = "unauthorized"
	codeForbidden        engine.Code = "forbidden"
	codeMethodNotAllowed engine.Code = "method_not_allowed"
	codePayloadTooLarge  engine.Code = "payload_too_large"
	codeRateLimit        engine.Code = "rate_limit_exceeded"
)

// statuses is the one place where a code becomes an HTTP status. A code that is not here
// is an internal error, and nothing of it is shown.
var statuses = map[engine.Code]int{
	engine.CodeInvalid:     http.StatusBadRequest,
	engine.CodeBadRequest:  http.StatusBadRequest,
	codeUnauthorized:       http.StatusUnauthorized,
	codeForbidden:          http.StatusForbidden,
	engine.CodeNotFound:    http.StatusNotFound,
	codeMethodNotAllowed:   http.StatusMethodNotAllowed,
	engine.CodeConflict:    http.StatusConflict,
	engine.CodeGone:        http.StatusGone,
	codePayloadTooLarge:    http.StatusRequestEntityTooLarge,
	codeRateLimit:          http.StatusTooManyRequests,
	engine.CodeUnavailable: http.StatusServiceUnavailable,
}

// generalFieldCodes are the codes that say no more than what is wrong with a field's value.
// Any other is the reason of the whole error.
var generalFieldCodes = map[string]bool{"invalid_type": true, "invalid_enum": true, "invalid_literal": true, "invalid_format": true, "invalid_min": true,
	"invalid_max": true, "max_length": true, "required": true, "unrecognized_key": true}

type errorBody struct {
	Object  string           `json:"object"`
	OK      bool             `json:"ok"`
	Status  int              `json:"status"`
	Code    engine.Code      `json:"code"`
	Message string           `json:"message"`
	Hint    string           `json:"hint,omitempty"`
	Reason  string           `json:"reason,omitempty"`
	Entity  string           `json:"entity,omitempty"`
	ID      string           `json:"id,omitempty"`
	Errors  []fieldErrorBody `json:"errors,omitempty"`
}

type fieldErrorBody struct {
	Code     string   `json:"code"`
	Message  string   `json:"message"`
	Path     []string `json:"path"`
	Expected string   `json:"expected,omitempty"`
	Received string   `json:"received,omitempty"`
}

// presentError is an error as the client sees it, and the status that the log is told.
func presentError(err error, r *request) (body errorBody, logged int) {
	e, ok := errors.AsType[*engine.Error](err)
	if !ok && r.ctx().Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		// Nobody reads this if it was the client that went away. If it was the server, which
		// is shutting down, no answer at all would become an empty success.
		e = &engine.Error{Code: engine.CodeUnavailable, Message: "the request was cut short; nothing is known of its outcome", Hint: "try again"}
		if errors.Is(r.ctx().Err(), context.Canceled) {
			logged = statusClientClosed
		}
	}
	var status int
	if e != nil {
		status = statuses[e.Code]
	}
	if status == 0 {
		status = http.StatusInternalServerError
		e = &engine.Error{Code: engine.CodeInternal, Message: "something went wrong on our side; its cause is in the log under " + r.requestID}
	}
	if refused, ok := engine.RefusedStatus(err); ok {
		status = refused
		e = &engine.Error{Code: codeOf(refused), Message: e.Message, Reason: e.Reason}
	}
	if logged == 0 {
		logged = status
	}
	body = errorBody{Object: "error", Status: status, Code: e.Code, Message: e.Message, Hint: e.Hint, Reason: e.Reason, Entity: e.Entity, ID: e.ID}
	for _, f := range e.Fields {
		if body.Reason == "" && !generalFieldCodes[f.Code] {
			body.Reason = f.Code
		}
		body.Errors = append(body.Errors, fieldErrorBody{Code: f.Code, Message: f.Message, Path: orEmpty(f.Path), Expected: f.Expected, Received: f.Received})
	}
	if len(e.Fields) > 0 {
		body.Message += ": " + strings.Join(e.Fields[0].Path, ".") + " " + e.Fields[0].Message
	}
	if more := len(e.Fields) - 1; more > 0 {
		body.Message += fmt.Sprintf(" (and %d more, see errors)", more)
	}
	return body, logged
}

// codeOf is the code of a status that a provider chose.
func codeOf(status int) engine.Code {
	for code, s := range statuses {
		if s == status && code != engine.CodeInvalid {
			return code
		}
	}
	return engine.CodeBadRequest
}

// invalid is the error of these fields; nil if there are none.
func invalid(message string, fields []engine.FieldError) error {
	if len(fields) == 0 {
		return nil
	}
	return &engine.Error{Code: engine.CodeInvalid, Message: message, Fields: fields}
}

func badRequest(reason, message string, cause error) *engine.Error {
	return &engine.Error{Code: engine.CodeBadRequest, Reason: reason, Message: message, Err: cause}
}
