// Package websocket brings WebSocket to the protocols: it answers the upgrade request, finds the endpoint
// that its path names, and hands the endpoint's sessions their messages.
//
// # Data flow
//
//	GET -> Protocol -> Endpoint.Upgrade -> a session of its own package, which embeds Framing
//	frames -> Framing.Feed -> Messages
//
// # Ownership
//
// A message borrows the loop's read buffer, or the loop's scratch when it was compressed, until
// the call returns.
//
// # Goroutines
//
// Everything runs on the connection's loop.
package websocket
