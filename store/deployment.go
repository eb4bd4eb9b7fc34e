package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/callbackd/callbackd/store/internal/db"
)

// Preview is a deployment, config or auth config as it is shown inside of others.
type Preview struct {
	ID          string
	IsDefault   bool
	Name        string
	Description string
	Metadata    json.RawMessage
	ProviderID  string
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// Deployment is a provider that has been taken into use.
type Deployment struct {
	Preview
	ProviderIdentifier string
	Status             string   // "active" or "archived"
	DefaultConfig      *Preview // nil: none
}

// Details are what every noun of the provider side can be told of itself.
type Details struct {
	Name        string
	Description string
	Metadata    json.RawMessage // nil: none
}

// Config is a set of values that configures a provider.
type Config struct {
	Preview
	ProviderIdentifier string
	SpecificationID    string
	Status             string   // "active" or "archived"
	Deployment         *Preview // nil: any deployment of the provider
}

// AuthConfig is somebody's way to sign in.
type AuthConfig struct {
	Preview
	ProviderIdentifier string
	Status             string // "active" or "archived"
	Method             ProviderAuthMethod
	Deployment         *Preview // nil: any deployment of the provider
}

// SetupFilter narrows the lists of deployments, configs and auth configs.
type SetupFilter struct {
	IDs            []string
	Providers      []string // ids or identifiers
	Deployments    []string // ids; not for deployments themselves
	AuthMethods    []string // ids; for auth configs alone
	Versions       []string // ids: of their providers; for deployments alone
	Specifications []string // ids; for configs alone
	Search         string   // part of a name or a description, in any case; "": all
	Statuses       []string // default: active
	Created        Range
	Updated        Range
}

func (f SetupFilter) selection(table string) *selection {
	return selectFrom(table).ids(f.IDs).provider(f.Providers).statuses(f.Statuses, "active").
		during("created_at", f.Created).during("updated_at", f.Updated).search(f.Search)
}

// search keeps rows in whose name or description a text is, in any case.
func (s *selection) search(text string) *selection {
	if text == "" {
		return s
	}
	return s.and("(instr(lower(t.name), lower(?)) > 0 OR instr(lower(t.description), lower(?)) > 0)", text, text)
}

// NewDeployment is a deployment to be made.
type NewDeployment struct {
	Details
	ProviderID string
	Config     *NewConfig // its default config, made with it; its value must be valid. nil: none
	ConfigID   string     // instead: a config that there is, of the same provider; "": none
}

// CreateDeployment takes a provider into use.
func (s *Store) CreateDeployment(ctx context.Context, now time.Time, n NewDeployment) (out Deployment, err error) {
	err = s.write(ctx, func(tx *tx) error {
		provider, err := seqOf(tx.ctx, tx.conn, "provider", n.ProviderID)
		if err != nil {
			return notFound(err, "provider", n.ProviderID)
		}
		seq, err := tx.q.InsertDeployment(tx.ctx, db.InsertDeploymentParams{ID: tx.id(prefixDeployment), ProviderSeq: provider,
			Name: n.Name, Description: n.Description, Metadata: n.Metadata, Now: ms(now)})
		if err != nil {
			return err
		}
		var config int64
		switch {
		case n.Config != nil:
			config, err = tx.insertConfig(ms(now), *n.Config, provider, &seq, true)
		case n.ConfigID != "":
			config, _, err = findActive(tx, "provider_config", "provider.config", n.ConfigID, loader(tx.q, loadConfigs))
		}
		if err != nil {
			return err
		}
		if config != 0 {
			if err := tx.q.SetDefaultConfig(tx.ctx, &config, seq); err != nil {
				return err
			}
		}
		out, err = loadOne(tx.ctx, []int64{seq}, "provider.deployment", "", loader(tx.q, loadDeployments))
		return err
	})
	return out, err
}

// UpdateDeployment changes an active deployment's details.
func (s *Store) UpdateDeployment(ctx context.Context, now time.Time, id string, change func(*Details)) (out Deployment, err error) {
	err = s.write(ctx, func(tx *tx) error {
		seq, old, err := findActive(tx, "provider_deployment", "provider.deployment", id, loader(tx.q, loadDeployments))
		if err != nil {
			return err
		}
		d := old.details()
		change(&d)
		if err := tx.q.UpdateDeployment(tx.ctx, db.UpdateDeploymentParams{Seq: seq, Name: d.Name, Description: d.Description, Metadata: d.Metadata, Now: ms(now)}); err != nil {
			return err
		}
		out, err = loadOne(tx.ctx, []int64{seq}, "provider.deployment", id, loader(tx.q, loadDeployments))
		return err
	})
	return out, err
}

var deploymentArchived = Failure{Code: "deployment_archived", Message: "the provider deployment was archived"}

// ArchiveDeployment ends a deployment; what polls with it pauses, saying so.
func (s *Store) ArchiveDeployment(ctx context.Context, now time.Time, id string) (out Deployment, err error) {
	err = s.write(ctx, func(tx *tx) error {
		seq, err := seqOf(tx.ctx, tx.conn, "provider_deployment", id)
		if err != nil {
			return notFound(err, "provider.deployment", id)
		}
		if err := tx.q.ArchiveDeployment(tx.ctx, ms(now), seq); err != nil {
			return err
		}
		if err := tx.q.PauseTriggersOfDeployment(tx.ctx, db.PauseTriggersOfDeploymentParams{DeploymentSeq: seq,
			ErrorCode: &deploymentArchived.Code, ErrorMessage: &deploymentArchived.Message, Now: ms(now)}); err != nil {
			return err
		}
		out, err = loadOne(tx.ctx, []int64{seq}, "provider.deployment", id, loader(tx.q, loadDeployments))
		return err
	})
	return out, err
}

// ListDeployments lists deployments.
func (s *Store) ListDeployments(ctx context.Context, f SetupFilter, p Page) (List[Deployment], error) {
	sel := f.selection("provider_deployment")
	if len(f.Versions) > 0 {
		sel.and("t.provider_seq IN (SELECT v.provider_seq FROM provider_version AS v WHERE v.id IN (SELECT value FROM json_each(?)))", jsonText(f.Versions))
	}
	return list(ctx, s, sel, p, loader(s.read, loadDeployments))
}

// Deployment finds one, archived or not.
func (s *Store) Deployment(ctx context.Context, id string) (Deployment, error) {
	return get(ctx, s, selectFrom("provider_deployment"), "provider.deployment", id, loader(s.read, loadDeployments))
}

func loadDeployments(ctx context.Context, q *db.Queries, seqs []int64) ([]Deployment, error) {
	rows, err := q.DeploymentsBySeq(ctx, seqsJSON(seqs))
	if err != nil {
		return nil, err
	}
	return inOrder(seqs, rows, func(r *db.DeploymentsBySeqRow) int64 { return r.ProviderDeployment.Seq }, func(r *db.DeploymentsBySeqRow) (Deployment, error) {
		d := r.ProviderDeployment
		config, err := previewOf(ctx, d.DefaultConfigSeq, configPreview(q))
		return Deployment{ProviderIdentifier: r.ProviderIdentifier, Status: d.Status, DefaultConfig: config,
			Preview: Preview{ID: d.ID, IsDefault: d.IsDefault == 1, Name: d.Name, Description: d.Description, Metadata: d.Metadata, ProviderID: r.ProviderID,
				CreatedAt: fromMS(d.CreatedAt), UpdatedAt: fromMS(d.UpdatedAt)}}, err
	})
}

func (p Preview) details() Details {
	return Details{Name: p.Name, Description: p.Description, Metadata: p.Metadata}
}

func (d Deployment) status() string { return d.Status }
func (c Config) status() string     { return c.Status }
func (a AuthConfig) status() string { return a.Status }

// previewOf loads the preview of the row that seq refers to; nil for null.
func previewOf(ctx context.Context, seq *int64, load func(context.Context, int64) (db.DeploymentPreviewRow, error)) (*Preview, error) {
	if seq == nil {
		return nil, nil
	}
	r, err := load(ctx, *seq)
	if err != nil {
		return nil, err
	}
	return &Preview{ID: r.ID, IsDefault: r.IsDefault == 1, Name: r.Name, Description: r.Description, Metadata: r.Metadata, ProviderID: r.ProviderID,
		CreatedAt: fromMS(r.CreatedAt), UpdatedAt: fromMS(r.UpdatedAt)}, nil
}

// The three preview queries have the same columns; sqlc gives each a type of its own.

func configPreview(q *db.Queries) func(context.Context, int64) (db.DeploymentPreviewRow, error) {
	return func(ctx context.Context, seq int64) (db.DeploymentPreviewRow, error) {
		r, err := q.ConfigPreview(ctx, seq)
		return db.DeploymentPreviewRow(r), err
	}
}

func authConfigPreview(q *db.Queries) func(context.Context, int64) (db.DeploymentPreviewRow, error) {
	return func(ctx context.Context, seq int64) (db.DeploymentPreviewRow, error) {
		r, err := q.AuthConfigPreview(ctx, seq)
		return db.DeploymentPreviewRow(r), err
	}
}

// loader gives a loading function the queries that it is to use.
func loader[T any](q *db.Queries, load func(context.Context, *db.Queries, []int64) ([]T, error)) func(context.Context, []int64) ([]T, error) {
	return func(ctx context.Context, seqs []int64) ([]T, error) { return load(ctx, q, seqs) }
}

// findActive finds a row that can still be changed: one that is not archived.
func findActive[T interface{ status() string }](tx *tx, table, entity, id string, load func(context.Context, []int64) ([]T, error)) (seq int64, item T, err error) {
	if seq, err = seqOf(tx.ctx, tx.conn, table, id); err != nil {
		return 0, item, notFound(err, entity, id)
	}
	if item, err = loadOne(tx.ctx, []int64{seq}, entity, id, load); err != nil {
		return 0, item, err
	}
	if item.status() == "archived" {
		return 0, item, &ConflictError{Message: entity + " " + id + " is archived and cannot be changed"}
	}
	return seq, item, nil
}
