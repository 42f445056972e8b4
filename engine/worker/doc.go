// Package worker is the worker's side of a gateway: what a business process written in Go
// imports to answer clients' requests, hear of their coming and going, and reach them through ids
// and topics. It speaks the netsvr worker protocol 2.0.2 and this gateway's commands for requests.
//
// A worker names the gateways it serves, says what it handles, and runs:
//
//	w, err := worker.New(worker.Config{Gateways: []string{"127.0.0.1:6061"}})
//	w.Handle("chat.*", func(ctx context.Context, r *worker.Request) ([]byte, error) {
//		return r.Payload, w.TopicPublish(ctx, []string{"lobby"}, r.Payload)
//	})
//	err = w.Run(ctx)
//
// # Data flow
//
//	gateway -> reader -> copy of the frame -> lane of the client -> handler -> reply
//	        -> reader -> answer            -> oldest query that waits on the link
//	command -> outbox of the link -> writer -> gateway
//
// A [Link] is one TCP connection to a gateway, dialled again whenever it is lost. A [Gateway] has
// one or, with Config.Links, several; the first is registered and receives what clients send. Every
// command is a method of Link (and so of Gateway, which stands for its first link), and, where it
// makes sense across gateways, of [Worker]: commands that name a connection go to the gateway whose
// server id its uniqId begins with, ids that no gateway made go to all, and so do topics.
//
// # Order
//
// Commands of one goroutine on one link are carried out in order, and a query sees the effect of
// every command before it on its link. What a client sends is handled in order, one at a time;
// clients are spread over Config.Concurrency lanes by a hash of their uniqId, and lanes run at the
// same time. A client that is given a new uniqId may change lanes with it. Gateways deal out what
// arrives among the workers of one id, so no order holds between them.
//
// # Back-pressure
//
// Nothing grows without bound. A command waits, until its context is done, while the outbox of its
// link is full; a reader whose handlers fall behind stops reading, and TCP slows the gateway down.
// A query needs its answer even then: while one waits, its link reads on, up to four times as far.
//
// # Losing a link
//
// Commands on a link that is down fail at once with [ErrNotConnected]; Ready waits for it. Those
// still in the outbox of a link that breaks are lost, queries on it fail with [ErrLinkLost], and
// requests it had brought are not handled any more if they want a reply: the gateway has already
// told the client. Messages, opens and closes that had arrived are still handled.
//
// # Ownership
//
// Handlers own what they receive. Arguments of commands are copied before the method returns.
//
// # Goroutines
//
// Run starts three per link (dial and heartbeat, reader, writer) and one per lane, and ends them
// before it returns. All methods may be called from any goroutine, but handlers are set before Run.
package worker
