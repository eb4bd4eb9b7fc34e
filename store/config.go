package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/callbackd/callbackd/store/internal/db"
)

// NewConfig is a config to be made. Its value must be valid for the specification.
type NewConfig struct {
	Details
	ProviderID      string
	DeploymentID    string // "": any deployment of the provider
	SpecificationID string
	Value           json.RawMessage
}

// ConfigChange is what an update may change of a config or an auth config.
type ConfigChange struct {
	Details
	Value json.RawMessage // nil: stays
}

// CreateConfig makes a config.
func (s *Store) CreateConfig(ctx context.Context, now time.Time, n NewConfig) (out Config, err error) {
	err = s.write(ctx, func(tx *tx) error {
		provider, err := seqOf(tx.ctx, tx.conn, "provider", n.ProviderID)
		if err != nil {
			return notFound(err, "provider", n.ProviderID)
		}
		deployment, err := tx.deploymentOf(provider, n.DeploymentID)
		if err != nil {
			return err
		}
		seq, err := tx.insertConfig(ms(now), n, provider, deployment, false)
		if err != nil {
			return err
		}
		out, err = loadOne(tx.ctx, []int64{seq}, "provider.config", "", loader(tx.q, loadConfigs))
		return err
	})
	return out, err
}

// deploymentOf finds an active deployment of a provider; no id: nil.
func (tx *tx) deploymentOf(provider int64, id string) (*int64, error) {
	if id == "" {
		return nil, nil
	}
	var seq int64
	err := tx.conn.QueryRowContext(tx.ctx, "SELECT seq FROM provider_deployment WHERE id = ? AND provider_seq = ? AND status = 'active'", id, provider).Scan(&seq)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, &NotFoundError{Entity: "provider.deployment", ID: id, That: "is active and of this provider"}
	}
	return &seq, err
}

func (tx *tx) insertConfig(now int64, n NewConfig, provider int64, deployment *int64, isDefault bool) (int64, error) {
	specification, err := seqOf(tx.ctx, tx.conn, "provider_specification", n.SpecificationID)
	if err != nil {
		return 0, notFound(err, "provider.specification", n.SpecificationID)
	}
	id := tx.id(prefixConfig)
	value, err := tx.w.s.sealer.seal("config:"+id, n.Value)
	if err != nil {
		return 0, err
	}
	return tx.q.InsertConfig(tx.ctx, db.InsertConfigParams{ID: id, ProviderSeq: provider, SpecificationSeq: specification, DeploymentSeq: deployment,
		IsDefault: flag(isDefault), Name: n.Name, Description: n.Description, Metadata: n.Metadata, Value: value, Now: now})
}

// UpdateConfig changes an active config. A new value is valid for the given
// specification; what polls with it does so at once, and what could not be mapped is mapped
// again.
func (s *Store) UpdateConfig(ctx context.Context, now time.Time, id, specificationID string, change func(*ConfigChange)) (out Config, err error) {
	err = s.write(ctx, func(tx *tx) error {
		seq, old, err := findActive(tx, "provider_config", "provider.config", id, loader(tx.q, loadConfigs))
		if err != nil {
			return err
		}
		c := ConfigChange{Details: old.details()}
		change(&c)
		rows, err := tx.q.ConfigsBySeq(tx.ctx, seqsJSON([]int64{seq}))
		if err != nil {
			return err
		}
		value, specification := rows[0].ProviderConfig.Value, rows[0].ProviderConfig.SpecificationSeq
		if c.Value != nil {
			if value, err = tx.w.s.sealer.seal("config:"+id, c.Value); err != nil {
				return err
			}
			if specification, err = seqOf(tx.ctx, tx.conn, "provider_specification", specificationID); err != nil {
				return notFound(err, "provider.specification", specificationID)
			}
			if err := tx.q.ResumeTriggersOfConfig(tx.ctx, msPtr(now), seq); err != nil {
				return err
			}
			if err := tx.q.RemapEventsOfConfig(tx.ctx, msPtr(now), seq); err != nil {
				return err
			}
		}
		if err := tx.q.UpdateConfig(tx.ctx, db.UpdateConfigParams{Seq: seq, Name: c.Name, Description: c.Description, Metadata: c.Metadata,
			SpecificationSeq: specification, Value: value, Now: ms(now)}); err != nil {
			return err
		}
		out, err = loadOne(tx.ctx, []int64{seq}, "provider.config", id, loader(tx.q, loadConfigs))
		return err
	})
	return out, err
}

var configArchived = Failure{Code: "config_archived", Message: "the provider config was archived"}

// ArchiveConfig ends a config; what polls with it pauses, saying so.
func (s *Store) ArchiveConfig(ctx context.Context, now time.Time, id string) (out Config, err error) {
	err = s.write(ctx, func(tx *tx) error {
		seq, err := seqOf(tx.ctx, tx.conn, "provider_config", id)
		if err != nil {
			return notFound(err, "provider.config", id)
		}
		if err := tx.q.ArchiveConfig(tx.ctx, ms(now), seq); err != nil {
			return err
		}
		if err := tx.q.PauseTriggersOfConfig(tx.ctx, db.PauseTriggersOfConfigParams{ConfigSeq: seq,
			ErrorCode: &configArchived.Code, ErrorMessage: &configArchived.Message, Now: ms(now)}); err != nil {
			return err
		}
		out, err = loadOne(tx.ctx, []int64{seq}, "provider.config", id, loader(tx.q, loadConfigs))
		return err
	})
	return out, err
}

// ListConfigs lists configs.
func (s *Store) ListConfigs(ctx context.Context, f SetupFilter, p Page) (List[Config], error) {
	return list(ctx, s, f.selection("provider_config").refer("deployment_seq", "provider_deployment", f.Deployments).
		within("specification_seq", "provider_specification", f.Specifications), p, loader(s.read, loadConfigs))
}

// Config finds one, archived or not.
func (s *Store) Config(ctx context.Context, id string) (Config, error) {
	return get(ctx, s, selectFrom("provider_config"), "provider.config", id, loader(s.read, loadConfigs))
}

func loadConfigs(ctx context.Context, q *db.Queries, seqs []int64) ([]Config, error) {
	rows, err := q.ConfigsBySeq(ctx, seqsJSON(seqs))
	if err != nil {
		return nil, err
	}
	return inOrder(seqs, rows, func(r *db.ConfigsBySeqRow) int64 { return r.ProviderConfig.Seq }, func(r *db.ConfigsBySeqRow) (Config, error) {
		c := r.ProviderConfig
		deployment, err := previewOf(ctx, c.DeploymentSeq, q.DeploymentPreview)
		return Config{ProviderIdentifier: r.ProviderIdentifier, SpecificationID: r.SpecificationID, Status: c.Status, Deployment: deployment,
			Preview: Preview{ID: c.ID, IsDefault: c.IsDefault == 1, Name: c.Name, Description: c.Description, Metadata: c.Metadata, ProviderID: r.ProviderID,
				CreatedAt: fromMS(c.CreatedAt), UpdatedAt: fromMS(c.UpdatedAt)}}, err
	})
}

// flag is a bool as STRICT tables keep it.
func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
