// Package netsvr serves the WebSocket clients of netsvr, which call them customers: messages with
// a three-digit worker prefix, heartbeat strings, guests.
//
// # Data flow
//
//	upgrade -> custom id, Origin -> gateway.Login -> 101 -> ConnOpen to a worker
//	message -> heartbeat | prefix -> link.Hub.Transfer -> Transfer to that worker
//	casts, publishes -> dialect -> one WebSocket message
//
// # Errors
//
// A message that cannot be passed on is answered with one of the protocol's exact texts, or
// dropped and counted where the protocol has no words; the connection stays.
//
// # Goroutines
//
// Everything runs on the connection's loop.
package netsvr
