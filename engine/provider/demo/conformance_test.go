package demo_test

import (
	"testing"

	"github.com/callbackd/callbackd/engine/enginetest"
	"github.com/callbackd/callbackd/engine/provider/demo"
)

func TestProviderConforms(t *testing.T) {
	t.Parallel()
	enginetest.TestProvider(t, demo.New(), enginetest.Case{Config: `{"per_poll": 3}`})
}
