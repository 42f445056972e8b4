// Package adminapi asks a running gateway, over its admin listener.
//
// # Data flow
//
//	verb -> Client -> TCP, TLS or a unix socket -> admin listener -> JSON, or events -> verb
//
// # Errors
//
// What the gateway refuses is an *Error, with its code and message. ErrBadAddress and ErrBadToken
// are the caller's fault, found before anything is sent. All others mean that the gateway could not
// be asked.
//
// # Goroutines
//
// A Client may be used by any number of them.
package adminapi
