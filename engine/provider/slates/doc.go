// Package slates makes a provider of an integration that speaks the protocol of the open-source
// Slates integrations, slates@2026-01-01: over HTTP, or over the standard input and output of a
// child process. Which triggers, auth methods and config such a provider has, the integration
// says when [New] asks it.
//
//	slack, err := slates.New(ctx, slates.Options{Name: "slack", Target: "exec:node slates-stdio.mjs ./integrations/slack"})
//	eng, err := engine.Open(ctx, engine.Options{Path: "callbacks.db", Providers: []engine.Provider{slack}})
//
// The folder host holds the small program slates-stdio.mjs, which serves an integration of a Slates
// workspace over stdio, and says how to use it.
//
// # Messages
//
// A batch is one JSON document, {"messages": [...]}, of JSON-RPC 2.0 messages, and so is its answer.
// Over HTTP a batch is POSTed; over stdio it is one line on the child's standard input, and the
// answer one line on its standard output. Every batch carries all that the integration has to know,
// so that it keeps nothing between two: as notifications slates/hello, participant.set, config.set,
// auth.set and session.start, and then, with an id, the request. One that refuses notifications gets
// an id in each message, and may answer all of them or only the request. The mapping of inputs puts up
// to 50 requests into a batch; an integration that does not answer all of them is asked one by one
// from then on, and one that fails the batch as a whole for these inputs.
//
// # Names
//
// A trigger's or auth method's id is its key, unless the engine would not take it: then
// characters other than letters, digits, '.', '_' and '-' become '-', the rest is cut to 54
// characters, and a '-' and eight hexadecimal digits of the id's SHA-256 are added. Event types are
// the "type" of slates/action.trigger.map_event, and source ids its "id".
//
// # Auth configs
//
// Of a method of type auth.token, auth.service_account or auth.custom, the value is what the
// integration's inputSchema asks for. slates/auth.output.get makes of it what the integration signs in
// with; it is asked once, kept encrypted by the engine, and asked again when the value changed or when
// the output says that it ends (expiresAt and the like). Of a method of type auth.oauth, somebody
// else has been through the consent page, and the value is what that gave:
//
//	{
//	  "output": {"token": "...", "refreshToken": "...", "expiresAt": "2026-01-10T14:45:00Z"},
//	  "client_id": "...", "client_secret": "...", "scopes": ["read"],
//	  "input": {}
//	}
//
// Only "output", of the method's output schema, is required; client_id and client_secret are needed
// where the token has to be refreshed. A method with the capability handleTokenRefresh is asked to
// refresh some time before the end.
//
// # Failures
//
// What the integration calls retryable, or has a code that the protocol says is, fails the poll,
// which is made again with back-off, or after the time that a 429 or 503, or the error's retryAfter,
// gives; of a webhook, the source is asked to come again. Other errors fail the poll too, with the integration's words in the trigger's
// last_error; they do not pause it, because what is wrong may be mended at the source. An
// input whose mapping fails for good makes a failed event; one that may be mended is mapped again.
package slates
