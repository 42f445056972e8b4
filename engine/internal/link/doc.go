// Package link serves the processes behind the gateway: the netsvr worker protocol 2.0.2 and
// our commands Request, Reply and Push beside it.
//
// # Data flow
//
//	client -> loop -> Hub -> link's outbox -> writer goroutine -> worker
//	worker -> frameReader -> reader goroutine -> commands -> mailboxes of the loops -> clients
//	                                          -> delayed  -> the same, when it is due
//
// Requests that a loop serves in one step, as those of one read of a client, go to a link together. Replies
// that came in one read go to a loop together, any other command by itself, behind them.
//
// # Ownership
//
// A link owns its socket, its read buffer and its outbox; loops append frames to the outbox under
// its lock. Messages decoded from the read buffer borrow it until the command is done.
//
// # Proof
//
// A connection whose address is not trusted is no link until it has shown a token: see unproven. It
// has one goroutine and 2 KiB. With Config.TLS every connection begins so, with its handshake, and a
// certificate that was verified stands in for the token. A write that times out ends a link with TLS:
// the record may be half written.
//
// # Goroutines
//
// Two per link, a reader and a writer: there are tens of workers, not a million. A reader that
// meets a full mailbox waits, and TCP slows the worker down. A link's commands take effect in the
// order they were sent; a query waits until the loops have done what came before it. One more
// goroutine does what is delayed. A panic or runtime.Goexit in a command ends its link and no
// other; it is logged and counted in Stats.Panics.
//
// # Memory
//
// What is kept for workers is charged to the engine, as allocated, and given back at the latest
// when the link ends, or for delayed messages when they are delivered or the Hub closes:
//
//	kind            what                                     limit
//	KindLinkInput   a frame that has not arrived whole,      Config.MaxPacket (2 MiB) per link; the
//	                and the lists of the last commands       lists 3 MiB at most
//	KindLinkQueue   frames that wait for the worker,         Config.Queue (16 MiB) per link, one long
//	                and an answer that waits for room        frame and one answer
//	KindLinkDelayed delayed messages, closes that wait       Config.Delayed (16 MiB) per link, four
//	                                                         times that in all; 131,072 closes
//
// There are at most Config.MaxLinks links. An answer is encoded only once there is room in the
// queue, so a worker that asks and does not read has one of them waiting, and nothing it sends is
// read until then. Commands hold room in the loops' mailboxes for as many bytes as they keep there.
//
// # Workers that do not keep up
//
// Frames go out in the order in which they came until more than a write of them waits. From then on
// each client has a queue of its own, and they are served in turn: see backlog. On Linux little
// waits in the kernel. What the gateway says of itself goes first.
//
// Clients share a link's queue by one rule: a client may have no more in it than stays free. One
// that floods a stopped worker fills half of the queue, and as much stays free for all others; n
// that flood get 1/(n+1) each. A request beyond it is answered "busy" at once; a message of a
// WebSocket customer is dropped, counted (Stats.QueueFull) and logged. A frame that is too long for
// the rule may wait beside the limit, one at a time, if its client has nothing else in the queue.
//
// What waits for a link that stands still, or has ended, goes to other links of its worker id, in
// order for each client, but for what its writer has taken: see move.
//
// A worker that takes nothing for Config.WriteTimeout loses what was being written; one that takes
// a part of it loses the link.
//
// # Delayed messages
//
// ForceOfflineGuest with a delay is kept until its time and counts until then, also when the link
// it came on has ended. Beyond the limit it is refused: counted (Stats.DelayedFull) and logged,
// once a second at most. The worker gets no answer, since the command has none in the protocol, its
// clients stay as they are, and the link goes on. A client that is sent away with data has 3 s to
// read it, or is closed behind the data at once when too many closes wait.
//
// # The end
//
// Close lets links write what waits, and cuts off those that have not ended shortly before its
// context is done. A link that ends has 1 s to write the answers that wait and 200 ms to see its
// worker's end of the stream.
package link
