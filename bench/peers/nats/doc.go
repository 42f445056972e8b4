// Package nats lets the load generator speak to NATS servers.
//
// # Data flow
//
//	wire.New("nats") -> Driver.Append... -> lines to send
//	bytes -> Driver.Next -> wire.Event
//
// A connection comes up as the server's own clients do it: the server's INFO, CONNECT and PING answered by PONG, then
// SUB and PING answered by PONG.
//
// # Ownership
//
// Events point into the bytes they were read from.
//
// # Goroutines
//
// None. A Driver belongs to one goroutine.
package nats
