package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/callbackd/callbackd/store/internal/db"
)

// Failure is why something did not work, for people and programs.
type Failure struct {
	Code    string
	Message string
}

// Instance is a callback at work with one config, and perhaps one auth config.
type Instance struct {
	ID         string
	CallbackID string
	Status     string // "attached" or "detached"
	Deployment Preview
	Config     Preview
	AuthConfig *Preview // nil: none
	Triggers   []InstanceTrigger
	CreatedAt  time.Time
	UpdatedAt  time.Time
}

// InstanceTrigger is one watched thing.
type InstanceTrigger struct {
	ID                  string
	Trigger             ProviderTrigger
	PollInterval        time.Duration
	NextPollAt          time.Time // zero: it is not polled
	LastPolledAt        time.Time // zero: never yet
	Status              string    // "active", "paused" (it is not polled) or "failing"
	ConsecutiveFailures int
	LastError           *Failure // nil: the last poll succeeded, and all that it found could be mapped

	// Of the last poll, or the last request to a webhook. nil: there was none yet, or none since the
	// file was brought forward from a version that kept no note of it.
	LastReceivedAt time.Time      // when the request came; zero: none came yet, or it is polled
	Lag            *time.Duration // by how much later than planned the last poll began, or, if that is more, for how long the next one is overdue; nil for a webhook
	LastDuration   *time.Duration
	LastItems      *int // inputs that it brought, new or not

	State json.RawMessage // what the next poll or request is given; nil: none yet, or it was not asked for this one trigger alone

	LastRefused *Refusal // the last request to a webhook that was not believed, as the engine fills it in; nil: none since it was opened

	WebhookURL string // where the source sends webhooks, as the engine fills it in; "": it is polled, or the public URL is not known
	Registered bool   // the webhook is known to the source
}

// Refusal is a request that was not believed. It is not kept in the file: whoever knows a URL
// could have it written as often as he likes.
type Refusal struct {
	At      time.Time
	Status  int    // that it was answered with
	Message string // why, which its sender was not told
}

// NewInstance is an instance to be attached.
type NewInstance struct {
	CallbackID   string
	ConfigID     string
	AuthConfigID string // "": none
	Baseline     string // "emit", "skip", or "" for each trigger's own
}

// AttachInstance attaches a config, and perhaps an auth config, to an active callback.
// Its triggers are polled from now on. A pair that was detached is revived under its old id,
// with its old poll state; a pair that is attached is a conflict.
func (s *Store) AttachInstance(ctx context.Context, now time.Time, n NewInstance) (out Instance, err error) {
	err = s.write(ctx, func(tx *tx) error {
		callback, c, err := findActive(tx, "callback", "callback", n.CallbackID, s.callbackLoader(tx.q))
		if err != nil {
			return err
		}
		if _, _, err := tx.activeDeployment(c.Deployment.ID); err != nil {
			return err
		}
		config, err := tx.usable("provider_config", "provider.config", n.ConfigID, c)
		if err != nil {
			return err
		}
		var authConfig *int64
		if n.AuthConfigID != "" {
			if authConfig, err = tx.usable("provider_auth_config", "provider.auth_config", n.AuthConfigID, c); err != nil {
				return err
			}
		}
		var baseline *string
		if n.Baseline != "" {
			baseline = &n.Baseline
		}
		pair := db.InstanceByPairParams{CallbackSeq: callback, ConfigSeq: *config}
		if authConfig != nil {
			pair.AuthConfigSeq = *authConfig
		}
		old, err := tx.q.InstanceByPair(tx.ctx, pair)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			old.Seq, err = tx.q.InsertInstance(tx.ctx, db.InsertInstanceParams{ID: tx.id(prefixInstance), CallbackSeq: callback,
				ConfigSeq: *config, AuthConfigSeq: authConfig, Baseline: baseline, Now: ms(now)})
		case err == nil && old.Status == "attached":
			return &ConflictError{Message: "this config and auth config are attached to this callback already"}
		case err == nil:
			err = tx.q.SetInstanceStatus(tx.ctx, db.SetInstanceStatusParams{Seq: old.Seq, Status: "attached", Now: ms(now)})
		}
		if err != nil {
			return err
		}
		triggers, err := tx.q.CallbackTriggers(tx.ctx, seqsJSON([]int64{callback}))
		if err != nil {
			return err
		}
		for _, t := range triggers {
			declared, err := loadTriggers(tx.ctx, tx.q, []int64{t.ProviderTriggerSeq})
			if err != nil {
				return err
			}
			if err := tx.enableTrigger(ms(now), old.Seq, t.ProviderTriggerSeq, orElse(baseline, declared[0].Baseline)); err != nil {
				return err
			}
		}
		out, err = loadOne(tx.ctx, []int64{old.Seq}, "callback.instance", "", loader(tx.q, loadInstances))
		return err
	})
	return out, err
}

// usable finds an active config or auth config that a callback may use: one of its
// deployment, or one that its provider has for all deployments.
func (tx *tx) usable(table, entity, id string, c Callback) (*int64, error) {
	var seq int64
	err := tx.conn.QueryRowContext(tx.ctx, `SELECT r.seq FROM `+table+` AS r JOIN provider AS p ON p.seq = r.provider_seq
		LEFT JOIN provider_deployment AS d ON d.seq = r.deployment_seq
		WHERE r.id = ? AND r.status = 'active' AND p.id = ? AND (d.id IS NULL OR d.id = ?)`, id, c.Deployment.ProviderID, c.Deployment.ID).Scan(&seq)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, &NotFoundError{Entity: entity, ID: id, That: "is active and belongs to the callback's deployment"}
	}
	return &seq, err
}

// enableTrigger has a trigger of an instance polled from now on, with the state that it
// has from an earlier time, if any.
func (tx *tx) enableTrigger(now, instance, trigger int64, baseline string) error {
	n, err := tx.q.EnableInstanceTrigger(tx.ctx, db.EnableInstanceTriggerParams{InstanceSeq: instance, ProviderTriggerSeq: trigger, Now: &now})
	if err != nil || n > 0 {
		return err
	}
	return tx.q.InsertInstanceTrigger(tx.ctx, db.InsertInstanceTriggerParams{ID: tx.id(prefixInstanceTrigger), InstanceSeq: instance,
		ProviderTriggerSeq: trigger, Baseline: baseline, Now: &now})
}

// DetachInstance stops an instance; its state stays for when it is attached again.
func (s *Store) DetachInstance(ctx context.Context, now time.Time, callbackID, id string) (out Instance, err error) {
	err = s.write(ctx, func(tx *tx) error {
		seqs, _, _, err := selectFrom("instance").refer("callback_seq", "callback", []string{callbackID}).and("t.id = ?", id).page(tx.ctx, tx.conn, Page{})
		if err != nil {
			return err
		}
		if out, err = loadOne(tx.ctx, seqs, "callback.instance", id, loader(tx.q, loadInstances)); err != nil || out.Status == "detached" {
			return err
		}
		if err := tx.q.SetInstanceStatus(tx.ctx, db.SetInstanceStatusParams{Seq: seqs[0], Status: "detached", Now: ms(now)}); err != nil {
			return err
		}
		if err := tx.q.StopInstance(tx.ctx, ms(now), seqs[0]); err != nil {
			return err
		}
		out, err = loadOne(tx.ctx, seqs, "callback.instance", id, loader(tx.q, loadInstances))
		return err
	})
	return out, err
}

// InstanceFilter narrows the list of a callback's instances.
type InstanceFilter struct {
	IDs         []string
	Statuses    []string // default: attached
	Configs     []string // ids
	AuthConfigs []string // ids
	Created     Range
	Updated     Range
}

// ListInstances lists a callback's instances.
func (s *Store) ListInstances(ctx context.Context, callbackID string, f InstanceFilter, p Page) (List[Instance], error) {
	return listOf(ctx, s, callbackID, "instance", p, loader(s.read, loadInstances), func(sel *selection, _ int64) error {
		sel.ids(f.IDs).statuses(f.Statuses, "attached").findBy("config_seq", "provider_config", f.Configs).
			findBy("auth_config_seq", "provider_auth_config", f.AuthConfigs).during("created_at", f.Created).during("updated_at", f.Updated)
		return nil
	})
}

// Instance finds one of a callback's instances, attached or not.
func (s *Store) Instance(ctx context.Context, callbackID, id string) (Instance, error) {
	return getOf(ctx, s, callbackID, "instance", "callback.instance", id, loader(s.read, loadInstances))
}

// listOf lists rows of one callback, which must exist.
func listOf[T any](ctx context.Context, s *Store, callbackID, table string, p Page, load func(context.Context, []int64) ([]T, error), narrow func(sel *selection, callback int64) error) (List[T], error) {
	callback, err := s.read.CallbackSeq(ctx, callbackID)
	if err != nil {
		return List[T]{}, notFound(err, "callback", callbackID)
	}
	sel := selectFrom(table).and("t.callback_seq = ?", callback.Seq)
	if err := narrow(sel, callback.Seq); err != nil {
		return List[T]{}, err
	}
	return list(ctx, s, sel, p, load)
}

// getOf finds a row of one callback, which must exist.
func getOf[T any](ctx context.Context, s *Store, callbackID, table, entity, id string, load func(context.Context, []int64) ([]T, error)) (item T, err error) {
	callback, err := s.read.CallbackSeq(ctx, callbackID)
	if err != nil {
		return item, notFound(err, "callback", callbackID)
	}
	return get(ctx, s, selectFrom(table).and("t.callback_seq = ?", callback.Seq), entity, id, load)
}

func loadInstances(ctx context.Context, q *db.Queries, seqs []int64) ([]Instance, error) {
	rows, err := q.InstancesBySeq(ctx, seqsJSON(seqs))
	if err != nil {
		return nil, err
	}
	triggers, err := q.InstanceTriggers(ctx, seqsJSON(seqs))
	if err != nil {
		return nil, err
	}
	return inOrder(seqs, rows, func(r *db.InstancesBySeqRow) int64 { return r.Instance.Seq }, func(r *db.InstancesBySeqRow) (Instance, error) {
		i := Instance{ID: r.Instance.ID, CallbackID: r.CallbackID, Status: r.Instance.Status, CreatedAt: fromMS(r.Instance.CreatedAt), UpdatedAt: fromMS(r.Instance.UpdatedAt)}
		deployment, err := previewOf(ctx, &r.DeploymentSeq, q.DeploymentPreview)
		if err != nil {
			return i, err
		}
		config, err := previewOf(ctx, &r.Instance.ConfigSeq, configPreview(q))
		if err != nil {
			return i, err
		}
		i.Deployment, i.Config = *deployment, *config
		if i.AuthConfig, err = previewOf(ctx, r.Instance.AuthConfigSeq, authConfigPreview(q)); err != nil {
			return i, err
		}
		for _, t := range triggers {
			if t.InstanceSeq != r.Instance.Seq {
				continue
			}
			declared, err := loadTriggers(ctx, q, []int64{t.ProviderTriggerSeq})
			if err != nil {
				return i, err
			}
			it := InstanceTrigger{ID: t.ID, Trigger: declared[0], PollInterval: pollInterval(r.PollIntervalSecondsOverride, seconds(declared[0].Interval), seconds(declared[0].MinInterval)),
				NextPollAt: fromMSPtr(t.NextPollAt), LastPolledAt: fromMSPtr(t.LastPolledAt), Status: t.Status,
				ConsecutiveFailures: int(t.ConsecutiveFailures), LastError: failure(t.ErrorCode, t.ErrorMessage),
				Registered: t.RegisteredURL != nil}
			it.last(t)
			if it.NextPollAt.IsZero() {
				it.Status = "paused" // with its instance or callback, if not by itself
			}
			i.Triggers = append(i.Triggers, it)
		}
		return i, nil
	})
}

// pollInterval is a callback's override, else the trigger's own, but not less than its least.
func pollInterval(override, own, least int64) time.Duration {
	if override > 0 {
		own = override
	}
	return time.Duration(max(own, least)) * time.Second
}

// last fills in how the last poll or request went. A webhook's registration is looked after like a
// poll, but is no request.
func (t *InstanceTrigger) last(r db.InstanceTriggersRow) {
	t.LastReceivedAt = fromMSPtr(r.LastReceivedAt)
	if t.Trigger.Source == "webhook" && r.LastReceivedAt == nil {
		return
	}
	t.LastDuration = fromMillis(r.LastDurationMs)
	if t.Trigger.Source == "polling" {
		t.Lag = fromMillis(r.LastLagMs)
	}
	if r.LastItems != nil {
		t.LastItems = new(int(*r.LastItems))
	}
}

// fromMillis is a span of time as it is kept; null: nil.
func fromMillis(n *int64) *time.Duration {
	if n == nil {
		return nil
	}
	return new(time.Duration(*n) * time.Millisecond)
}

func failure(code, message *string) *Failure {
	if code == nil {
		return nil
	}
	return &Failure{Code: *code, Message: orElse(message, "")}
}

// columns are a failure as it is kept.
func (f *Failure) columns() (code, message *string) {
	if f == nil {
		return nil, nil
	}
	return &f.Code, &f.Message
}
