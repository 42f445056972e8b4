// Package gosoc serves GOSOC clients: the state machine behind codec/gosoc.
//
// # Data flow
//
//	Connect -> gateway.Login -> ConnAck (and a push of the session ticket)
//	SendReq -> gunzip -> gateway.Serve -> SendResp, in request order
//	publish -> dialect -> SendReq of level 0 and id 0
//
// # States
//
//	new      only Connect is allowed, of at most Config.LoginBytes
//	login    what follows Connect waits for the verdict
//	online   PingReq, SendReq, Disconnect; a second Connect is answered with ConnAck 4
//
// What the protocol forbids is a plain close, with its reason counted: the clients in the field
// understand no other sign. ConnAck and Disconnect are flushed before the close.
//
// # Goroutines
//
// Everything runs on the connection's loop.
package gosoc
