package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
)

// guard calls foreign code: a provider's, or a function's. Its panic is an error, and so is
// ending its goroutine, which is one of its own for that.
func guard[T any](ctx context.Context, log *slog.Logger, call func() (T, error)) (out T, err error) {
	err = errors.New("it ended its goroutine")
	done := make(chan struct{})
	go func() { // awaited below
		defer close(done)
		defer func() {
			if r := recover(); r != nil {
				// Its value is in the error: whoever is given that knows which secrets to leave out.
				log.ErrorContext(ctx, "foreign code panicked", "stack", string(debug.Stack()))
				err = fmt.Errorf("panic: %v", r)
			}
		}()
		out, err = call()
	}()
	<-done
	return out, err
}
