package engine

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/callbackd/callbackd/store"
)

// ListProviders lists the providers that the file knows; ids may be identifiers too, and
// none means all.
func (e *Engine) ListProviders(ctx context.Context, ids []string, p Page) (List[ProviderRecord], error) {
	l, err := e.store.ListProviders(ctx, ids, p)
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
	Name        *string
	Description *string
	Metadata    *json.RawMessage // a pointer to nil, or to null, clears
}

// Validate returns every offending field.
func (u UpdateDetails) Validate() []FieldError {
	var d Details
	u.apply(&d)
	var c checker
	c.details(d)
	return c.fields
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
	Provider string          // id or identifier; required
	Config   *NewConfigValue // its default config; nil: none
}

// NewConfigValue is a config to be made together with its deployment.
type NewConfigValue struct {
	Name  string
	Value json.RawMessage // required
}

// Validate returns every offending field that can be told without the provider.
func (n NewDeployment) Validate() []FieldError {
	var c checker
	c.required(n.Provider, "provider_id")
	c.details(n.Details)
	if n.Config != nil {
		c.text(n.Config.Name, maxText, "provider_config", "name")
		c.object(n.Config.Value, "provider_config", "value")
	}
	return c.fields
}

// CreateDeployment takes a provider into use. The first deployment of a provider is its
// default.
func (e *Engine) CreateDeployment(ctx context.Context, n NewDeployment) (Deployment, error) {
	if err := invalid(n.Validate()); err != nil {
		return Deployment{}, err
	}
	p, err := e.activeProvider(ctx, n.Provider)
	if err != nil {
		return Deployment{}, err
	}
	var config *store.NewConfig
	if n.Config != nil {
		if err := invalid(e.checkConfig(p.Identifier, n.Config.Value, "provider_config", "value")); err != nil {
			return Deployment{}, err
		}
		config = &store.NewConfig{Details: Details{Name: n.Config.Name}, ProviderID: p.ID, SpecificationID: p.CurrentVersion.SpecificationID, Value: e.providers[p.Identifier].config.fill(compact(n.Config.Value))}
	}
	n.Metadata = nullable(n.Metadata)
	d, err := e.store.CreateDeployment(ctx, e.now(), p, n.Details, config)
	return d, wrap(err)
}

// activeProvider finds a provider that this engine has the code of.
func (e *Engine) activeProvider(ctx context.Context, id string) (ProviderRecord, error) {
	p, err := e.store.Provider(ctx, id)
	if err != nil {
		return p, wrap(err)
	}
	if _, ok := e.providers[p.Identifier]; !ok {
		return p, &Error{Code: CodeConflict, Message: fmt.Sprintf("provider %s is archived: this engine runs without its code", p.Identifier)}
	}
	return p, nil
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
	if err := invalid(u.Validate()); err != nil {
		return Deployment{}, err
	}
	d, err := e.store.UpdateDeployment(ctx, e.now(), id, u.apply)
	return d, wrap(err)
}

// ArchiveDeployment ends a deployment. What polls with it pauses, saying so.
func (e *Engine) ArchiveDeployment(ctx context.Context, id string) (Deployment, error) {
	d, err := e.store.ArchiveDeployment(ctx, e.now(), id)
	return d, wrap(err)
}

// NewConfig is a config to be made.
type NewConfig struct {
	Details
	Provider     string          // id or identifier; required unless DeploymentID is given
	DeploymentID string          // "": any deployment of the provider
	Value        json.RawMessage // checked against the provider's schema; never returned
}

// Validate returns every offending field that can be told without the provider.
func (n NewConfig) Validate() []FieldError {
	var c checker
	c.required(n.Provider, "provider_id")
	c.details(n.Details)
	c.object(n.Value, "value")
	return c.fields
}

// CreateConfig makes a config.
func (e *Engine) CreateConfig(ctx context.Context, n NewConfig) (Config, error) {
	if err := invalid(n.Validate()); err != nil {
		return Config{}, err
	}
	p, err := e.activeProvider(ctx, n.Provider)
	if err != nil {
		return Config{}, err
	}
	if err := invalid(e.checkConfig(p.Identifier, n.Value, "value")); err != nil {
		return Config{}, err
	}
	n.Metadata = nullable(n.Metadata)
	c, err := e.store.CreateConfig(ctx, e.now(), store.NewConfig{Details: n.Details, ProviderID: p.ID, DeploymentID: n.DeploymentID,
		SpecificationID: p.CurrentVersion.SpecificationID, Value: e.providers[p.Identifier].config.fill(compact(n.Value))})
	return c, wrap(err)
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

// Validate returns every offending field that can be told without the provider.
func (u UpdateConfig) Validate() []FieldError {
	c := checker{fields: u.UpdateDetails.Validate()}
	if u.Value != nil {
		c.object(u.Value, "value")
	}
	return c.fields
}

func (u UpdateConfig) apply(c *store.ConfigChange) {
	u.UpdateDetails.apply(&c.Details)
	c.Value = compact(u.Value)
}

// UpdateConfig changes a config.
func (e *Engine) UpdateConfig(ctx context.Context, id string, u UpdateConfig) (Config, error) {
	if err := invalid(u.Validate()); err != nil {
		return Config{}, err
	}
	specification := ""
	if u.Value != nil {
		c, err := e.store.Config(ctx, id)
		if err != nil {
			return c, wrap(err)
		}
		p, err := e.activeProvider(ctx, c.ProviderIdentifier)
		if err != nil {
			return c, err
		}
		if err := invalid(e.checkConfig(p.Identifier, u.Value, "value")); err != nil {
			return c, err
		}
		u.Value = e.providers[p.Identifier].config.fill(u.Value)
		specification = p.CurrentVersion.SpecificationID
	}
	c, err := e.store.UpdateConfig(ctx, e.now(), id, specification, u.apply)
	if err == nil && u.Value != nil {
		e.poller.planMappingAt(e.now())
		e.poller.wake()
	}
	return c, wrap(err)
}

// ArchiveConfig ends a config. What polls with it pauses, saying so.
func (e *Engine) ArchiveConfig(ctx context.Context, id string) (Config, error) {
	c, err := e.store.ArchiveConfig(ctx, e.now(), id)
	return c, wrap(err)
}

// NewAuthConfig is an auth config to be made.
type NewAuthConfig struct {
	Details
	Method       string          // the auth method's id, or its key; required
	DeploymentID string          // "": any deployment of the provider
	Value        json.RawMessage // checked against the method's schema; never returned
}

// Validate returns every offending field that can be told without the method.
func (n NewAuthConfig) Validate() []FieldError {
	var c checker
	c.required(n.Method, "provider_auth_method_id")
	c.details(n.Details)
	c.object(n.Value, "value")
	return c.fields
}

// CreateAuthConfig makes an auth config.
func (e *Engine) CreateAuthConfig(ctx context.Context, n NewAuthConfig) (AuthConfig, error) {
	if err := invalid(n.Validate()); err != nil {
		return AuthConfig{}, err
	}
	provider := ""
	if n.DeploymentID != "" {
		d, err := e.store.Deployment(ctx, n.DeploymentID)
		if err != nil {
			return AuthConfig{}, wrap(err)
		}
		provider = d.ProviderID
	}
	m, err := e.store.AuthMethod(ctx, n.Method, provider)
	if err != nil {
		return AuthConfig{}, wrap(err)
	}
	if err := invalid(e.checkAuth(m.ProviderIdentifier, m.Key, n.Value, "value")); err != nil {
		return AuthConfig{}, err
	}
	n.Metadata = nullable(n.Metadata)
	a, err := e.store.CreateAuthConfig(ctx, e.now(), store.NewAuthConfig{Details: n.Details, MethodID: m.ID, ProviderID: m.ProviderID,
		DeploymentID: n.DeploymentID, Value: e.providers[m.ProviderIdentifier].auth[m.Key].fill(compact(n.Value))})
	return a, wrap(err)
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
	if err := invalid(u.Validate()); err != nil {
		return AuthConfig{}, err
	}
	if u.Value != nil {
		a, err := e.store.AuthConfig(ctx, id)
		if err != nil {
			return a, wrap(err)
		}
		if err := invalid(e.checkAuth(a.ProviderIdentifier, a.Method.Key, u.Value, "value")); err != nil {
			return a, err
		}
		u.Value = e.providers[a.ProviderIdentifier].auth[a.Method.Key].fill(u.Value)
	}
	a, err := e.store.UpdateAuthConfig(ctx, e.now(), id, u.apply)
	return a, wrap(err)
}

// ArchiveAuthConfig ends an auth config. What polls with it pauses, saying so.
func (e *Engine) ArchiveAuthConfig(ctx context.Context, id string) (AuthConfig, error) {
	a, err := e.store.ArchiveAuthConfig(ctx, e.now(), id)
	return a, wrap(err)
}
