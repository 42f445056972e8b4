// Package server puts a gateway together: loops, sessions, protocols, listeners. It is what
// cmd/sluice runs, and what programs embed.
//
// # Data flow
//
//	Config -> New -> Handle -> Start -> clients -> Stop
//
// # Ownership
//
// A Server owns everything it makes; the login provider stays the caller's.
//
// # Goroutines
//
// A Server's methods may be called from any goroutine. Handlers run on event loops and must not
// block; see gateway.Request.
package server
