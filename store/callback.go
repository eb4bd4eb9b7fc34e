package store

import (
	"cmp"
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
	Retention            time.Duration   // how long events that are done with are kept, in whole seconds; 0: as the engine does; negative: for ever
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
	Retention            time.Duration // in whole seconds; 0: the engine's; negative: for ever
}

// CallbackSets are the sets that a callback has; a nil one stays as it is, and on
// creation means no destinations and all of the deployment's triggers.
type CallbackSets struct {
	DestinationIDs *[]string
	Triggers       *[]TriggerChoice
}

// CreateCallback makes a callback of an active deployment. What its sets refer to in vain is
// an InvalidReferencesError, also if there is no such deployment.
func (s *Store) CreateCallback(ctx context.Context, now time.Time, deploymentID string, settings CallbackSettings, sets CallbackSets) (out Callback, err error) {
	err = s.write(ctx, func(tx *tx) error {
		deployment, d, missing := tx.activeDeployment(deploymentID)
		wanted := sets
		if missing == nil && sets.Triggers == nil {
			current, err := currentTriggers(tx.ctx, tx.q, tx.conn, d.ProviderID)
			if err != nil {
				return err
			}
			all := make([]TriggerChoice, len(current))
			for i, t := range current {
				all[i].Trigger = t.ID
			}
			wanted.Triggers = &all
		}
		rows, err := resolveSets(tx.ctx, tx.q, tx.conn, d.ProviderID, wanted)
		if err := cmp.Or(err, missing); err != nil {
			return err
		}
		seq, err := tx.q.InsertCallback(tx.ctx, db.InsertCallbackParams{ID: tx.id(prefixCallback), DeploymentSeq: deployment, Name: settings.Name,
			Description: settings.Description, Metadata: settings.Metadata, PollIntervalSecondsOverride: seconds(settings.PollIntervalOverride), RetentionSeconds: retentionSeconds(settings.Retention), Now: ms(now)})
		if err != nil {
			return err
		}
		if err := tx.setSets(ms(now), seq, wanted, rows); err != nil {
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
		rows, err := resolveSets(tx.ctx, tx.q, tx.conn, old.Deployment.ProviderID, sets)
		if err != nil {
			return err
		}
		settings := CallbackSettings{Details: Details{Name: old.Name, Description: old.Description, Metadata: old.Metadata}, PollIntervalOverride: old.PollIntervalOverride, Retention: old.Retention}
		change(&settings)
		if err := tx.q.UpdateCallback(tx.ctx, db.UpdateCallbackParams{Seq: seq, Name: settings.Name, Description: settings.Description, Metadata: settings.Metadata,
			PollIntervalSecondsOverride: seconds(settings.PollIntervalOverride), RetentionSeconds: retentionSeconds(settings.Retention), Now: ms(now)}); err != nil {
			return err
		}
		if settings.PollIntervalOverride != old.PollIntervalOverride {
			if err := tx.q.ReplanPolls(tx.ctx, db.ReplanPollsParams{CallbackSeq: seq, OverrideSeconds: seconds(settings.PollIntervalOverride), Now: ms(now)}); err != nil {
				return err
			}
		}
		if err := tx.setSets(ms(now), seq, sets, rows); err != nil {
			return err
		}
		out, err = loadOne(tx.ctx, []int64{seq}, "callback", id, s.callbackLoader(tx.q))
		return err
	})
	return out, err
}

// CheckSets tells what a callback's sets refer to in vain, by an InvalidReferencesError, and
// changes nothing. Without a provider's id nothing is told of triggers.
func (s *Store) CheckSets(ctx context.Context, providerID string, sets CallbackSets) error {
	_, err := resolveSets(ctx, s.read, s.prepared, providerID, sets)
	return err
}

// setRows are what a callback's sets refer to.
type setRows struct {
	triggers     []chosenTrigger
	destinations []int64
}

type chosenTrigger struct {
	db.CurrentTriggersRow
	eventTypes []string
}

// resolveSets finds what sets refer to. The error names every reference that is in vain.
func resolveSets(ctx context.Context, q *db.Queries, r rowReader, providerID string, sets CallbackSets) (rows setRows, err error) {
	var wrong InvalidReferencesError
	if sets.Triggers != nil && providerID != "" {
		current, err := currentTriggers(ctx, q, r, providerID)
		if err != nil {
			return rows, err
		}
		chosen := make(map[int64]bool, len(*sets.Triggers))
		for i, choice := range *sets.Triggers {
			at, err := findTrigger(ctx, r, current, providerID, choice.Trigger)
			if err != nil {
				return rows, err
			}
			switch {
			case at < 0:
				wrong = append(wrong, Reference{Entity: "provider.trigger", ID: choice.Trigger, Index: i})
			case chosen[current[at].Seq]: // the callback's list has it
				wrong = append(wrong, Reference{Entity: "callback.provider_trigger", ID: choice.Trigger, Index: i})
			default:
				chosen[current[at].Seq] = true
				rows.triggers = append(rows.triggers, chosenTrigger{current[at], choice.EventTypes})
			}
		}
	}
	if sets.DestinationIDs != nil {
		for i, id := range *sets.DestinationIDs {
			var seq int64
			err := r.QueryRowContext(ctx, "SELECT seq FROM destination WHERE (id = ?1 OR (url = ?1 AND url GLOB 'func:*')) AND status <> 'archived'", id).Scan(&seq)
			if errors.Is(err, sql.ErrNoRows) {
				wrong = append(wrong, Reference{Entity: "callback.destination", ID: id, Index: i})
				continue
			}
			if err != nil {
				return rows, err
			}
			rows.destinations = append(rows.destinations, seq)
		}
	}
	if wrong != nil {
		return rows, wrong
	}
	return rows, nil
}

func currentTriggers(ctx context.Context, q *db.Queries, r rowReader, providerID string) ([]db.CurrentTriggersRow, error) {
	provider, err := seqOf(ctx, r, "provider", providerID)
	if err != nil {
		return nil, err
	}
	return q.CurrentTriggers(ctx, provider)
}

// findTrigger finds a trigger among a provider's current ones by its id or key, or by the id
// that it had in an older version, which a client may have kept. It is -1 if there is none.
func findTrigger(ctx context.Context, r rowReader, current []db.CurrentTriggersRow, providerID, idOrKey string) (int, error) {
	at := slices.IndexFunc(current, func(t db.CurrentTriggersRow) bool { return t.ID == idOrKey || t.Key == idOrKey })
	if at >= 0 {
		return at, nil
	}
	var key string
	err := r.QueryRowContext(ctx, "SELECT t.key FROM provider_trigger AS t JOIN provider AS p ON p.seq = t.provider_seq WHERE t.id = ? AND p.id = ?", idOrKey, providerID).Scan(&key)
	if errors.Is(err, sql.ErrNoRows) {
		return -1, nil
	}
	return slices.IndexFunc(current, func(t db.CurrentTriggersRow) bool { return t.Key == key }), err
}

// setSets changes those of a callback's sets that are given to the rows that they refer to.
func (tx *tx) setSets(now, callback int64, sets CallbackSets, rows setRows) error {
	if sets.Triggers != nil {
		if err := tx.setTriggers(now, callback, rows.triggers); err != nil {
			return err
		}
	}
	if sets.DestinationIDs != nil {
		return tx.setDestinations(callback, rows.destinations)
	}
	return nil
}

// setTriggers makes a callback watch just these triggers, at its instances too.
func (tx *tx) setTriggers(now, callback int64, triggers []chosenTrigger) error {
	clear(tx.w.routings)
	have, err := tx.q.CallbackTriggers(tx.ctx, seqsJSON([]int64{callback}))
	if err != nil {
		return err
	}
	instances, err := tx.q.PollableInstances(tx.ctx, callback)
	if err != nil {
		return err
	}
	for _, t := range triggers {
		if slices.ContainsFunc(have, func(h db.CallbackTriggersRow) bool { return h.ProviderTriggerSeq == t.Seq }) {
			err = tx.q.UpdateCallbackTrigger(tx.ctx, db.UpdateCallbackTriggerParams{CallbackSeq: callback, ProviderTriggerSeq: t.Seq, EventTypes: stringList(t.eventTypes)})
			if err != nil {
				return err
			}
			continue
		}
		if err := tx.q.InsertCallbackTrigger(tx.ctx, db.InsertCallbackTriggerParams{ID: tx.id(prefixCallbackTrigger), CallbackSeq: callback, ProviderTriggerSeq: t.Seq,
			EventTypes: stringList(t.eventTypes), Now: now}); err != nil {
			return err
		}
		for _, instance := range instances {
			paused, err := tx.q.EnablePausedInstanceTrigger(tx.ctx, db.EnablePausedInstanceTriggerParams{InstanceSeq: instance.Seq, ProviderTriggerSeq: t.Seq, Now: now})
			if err != nil {
				return err
			}
			if paused > 0 {
				continue
			}
			if err := tx.enableTrigger(now, instance.Seq, t.Seq, orElse(instance.Baseline, t.Baseline)); err != nil {
				return err
			}
		}
	}
	for _, h := range have {
		if slices.ContainsFunc(triggers, func(t chosenTrigger) bool { return t.Seq == h.ProviderTriggerSeq }) {
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
func (tx *tx) setDestinations(callback int64, destinations []int64) error {
	clear(tx.w.routings)
	if err := tx.q.UnlinkDestinations(tx.ctx, callback); err != nil {
		return err
	}
	for _, seq := range destinations {
		if err := tx.q.LinkDestination(tx.ctx, callback, seq); err != nil {
			return err
		}
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
				PollIntervalOverride: time.Duration(r.PollIntervalSecondsOverride) * time.Second, Retention: time.Duration(r.RetentionSeconds) * time.Second, CreatedAt: fromMS(r.CreatedAt), UpdatedAt: fromMS(r.UpdatedAt)}
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

func orElse[T any](p *T, other T) T {
	if p == nil {
		return other
	}
	return *p
}
