package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/callbackd/callbackd/store/internal/db"
)

// Callback says which triggers of a deployment are watched, and who is told.
type Callback struct {
	ID                   string
	Status               string // "active" or "archived"
	Name                 string
	Description          string
	Metadata             json.RawMessage // nil: none
	PollIntervalOverride time.Duration   // in whole seconds; 0: each trigger's own interval
	Deployment           Preview
	Destinations         []Destination
	Triggers             []CallbackTrigger
	CreatedAt            time.Time
	UpdatedAt            time.Time
}

// CallbackTrigger is one trigger that a callback watches.
type CallbackTrigger struct {
	ID          string
	TriggerID   string
	TriggerKey  string
	TriggerName string
	EventTypes  []string // empty: all
	CreatedAt   time.Time
}

// TriggerChoice names a trigger for a callback.
type TriggerChoice struct {
	Trigger    string   // its id or key
	EventTypes []string // empty: all
}

// CallbackSettings are what users choose about a callback.
type CallbackSettings struct {
	Details
	PollIntervalOverride time.Duration // in whole seconds; 0: none
}

// CallbackSets are the sets that a callback has; a nil one stays as it is, and on
// creation means no destinations and all of the deployment's triggers.
type CallbackSets struct {
	DestinationIDs *[]string
	Triggers       *[]TriggerChoice
}

// CreateCallback makes a callback of an active deployment.
func (s *Store) CreateCallback(ctx context.Context, now time.Time, deploymentID string, settings CallbackSettings, sets CallbackSets) (out Callback, err error) {
	err = s.write(ctx, func(tx *tx) error {
		deployment, d, err := tx.activeDeployment(deploymentID)
		if err != nil {
			return err
		}
		seq, err := tx.q.InsertCallback(tx.ctx, db.InsertCallbackParams{ID: tx.id(prefixCallback), DeploymentSeq: deployment, Name: settings.Name,
			Description: settings.Description, Metadata: settings.Metadata, PollIntervalSecondsOverride: seconds(settings.PollIntervalOverride), Now: ms(now)})
		if err != nil {
			return err
		}
		var triggers []TriggerChoice
		if sets.Triggers != nil {
			triggers = *sets.Triggers
		} else {
			current, err := tx.currentTriggers(d.ProviderID)
			if err != nil {
				return err
			}
			for _, t := range current {
				triggers = append(triggers, TriggerChoice{Trigger: t.ID})
			}
		}
		if err := tx.setSets(ms(now), seq, d.ProviderID, &triggers, sets.DestinationIDs); err != nil {
			return err
		}
		out, err = loadOne(tx.ctx, []int64{seq}, "callback", "", s.callbackLoader(tx.q))
		return err
	})
	return out, err
}

func (tx *tx) activeDeployment(id string) (seq int64, d Deployment, err error) {
	seq, d, err = findActive(tx, "provider_deployment", "provider.deployment", id, loader(tx.q, loadDeployments))
	if _, archived := errors.AsType[*ConflictError](err); archived {
		err = &NotFoundError{Entity: "provider.deployment", ID: id, That: "is active"}
	}
	return seq, d, err
}

// UpdateCallback changes an active callback. What stays in a set is not disturbed, and
// a trigger that comes back finds its poll state again.
func (s *Store) UpdateCallback(ctx context.Context, now time.Time, id string, sets CallbackSets, change func(*CallbackSettings)) (out Callback, err error) {
	err = s.write(ctx, func(tx *tx) error {
		seq, old, err := findActive(tx, "callback", "callback", id, s.callbackLoader(tx.q))
		if err != nil {
			return err
		}
		settings := CallbackSettings{Details: Details{Name: old.Name, Description: old.Description, Metadata: old.Metadata}, PollIntervalOverride: old.PollIntervalOverride}
		change(&settings)
		if err := tx.q.UpdateCallback(tx.ctx, db.UpdateCallbackParams{Seq: seq, Name: settings.Name, Description: settings.Description, Metadata: settings.Metadata,
			PollIntervalSecondsOverride: seconds(settings.PollIntervalOverride), Now: ms(now)}); err != nil {
			return err
		}
		if settings.PollIntervalOverride != old.PollIntervalOverride {
			if err := tx.q.ReplanPolls(tx.ctx, db.ReplanPollsParams{CallbackSeq: seq, OverrideSeconds: seconds(settings.PollIntervalOverride), Now: ms(now)}); err != nil {
				return err
			}
		}
		if err := tx.setSets(ms(now), seq, old.Deployment.ProviderID, sets.Triggers, sets.DestinationIDs); err != nil {
			return err
		}
		out, err = loadOne(tx.ctx, []int64{seq}, "callback", id, s.callbackLoader(tx.q))
		return err
	})
	return out, err
}

func (tx *tx) currentTriggers(providerID string) ([]db.CurrentTriggersRow, error) {
	provider, err := seqOf(tx.ctx, tx.conn, "provider", providerID)
	if err != nil {
		return nil, err
	}
	return tx.q.CurrentTriggers(tx.ctx, provider)
}

// setTriggers makes a callback watch just these triggers, at its instances too.
func (tx *tx) setTriggers(now, callback int64, providerID string, choices []TriggerChoice) error {
	clear(tx.w.routings)
	current, err := tx.currentTriggers(providerID)
	if err != nil {
		return err
	}
	have, err := tx.q.CallbackTriggers(tx.ctx, seqsJSON([]int64{callback}))
	if err != nil {
		return err
	}
	instances, err := tx.q.PollableInstances(tx.ctx, callback)
	if err != nil {
		return err
	}
	chosen := make(map[int64]bool, len(choices))
	var wrong InvalidReferencesError
	for i, choice := range choices {
		at := slices.IndexFunc(current, func(t db.CurrentTriggersRow) bool { return t.ID == choice.Trigger || t.Key == choice.Trigger })
		if at < 0 || chosen[current[at].Seq] {
			wrong = append(wrong, Reference{Entity: "provider.trigger", ID: choice.Trigger, Index: i})
			continue
		}
		t := current[at]
		chosen[t.Seq] = true
		if slices.ContainsFunc(have, func(h db.CallbackTriggersRow) bool { return h.ProviderTriggerSeq == t.Seq }) {
			err = tx.q.UpdateCallbackTrigger(tx.ctx, db.UpdateCallbackTriggerParams{CallbackSeq: callback, ProviderTriggerSeq: t.Seq, EventTypes: stringList(choice.EventTypes)})
			if err != nil {
				return err
			}
			continue
		}
		if err := tx.q.InsertCallbackTrigger(tx.ctx, db.InsertCallbackTriggerParams{ID: tx.id(prefixCallbackTrigger), CallbackSeq: callback, ProviderTriggerSeq: t.Seq,
			EventTypes: stringList(choice.EventTypes), Now: now}); err != nil {
			return err
		}
		for _, instance := range instances {
			if err := tx.enableTrigger(now, instance.Seq, t.Seq, orElse(instance.Baseline, t.Baseline)); err != nil {
				return err
			}
		}
	}
	if wrong != nil {
		return wrong
	}
	for _, h := range have {
		if chosen[h.ProviderTriggerSeq] {
			continue
		}
		if err := tx.q.DeleteCallbackTrigger(tx.ctx, callback, h.ProviderTriggerSeq); err != nil {
			return err
		}
		if err := tx.q.DisableInstanceTriggers(tx.ctx, db.DisableInstanceTriggersParams{CallbackSeq: callback, ProviderTriggerSeq: h.ProviderTriggerSeq, Now: now}); err != nil {
			return err
		}
	}
	return nil
}

// setDestinations links a callback to just these destinations.
func (tx *tx) setDestinations(callback int64, ids []string) error {
	clear(tx.w.routings)
	if err := tx.q.UnlinkDestinations(tx.ctx, callback); err != nil {
		return err
	}
	var wrong InvalidReferencesError
	for i, id := range ids {
		var seq int64
		err := tx.conn.QueryRowContext(tx.ctx, "SELECT seq FROM destination WHERE (id = ?1 OR (url = ?1 AND url GLOB 'func:*')) AND status <> 'archived'", id).Scan(&seq)
		if errors.Is(err, sql.ErrNoRows) {
			wrong = append(wrong, Reference{Entity: "callback.destination", ID: id, Index: i})
			continue
		}
		if err != nil {
			return err
		}
		if err := tx.q.LinkDestination(tx.ctx, callback, seq); err != nil {
			return err
		}
	}
	if wrong != nil {
		return wrong
	}
	return nil
}

// setSets changes a callback's sets, and tells of every reference that cannot be used.
func (tx *tx) setSets(now, callback int64, providerID string, triggers *[]TriggerChoice, destinations *[]string) error {
	var all InvalidReferencesError
	collect := func(err error) error {
		if wrong, ok := errors.AsType[InvalidReferencesError](err); ok {
			all = append(all, wrong...)
			return nil
		}
		return err
	}
	if triggers != nil {
		if err := collect(tx.setTriggers(now, callback, providerID, *triggers)); err != nil {
			return err
		}
	}
	if destinations != nil {
		if err := collect(tx.setDestinations(callback, *destinations)); err != nil {
			return err
		}
	}
	if all != nil {
		return all
	}
	return nil
}

// ArchiveCallback ends a callback: it is polled no longer. What it has accepted is still
// delivered.
func (s *Store) ArchiveCallback(ctx context.Context, now time.Time, id string) (out Callback, err error) {
	err = s.write(ctx, func(tx *tx) error {
		seq, err := seqOf(tx.ctx, tx.conn, "callback", id)
		if err != nil {
			return notFound(err, "callback", id)
		}
		clear(tx.w.routings)
		if err := tx.q.ArchiveCallback(tx.ctx, ms(now), seq); err != nil {
			return err
		}
		if err := tx.q.StopCallback(tx.ctx, ms(now), seq); err != nil {
			return err
		}
		out, err = loadOne(tx.ctx, []int64{seq}, "callback", id, s.callbackLoader(tx.q))
		return err
	})
	return out, err
}

// CallbackFilter narrows the list of callbacks.
type CallbackFilter struct {
	IDs         []string
	Deployments []string // ids
	Statuses    []string // default: active
	Created     Range
	Updated     Range
}

// ListCallbacks lists callbacks.
func (s *Store) ListCallbacks(ctx context.Context, f CallbackFilter, p Page) (List[Callback], error) {
	sel := selectFrom("callback").ids(f.IDs).refer("deployment_seq", "provider_deployment", f.Deployments).statuses(f.Statuses, "active").
		during("created_at", f.Created).during("updated_at", f.Updated)
	return list(ctx, s, sel, p, s.callbackLoader(s.read))
}

// Callback finds one, archived or not.
func (s *Store) Callback(ctx context.Context, id string) (Callback, error) {
	return get(ctx, s, selectFrom("callback"), "callback", id, s.callbackLoader(s.read))
}

func (c Callback) status() string { return c.Status }

func (s *Store) callbackLoader(q *db.Queries) func(context.Context, []int64) ([]Callback, error) {
	return func(ctx context.Context, seqs []int64) ([]Callback, error) {
		rows, err := q.CallbacksBySeq(ctx, seqsJSON(seqs))
		if err != nil {
			return nil, err
		}
		links, err := q.CallbackTriggers(ctx, seqsJSON(seqs))
		if err != nil {
			return nil, err
		}
		return inOrder(seqs, rows, func(r *db.Callback) int64 { return r.Seq }, func(r *db.Callback) (Callback, error) {
			c := Callback{ID: r.ID, Status: r.Status, Name: r.Name, Description: r.Description, Metadata: r.Metadata,
				PollIntervalOverride: time.Duration(r.PollIntervalSecondsOverride) * time.Second, CreatedAt: fromMS(r.CreatedAt), UpdatedAt: fromMS(r.UpdatedAt)}
			deployment, err := previewOf(ctx, &r.DeploymentSeq, q.DeploymentPreview)
			if err != nil {
				return c, err
			}
			c.Deployment = *deployment
			destinations, err := q.DestinationsOfCallback(ctx, r.Seq)
			if err != nil {
				return c, err
			}
			slices.Sort(destinations)
			if c.Destinations, err = s.destinationLoader(q)(ctx, destinations); err != nil {
				return c, err
			}
			c.Destinations = slices.DeleteFunc(c.Destinations, func(d Destination) bool { return d.Status == "archived" })
			for _, l := range links {
				if l.CallbackSeq != r.Seq {
					continue
				}
				types, err := readStringList(l.EventTypes)
				if err != nil {
					return c, err
				}
				c.Triggers = append(c.Triggers, CallbackTrigger{ID: l.ID, TriggerID: l.TriggerID, TriggerKey: l.Key, TriggerName: l.Name, EventTypes: types, CreatedAt: fromMS(l.CreatedAt)})
			}
			return c, nil
		})
	}
}

func orElse(s *string, other string) string {
	if s == nil {
		return other
	}
	return *s
}
