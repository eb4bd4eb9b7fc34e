package jq

import (
	"fmt"

	"github.com/itchyny/gojq"
)

// functions are what rewritten programs and the prelude call. The first argument of each is
// the run's meter.
func functions() []gojq.CompilerOption {
	return []gojq.CompilerOption{
		gojq.WithFunction("_meter", 2, 5, func(v any, args []any) any {
			if err := costs[args[1].(string)](args[0].(*meter), v, args[2:]); err != nil {
				return err
			}
			return v
		}),
		gojq.WithFunction("_now", 1, 1, func(_ any, args []any) any {
			return float64(args[0].(*meter).now.UnixNano()) / 1e9
		}),
		gojq.WithFunction("_fromjson", 1, 1, func(v any, args []any) any {
			s, ok := v.(string)
			if !ok {
				return fmt.Errorf("fromjson cannot be applied to: %s", gojq.TypeOf(v))
			}
			if err := args[0].(*meter).pieces(v); err != nil {
				return err
			}
			w, err := Decode([]byte(s))
			if err != nil {
				return fmt.Errorf("fromjson: %w", err)
			}
			return w
		}),
		gojq.WithFunction("_matches", 3, 3, func(v any, args []any) any {
			w, err := args[0].(*meter).match(v, args[1], args[2])
			if err != nil {
				return err
			}
			return w
		}),
	}
}
