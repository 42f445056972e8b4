// Package mqtt lets the load generator speak MQTT 3.1.1 at QoS 0.
//
// # Data flow
//
//	wire.New("mqtt") -> Driver.Append... -> packets to send
//	bytes -> Driver.Next -> wire.Event
//
// A peer's token is its client identifier.
//
// # Ownership
//
// Events point into the bytes they were read from.
//
// # Goroutines
//
// None. A Driver belongs to one goroutine.
package mqtt
