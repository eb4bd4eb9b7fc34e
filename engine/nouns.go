package engine

import "github.com/callbackd/callbackd/store"

// The nouns of the engine are what its file holds.
type (
	// Provider side: what the code declares (see [Provider]) as rows, and what users set up for it.

	ProviderRecord        = store.Provider
	ProviderVersion       = store.ProviderVersion
	ProviderSpecification = store.ProviderSpecification
	ProviderTrigger       = store.ProviderTrigger
	ProviderAuthMethod    = store.ProviderAuthMethod
	Deployment            = store.Deployment
	Config                = store.Config
	AuthConfig            = store.AuthConfig
	Preview               = store.Preview
	Details               = store.Details

	// What is watched, and for whom.

	Callback            = store.Callback
	CallbackTrigger     = store.CallbackTrigger
	TriggerChoice       = store.TriggerChoice
	Instance            = store.Instance
	InstanceTrigger     = store.InstanceTrigger
	Destination         = store.Destination
	DestinationSettings = store.DestinationSettings
	Retry               = store.Retry

	// What happened.

	Event             = store.Event
	Notification      = store.Notification
	NotificationEvent = store.NotificationEvent
	Attempt           = store.Attempt
	Response          = store.Response
	Header            = store.Header
	Failure           = store.Failure

	// Lists.

	Page               = store.Page
	Range              = store.Range
	CatalogFilter      = store.CatalogFilter
	SetupFilter        = store.SetupFilter
	DestinationFilter  = store.DestinationFilter
	CallbackFilter     = store.CallbackFilter
	InstanceFilter     = store.InstanceFilter
	EventFilter        = store.EventFilter
	NotificationFilter = store.NotificationFilter

	APIKey = store.APIKey
)

// List is one page of a list.
type List[T any] = store.List[T]

// Scopes of a destination.
const (
	ScopeAll      = store.ScopeAll
	ScopeSelected = store.ScopeSelected
)
