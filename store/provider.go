package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/callbackd/callbackd/store/internal/db"
)

// ProviderDeclaration is what a provider's code says of itself, as it is kept. Schemas
// are JSON texts. Its JSON tells versions apart: fields that were added later are left out of it
// when they are zero.
type ProviderDeclaration struct {
	Identifier   string
	Name         string
	Description  string
	ConfigSchema json.RawMessage
	AuthMethods  []AuthMethodDeclaration
	Triggers     []TriggerDeclaration
}

// AuthMethodDeclaration is one auth method of a ProviderDeclaration.
type AuthMethodDeclaration struct {
	Key, Type, Name, Description string
	InputSchema                  json.RawMessage
	OutputSchema                 json.RawMessage `json:",omitzero"`
}

// TriggerDeclaration is one trigger of a ProviderDeclaration.
type TriggerDeclaration struct {
	Key, Name, Description    string
	Source                    string // "polling" or "webhook"
	IntervalSeconds           int64
	MinIntervalSeconds        int64  `json:",omitzero"` // 0: any interval will do
	Baseline                  string // "emit" or "skip"
	AutoRegistration          bool   `json:",omitzero"` // it can register its webhook
	AutoUnregistration        bool   `json:",omitzero"`
	InputSchema, OutputSchema json.RawMessage
}

// Provider is a source that this file knows.
type Provider struct {
	ID             string
	Identifier     string // the key that its code has
	Name           string
	Description    string
	Status         string // "active", or "archived" while no code declares it
	CurrentVersion ProviderVersion
	CreatedAt      time.Time
	UpdatedAt      time.Time
}

// ProviderVersion is one state of a provider's declaration.
type ProviderVersion struct {
	ID              string
	ProviderID      string
	SpecificationID string
	Version         string // "1", "2", ...
	IsCurrent       bool
	Name            string // the provider's
	Description     string // the provider's
	CreatedAt       time.Time
	UpdatedAt       time.Time
}

// ProviderSpecification is what one version declares.
type ProviderSpecification struct {
	ID           string
	ProviderID   string
	Key          string // the provider's identifier
	Name         string
	Description  string
	ConfigSchema json.RawMessage
	AuthMethods  []ProviderAuthMethod
	CreatedAt    time.Time
	UpdatedAt    time.Time
}

// ProviderTrigger is something that can be watched at a provider.
type ProviderTrigger struct {
	ID              string
	ProviderID      string
	SpecificationID string
	Key             string
	Name            string
	Description     string
	Source          string        // "polling" or "webhook"
	Interval        time.Duration // between polls
	MinInterval     time.Duration // whatever a callback says; 0: any
	Baseline        string        // "emit" or "skip"

	AutoRegistration   bool // it registers its webhook at the source by itself
	AutoUnregistration bool

	InputSchema  json.RawMessage // nil: not declared
	OutputSchema json.RawMessage // nil: not declared
	CreatedAt    time.Time
	UpdatedAt    time.Time
}

// ProviderAuthMethod is a way to sign in to a provider.
type ProviderAuthMethod struct {
	ID                 string
	ProviderID         string
	ProviderIdentifier string
	SpecificationID    string
	Key                string
	Type               string // "oauth", "token" or "custom"
	Name               string
	Description        string
	InputSchema        json.RawMessage // nil: anything
	OutputSchema       json.RawMessage // of what the provider makes of it; nil: not declared
	CreatedAt          time.Time
	UpdatedAt          time.Time
}

// SyncProviders makes the rows of what the code declares, in one transaction. A
// declaration that differs from the last one becomes a new version, to which callbacks
// and instances move with their state; the old rows stay. Providers that are declared no
// longer are archived.
func (s *Store) SyncProviders(ctx context.Context, now time.Time, declared []ProviderDeclaration) error {
	return s.write(ctx, func(tx *tx) error {
		identifiers := make([]string, 0, len(declared))
		for _, d := range declared {
			if err := tx.syncProvider(ms(now), d); err != nil {
				return fmt.Errorf("provider %s: %w", d.Identifier, err)
			}
			identifiers = append(identifiers, d.Identifier)
		}
		return tx.q.ArchiveProvidersExcept(tx.ctx, ms(now), jsonText(identifiers))
	})
}

func (tx *tx) syncProvider(now int64, d ProviderDeclaration) error {
	text, err := json.Marshal(d)
	if err != nil {
		return err
	}
	digest := sha256.Sum256(text)
	p, err := tx.q.ProviderByIdentifier(tx.ctx, d.Identifier)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		p.Seq, err = tx.q.InsertProvider(tx.ctx, db.InsertProviderParams{
			ID: tx.id(prefixProvider), Identifier: d.Identifier, Name: d.Name, Description: d.Description, Now: now})
	case err == nil && (p.Name != d.Name || p.Description != d.Description || p.Status != "active"):
		err = tx.q.UpdateProvider(tx.ctx, db.UpdateProviderParams{Seq: p.Seq, Name: d.Name, Description: d.Description, Now: now})
	}
	if err != nil {
		return err
	}
	specification, err := tx.q.SpecificationByDigest(tx.ctx, p.Seq, digest[:])
	if errors.Is(err, sql.ErrNoRows) {
		specification, err = tx.insertSpecification(now, p.Seq, d, digest[:])
	}
	if err != nil {
		return err
	}
	current, err := tx.q.CurrentVersion(tx.ctx, p.Seq)
	if err == nil && current.SpecificationSeq == specification {
		return nil
	}
	if err == nil {
		err = tx.q.RetireVersion(tx.ctx, now, current.Seq)
	} else if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	if err != nil {
		return err
	}
	count, err := tx.q.CountVersions(tx.ctx, p.Seq)
	if err != nil {
		return err
	}
	if err := tx.q.InsertVersion(tx.ctx, db.InsertVersionParams{ID: tx.id(prefixVersion), ProviderSeq: p.Seq,
		SpecificationSeq: specification, Version: strconv.FormatInt(count+1, 10), Now: now}); err != nil {
		return err
	}
	triggers, err := tx.q.CurrentTriggers(tx.ctx, p.Seq)
	if err != nil {
		return err
	}
	for _, t := range triggers {
		if err := tx.q.MoveCallbackTriggers(tx.ctx, db.MoveCallbackTriggersParams{NewSeq: t.Seq, ProviderSeq: p.Seq, Key: t.Key}); err != nil {
			return err
		}
		if err := tx.q.MoveInstanceTriggers(tx.ctx, db.MoveInstanceTriggersParams{NewSeq: t.Seq, ProviderSeq: p.Seq, Key: t.Key, Never: ms(Never), Now: now}); err != nil {
			return err
		}
	}
	return nil
}

func (tx *tx) insertSpecification(now, provider int64, d ProviderDeclaration, digest []byte) (int64, error) {
	seq, err := tx.q.InsertSpecification(tx.ctx, db.InsertSpecificationParams{ID: tx.id(prefixSpecification), ProviderSeq: provider,
		Name: d.Name, Description: d.Description, ConfigSchema: d.ConfigSchema, Digest: digest, Now: now})
	if err != nil {
		return 0, err
	}
	for _, m := range d.AuthMethods {
		if err := tx.q.InsertAuthMethod(tx.ctx, db.InsertAuthMethodParams{ID: tx.id(prefixAuthMethod), ProviderSeq: provider, SpecificationSeq: seq,
			Key: m.Key, Type: m.Type, Name: m.Name, Description: m.Description, InputSchema: m.InputSchema, OutputSchema: m.OutputSchema, Now: now}); err != nil {
			return 0, err
		}
	}
	for _, t := range d.Triggers {
		if _, err := tx.q.InsertTrigger(tx.ctx, db.InsertTriggerParams{ID: tx.id(prefixTrigger), ProviderSeq: provider, SpecificationSeq: seq,
			Key: t.Key, Name: t.Name, Description: t.Description, Source: t.Source, IntervalSeconds: t.IntervalSeconds,
			MinIntervalSeconds: t.MinIntervalSeconds, Baseline: t.Baseline, AutoRegistration: flag(t.AutoRegistration), AutoUnregistration: flag(t.AutoUnregistration),
			InputSchema: t.InputSchema, OutputSchema: t.OutputSchema, Now: now}); err != nil {
			return 0, err
		}
	}
	return seq, nil
}

func (tx *tx) id(prefix string) string { return tx.w.s.ids.next(prefix) }

// ProviderFilter narrows the list of providers.
type ProviderFilter struct {
	IDs      []string // ids or identifiers
	Statuses []string // default: active
}

// ListProviders lists providers.
func (s *Store) ListProviders(ctx context.Context, f ProviderFilter, p Page) (List[Provider], error) {
	sel := selectFrom("provider").statuses(f.Statuses, "active")
	if len(f.IDs) > 0 {
		sel.and("(t.id IN (SELECT value FROM json_each(?)) OR t.identifier IN (SELECT value FROM json_each(?)))", jsonText(f.IDs), jsonText(f.IDs))
	}
	return list(ctx, s, sel, p, loader(s.read, loadProviders))
}

// Provider finds one by its id or identifier, archived or not.
func (s *Store) Provider(ctx context.Context, id string) (Provider, error) {
	l, err := s.ListProviders(ctx, ProviderFilter{IDs: []string{id}, Statuses: []string{"active", "archived"}}, Page{Limit: 1})
	if err == nil && len(l.Items) == 0 {
		err = &NotFoundError{Entity: "provider", ID: id}
	}
	if err != nil {
		return Provider{}, err
	}
	return l.Items[0], nil
}

func loadProviders(ctx context.Context, q *db.Queries, seqs []int64) ([]Provider, error) {
	rows, err := q.ProvidersBySeq(ctx, seqsJSON(seqs))
	if err != nil {
		return nil, err
	}
	return inOrder(seqs, rows, func(r *db.ProvidersBySeqRow) int64 { return r.Provider.Seq }, func(r *db.ProvidersBySeqRow) (Provider, error) {
		versions, err := loadVersions(ctx, q, []int64{r.VersionSeq})
		if err != nil || len(versions) == 0 {
			return Provider{}, err
		}
		p := r.Provider
		return Provider{ID: p.ID, Identifier: p.Identifier, Name: p.Name, Description: p.Description, Status: p.Status,
			CurrentVersion: versions[0], CreatedAt: fromMS(p.CreatedAt), UpdatedAt: fromMS(p.UpdatedAt)}, nil
	})
}

// ListVersions lists versions, also old ones.
func (s *Store) ListVersions(ctx context.Context, f CatalogFilter, p Page) (List[ProviderVersion], error) {
	return list(ctx, s, f.selection("provider_version", "specification_seq"), p, loader(s.read, loadVersions))
}

// Version finds one version.
func (s *Store) Version(ctx context.Context, id string) (ProviderVersion, error) {
	return get(ctx, s, selectFrom("provider_version"), "provider.version", id, loader(s.read, loadVersions))
}

func loadVersions(ctx context.Context, q *db.Queries, seqs []int64) ([]ProviderVersion, error) {
	rows, err := q.VersionsBySeq(ctx, seqsJSON(seqs))
	if err != nil {
		return nil, err
	}
	return inOrder(seqs, rows, func(r *db.VersionsBySeqRow) int64 { return r.ProviderVersion.Seq }, func(r *db.VersionsBySeqRow) (ProviderVersion, error) {
		v := r.ProviderVersion
		return ProviderVersion{ID: v.ID, ProviderID: r.ProviderID, SpecificationID: r.SpecificationID, Version: v.Version, IsCurrent: v.IsCurrent == 1,
			Name: r.ProviderName, Description: r.ProviderDescription, CreatedAt: fromMS(v.CreatedAt), UpdatedAt: fromMS(v.UpdatedAt)}, nil
	})
}

// ListSpecifications lists specifications, also old ones.
func (s *Store) ListSpecifications(ctx context.Context, f CatalogFilter, p Page) (List[ProviderSpecification], error) {
	return list(ctx, s, f.selection("provider_specification", "seq"), p, loader(s.read, loadSpecifications))
}

// Specification finds one specification.
func (s *Store) Specification(ctx context.Context, id string) (ProviderSpecification, error) {
	return get(ctx, s, selectFrom("provider_specification"), "provider.specification", id, loader(s.read, loadSpecifications))
}

func loadSpecifications(ctx context.Context, q *db.Queries, seqs []int64) ([]ProviderSpecification, error) {
	rows, err := q.SpecificationsBySeq(ctx, seqsJSON(seqs))
	if err != nil {
		return nil, err
	}
	return inOrder(seqs, rows, func(r *db.SpecificationsBySeqRow) int64 { return r.ProviderSpecification.Seq }, func(r *db.SpecificationsBySeqRow) (ProviderSpecification, error) {
		sp := r.ProviderSpecification
		methodSeqs, err := q.AuthMethodsOfSpecification(ctx, sp.Seq)
		if err != nil {
			return ProviderSpecification{}, err
		}
		methods, err := loadAuthMethods(ctx, q, methodSeqs)
		return ProviderSpecification{ID: sp.ID, ProviderID: r.ProviderID, Key: r.ProviderIdentifier, Name: sp.Name, Description: sp.Description,
			ConfigSchema: sp.ConfigSchema, AuthMethods: methods, CreatedAt: fromMS(sp.CreatedAt), UpdatedAt: fromMS(sp.UpdatedAt)}, err
	})
}

// CatalogFilter narrows the lists of what providers declare. Triggers and auth methods are
// listed of current versions, unless ids, versions or configs are asked for.
type CatalogFilter struct {
	IDs         []string
	Providers   []string // ids or identifiers
	Versions    []string // ids: what their specifications declare
	Deployments []string // ids: what their providers declare
	Configs     []string // ids: what the specifications declare that they were made for
}

// selection picks rows of a table whose column refers to a specification.
func (f CatalogFilter) selection(table, column string) *selection {
	sel := selectFrom(table).ids(f.IDs).provider(f.Providers)
	if len(f.Deployments) > 0 {
		sel.and("t.provider_seq IN (SELECT d.provider_seq FROM provider_deployment AS d WHERE d.id IN (SELECT value FROM json_each(?)))", jsonText(f.Deployments))
	}
	if len(f.Configs) > 0 {
		sel.and("t."+column+" IN (SELECT c.specification_seq FROM provider_config AS c WHERE c.id IN (SELECT value FROM json_each(?)))", jsonText(f.Configs))
	}
	if len(f.Versions) > 0 {
		sel.and("t."+column+" IN (SELECT v.specification_seq FROM provider_version AS v WHERE v.id IN (SELECT value FROM json_each(?)))", jsonText(f.Versions))
	}
	return sel
}

// current is selection without what has been replaced, unless that is asked for.
func (f CatalogFilter) current(table string) *selection {
	sel := f.selection(table, "specification_seq")
	if len(f.IDs) == 0 && len(f.Versions) == 0 && len(f.Configs) == 0 {
		sel.and("t.specification_seq IN (SELECT v.specification_seq FROM provider_version AS v WHERE v.is_current = 1)")
	}
	return sel
}

// provider keeps rows of the given providers, by id or identifier; none: all rows.
func (s *selection) provider(providers []string) *selection {
	if len(providers) == 0 {
		return s
	}
	if !s.walks(len(providers)) {
		return s.and(`+t.provider_seq IN (SELECT p.seq FROM provider AS p
			WHERE p.id IN (SELECT value FROM json_each(?)) OR p.identifier IN (SELECT value FROM json_each(?)))`, jsonText(providers), jsonText(providers))
	}
	var choice []condition
	for _, p := range distinct(providers) {
		choice = append(choice, condition{"t.provider_seq = (SELECT p.seq FROM provider AS p WHERE p.id = ? OR p.identifier = ?)", []any{p, p}})
	}
	return s.choice(choice)
}

// ListTriggers lists triggers.
func (s *Store) ListTriggers(ctx context.Context, f CatalogFilter, p Page) (List[ProviderTrigger], error) {
	return list(ctx, s, f.current("provider_trigger"), p, loader(s.read, loadTriggers))
}

// Trigger finds one trigger, of any version.
func (s *Store) Trigger(ctx context.Context, id string) (ProviderTrigger, error) {
	return get(ctx, s, selectFrom("provider_trigger"), "provider.trigger", id, loader(s.read, loadTriggers))
}

func loadTriggers(ctx context.Context, q *db.Queries, seqs []int64) ([]ProviderTrigger, error) {
	rows, err := q.TriggersBySeq(ctx, seqsJSON(seqs))
	if err != nil {
		return nil, err
	}
	return inOrder(seqs, rows, func(r *db.TriggersBySeqRow) int64 { return r.ProviderTrigger.Seq }, func(r *db.TriggersBySeqRow) (ProviderTrigger, error) {
		t := r.ProviderTrigger
		return ProviderTrigger{ID: t.ID, ProviderID: r.ProviderID, SpecificationID: r.SpecificationID, Key: t.Key, Name: t.Name, Description: t.Description,
			Source: t.Source, Interval: time.Duration(t.IntervalSeconds) * time.Second, MinInterval: time.Duration(t.MinIntervalSeconds) * time.Second, Baseline: t.Baseline,
			AutoRegistration: t.AutoRegistration == 1, AutoUnregistration: t.AutoUnregistration == 1,
			InputSchema: t.InputSchema, OutputSchema: t.OutputSchema, CreatedAt: fromMS(t.CreatedAt), UpdatedAt: fromMS(t.UpdatedAt)}, nil
	})
}

// ListAuthMethods lists auth methods.
func (s *Store) ListAuthMethods(ctx context.Context, f CatalogFilter, p Page) (List[ProviderAuthMethod], error) {
	return list(ctx, s, f.current("provider_auth_method"), p, loader(s.read, loadAuthMethods))
}

// AuthMethod finds one auth method by its id, or by its key: of the provider with the
// given id, or, when that is empty, of the one provider that has it.
func (s *Store) AuthMethod(ctx context.Context, idOrKey, providerID string) (ProviderAuthMethod, error) {
	m, err := get(ctx, s, selectFrom("provider_auth_method"), "provider.auth_method", idOrKey, loader(s.read, loadAuthMethods))
	if _, missing := errors.AsType[*NotFoundError](err); !missing {
		return m, err
	}
	seqs, queryErr := s.read.CurrentAuthMethodByKey(ctx, idOrKey)
	if queryErr != nil {
		return m, queryErr
	}
	methods, queryErr := loadAuthMethods(ctx, s.read, seqs)
	if queryErr != nil {
		return m, queryErr
	}
	if providerID != "" {
		methods = slices.DeleteFunc(methods, func(m ProviderAuthMethod) bool { return m.ProviderID != providerID })
	}
	switch len(methods) {
	case 0:
		return m, err
	case 1:
		return methods[0], nil
	}
	return m, &ConflictError{Message: fmt.Sprintf("several providers have an auth method %q: give its id, or the deployment", idOrKey)}
}

func loadAuthMethods(ctx context.Context, q *db.Queries, seqs []int64) ([]ProviderAuthMethod, error) {
	rows, err := q.AuthMethodsBySeq(ctx, seqsJSON(seqs))
	if err != nil {
		return nil, err
	}
	return inOrder(seqs, rows, func(r *db.AuthMethodsBySeqRow) int64 { return r.ProviderAuthMethod.Seq }, func(r *db.AuthMethodsBySeqRow) (ProviderAuthMethod, error) {
		m := r.ProviderAuthMethod
		return ProviderAuthMethod{ID: m.ID, ProviderID: r.ProviderID, ProviderIdentifier: r.ProviderIdentifier, SpecificationID: r.SpecificationID, Key: m.Key, Type: m.Type,
			Name: m.Name, Description: m.Description, InputSchema: m.InputSchema, OutputSchema: m.OutputSchema, CreatedAt: fromMS(m.CreatedAt), UpdatedAt: fromMS(m.UpdatedAt)}, nil
	})
}
