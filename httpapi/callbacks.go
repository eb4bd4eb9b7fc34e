package httpapi

import (
	"strconv"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// What callbacks and their instances are made of and listed by.

func newCallback(f *fields) engine.NewCallback {
	return engine.NewCallback{
		Details:              engine.Details{Name: value(f.text("name", required)), Description: value(f.text("description", nullable)), Metadata: value(f.object("metadata", nullable))},
		DeploymentID:         value(f.word("provider_deployment_id", required)),
		PollIntervalOverride: value(pollInterval(f)),
		Retention:            value(f.secondsOrNever("retention_seconds", nullable)),
		DestinationIDs:       value(f.texts("destination_ids", 0)),
		Triggers:             triggerChoices(f),
	}
}

func updateCallback(f *fields) engine.UpdateCallback {
	return engine.UpdateCallback{
		UpdateDetails:        engine.UpdateDetails{Name: f.text("name", 0), Description: f.text("description", nullable), Metadata: f.object("metadata", nullable)},
		PollIntervalOverride: pollInterval(f),
		Retention:            f.secondsOrNever("retention_seconds", nullable),
		DestinationIDs:       f.texts("destination_ids", 0),
		Triggers:             triggerChoices(f),
	}
}

// pollInterval has an error code of its own, whatever is wrong.
func pollInterval(f *fields) *time.Duration {
	before := len(*f.errs)
	interval := f.seconds("poll_interval_seconds_override", nullable)
	for i := before; i < len(*f.errs); i++ {
		(*f.errs)[i].Code = "invalid_poll_interval"
	}
	return interval
}

func triggerChoices(f *fields) *[]engine.TriggerChoice {
	items, count, ok := f.items("triggers", 0)
	if !ok {
		return nil
	}
	choices := make([]engine.TriggerChoice, count)
	for i := range choices {
		if item, _ := items.nested(strconv.Itoa(i), 0); item != nil {
			choices[i] = engine.TriggerChoice{Trigger: value(item.word("trigger_id", required)), EventTypes: value(item.texts("event_types", 0))}
		}
	}
	return &choices
}

func callbackFilter(q *query) engine.CallbackFilter {
	return engine.CallbackFilter{IDs: q.all("id"), Deployments: q.all("provider_deployment_id"), Statuses: q.anyOf("status", "active", "archived", "deleted"),
		Created: q.during("created_at"), Updated: q.during("updated_at")}
}

func newInstance(f *fields) engine.NewInstance {
	return engine.NewInstance{
		ConfigID:     value(f.word("provider_config_id", required)),
		AuthConfigID: value(f.word("provider_auth_config_id", 0)),
		Baseline:     engine.Baseline(value(f.word("baseline", 0))),
	}
}

func instanceFilter(q *query) engine.InstanceFilter {
	return engine.InstanceFilter{IDs: q.all("id"), Statuses: q.anyOf("status", "attached", "detached"), Configs: q.all("provider_config_id"),
		AuthConfigs: q.all("provider_auth_config_id"), Created: q.during("created_at"), Updated: q.during("updated_at")}
}
