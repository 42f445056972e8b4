package engine

import (
	"time"

	"github.com/panjf2000/gnet/v2"
	"github.com/sluicenet/sluice/topic"
)

// A Conn is one connection's slot in its loop. Its methods may be called on that loop only;
// everybody else names the connection by its Ref. A *Conn is not kept: the slot is used again.
type Conn struct {
	loop    *Loop
	sock    gnet.Conn // nil when gnet is done with it
	handler Handler

	first  entry // the head of the queue; its ref is nil when nothing is queued
	queue  *queue
	member topic.Member

	own     uint32 // unsent bytes of replies and of pushes to it alone
	lag     uint32 // unsent bytes of published runs
	charged uint32 // bytes that handlers have charged to its account
	need    uint32 // input below this length cannot be used yet
	input   uint32 // bytes of input that were not handled after the last turn

	fd       int32
	slot     uint32
	gen      uint32
	state    connState
	dialect  uint8
	listener uint8
	why      Reason // of the close that is pending
	flags    connFlags
}

type connState uint8

const (
	stateFree     connState = iota
	stateOpen               // the handler is in charge
	stateClosing            // over for the handler; its final flush is under way
	stateDraining           // everything is sent, FIN too; what comes is discarded
)

type connFlags uint32

const (
	flagDirty         connFlags = 1 << iota // in output.dirty
	flagPartial                             // some bytes of the first entry are sent
	flagBlocked                             // the socket took less than it was given
	flagPolled                              // the fd is in the write poller's set
	flagWatched                             // in pressure.watched
	flagCongested                           // publishers may have to wait for it
	flagExcluded                            // nobody waits for it until it has drained
	flagHeavy                               // in heavy.slots
	flagHandlerPause                        // the handler does not want its input now
	flagOutputPause                         // its unsent replies keep its input from being handled
	flagDeferred                            // a publish of its own is deferred, and keeps its input from being handled
	flagReadingPaused                       // gnet does not read it
	flagResuming                            // in loop.resumed
	flagClosePending                        // in loop.closes
	flagGraceful                            // its close is to be with final words
	flagDetached                            // gnet closed its descriptor; fd is our duplicate
	flagClient                              // counts as a client: see SetDialect
	flagLongInput                           // its unhandled input is in loop.long
	flagTrusted                             // its handler never ends its goroutine; see isolate.go
	flagYielding                            // in loop.yielded, and its input waits for that turn
	flagCut                                 // its own bytes count in loop.rests
	flagPeerKept                            // its address is in loop.peers
	flagPeerTold                            // which a proxy has told
	flagCounted                             // it is in engine.addresses
	flagTLS                                 // its TLS is in loop.tls
	flagThrottled                           // in rates.throttled: its rates keep its input from being handled
	flagOverRate                            // its handler has had enough packets; see CountPackets
	flagUnadmitted                          // nobody has decided yet whether it may be here; see admission
	flagRefused                             // it may not, and is about to end
	flagTrail                               // it has a trail; see position.go
	flagCatching                            // in catching.conns
)

// heldFlags say that input is left unhandled for the gateway's reasons, not for output that is unread.
const heldFlags = flagHandlerPause | flagDeferred | flagYielding | flagThrottled | flagOverRate

// Ref returns the name by which other goroutines may address the connection.
func (c *Conn) Ref() Ref { return makeRef(c.loop.index, c.slot, c.gen) }

// Loop returns the loop that owns the connection.
func (c *Conn) Loop() *Loop { return c.loop }

// Handler returns the connection's state machine, nil once it is closing.
func (c *Conn) Handler() Handler { return c.handler }

// SetHandler puts h in charge, for a protocol that changes hands such as an HTTP upgrade. It is
// called from the present handler's OnBytes, which must return next.
func (c *Conn) SetHandler(h Handler) { c.handler = h }

// Listener returns the configuration of the listener that accepted the connection. It is read only.
func (c *Conn) Listener() *ListenConfig { return &c.loop.engine.listenerAt(c.listener).config }

// Open reports whether the connection is still in its handler's charge: false as soon as a close is
// pending.
func (c *Conn) Open() bool { return c.state == stateOpen && c.flags&flagClosePending == 0 }

// SetDialect says in which wire form the connection takes pushes, an index into Config.Dialects, and
// makes it a client: broadcasts and what names its Ref reach it from now on. It must be called before
// the first Subscribe and only once.
func (c *Conn) SetDialect(d uint8) {
	c.dialect = d
	c.flags |= flagClient
	c.loop.stats.clients[d].Add(1)
	c.loop.stats.allClients.Add(1)
}

// SetDeadline has OnDeadline called d from now, in place of an earlier deadline; 0 or less takes
// the deadline away. It is late by up to 100 ms, and by up to 1 s when d is over 10 s, never early.
func (c *Conn) SetDeadline(d time.Duration) {
	if d <= 0 {
		c.loop.wheel.clear(c.slot)
		return
	}
	c.loop.schedule(c.slot, d)
}

// Pause leaves the connection's input unhandled until Resume. What arrives meanwhile is bounded
// by Config.InputBacklog.
func (c *Conn) Pause() { c.flags |= flagHandlerPause }

// Paused reports whether input is left unhandled, for whatever reason.
func (c *Conn) Paused() bool {
	return c.flags&(heldFlags|flagOutputPause) != 0
}

// Resume ends a Pause. Input that waited is handled before the loop waits for events again, not
// within the call.
func (c *Conn) Resume() {
	c.flags &^= flagHandlerPause
	c.loop.resume(c)
}

// Yield leaves the rest of the connection's input, and what arrives next, for a later turn of the
// loop: others have theirs first, and of those that yield a few are served in each. It is for a
// handler whose packets cost much more than their bytes say; OnBytes should return behind it.
func (c *Conn) Yield() {
	if !c.Open() || c.flags&flagYielding != 0 {
		return
	}
	c.flags |= flagYielding
	c.loop.yielded = append(c.loop.yielded, c.Ref())
}

// YieldDue reports whether so many have yielded that more than a turn passes before all of them are
// served. A handler whose next packet may cost much yields first; it is told false when its turn has
// come.
func (c *Conn) YieldDue() bool {
	l := c.loop
	return !l.servingYielded && len(l.yielded) >= yieldsPerTurn
}

// OutputFull reports whether the connection has so much of its own unsent that its handler should
// return from OnBytes, saying how far it got: the loop sends first, and goes on when there is room.
func (c *Conn) OutputFull() bool { return c.own > c.loop.highWater }

// Buffer returns a slice to append the connection's next reply to, with room for n more bytes.
// Commit must follow, with the appended slice, before any other call on the connection. Replies are
// never dropped: they arrive, or the connection ends. Pushes go through Deliver.
func (c *Conn) Buffer(n int) []byte { return c.buffer(n, entryReply) }

// Commit queues what was appended to the slice that Buffer returned: whole packets, as many as
// messages says. They are sent at the end of the loop's turn. Behind a close they are discarded.
func (c *Conn) Commit(b []byte, messages int) { c.commit(b, messages, entryReply) }

func (c *Conn) buffer(n int, kind entryKind) []byte {
	if e := c.last(); e != nil && e.ref.growing {
		if data := e.ref.block.data; e.kind == kind && cap(data)-len(data) >= n {
			return data
		}
		e.ref.growing = false
	}
	l := c.loop
	b := newBlock(n)
	l.accounts.add(KindUnsent, int64(cap(b.data)))
	r := l.newRef(b, KindUnsent)
	r.growing = true
	l.memory.uncommitted = r
	return b.data
}

func (c *Conn) commit(b []byte, messages int, kind entryKind) {
	l := c.loop
	r := l.memory.uncommitted
	l.memory.uncommitted = nil
	closed := c.flags&flagClosePending != 0 || c.state == stateDraining || c.state == stateFree
	switch {
	case r == nil && closed: // what is in the block already is sent
	case r == nil:
		e := c.last()
		l.adopt(e.ref, b)
		c.counted(kind, uint32(len(b))-e.end)
		e.end = uint32(len(b))
		e.messages += uint32(messages)
	default:
		l.adopt(r, b)
		if len(b) == 0 || closed {
			l.releaseRef(r)
			break
		}
		r.refs = 0 // enqueue counts the entry
		l.enqueue(c, entry{ref: r, end: uint32(len(b)), messages: uint32(messages), kind: kind})
	}
	if closed {
		return
	}
	l.markDirty(c)
	if c.own+c.charged+c.input > l.highWater {
		l.review(c)
		l.weigh(c)
	}
}

// Write queues a copy of p, one whole packet, as Commit does.
func (c *Conn) Write(p []byte) {
	c.Commit(append(c.Buffer(len(p)), p...), 1)
}

// Publish sends p to a topic's subscribers, in order with the other publishes made on this loop. p is
// copied. When the crowd of its receivers is congested, or a loop has no room, the message is
// deferred, and c's input is left unhandled meanwhile; it is dropped, counted and logged, when a loop
// takes nothing for 10 s. The error is a LogError: the topic has history, and Config.Log can take
// nothing now; nobody gets the message.
func (c *Conn) Publish(topic []byte, p Push) error { return c.loop.publisher.publish(topic, p, c) }

// Deliver queues a push for the connection in its own dialect, behind what this loop's clients have
// published. It may be dropped by the listener's slow-consumer policy.
func (c *Conn) Deliver(p Push) {
	if fault != 12 {
		c.loop.publisher.Flush()
	}
	c.loop.push(c, p)
}
