package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/callbackd/callbackd/store/internal/db"
)

// NewAuthConfig is an auth config to be made. Its value must be valid for the method.
type NewAuthConfig struct {
	Details
	MethodID     string
	ProviderID   string
	DeploymentID string // "": any deployment of the provider
	Value        json.RawMessage
}

// CreateAuthConfig makes an auth config.
func (s *Store) CreateAuthConfig(ctx context.Context, now time.Time, n NewAuthConfig) (out AuthConfig, err error) {
	err = s.write(ctx, func(tx *tx) error {
		provider, err := seqOf(tx.ctx, tx.conn, "provider", n.ProviderID)
		if err != nil {
			return notFound(err, "provider", n.ProviderID)
		}
		method, err := seqOf(tx.ctx, tx.conn, "provider_auth_method", n.MethodID)
		if err != nil {
			return notFound(err, "provider.auth_method", n.MethodID)
		}
		deployment, err := tx.deploymentOf(provider, n.DeploymentID)
		if err != nil {
			return err
		}
		id := tx.id(prefixAuthConfig)
		value, err := s.sealer.seal("auth_config:"+id, n.Value)
		if err != nil {
			return err
		}
		seq, err := tx.q.InsertAuthConfig(tx.ctx, db.InsertAuthConfigParams{ID: id, ProviderSeq: provider, AuthMethodSeq: method, DeploymentSeq: deployment,
			Name: n.Name, Description: n.Description, Metadata: n.Metadata, Value: value, Now: ms(now)})
		if err != nil {
			return err
		}
		out, err = loadOne(tx.ctx, []int64{seq}, "provider.auth_config", "", loader(tx.q, loadAuthConfigs))
		return err
	})
	return out, err
}

// UpdateAuthConfig changes an active auth config. A new value lets triggers that had
// paused or were failing try again at once.
func (s *Store) UpdateAuthConfig(ctx context.Context, now time.Time, id string, change func(*ConfigChange)) (out AuthConfig, err error) {
	err = s.write(ctx, func(tx *tx) error {
		seq, old, err := findActive(tx, "provider_auth_config", "provider.auth_config", id, loader(tx.q, loadAuthConfigs))
		if err != nil {
			return err
		}
		c := ConfigChange{Details: old.details()}
		change(&c)
		rows, err := tx.q.AuthConfigsBySeq(tx.ctx, seqsJSON([]int64{seq}))
		if err != nil {
			return err
		}
		value := rows[0].ProviderAuthConfig.Value
		if c.Value != nil {
			if value, err = s.sealer.seal("auth_config:"+id, c.Value); err != nil {
				return err
			}
			if err := tx.q.ResumeTriggersOfAuthConfig(tx.ctx, msPtr(now), &seq); err != nil {
				return err
			}
		}
		if err := tx.q.UpdateAuthConfig(tx.ctx, db.UpdateAuthConfigParams{Seq: seq, Name: c.Name, Description: c.Description, Metadata: c.Metadata,
			Value: value, Now: ms(now)}); err != nil {
			return err
		}
		out, err = loadOne(tx.ctx, []int64{seq}, "provider.auth_config", id, loader(tx.q, loadAuthConfigs))
		return err
	})
	return out, err
}

var authConfigArchived = Failure{Code: "auth_config_archived", Message: "the provider auth config was archived"}

// ArchiveAuthConfig ends an auth config; what polls with it pauses, saying so.
func (s *Store) ArchiveAuthConfig(ctx context.Context, now time.Time, id string) (out AuthConfig, err error) {
	err = s.write(ctx, func(tx *tx) error {
		seq, err := seqOf(tx.ctx, tx.conn, "provider_auth_config", id)
		if err != nil {
			return notFound(err, "provider.auth_config", id)
		}
		if err := tx.q.ArchiveAuthConfig(tx.ctx, ms(now), seq); err != nil {
			return err
		}
		if err := tx.q.PauseTriggersOfAuthConfig(tx.ctx, db.PauseTriggersOfAuthConfigParams{AuthConfigSeq: &seq,
			ErrorCode: &authConfigArchived.Code, ErrorMessage: &authConfigArchived.Message, Now: ms(now)}); err != nil {
			return err
		}
		out, err = loadOne(tx.ctx, []int64{seq}, "provider.auth_config", id, loader(tx.q, loadAuthConfigs))
		return err
	})
	return out, err
}

// ListAuthConfigs lists auth configs.
func (s *Store) ListAuthConfigs(ctx context.Context, f SetupFilter, p Page) (List[AuthConfig], error) {
	sel := f.selection("provider_auth_config").refer("deployment_seq", "provider_deployment", f.Deployments).
		refer("auth_method_seq", "provider_auth_method", f.AuthMethods)
	return list(ctx, s, sel, p, loader(s.read, loadAuthConfigs))
}

// AuthConfig finds one, archived or not.
func (s *Store) AuthConfig(ctx context.Context, id string) (AuthConfig, error) {
	return get(ctx, s, selectFrom("provider_auth_config"), "provider.auth_config", id, loader(s.read, loadAuthConfigs))
}

func loadAuthConfigs(ctx context.Context, q *db.Queries, seqs []int64) ([]AuthConfig, error) {
	rows, err := q.AuthConfigsBySeq(ctx, seqsJSON(seqs))
	if err != nil {
		return nil, err
	}
	return inOrder(seqs, rows, func(r *db.AuthConfigsBySeqRow) int64 { return r.ProviderAuthConfig.Seq }, func(r *db.AuthConfigsBySeqRow) (AuthConfig, error) {
		a := r.ProviderAuthConfig
		deployment, err := previewOf(ctx, a.DeploymentSeq, q.DeploymentPreview)
		if err != nil {
			return AuthConfig{}, err
		}
		methods, err := loadAuthMethods(ctx, q, []int64{a.AuthMethodSeq})
		if err != nil || len(methods) == 0 {
			return AuthConfig{}, err
		}
		return AuthConfig{ProviderIdentifier: r.ProviderIdentifier, Status: a.Status, Method: methods[0], Deployment: deployment,
			Preview: Preview{ID: a.ID, IsDefault: a.IsDefault == 1, Name: a.Name, Description: a.Description, Metadata: a.Metadata, ProviderID: r.ProviderID,
				CreatedAt: fromMS(a.CreatedAt), UpdatedAt: fromMS(a.UpdatedAt)}}, nil
	})
}
