package httpapi

import (
	"encoding/json"
	"time"

	"github.com/callbackd/callbackd/engine"
)

type providerBody struct {
	Object         string          `json:"object"`
	ID             string          `json:"id"`
	Access         string          `json:"access"`
	Status         string          `json:"status"`
	Publisher      publisherBody   `json:"publisher"`
	CurrentVersion versionBody     `json:"current_version"`
	OAuth          json.RawMessage `json:"oauth"`
	Identifier     string          `json:"identifier"`
	Name           string          `json:"name"`
	Description    *string         `json:"description"`
	Slug           string          `json:"slug"`
	Metadata       json.RawMessage `json:"metadata"`
	CreatedAt      timestamp       `json:"created_at"`
	UpdatedAt      timestamp       `json:"updated_at"`
}

// presentProvider shows a provider, which is this program's own code: it has no other
// publisher, no sign-up and no restriction.
func presentProvider(p engine.ProviderRecord) providerBody {
	return providerBody{Object: "provider", ID: p.ID, Access: "public", Status: p.Status,
		Publisher:      publisherBody{Object: "provider.publisher", ID: "pub_callbackd", Name: "callbackd", CreatedAt: timestamp(p.CreatedAt), UpdatedAt: timestamp(p.UpdatedAt)},
		CurrentVersion: presentVersion(p.CurrentVersion), Identifier: p.Identifier, Name: p.Name, Description: orNull(p.Description), Slug: p.Identifier,
		CreatedAt: timestamp(p.CreatedAt), UpdatedAt: timestamp(p.UpdatedAt)}
}

type publisherBody struct {
	Object      string    `json:"object"`
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	Description *string   `json:"description"`
	ImageURL    string    `json:"image_url"`
	CreatedAt   timestamp `json:"created_at"`
	UpdatedAt   timestamp `json:"updated_at"`
}

type versionBody struct {
	Object          string          `json:"object"`
	ID              string          `json:"id"`
	Version         string          `json:"version"`
	ProviderID      string          `json:"provider_id"`
	IsCurrent       bool            `json:"is_current"`
	Name            string          `json:"name"`
	Description     *string         `json:"description"`
	Metadata        json.RawMessage `json:"metadata"`
	SpecificationID string          `json:"specification_id"`
	CreatedAt       timestamp       `json:"created_at"`
	UpdatedAt       timestamp       `json:"updated_at"`
}

func presentVersion(v engine.ProviderVersion) versionBody {
	return versionBody{Object: "provider.version", ID: v.ID, Version: v.Version, ProviderID: v.ProviderID, IsCurrent: v.IsCurrent, Name: v.Name,
		Description: orNull(v.Description), SpecificationID: v.SpecificationID, CreatedAt: timestamp(v.CreatedAt), UpdatedAt: timestamp(v.UpdatedAt)}
}

type specificationBody struct {
	Object           string            `json:"object"`
	ID               string            `json:"id"`
	Key              string            `json:"key"`
	Name             string            `json:"name"`
	Description      *string           `json:"description"`
	ConfigSchema     *schemaBody       `json:"config_schema"`
	ConfigVisibility string            `json:"config_visibility"`
	Tools            []json.RawMessage `json:"tools"`
	AuthMethods      []authMethodBody  `json:"auth_methods"`
	ProviderID       string            `json:"provider_id"`
	CreatedAt        timestamp         `json:"created_at"`
	UpdatedAt        timestamp         `json:"updated_at"`
}

func presentSpecification(s engine.ProviderSpecification) specificationBody {
	return specificationBody{Object: "provider.specification", ID: s.ID, Key: s.Key, Name: s.Name, Description: orNull(s.Description),
		ConfigSchema: presentSchema(s.ConfigSchema), ConfigVisibility: configVisibility, Tools: []json.RawMessage{},
		AuthMethods: presentAll(s.AuthMethods, presentAuthMethod), ProviderID: s.ProviderID, CreatedAt: timestamp(s.CreatedAt), UpdatedAt: timestamp(s.UpdatedAt)}
}

type configSchemaBody struct {
	Object          string      `json:"object"`
	Schema          *schemaBody `json:"schema"`
	Visibility      string      `json:"visibility"`
	SpecificationID string      `json:"specification_id"`
	ProviderID      string      `json:"provider_id"`
	CreatedAt       timestamp   `json:"created_at"`
	UpdatedAt       timestamp   `json:"updated_at"`
}

func presentConfigSchema(s engine.ProviderSpecification) configSchemaBody {
	return configSchemaBody{Object: "provider.capabilities.config.schema", Schema: presentSchema(s.ConfigSchema), Visibility: configVisibility, SpecificationID: s.ID,
		ProviderID: s.ProviderID, CreatedAt: timestamp(s.CreatedAt), UpdatedAt: timestamp(s.UpdatedAt)}
}

type authMethodBody struct {
	Object          string            `json:"object"`
	ID              string            `json:"id"`
	Type            string            `json:"type"`
	Key             string            `json:"key"`
	Name            string            `json:"name"`
	Description     *string           `json:"description"`
	Capabilities    struct{}          `json:"capabilities"`
	InputSchema     *schemaBody       `json:"input_schema"`
	OutputSchema    *schemaBody       `json:"output_schema"`
	Scopes          []json.RawMessage `json:"scopes"`
	ProviderID      string            `json:"provider_id"`
	SpecificationID string            `json:"provider_specification_id"`
	CreatedAt       timestamp         `json:"created_at"`
	UpdatedAt       timestamp         `json:"updated_at"`
}

func presentAuthMethod(m engine.ProviderAuthMethod) authMethodBody {
	return authMethodBody{Object: "provider.capabilities.auth_method", ID: m.ID, Type: m.Type, Key: m.Key, Name: m.Name, Description: orNull(m.Description),
		InputSchema: presentSchema(m.InputSchema), Scopes: []json.RawMessage{}, ProviderID: m.ProviderID, SpecificationID: m.SpecificationID,
		CreatedAt: timestamp(m.CreatedAt), UpdatedAt: timestamp(m.UpdatedAt)}
}

type triggerBody struct {
	Object          string      `json:"object"`
	ID              string      `json:"id"`
	Key             string      `json:"key"`
	Name            string      `json:"name"`
	Description     *string     `json:"description"`
	InputSchema     *schemaBody `json:"input_schema"`
	OutputSchema    *schemaBody `json:"output_schema"`
	Invocation      any         `json:"invocation"`
	ProviderID      string      `json:"provider_id"`
	SpecificationID string      `json:"provider_specification_id"`
	CreatedAt       timestamp   `json:"created_at"`
	UpdatedAt       timestamp   `json:"updated_at"`
}

// pollingInvocationBody and webhookInvocationBody are the two kinds of invocation.

type pollingInvocationBody struct {
	Type            string `json:"type"`
	IntervalSeconds int64  `json:"interval_seconds"`
}

type webhookInvocationBody struct {
	Type               string      `json:"type"`
	AutoRegistration   supportBody `json:"auto_registration"`
	AutoUnregistration supportBody `json:"auto_unregistration"`
}

type supportBody struct {
	Status string `json:"status"`
}

func presentInvocation(t engine.ProviderTrigger) any {
	if t.Source == "webhook" {
		return webhookInvocationBody{Type: t.Source, AutoRegistration: presentSupport(t.AutoRegistration), AutoUnregistration: presentSupport(t.AutoUnregistration)}
	}
	return pollingInvocationBody{Type: t.Source, IntervalSeconds: seconds(t.Interval)}
}

func presentSupport(supported bool) supportBody {
	if supported {
		return supportBody{Status: "supported"}
	}
	return supportBody{Status: "unsupported"}
}

func presentTrigger(t engine.ProviderTrigger) triggerBody {
	return triggerBody{Object: "provider.capabilities.trigger", ID: t.ID, Key: t.Key, Name: t.Name, Description: orNull(t.Description),
		InputSchema: presentSchema(t.InputSchema), OutputSchema: presentSchema(t.OutputSchema),
		Invocation: presentInvocation(t), ProviderID: t.ProviderID, SpecificationID: t.SpecificationID,
		CreatedAt: timestamp(t.CreatedAt), UpdatedAt: timestamp(t.UpdatedAt)}
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }
