package jq

import (
	"strings"
	"testing"

	"github.com/itchyny/gojq"
)

// judged are the functions of gojq in Go that are cheap enough to need no meter:
// constant time, or one pass over a string.
const judged = `
	builtins/0 empty/0 env/0 error/0 error/1 halt/0 halt_error/0 halt_error/1 input/0 modulemeta/0 path/1 debug/1
	length/0 utf8bytelength/0 has/1 toboolean/0 type/0
	startswith/1 endswith/1 ltrimstr/1 rtrimstr/1 trimstr/1 ltrim/0 rtrim/0 trim/0
	sin/0 cos/0 tan/0 asin/0 acos/0 atan/0 sinh/0 cosh/0 tanh/0 asinh/0 acosh/0 atanh/0 floor/0 round/0 nearbyint/0
	rint/0 ceil/0 trunc/0 significand/0 fabs/0 sqrt/0 cbrt/0 exp/0 exp10/0 exp2/0 expm1/0 frexp/0 modf/0 log/0 log10/0
	log1p/0 log2/0 logb/0 gamma/0 tgamma/0 lgamma/0 erf/0 erfc/0 j0/0 j1/0 y0/0 y1/0 atan2/2 copysign/2 drem/2 fdim/2
	fmax/2 fmin/2 fmod/2 hypot/2 ldexp/2 scalb/2 scalbln/2 nextafter/2 nexttoward/2 remainder/2 pow/2 fma/3
	infinite/0 isfinite/0 isinfinite/0 nan/0 isnan/0 isnormal/0
	gmtime/0 localtime/0 mktime/0 strftime/1 strflocaltime/1 strptime/1`

// A new version of gojq may bring functions that have to be metered.
func TestCosts(t *testing.T) {
	t.Parallel()
	query, err := gojq.Parse("builtins[]")
	if err != nil {
		t.Fatal(err)
	}
	known := " " + strings.Join(strings.Fields(judged), " ") + " "
	iter := query.Run(nil)
	for {
		v, ok := iter.Next()
		if !ok {
			return
		}
		name, isName := v.(string)
		if !isName {
			t.Fatal(v)
		}
		if costs[name] == nil && prelude[name] == nil && !strings.Contains(known, " "+name+" ") && !strings.HasPrefix(name, "inputs/") {
			t.Errorf("%s is not judged", name)
		}
	}
}
