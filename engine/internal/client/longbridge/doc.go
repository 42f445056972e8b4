// Package longbridge serves Longbridge clients, over TCP and WebSocket: the state machine behind
// codec/longbridge.
//
// # Data flow
//
//	handshake -> Auth or Reconnect -> gateway.Login -> session ticket, expiry, limit, online
//	request   -> gunzip -> gateway.Serve -> response, in any order
//	publish   -> dialect -> push
//
// A WebSocket client's handshake is in the query of its upgrade request; from then on each message is
// one packet, and the rest is the same. Clients send binary messages, a few send text with the same
// bytes in it, and each is answered in its own kind.
//
// # States
//
//	new      Auth or Reconnect; heartbeats are answered and do not extend the deadline. All of it
//	         within Config.LoginBytes
//	login    what follows waits for the verdict
//	online   heartbeats and business requests; a second Auth or Reconnect is a bad request
//
// # The end
//
// A connection that the gateway ends gets what it has coming, then a Close push, then the FIN, in
// one write: the vendor's Go client locks itself up unless it sees the end of the stream right
// behind the Close. That push is the only notice, over WebSocket too: no close frame follows it. Behind
// a response that says why the connection ends there is none.
//
// # Goroutines
//
// Everything runs on the connection's loop.
package longbridge
