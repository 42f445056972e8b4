// Package link serves the processes behind the gateway: the netsvr worker protocol 2.0.2 and
// our commands Request, Reply and Push beside it.
//
// # Data flow
//
//	client -> loop -> Hub -> link's outbox -> writer goroutine -> worker
//	worker -> reader goroutine -> commands -> mailboxes of the loops -> clients
//
// Replies that came in one read go to a loop together, any other command by itself, behind them.
//
// # Ownership
//
// A link owns its socket, its read buffer and its outbox; loops append frames to the outbox under
// its lock. Messages decoded from the read buffer borrow it until the command is done.
//
// # Goroutines
//
// Two per link, a reader and a writer: there are tens of workers, not a million. A reader that
// meets a full mailbox waits, and TCP slows the worker down. A link's commands take effect in the
// order they were sent; a query waits until the loops have done what came before it.
package link
