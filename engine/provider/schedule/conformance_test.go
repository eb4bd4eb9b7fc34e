package schedule_test

import (
	"testing"

	"github.com/callbackd/callbackd/engine/enginetest"
	"github.com/callbackd/callbackd/engine/provider/schedule"
)

func TestProviderConforms(t *testing.T) {
	t.Parallel()
	enginetest.TestProvider(t, schedule.New(),
		enginetest.Case{Config: `{"cron": "* * * * *"}`},
		enginetest.Case{Config: `{"cron": "30 2 * * *", "timezone": "Europe/Berlin", "data": {"report": "daily"}}`},
		enginetest.Case{Config: `{"cron": "@every 90s"}`})
}
