// Package callbackd is the front page of a callback engine: it watches
// providers, by polling them, turns what happened into events, and brings every
// event to the destinations that want it, signed, retried and recorded, with one
// SQLite file as its only companion.
//
// Programs import one of these instead:
//
//   - [github.com/callbackd/callbackd/engine] runs in your process;
//   - [github.com/callbackd/callbackd/engine/signature] verifies what a receiver gets;
//   - [github.com/callbackd/callbackd/httpapi] serves the HTTP API of an engine;
//   - cmd/callbackd is the daemon.
package callbackd

import _ "embed"

//go:generate go run github.com/sqlc-dev/sqlc/cmd/sqlc@v1.31.1 generate

// Schema is the SQL text that a new database file is made from.
//
//go:embed schema.sql
var Schema string
