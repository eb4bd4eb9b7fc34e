package engine

import "github.com/callbackd/callbackd/store"

// The nouns of the engine are what its file holds; package store has their fields.
type (
	// ProviderRecord is a source that the file knows; see [Provider] for its code.
	ProviderRecord = store.Provider
	// ProviderVersion is one state of a provider's declaration.
	ProviderVersion = store.ProviderVersion
	// ProviderSpecification is what one version declares.
	ProviderSpecification = store.ProviderSpecification
	// ProviderTrigger is something that can be watched at a provider.
	ProviderTrigger = store.ProviderTrigger
	// ProviderAuthMethod is a way to sign in to a provider.
	ProviderAuthMethod = store.ProviderAuthMethod

	// Deployment is a provider that has been taken into use.
	Deployment = store.Deployment
	// Config is a set of values that configures a provider; the values are never returned.
	Config = store.Config
	// AuthConfig is somebody's way to sign in; the secret is never returned.
	AuthConfig = store.AuthConfig
	// Preview is a deployment, config or auth config as it is shown inside of others.
	Preview = store.Preview
	// Details are a name, a description and metadata.
	Details = store.Details

	// Callback says which triggers of a deployment are watched, and who is told.
	Callback = store.Callback
	// CallbackTrigger is one trigger that a callback watches.
	CallbackTrigger = store.CallbackTrigger
	// TriggerChoice names a trigger for a callback.
	TriggerChoice = store.TriggerChoice
	// Instance is a callback at work with one config, and perhaps one auth config.
	Instance = store.Instance
	// InstanceTrigger is one watched thing: when it is polled, and how that goes.
	InstanceTrigger = store.InstanceTrigger
	// Refusal is a request to a webhook that was not believed.
	Refusal = store.Refusal
	// Destination is where events are sent.
	Destination = store.Destination
	// DestinationSettings are what users choose about a destination.
	DestinationSettings = store.DestinationSettings
	// Retry says when a failed delivery is tried again.
	Retry = store.Retry

	// Event is something that happened, as it was recorded.
	Event = store.Event
	// Notification is one event on its way to one destination.
	Notification = store.Notification
	// NotificationEvent is a notification's event in short.
	NotificationEvent = store.NotificationEvent
	// Attempt is one try to deliver a notification.
	Attempt = store.Attempt
	// Response is what a destination answered.
	Response = store.Response
	// Header is one header line.
	Header = store.Header
	// Failure is why something did not work, for people and programs.
	Failure = store.Failure

	// Page says which part of a list is wanted; the zero value is the first 20, oldest first.
	Page = store.Page
	// Range is a span of time, both ends excluded; a zero end is open.
	Range = store.Range
	// ProviderFilter narrows the list of providers.
	ProviderFilter = store.ProviderFilter
	// CatalogFilter narrows the lists of versions, specifications, triggers and auth methods.
	CatalogFilter = store.CatalogFilter
	// SetupFilter narrows the lists of deployments, configs and auth configs.
	SetupFilter = store.SetupFilter
	// DestinationFilter narrows the list of destinations.
	DestinationFilter = store.DestinationFilter
	// CallbackFilter narrows the list of callbacks.
	CallbackFilter = store.CallbackFilter
	// InstanceFilter narrows the list of a callback's instances.
	InstanceFilter = store.InstanceFilter
	// EventFilter narrows the list of a callback's events.
	EventFilter = store.EventFilter
	// NotificationFilter narrows the list of a callback's notifications.
	NotificationFilter = store.NotificationFilter

	// APIKey is a key to the HTTP API, without its secret.
	APIKey = store.APIKey
)

// List is one page of a list.
type List[T any] = store.List[T]

// Scopes of a destination.
const (
	ScopeAll      = store.ScopeAll      // every callback, also those made later
	ScopeSelected = store.ScopeSelected // those that name it
)
