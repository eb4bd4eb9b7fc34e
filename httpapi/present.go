package httpapi

import (
	"encoding/json"
	"time"

	"github.com/callbackd/callbackd/engine"
)

// Presenters turn the engine's nouns into what clients see, one for each object, wherever
// it appears. Every field is always there: what is not known is null, a list is never null.

// configVisibility says that configs are encrypted at rest and never shown.
const configVisibility = "encrypted"

type pageBody[P any] struct {
	Items      []P            `json:"items"`
	Pagination paginationBody `json:"pagination"`
}

type paginationBody struct {
	HasMoreBefore bool `json:"has_more_before"`
	HasMoreAfter  bool `json:"has_more_after"`
}

func presentList[T, P any](l engine.List[T], err error, present func(T) P) (any, error) {
	if err != nil {
		return nil, err
	}
	return pageBody[P]{Items: presentAll(l.Items, present), Pagination: paginationBody{HasMoreBefore: l.HasMoreBefore, HasMoreAfter: l.HasMoreAfter}}, nil
}

func presentAll[T, P any](items []T, present func(T) P) []P {
	out := make([]P, len(items))
	for i, item := range items {
		out[i] = present(item)
	}
	return out
}

// timestamp is RFC 3339 in UTC with exactly milliseconds; the zero time is null.
type timestamp time.Time

// MarshalJSON writes the one form that times have on the wire.
func (t timestamp) MarshalJSON() ([]byte, error) {
	if time.Time(t).IsZero() {
		return []byte("null"), nil
	}
	return time.Time(t).UTC().AppendFormat(nil, `"2006-01-02T15:04:05.000Z"`), nil
}

type failureBody struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func presentFailure(f *engine.Failure) *failureBody {
	if f == nil {
		return nil
	}
	return &failureBody{Code: f.Code, Message: f.Message}
}

type schemaBody struct {
	Type   string          `json:"type"`
	Schema json.RawMessage `json:"schema"`
}

func presentSchema(schema json.RawMessage) *schemaBody {
	if schema == nil {
		return nil
	}
	return &schemaBody{Type: "json_schema", Schema: schema}
}

type previewBody struct {
	Object      string          `json:"object"`
	ID          string          `json:"id"`
	IsDefault   bool            `json:"is_default"`
	Name        *string         `json:"name"`
	Description *string         `json:"description"`
	Metadata    json.RawMessage `json:"metadata"`
	ProviderID  string          `json:"provider_id"`
	CreatedAt   timestamp       `json:"created_at"`
	UpdatedAt   timestamp       `json:"updated_at"`
}

// presentPreview shows what another object refers to; object is that one's own name.
func presentPreview(object string, p engine.Preview) previewBody {
	return previewBody{Object: object + "#preview", ID: p.ID, IsDefault: p.IsDefault, Name: orNull(p.Name), Description: orNull(p.Description), Metadata: p.Metadata,
		ProviderID: p.ProviderID, CreatedAt: timestamp(p.CreatedAt), UpdatedAt: timestamp(p.UpdatedAt)}
}

func presentPreviewOrNull(object string, p *engine.Preview) *previewBody {
	if p == nil {
		return nil
	}
	return new(presentPreview(object, *p))
}

// orNull is null for an empty string.
func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
