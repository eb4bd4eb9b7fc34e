package httpapi

import (
	"context"
	"net/http"

	"github.com/callbackd/callbackd/engine"
)

// scope is what a key must be allowed to do.
type scope int

const (
	public scope = iota // no key needed
	read
	write
)

// route is one call of the API.
type route struct {
	method  string
	path    string // with one parameter name at each position, whatever the method
	scope   scope
	handler handler
}

// routes is every call that there is. DELETE archives or detaches and answers with the
// object as it is afterwards, so its handlers are like those of GET.
var routes = []route{
	{http.MethodGet, "/health", public, health},
	{http.MethodGet, "/health/ready", public, ready},
	{http.MethodGet, "/openapi.json", public, openAPI},

	{http.MethodGet, "/callbacks", read, list((*engine.Engine).ListCallbacks, callbackFilter, presentCallback)},
	{http.MethodPost, "/callbacks", write, create((*engine.Engine).CreateCallback, newCallback, presentCallback)},
	{http.MethodGet, "/callbacks/:callback_id", read, one((*engine.Engine).Callback, presentCallback)},
	{http.MethodPatch, "/callbacks/:callback_id", write, change((*engine.Engine).UpdateCallback, updateCallback, presentCallback)},
	{http.MethodDelete, "/callbacks/:callback_id", write, one((*engine.Engine).ArchiveCallback, presentCallback)},

	{http.MethodGet, "/callbacks/:callback_id/instances", read, listOf((*engine.Engine).ListInstances, instanceFilter, presentInstance)},
	{http.MethodPost, "/callbacks/:callback_id/instances", write, change((*engine.Engine).AttachInstance, newInstance, presentInstance)},
	{http.MethodGet, "/callbacks/:callback_id/instances/:callback_instance_id", read, oneOf((*engine.Engine).Instance, presentInstance)},
	{http.MethodDelete, "/callbacks/:callback_id/instances/:callback_instance_id", write, oneOf((*engine.Engine).DetachInstance, presentInstance)},
	{http.MethodGet, "/callbacks/:callback_id/instances/:callback_instance_id/triggers/:trigger_id", read, getInstanceTrigger},
	{http.MethodPatch, "/callbacks/:callback_id/instances/:callback_instance_id/triggers/:trigger_id", write, patchInstanceTrigger},
	{http.MethodPost, "/callbacks/:callback_id/instances/:callback_instance_id/triggers/:trigger_id/poll", write, pollInstanceTrigger},

	{http.MethodGet, "/callbacks/:callback_id/events", read, listOf((*engine.Engine).ListEvents, eventFilter, presentEvent)},
	{http.MethodPost, "/callbacks/:callback_id/events", write, change((*engine.Engine).PublishEvent, newEvent, presentEvent)},
	{http.MethodPost, "/callbacks/:callback_id/events/batch", write, change((*engine.Engine).PublishEvents, newEvents, presentEvents)},
	{http.MethodGet, "/callbacks/:callback_id/events/:callback_event_id", read, oneOf((*engine.Engine).Event, presentEvent)},

	{http.MethodGet, "/callbacks/:callback_id/notifications", read, listOf((*engine.Engine).ListNotifications, notificationFilter, presentNotification)},
	{http.MethodGet, "/callbacks/:callback_id/notifications/:callback_notification_id", read, getNotification},

	{http.MethodGet, "/callback-destinations", read, list((*engine.Engine).ListDestinations, destinationFilter, presentDestination)},
	{http.MethodPost, "/callback-destinations", write, create((*engine.Engine).CreateDestination, newDestination, presentDestination)},
	{http.MethodGet, "/callback-destinations/:destination_id", read, one((*engine.Engine).Destination, presentDestination)},
	{http.MethodPatch, "/callback-destinations/:destination_id", write, change((*engine.Engine).UpdateDestination, updateDestination, presentDestination)},
	{http.MethodDelete, "/callback-destinations/:destination_id", write, one((*engine.Engine).ArchiveDestination, presentDestination)},

	// The older form of the same rows.
	{http.MethodGet, "/callbacks-destinations", read, list((*engine.Engine).ListDestinations, olderDestinationFilter, presentOlderDestination)},
	{http.MethodPost, "/callbacks-destinations", write, createOlderDestination},
	{http.MethodGet, "/callbacks-destinations/:destination_id", read, one((*engine.Engine).Destination, presentOlderDestination)},
	{http.MethodPatch, "/callbacks-destinations/:destination_id", write, change((*engine.Engine).UpdateDestination, updateOlderDestination, presentOlderDestination)},
	{http.MethodDelete, "/callbacks-destinations/:destination_id", write, one((*engine.Engine).ArchiveDestination, presentOlderDestination)},

	{http.MethodGet, "/providers", read, list((*engine.Engine).ListProviders, providerFilter, presentProvider)},
	{http.MethodGet, "/providers/:provider_id", read, one((*engine.Engine).Provider, presentProvider)},
	{http.MethodGet, "/provider-versions", read, list((*engine.Engine).ListVersions, catalogFilter, presentVersion)},
	{http.MethodGet, "/provider-versions/:provider_version_id", read, one((*engine.Engine).Version, presentVersion)},
	{http.MethodGet, "/provider-specifications", read, list((*engine.Engine).ListSpecifications, catalogFilter, presentSpecification)},
	{http.MethodGet, "/provider-specifications/:provider_specification_id", read, one((*engine.Engine).Specification, presentSpecification)},
	{http.MethodGet, "/provider-triggers", read, list((*engine.Engine).ListTriggers, catalogFilter, presentTrigger)},
	{http.MethodGet, "/provider-triggers/:provider_trigger_id", read, one((*engine.Engine).Trigger, presentTrigger)},
	{http.MethodGet, "/provider-auth-methods", read, list((*engine.Engine).ListAuthMethods, catalogFilter, presentAuthMethod)},
	{http.MethodGet, "/provider-auth-methods/:provider_auth_method_id", read, one((*engine.Engine).AuthMethod, presentAuthMethod)},
	{http.MethodGet, "/provider-config-schema", read, getConfigSchema},

	{http.MethodGet, "/provider-deployments", read, list((*engine.Engine).ListDeployments, deploymentFilter, presentDeployment)},
	{http.MethodPost, "/provider-deployments", write, create((*engine.Engine).CreateDeployment, newDeployment, presentDeployment)},
	{http.MethodGet, "/provider-deployments/:provider_deployment_id", read, one((*engine.Engine).Deployment, presentDeployment)},
	{http.MethodPatch, "/provider-deployments/:provider_deployment_id", write, change((*engine.Engine).UpdateDeployment, updateSetup, presentDeployment)},
	{http.MethodDelete, "/provider-deployments/:provider_deployment_id", write, one((*engine.Engine).ArchiveDeployment, presentDeployment)},

	{http.MethodGet, "/provider-configs", read, list((*engine.Engine).ListConfigs, configFilter, presentConfig)},
	{http.MethodPost, "/provider-configs", write, create((*engine.Engine).CreateConfig, newConfig, presentConfig)},
	{http.MethodGet, "/provider-configs/:provider_config_id", read, one((*engine.Engine).Config, presentConfig)},
	{http.MethodPatch, "/provider-configs/:provider_config_id", write, change((*engine.Engine).UpdateConfig, updateConfig, presentConfig)},
	{http.MethodDelete, "/provider-configs/:provider_config_id", write, one((*engine.Engine).ArchiveConfig, presentConfig)},

	{http.MethodGet, "/provider-auth-configs", read, list((*engine.Engine).ListAuthConfigs, authConfigFilter, presentAuthConfig)},
	{http.MethodPost, "/provider-auth-configs", write, create((*engine.Engine).CreateAuthConfig, newAuthConfig, presentAuthConfig)},
	{http.MethodGet, "/provider-auth-configs/:provider_auth_config_id", read, one((*engine.Engine).AuthConfig, presentAuthConfig)},
	{http.MethodPatch, "/provider-auth-configs/:provider_auth_config_id", write, change((*engine.Engine).UpdateAuthConfig, updateConfig, presentAuthConfig)},
	{http.MethodDelete, "/provider-auth-configs/:provider_auth_config_id", write, one((*engine.Engine).ArchiveAuthConfig, presentAuthConfig)},
}

// What follows makes handlers of the engine's methods, which have four shapes: by the ids
// in the path, as a page, with an input, and with an input and an id.

// one is a call about the object that the path names.
func one[T, P any](call func(*engine.Engine, context.Context, string) (T, error), present func(T) P) handler {
	return func(r *request) (any, error) {
		v, err := call(r.eng, r.ctx(), r.id(0))
		return presented(v, err, present)
	}
}

// oneOf is a call about an object of a callback.
func oneOf[T, P any](call func(*engine.Engine, context.Context, string, string) (T, error), present func(T) P) handler {
	return func(r *request) (any, error) {
		v, err := call(r.eng, r.ctx(), r.id(0), r.id(1))
		return presented(v, err, present)
	}
}

// list is a page of all objects of a kind.
func list[F, T, P any](call func(*engine.Engine, context.Context, F, engine.Page) (engine.List[T], error), filter func(*query) F, present func(T) P) handler {
	return func(r *request) (any, error) {
		f, page, err := parseList(r.http.URL.RawQuery, filter)
		if err != nil {
			return nil, err
		}
		l, err := call(r.eng, r.ctx(), f, page)
		return presentList(l, err, present)
	}
}

// listOf is a page of a callback's objects.
func listOf[F, T, P any](call func(*engine.Engine, context.Context, string, F, engine.Page) (engine.List[T], error), filter func(*query) F, present func(T) P) handler {
	return func(r *request) (any, error) {
		f, page, err := parseList(r.http.URL.RawQuery, filter)
		if err != nil {
			return nil, err
		}
		l, err := call(r.eng, r.ctx(), r.id(0), f, page)
		return presentList(l, err, present)
	}
}

// create makes an object of the body.
func create[N, T, P any, I input[N]](call func(*engine.Engine, context.Context, N) (T, error), decode func(*fields) N, present func(T) P) handler {
	return func(r *request) (any, error) {
		n, err := parseBody[N, I](r, decode)
		if err != nil {
			return nil, err
		}
		v, err := call(r.eng, r.ctx(), n)
		return presented(v, err, present)
	}
}

// change applies the body to the object that the path names, or adds something to it.
func change[N, T, P any, I input[N]](call func(*engine.Engine, context.Context, string, N) (T, error), decode func(*fields) N, present func(T) P) handler {
	return func(r *request) (any, error) {
		n, err := parseBody[N, I](r, decode)
		if err != nil {
			return nil, err
		}
		v, err := call(r.eng, r.ctx(), r.id(0), n)
		return presented(v, err, present)
	}
}

func presented[T, P any](v T, err error, present func(T) P) (any, error) {
	if err != nil {
		return nil, err
	}
	return present(v), nil
}
