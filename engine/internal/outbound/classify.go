package outbound

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"
)

// Why there was no answer, in the words that clients see.
const (
	FailureBlockedAddress    = "blocked_address"    // the address is not public, see [ErrBlockedAddress]
	FailureConnectionRefused = "connection_refused" // nothing listens there
	FailureConnectionReset   = "connection_reset"   // the peer ended the connection before it had answered
	FailureDNS               = "dns"                // the name could not be looked up
	FailureNetwork           = "network"            // anything else, such as no route, or an answer that is not HTTP
	FailureTimeout           = "timeout"            // no answer in time
	FailureTLS               = "tls"                // no trusted, encrypted connection, such as a bad certificate
)

// Classify is the reason, one of the Failure constants, that a request made with a
// [Transport] or a client of [NewClient] got no answer, or that reading the answer ended early; err is
// what the client or the body returned. It is "" for nil.
//
// Whose doing it is that a context was cancelled, only the caller knows: here
// [context.Canceled] is FailureNetwork, so look for it first.
func Classify(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, ErrBlockedAddress):
		return FailureBlockedAddress
	case errors.Is(err, context.DeadlineExceeded):
		return FailureTimeout
	case is[*net.DNSError](err): // before other timeouts: a silent name server is a matter of DNS
		return FailureDNS
	case isTLS(err):
		return FailureTLS
	case errors.Is(err, syscall.ECONNREFUSED):
		return FailureConnectionRefused
	case isReset(err):
		return FailureConnectionReset
	case isTimeout(err):
		return FailureTimeout
	default:
		return FailureNetwork
	}
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

func isTLS(err error) bool {
	if op, ok := errors.AsType[*net.OpError](err); ok && (op.Op == "remote error" || op.Op == "local error") {
		return true // how crypto/tls reports alerts, whose type it keeps to itself
	}
	return errors.Is(err, http.ErrSchemeMismatch) || // the server answered HTTP to a TLS handshake,
		is[tls.RecordHeaderError](err) || // or something that is neither
		is[*tls.CertificateVerificationError](err) // which wraps all that crypto/x509 has to say
}

func isReset(err error) bool {
	for _, target := range []error{
		io.EOF, io.ErrUnexpectedEOF, // closed in good order, but too early
		syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

func isTimeout(err error) bool {
	if errors.Is(err, syscall.ETIMEDOUT) {
		return true // net/http wraps that of a kept connection in an error without a Timeout method
	}
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}
