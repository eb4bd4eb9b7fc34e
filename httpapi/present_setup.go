package httpapi

import (
	"encoding/json"

	"github.com/callbackd/callbackd/engine"
)

// toolFilterBody is that of a service that also has tools; here nothing is filtered.
type toolFilterBody struct {
	Type string `json:"type"`
}

var allowAll = toolFilterBody{Type: "v1.allow_all"}

type deploymentBody struct {
	Object        string          `json:"object"`
	ID            string          `json:"id"`
	Status        string          `json:"status"`
	IsDefault     bool            `json:"is_default"`
	Name          *string         `json:"name"`
	Description   *string         `json:"description"`
	Metadata      json.RawMessage `json:"metadata"`
	ToolFilter    toolFilterBody  `json:"tool_filter"`
	ProviderID    string          `json:"provider_id"`
	LockedVersion *versionBody    `json:"locked_version"`
	DefaultConfig *previewBody    `json:"default_config"`
	CreatedAt     timestamp       `json:"created_at"`
	UpdatedAt     timestamp       `json:"updated_at"`
}

func presentDeployment(d engine.Deployment) deploymentBody {
	return deploymentBody{Object: "provider.deployment", ID: d.ID, Status: d.Status, IsDefault: d.IsDefault, Name: orNull(d.Name), Description: orNull(d.Description),
		Metadata: d.Metadata, ToolFilter: allowAll, ProviderID: d.ProviderID, DefaultConfig: presentPreviewOrNull("provider.config", d.DefaultConfig),
		CreatedAt: timestamp(d.CreatedAt), UpdatedAt: timestamp(d.UpdatedAt)}
}

type configBody struct {
	Object          string          `json:"object"`
	ID              string          `json:"id"`
	Status          string          `json:"status"`
	IsDefault       bool            `json:"is_default"`
	Name            *string         `json:"name"`
	Description     *string         `json:"description"`
	Metadata        json.RawMessage `json:"metadata"`
	ToolFilter      toolFilterBody  `json:"tool_filter"`
	ProviderID      string          `json:"provider_id"`
	SpecificationID string          `json:"specification_id"`
	Deployment      *previewBody    `json:"deployment"`
	FromVault       json.RawMessage `json:"from_vault"`
	CreatedAt       timestamp       `json:"created_at"`
	UpdatedAt       timestamp       `json:"updated_at"`
}

func presentConfig(c engine.Config) configBody {
	return configBody{Object: "provider.config", ID: c.ID, Status: c.Status, IsDefault: c.IsDefault, Name: orNull(c.Name), Description: orNull(c.Description),
		Metadata: c.Metadata, ToolFilter: allowAll, ProviderID: c.ProviderID, SpecificationID: c.SpecificationID,
		Deployment: presentPreviewOrNull("provider.deployment", c.Deployment), CreatedAt: timestamp(c.CreatedAt), UpdatedAt: timestamp(c.UpdatedAt)}
}

type authConfigBody struct {
	Object      string          `json:"object"`
	ID          string          `json:"id"`
	Type        string          `json:"type"`
	Source      string          `json:"source"`
	Status      string          `json:"status"`
	IsDefault   bool            `json:"is_default"`
	ProviderID  string          `json:"provider_id"`
	Name        *string         `json:"name"`
	Description *string         `json:"description"`
	Metadata    json.RawMessage `json:"metadata"`
	ToolFilter  toolFilterBody  `json:"tool_filter"`
	Deployment  *previewBody    `json:"deployment"`
	Preview     *previewBody    `json:"deployment_preview"` // the same, as the published clients call it
	Credentials json.RawMessage `json:"credentials"`
	AuthMethod  authMethodBody  `json:"auth_method"`
	CreatedAt   timestamp       `json:"created_at"`
	UpdatedAt   timestamp       `json:"updated_at"`
}

func presentAuthConfig(a engine.AuthConfig) authConfigBody {
	deployment := presentPreviewOrNull("provider.deployment", a.Deployment)
	return authConfigBody{Object: "provider.auth_config", ID: a.ID, Type: "manual", Source: "manual", Status: a.Status, IsDefault: a.IsDefault, ProviderID: a.ProviderID,
		Name: orNull(a.Name), Description: orNull(a.Description), Metadata: a.Metadata, ToolFilter: allowAll,
		Deployment: deployment, Preview: deployment, AuthMethod: presentAuthMethod(a.Method),
		CreatedAt: timestamp(a.CreatedAt), UpdatedAt: timestamp(a.UpdatedAt)}
}
