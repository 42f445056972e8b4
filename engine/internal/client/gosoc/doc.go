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
// # Ends
//
// A client that is logged in is told Disconnect where its type makes the clients in the field do what
// is meant; both are flushed before the close. The C++ client stops at Disconnect 1, and comes back
// at once behind Disconnect 0 and behind a plain close. The Go client never comes back by itself.
//
//	kicked-out, session-taken-over,          Disconnect 1   another has its place
//	forced-offline, user-limit               Disconnect 1   somebody wants it gone
//	login-refused, login-banned              Disconnect 1   its token would be refused again
//	shutdown                                 Disconnect 0   it is welcome elsewhere
//	all others                               plain close    its fault, or none of its doing
//
// A client whose first Connect is refused is told so with ConnAck, for the Go client waits for that
// for ever, whatever becomes of the connection. The code is 2 for a payload that is no JSON object,
// 4 for a second Connect, 6 or 3 (Config.BadTokenStops) for a token or ticket that is refused, and 1
// for all else: no verdict in time, a shutdown, a packet over the limits, a Connect that can be told
// from other bytes by its name and is broken behind it. A login that another of the same user or
// session has overtaken is told ConnAck 0 and Disconnect 1. Connections that are refused before they
// have a handler, at the limit of connections or by a ban, are answered by Protocol.Refuse.
//
// # Goroutines
//
// Everything runs on the connection's loop.
package gosoc
