package httpapi

import (
	"strings"

	"github.com/callbackd/callbackd/engine"
)

// What deployments, configs and auth configs are made of, and what the provider side is
// listed by.

func newDetails(f *fields) engine.Details {
	return engine.Details{Name: value(f.text("name", nullable)), Description: value(f.text("description", nullable)), Metadata: value(f.object("metadata", nullable))}
}

func updateSetup(f *fields) engine.UpdateDetails {
	return engine.UpdateDetails{Name: f.text("name", nullable), Description: f.text("description", nullable), Metadata: f.object("metadata", nullable)}
}

func newDeployment(f *fields) engine.NewDeployment {
	n := engine.NewDeployment{Details: newDetails(f), Provider: value(f.word("provider_id", required))}
	n.ConfigID = value(f.word("provider_config_id", 0))
	if config, _ := f.nested("provider_config", 0); config != nil {
		n.Config = &engine.NewConfigValue{Name: value(config.text("name", nullable)), Value: value(config.object("value", required))}
	}
	return n
}

func newConfig(f *fields) engine.NewConfig {
	return engine.NewConfig{Details: newDetails(f), Provider: value(f.word("provider_id", required)),
		DeploymentID: value(f.word("provider_deployment_id", 0)), Value: value(f.object("value", required))}
}

// updateConfig reads the change of a config, and that of an auth config.
func updateConfig(f *fields) engine.UpdateConfig {
	return engine.UpdateConfig{UpdateDetails: updateSetup(f), Value: value(f.object("value", 0))}
}

func newAuthConfig(f *fields) engine.NewAuthConfig {
	return engine.NewAuthConfig{Details: newDetails(f), Method: value(f.word("provider_auth_method_id", required)),
		DeploymentID: value(f.word("provider_deployment_id", 0)), Value: value(f.object("value", required))}
}

func setupFilter(q *query) engine.SetupFilter {
	return engine.SetupFilter{IDs: q.all("id"), Providers: q.all("provider_id"), Statuses: q.anyOf("status", "active", "archived", "deleted"),
		Created: q.during("created_at"), Updated: q.during("updated_at"), Search: q.one("search")}
}

func deploymentFilter(q *query) engine.SetupFilter {
	f := setupFilter(q)
	f.Versions = q.all("provider_version_id")
	return f
}

func configFilter(q *query) engine.SetupFilter {
	f := setupFilter(q)
	f.Deployments, f.Specifications = q.all("provider_deployment_id"), q.all("provider_specification_id")
	return ofNone(f, q, "provider_config_vault_id")
}

func authConfigFilter(q *query) engine.SetupFilter {
	f := setupFilter(q)
	f.Deployments, f.AuthMethods = q.all("provider_deployment_id"), q.all("provider_auth_method_id")
	return ofNone(f, q, "provider_auth_credentials_id")
}

// ofNone is for a filter by something of the service that there is none of here: nothing
// belongs to it.
func ofNone(f engine.SetupFilter, q *query, name string) engine.SetupFilter {
	if len(q.all(name)) > 0 {
		f.IDs = []string{""}
	}
	return f
}

func providerFilter(q *query) engine.ProviderFilter {
	return engine.ProviderFilter{IDs: q.all("id"), Statuses: q.anyOf("status", "active", "archived", "deleted")}
}

func catalogFilter(q *query) engine.CatalogFilter {
	return engine.CatalogFilter{IDs: q.all("id"), Providers: q.all("provider_id"), Versions: q.all("provider_version_id"),
		Deployments: q.all("provider_deployment_id"), Configs: q.all("provider_config_id")}
}

// getConfigSchema finds what a config must look like: a new one of a provider or of a
// deployment, one of an old version, or one that there is.
func getConfigSchema(r *request) (any, error) {
	q, err := parseQuery(r.http.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	names := []string{"provider_id", "provider_deployment_id", "provider_version_id", "provider_config_id"}
	var name, id string
	count := 0
	for _, n := range names {
		if given := q.one(n); given != "" {
			name, id, count = n, given, count+1
		}
	}
	if count != 1 {
		q.add("required", "is required, or another one of "+strings.Join(names, ", ")+": exactly one", "", "", names[0])
	}
	if err := q.err(); err != nil {
		return nil, err
	}
	specification, err := specificationOf(r, name, id)
	if err != nil {
		return nil, err
	}
	s, err := r.eng.Specification(r.ctx(), specification)
	return presented(s, err, presentConfigSchema)
}

func specificationOf(r *request, name, id string) (specification string, err error) {
	switch name {
	case "provider_config_id":
		c, err := r.eng.Config(r.ctx(), id)
		return c.SpecificationID, err
	case "provider_version_id":
		v, err := r.eng.Version(r.ctx(), id)
		return v.SpecificationID, err
	case "provider_deployment_id":
		d, err := r.eng.Deployment(r.ctx(), id)
		if err != nil {
			return "", err
		}
		id = d.ProviderID
	}
	p, err := r.eng.Provider(r.ctx(), id)
	return p.CurrentVersion.SpecificationID, err
}
