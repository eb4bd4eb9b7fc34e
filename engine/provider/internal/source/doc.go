// Package source is what the providers that poll a URL have in common: how a config names the
// URL, how to sign in, conditional requests, and how answers that are errors are read.
package source
