// Package wire is what a load generator has to know of the clients' protocols: bytes to open a
// connection, log in, subscribe, publish and ask; and events out of the bytes that come back.
//
// # Data flow
//
//	Options -> New -> Driver
//	Driver.Append...                     -> bytes to send
//	PublishTemplate, RequestTemplate     -> Template -> Template.Append, per message: copy and patch
//	bytes -> Driver.Next                 -> Event
//	bytes -> Skimmer.Skim                -> deliveries that look like the one before, without decoding
//
// Encoding and decoding is done by the gateway's own codecs. Templates and the Skimmer exist
// because a generator that decodes tens of millions of pushes a second would measure itself.
//
// # Ownership
//
// Events point into the bytes they were read from, or into the Driver's scratch memory, until the
// next call. Append functions extend dst as the append built-in does.
//
// # Goroutines
//
// A Driver belongs to one goroutine. A Peer is one connection's state and belongs with it.
package wire
