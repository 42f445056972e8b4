// Package engine moves bytes between sockets and protocols, and publishes to topics. It is the only
// package that imports gnet.
//
// An [Engine] runs event loops. A [Protocol] recognises its connections and makes a [Handler] for
// each, which is called on the connection's loop:
//
//	e, err := engine.New(engine.Config{Dialects: []engine.Dialect{{Name: "line", Append: appendLine}}})
//	err = e.Start()
//	addr, err := e.Listen(engine.ListenConfig{
//		Network: "tcp", Address: "127.0.0.1:0", Protocols: []engine.Protocol{lineProtocol{}},
//	})
//
//	func (p lineProtocol) Open(c *engine.Conn) engine.Handler {
//		c.SetDialect(0) // a client from now on, which takes pushes as appendLine makes them
//		c.Subscribe([]byte("room"))
//		return &lineHandler{}
//	}
//
//	func (h *lineHandler) OnBytes(c *engine.Conn, b []byte) (n, need int) {
//		end := bytes.IndexByte(b, '\n')
//		if end < 0 {
//			return 0, len(b) + 1 // come back with more
//		}
//		c.Publish([]byte("room"), engine.Push{Payload: b[:end]})
//		return end + 1, 0
//	}
//
// Goroutines outside the loops publish through a [Publisher] of their own, and wait where its rules
// say so. Nothing is delivered before it is flushed:
//
//	pb := e.NewPublisher()
//	err := pb.Publish([]byte("room"), engine.Push{Payload: []byte("it rains")})
//	pb.Flush()
//
// A gateway with logins, sessions and workers is in package server, next to this one: programs that
// want one embed that.
//
// # Data flow
//
//	accept -> loop -> Protocol.Sniff -> Handler.OnBytes -> Conn.Commit -> one send per step
//	publish -> run (encoded once per dialect) -> mailboxes of the loops -> queues of subscribers
//
// A publish does not know its subscribers: it is encoded once for each wire form they speak, into
// a pooled buffer, and posted to each loop that has any. The loop walks its own slice of slot
// numbers and adds one entry to each connection's queue; when the step ends, each connection is
// written once. Publishes that follow one another to one topic travel as one run. Messages to every
// client and to a list of them travel the same way (audience.go).
//
// # Ownership
//
// A connection is a slot in its loop's table. Its state, queue, subscriptions and deadline are
// touched by the loop's goroutine only, without locks. Everybody else names it by a [Ref], whose
// generation tells it from a later connection in the same slot. Bytes given to OnBytes are gnet's,
// valid until it returns; bytes given to a Publisher are copied.
//
// Every byte that is kept for a connection is on its account, under a [Kind]: its unsent bytes and
// its unhandled input by the engine's doing, what protocols keep by [Conn.Charge]. Bytes of a run
// are shared: they count once, and a connection pays for its queue's entries and for its lag.
//
// # Goroutines
//
//   - One per loop, gnet's. Handlers run there and must not block. One that ends its goroutine or
//     panics costs its connection (isolate.go).
//   - One waits for sockets that were full (writepoll_*.go), one wakes loops when a deadline has come
//     (ticker.go), and sixteen per listener accept.
//   - Others come in through a mailbox: [Engine.Tell] for what is rare and must not wait, a Publisher
//     for messages, which waits while a loop has no room.
//
// A loop never waits. What one of its clients publishes and may not go yet is deferred, and the
// client is not read meanwhile (deferred.go). Nothing is closed under a handler: [Conn.Close] and
// [Conn.Abort] note what is to be done at the end of the step (closing.go).
//
// # Backpressure
//
// The crowd sets the pace, a minority never does (wait.go). A receiver is congested while its
// socket is full and more than the high-water mark, 256 KiB, waits for it. A publisher waits while
// a tenth of its message's receivers are congested, or one where there are fewer than ten. A
// receiver that has taken nothing for 2 s does not count until it has drained, or for 10 s while
// others of its topics are being served: its turn may still come. Waits in which none of the
// congested takes bytes cost a source half a second once and a tenth of its time from then on, beside
// the 40 ms that it takes to see each of them. A crowd that is far behind is waited for longer, up to
// the stall timeout, so that no source brings it to its limits before.
//
// Below a tenth there is no flow control: who reads more slowly than it is sent to meets its
// listener's [SlowConsumer] policy once it is Config.Lag behind. Policies drop pushes only: replies
// arrive, or the connection ends. Its own unsent replies keep a connection's input from being
// handled; they end it only when it takes nothing for 500 ms while they are over twice
// Config.Backlog.
//
// When all that is kept for connections exceeds Config.BacklogTotal, the one with the largest
// account or lag goes that has not been below the high-water mark for 2 s, whoever has added the
// last byte (shed.go). Nobody waits because of a total.
//
// # Order
//
// Messages of one source to one topic arrive in order, and once. A message takes effect when it is
// flushed: a subscriber gets what is flushed after its subscription, and nothing from before. A
// connection's replies arrive in the order they were written, its pushes likewise; a reply may
// overtake a push. What a client gets does not depend on how its bytes were cut into segments.
//
// # TLS
//
// A listener's TLS is crypto/tls over memory (tls.go). A connection's first stage waits for its
// ClientHello; its handshake runs on a goroutine, of which there are so many at a time and no more
// (handshakes.go), and is fed by the loop. Afterwards there is no goroutine: whole records are
// decrypted when their connection's input is handled (tlsinput.go), and the queue is encrypted when
// it is sent (tlsoutput.go), so that everything that looks at either is the same with TLS and
// without.
//
// # Systems
//
// Linux, macOS and FreeBSD. What differs is in files of its own by suffix: socket_*.go (send,
// unread, unacknowledged), runfile_*.go (long runs for many connections are sent from a file of memory,
// whose pages sockets take instead of a copy), reading_*.go (pause gnet's reading), writepoll_*.go
// (wait for full sockets). The build tag portable selects a fallback with poll(2) on any of them.
//
//   - With portable, reading cannot be paused: a client that sends more than Config.InputBacklog while
//     its input is paused is closed with ReasonInputBacklog, where TCP would have slowed it down.
//     A wait for full sockets costs time in proportion to their number, and a full socket that is
//     closed may send its FIN up to 10 ms late.
//   - With portable, and on systems other than Linux, what is sent is copied into each socket. The same
//     holds on Linux where memfd_create or sendfile is refused.
//   - Under kqueue gnet's poller does not tell of a reset during a pause; the write poller is asked
//     for it. A FIN is told once the pause ends, as everywhere.
package engine
