// Package websocket brings WebSocket to the protocols: it answers the upgrade request, finds the endpoint
// that its path names, and hands the endpoint's sessions their messages.
//
// # Data flow
//
//	GET -> Protocol -> Transport.check -> an answer that is no upgrade
//	                -> Endpoint.Upgrade, Transport.Agree -> a session of its own package, which
//	                   embeds Framing
//	frames -> Framing.Feed -> Messages
//	push -> Transport.Deflating -> once for each form, for clients with which compression is agreed
//
// # Ownership
//
// A message borrows the loop's read buffer, or a pooled scratch when it was compressed, until the
// call returns. A Transport is shared by all connections; its counters are atomic.
//
// # Goroutines
//
// Everything runs on the connection's loop.
package websocket
