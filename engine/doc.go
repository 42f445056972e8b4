// Package engine moves bytes between sockets and protocols, and publishes to topics. It is the
// only package that imports gnet.
//
// # Data flow
//
//	accept -> loop -> Protocol.Sniff -> Handler.OnBytes -> Conn.Commit -> one send per turn
//	publish -> run (encoded once per dialect) -> mailboxes of the loops -> queues of subscribers
//
// A publish does not know its subscribers: it is encoded once for each wire form they speak, into
// a pooled buffer, and posted to each loop that has any. The loop walks its own slice of slot
// numbers and adds one entry to each connection's queue; when the turn ends, each connection is
// written once. Publishes that follow one another to one topic travel as one run. Messages to every
// client and to a list of them travel the same way (audience.go).
//
// # Ownership
//
// A connection is a slot in its loop's table. Its state, queue, subscriptions and deadline are
// touched by the loop's goroutine only, without locks. Everybody else names it by a Ref, whose
// generation tells it from a later connection in the same slot. Bytes given to OnBytes are gnet's,
// valid until it returns; bytes given to a Publisher are copied.
//
// # Goroutines
//
//   - One per loop, gnet's. Handlers run there and must not block.
//   - One waits for sockets that were full (writepoll.go), one wakes loops when a deadline has come
//     (ticker.go), and sixteen per listener accept.
//   - Others come in through a mailbox: Engine.Tell for what is rare and must not wait, a Publisher
//     for messages, which waits while a loop is behind.
//
// # Who waits for whom
//
// Everything is bounded, and what is slow is slowed down where it comes from. A publisher waits
// while a loop's mailbox is full, while the gateway as a whole holds too much, and a moment for a
// subscriber that is behind but makes progress; a loop that publishes does its own mail meanwhile.
// A subscriber that does not read meets its listener's policy. See pressure.go.
package engine
