// Package gateway is what every client protocol shares: logins, sessions, requests.
//
// # Data flow
//
//	first packet -> protocol -> Gateway.Login -> verdict -> sessions, users, topics -> protocol
//	request      -> protocol -> Gateway.Serve -> a handler or a worker -> Client.answer -> protocol
//
// A protocol is a package of its own that embeds Client in its connection's state and implements
// Session. The gateway decides who a connection is, which of a user's connections lives, and who
// serves a request; the protocol only says it in its own words.
//
// # Ownership
//
// A Client belongs to the loop of its connection. A Request is valid until the handler returns,
// its slices too; what is to be answered later is named by a Ticket.
//
// # Goroutines
//
// Handlers run on the loop and must not block. Login providers that can block run on a bounded
// number of goroutines of this package, addresses in turns; their verdict returns to the loop through
// its mailbox. The journal of spent tickets has a goroutine that alone touches the file; a loop only
// adds to its queue.
//
// Gateway's other methods may be called from any goroutine unless they say otherwise.
//
// # Time and chance
//
// Sessions, tickets and refused logins are judged by the engine's clock (engine.Engine.Time), requests
// by that of their loop, and random numbers come from Config.Rand. So the whole package runs on
// simulated loops: engine/sim_session_test.go compares it with a model there.
package gateway
