package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/callbackd/callbackd/store"
)

// ListProviders lists the providers that the file knows.
func (e *Engine) ListProviders(ctx context.Context, f ProviderFilter, p Page) (List[ProviderRecord], error) {
	l, err := e.store.ListProviders(ctx, f, p)
	return l, wrap(err)
}

// Provider finds a provider by its id or identifier.
func (e *Engine) Provider(ctx context.Context, id string) (ProviderRecord, error) {
	p, err := e.store.Provider(ctx, id)
	return p, wrap(err)
}

// ListVersions lists providers' versions, by id and by provider.
func (e *Engine) ListVersions(ctx context.Context, f CatalogFilter, p Page) (List[ProviderVersion], error) {
	l, err := e.store.ListVersions(ctx, f, p)
	return l, wrap(err)
}

// Version finds a provider's version.
func (e *Engine) Version(ctx context.Context, id string) (ProviderVersion, error) {
	v, err := e.store.Version(ctx, id)
	return v, wrap(err)
}

// ListSpecifications lists providers' specifications, also old ones.
func (e *Engine) ListSpecifications(ctx context.Context, f CatalogFilter, p Page) (List[ProviderSpecification], error) {
	l, err := e.store.ListSpecifications(ctx, f, p)
	return l, wrap(err)
}

// Specification finds a provider's specification.
func (e *Engine) Specification(ctx context.Context, id string) (ProviderSpecification, error) {
	s, err := e.store.Specification(ctx, id)
	return s, wrap(err)
}

// ListTriggers lists the triggers that can be watched.
func (e *Engine) ListTriggers(ctx context.Context, f CatalogFilter, p Page) (List[ProviderTrigger], error) {
	l, err := e.store.ListTriggers(ctx, f, p)
	return l, wrap(err)
}

// Trigger finds a provider's trigger.
func (e *Engine) Trigger(ctx context.Context, id string) (ProviderTrigger, error) {
	t, err := e.store.Trigger(ctx, id)
	return t, wrap(err)
}

// ListAuthMethods lists the ways to sign in.
func (e *Engine) ListAuthMethods(ctx context.Context, f CatalogFilter, p Page) (List[ProviderAuthMethod], error) {
	l, err := e.store.ListAuthMethods(ctx, f, p)
	return l, wrap(err)
}

// AuthMethod finds a way to sign in.
func (e *Engine) AuthMethod(ctx context.Context, id string) (ProviderAuthMethod, error) {
	m, err := e.store.AuthMethod(ctx, id, "")
	return m, wrap(err)
}

// UpdateDetails changes what a thing is called. A nil field stays; a zero value clears.
type UpdateDetails struct {
	Faults
	Name        *string
	Description *string
	Metadata    *json.RawMessage // a pointer to nil, or to null, clears
}

func (u UpdateDetails) check() *checker {
	var d Details
	u.apply(&d)
	c := u.Faults.check()
	c.details(d)
	return c
}

func (u UpdateDetails) apply(d *Details) {
	if u.Name != nil {
		d.Name = *u.Name
	}
	if u.Description != nil {
		d.Description = *u.Description
	}
	if u.Metadata != nil {
		d.Metadata = nullable(*u.Metadata)
	}
}

// nullable is a compact JSON text, or nil for null and nothing.
func nullable(value json.RawMessage) json.RawMessage {
	if value = compact(value); string(value) == "null" {
		return nil
	}
	return value
}

// NewDeployment takes a provider into use.
type NewDeployment struct {
	Details
	Faults
	Provider string          // id or identifier; required
	Config   *NewConfigValue // its default config, to be made with it; nil: none
	ConfigID string          // instead: a config of the provider, of no other deployment; "": none
}

// NewConfigValue is a config to be made together with its deployment.
type NewConfigValue struct {
	Name  string
	Value json.RawMessage // required
}

func (n NewDeployment) check() *checker {
	c := n.Faults.check()
	c.required(n.Provider, "provider_id")
	c.details(n.Details)
	if n.Config != nil {
		c.text(n.Config.Name, maxText, "provider_config", "name")
		c.object(n.Config.Value, "provider_config", "value")
	}
	c.text(n.ConfigID, maxText, "provider_config_id")
	if n.Config != nil && n.ConfigID != "" {
		c.add("invalid_literal", "cannot be given together with provider_config", "provider_config_id")
	}
	return c
}

// CreateDeployment takes a provider into use. The first deployment of a provider is its
// default.
func (e *Engine) CreateDeployment(ctx context.Context, n NewDeployment) (Deployment, error) {
	c := n.check()
	p, code, err := e.activeProvider(ctx, n.Provider)
	var config *store.NewConfig
	if err == nil && n.Config != nil {
		value := c.configValue(code, n.Config.Value, "provider_config", "value")
		config = &store.NewConfig{Details: Details{Name: n.Config.Name}, ProviderID: p.ID, SpecificationID: p.CurrentVersion.SpecificationID, Value: value}
	}
	if err == nil && n.ConfigID != "" && !c.knows("provider_config_id") {
		err = e.checkDefaultConfig(ctx, c, p, n.ConfigID)
	}
	if err := c.err(err); err != nil {
		return Deployment{}, err
	}
	n.Metadata = nullable(n.Metadata)
	d, err := e.store.CreateDeployment(ctx, e.now(), store.NewDeployment{Details: n.Details, ProviderID: p.ID, Config: config, ConfigID: n.ConfigID})
	return d, wrap(err)
}

// checkDefaultConfig looks whether a config can be the default of a new deployment.
func (e *Engine) checkDefaultConfig(ctx context.Context, c *checker, p ProviderRecord, id string) error {
	config, err := e.store.Config(ctx, id)
	if _, missing := errors.AsType[*store.NotFoundError](err); err != nil && !missing {
		return wrap(err)
	}
	switch {
	case err != nil || config.ProviderID != p.ID || config.Status != "active":
		c.put(FieldError{Code: "invalid_literal", Message: "is no active config of this provider", Path: []string{"provider_config_id"}, Received: excerpt(id)})
	case config.Deployment != nil:
		c.put(FieldError{Code: "invalid_literal", Message: "belongs to another deployment", Path: []string{"provider_config_id"}, Received: excerpt(id)})
	}
	return nil
}

// activeProvider finds a provider that this engine has the code of.
func (e *Engine) activeProvider(ctx context.Context, id string) (ProviderRecord, *declared, error) {
	p, err := e.store.Provider(ctx, id)
	if err != nil {
		return p, nil, wrap(err)
	}
	d, err := e.declaredBy(p.Identifier)
	return p, d, err
}

// declaredBy is the code of a provider.
func (e *Engine) declaredBy(identifier string) (*declared, error) {
	d := e.providers[identifier]
	if d == nil {
		return nil, &Error{Code: CodeConflict, Message: fmt.Sprintf("provider %s is archived: this engine runs without its code", identifier)}
	}
	return d, nil
}

// ListDeployments lists deployments.
func (e *Engine) ListDeployments(ctx context.Context, f SetupFilter, p Page) (List[Deployment], error) {
	l, err := e.store.ListDeployments(ctx, f, p)
	return l, wrap(err)
}

// Deployment finds a deployment, archived or not.
func (e *Engine) Deployment(ctx context.Context, id string) (Deployment, error) {
	d, err := e.store.Deployment(ctx, id)
	return d, wrap(err)
}

// UpdateDeployment changes what a deployment is called.
func (e *Engine) UpdateDeployment(ctx context.Context, id string, u UpdateDetails) (Deployment, error) {
	if err := u.check().err(); err != nil {
		return Deployment{}, err
	}
	d, err := e.store.UpdateDeployment(ctx, e.now(), id, u.apply)
	return d, wrap(err)
}

// ArchiveDeployment ends a deployment. What polls with it pauses, saying so, and webhooks that are registered
// with it are taken back from their source.
func (e *Engine) ArchiveDeployment(ctx context.Context, id string) (Deployment, error) {
	d, err := e.store.ArchiveDeployment(ctx, e.now(), id)
	e.poller.wake()
	return d, wrap(err)
}

// NewConfig is a config to be made.
type NewConfig struct {
	Details
	Faults
	Provider     string          // id or identifier; required
	DeploymentID string          // "": any deployment of the provider
	Value        json.RawMessage // checked against the provider's schema; never returned
}

func (n NewConfig) check() *checker {
	c := n.Faults.check()
	c.required(n.Provider, "provider_id")
	c.text(n.DeploymentID, maxText, "provider_deployment_id")
	c.details(n.Details)
	c.object(n.Value, "value")
	return c
}

// CreateConfig makes a config.
func (e *Engine) CreateConfig(ctx context.Context, n NewConfig) (Config, error) {
	c := n.check()
	p, code, err := e.activeProvider(ctx, n.Provider)
	var value json.RawMessage
	if err == nil {
		value = c.configValue(code, n.Value, "value")
	}
	if err := c.err(err); err != nil {
		return Config{}, err
	}
	n.Metadata = nullable(n.Metadata)
	created, err := e.store.CreateConfig(ctx, e.now(), store.NewConfig{Details: n.Details, ProviderID: p.ID, DeploymentID: n.DeploymentID,
		SpecificationID: p.CurrentVersion.SpecificationID, Value: value})
	return created, wrap(err)
}

// ListConfigs lists configs.
func (e *Engine) ListConfigs(ctx context.Context, f SetupFilter, p Page) (List[Config], error) {
	l, err := e.store.ListConfigs(ctx, f, p)
	return l, wrap(err)
}

// Config finds a config, archived or not.
func (e *Engine) Config(ctx context.Context, id string) (Config, error) {
	c, err := e.store.Config(ctx, id)
	return c, wrap(err)
}

// UpdateConfig changes what a config is called and, with a value that is not nil, what
// it holds: then what polls with it does so at once, also if it had paused, and inputs that
// could not be mapped are mapped again.
type UpdateConfig struct {
	UpdateDetails
	Value json.RawMessage // nil: stays
}

func (u UpdateConfig) check() *checker {
	c := u.UpdateDetails.check()
	if u.Value != nil {
		c.object(u.Value, "value")
	}
	return c
}

func (u UpdateConfig) apply(c *store.ConfigChange) {
	u.UpdateDetails.apply(&c.Details)
	c.Value = u.Value
}

// UpdateConfig changes a config.
func (e *Engine) UpdateConfig(ctx context.Context, id string, u UpdateConfig) (Config, error) {
	c := u.check()
	specification := ""
	var err error
	if u.Value != nil {
		specification, err = e.changeValue(ctx, c, id, &u)
	}
	if err := c.err(err); err != nil {
		return Config{}, err
	}
	changed, err := e.store.UpdateConfig(ctx, e.now(), id, specification, u.apply)
	if err == nil && u.Value != nil {
		e.poller.planMappingAt(e.now())
		e.poller.wake()
	}
	return changed, wrap(err)
}

// changeValue makes a config's new value what is kept of it, and says what it is valid for.
func (e *Engine) changeValue(ctx context.Context, c *checker, id string, u *UpdateConfig) (specification string, err error) {
	old, err := e.store.Config(ctx, id)
	if err != nil {
		return "", wrap(err)
	}
	p, code, err := e.activeProvider(ctx, old.ProviderIdentifier)
	if err != nil {
		return "", err
	}
	u.Value = c.configValue(code, u.Value, "value")
	return p.CurrentVersion.SpecificationID, nil
}

// ArchiveConfig ends a config. What polls with it pauses, saying so, and webhooks that are registered
// with it are taken back from their source.
func (e *Engine) ArchiveConfig(ctx context.Context, id string) (Config, error) {
	c, err := e.store.ArchiveConfig(ctx, e.now(), id)
	e.poller.wake()
	return c, wrap(err)
}

// NewAuthConfig is an auth config to be made.
type NewAuthConfig struct {
	Details
	Faults
	Method       string          // the auth method's id, or its key; required
	DeploymentID string          // "": any deployment of the provider
	Value        json.RawMessage // checked against the method's schema; never returned
}

func (n NewAuthConfig) check() *checker {
	c := n.Faults.check()
	c.required(n.Method, "provider_auth_method_id")
	c.text(n.DeploymentID, maxText, "provider_deployment_id")
	c.details(n.Details)
	c.object(n.Value, "value")
	return c
}

// CreateAuthConfig makes an auth config.
func (e *Engine) CreateAuthConfig(ctx context.Context, n NewAuthConfig) (AuthConfig, error) {
	c := n.check()
	var d Deployment
	var noDeployment error
	if n.DeploymentID != "" {
		d, noDeployment = e.store.Deployment(ctx, n.DeploymentID)
	}
	m, value, err := e.newAuthValue(ctx, c, n, d.ProviderID)
	if err := c.err(wrap(noDeployment), err); err != nil {
		return AuthConfig{}, err
	}
	n.Metadata = nullable(n.Metadata)
	a, err := e.store.CreateAuthConfig(ctx, e.now(), store.NewAuthConfig{Details: n.Details, MethodID: m.ID, ProviderID: m.ProviderID,
		DeploymentID: n.DeploymentID, Value: value})
	return a, wrap(err)
}

// newAuthValue finds the auth method of an auth config, and makes its value what is kept.
func (e *Engine) newAuthValue(ctx context.Context, c *checker, n NewAuthConfig, providerID string) (m ProviderAuthMethod, value json.RawMessage, err error) {
	if m, err = e.store.AuthMethod(ctx, n.Method, providerID); err != nil {
		return m, nil, wrap(err)
	}
	code, err := e.declaredBy(m.ProviderIdentifier)
	if err != nil {
		return m, nil, err
	}
	return m, c.authValue(code, m.Key, n.Value), nil
}

// ListAuthConfigs lists auth configs.
func (e *Engine) ListAuthConfigs(ctx context.Context, f SetupFilter, p Page) (List[AuthConfig], error) {
	l, err := e.store.ListAuthConfigs(ctx, f, p)
	return l, wrap(err)
}

// AuthConfig finds an auth config, archived or not.
func (e *Engine) AuthConfig(ctx context.Context, id string) (AuthConfig, error) {
	a, err := e.store.AuthConfig(ctx, id)
	return a, wrap(err)
}

// UpdateAuthConfig changes an auth config, as UpdateConfig does a config.
func (e *Engine) UpdateAuthConfig(ctx context.Context, id string, u UpdateConfig) (AuthConfig, error) {
	c := u.check()
	var err error
	if u.Value != nil {
		err = e.changeAuthValue(ctx, c, id, &u)
	}
	if err := c.err(err); err != nil {
		return AuthConfig{}, err
	}
	a, err := e.store.UpdateAuthConfig(ctx, e.now(), id, u.apply)
	e.poller.wake()
	return a, wrap(err)
}

// changeAuthValue makes an auth config's new value what is kept of it.
func (e *Engine) changeAuthValue(ctx context.Context, c *checker, id string, u *UpdateConfig) error {
	old, err := e.store.AuthConfig(ctx, id)
	if err != nil {
		return wrap(err)
	}
	code, err := e.declaredBy(old.ProviderIdentifier)
	if err != nil {
		return err
	}
	u.Value = c.authValue(code, old.Method.Key, u.Value)
	return nil
}

// ArchiveAuthConfig ends an auth config. What polls with it pauses, saying so, and webhooks that are registered
// with it are taken back from their source.
func (e *Engine) ArchiveAuthConfig(ctx context.Context, id string) (AuthConfig, error) {
	a, err := e.store.ArchiveAuthConfig(ctx, e.now(), id)
	e.poller.wake()
	return a, wrap(err)
}
