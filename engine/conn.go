package engine

import (
	"net"
	"net/netip"
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

	first   entry // the head of the queue; its hold is nil when nothing is queued
	backlog *backlog
	member  topic.Member

	queued  uint32 // unsent bytes
	need    uint32 // input below this length cannot be used yet
	input   uint32 // bytes of input left with gnet after the last turn
	charged int32  // bytes that handlers have charged to its account

	fd       int32
	slot     uint32
	gen      uint32
	state    connState
	dialect  uint8
	listener uint8
	doom     Reason // why it is in loop.doomed, with flagDoomed
	flags    connFlags
}

type connState uint8

const (
	stateFree     connState = iota
	stateOpen               // the handler is in charge
	stateClosing            // over for the handler; its last words are in the queue
	stateDraining           // everything is sent, FIN too; what comes is discarded
)

type connFlags uint32

const (
	flagDirty    connFlags = 1 << iota // in loop.dirty
	flagPartial                        // some bytes of the first entry are sent
	flagBlocked                        // the socket took less than it was given
	flagPolled                         // the fd is in the write poller's set
	flagHeld                           // its backlog makes publishers wait
	flagForfeit                        // held them long enough; not again until it has caught up
	flagHoldIn                         // the handler holds its input back
	flagFullIn                         // its unsent replies hold its input back
	flagParked                         // a publish of its own waits, and holds its input back
	flagPaused                         // gnet does not read it
	flagResuming                       // in loop.resumed
	flagDoomed                         // in loop.doomed
	flagPolite                         // doomed, but to be closed with last words
	flagOrphan                         // gnet closed its descriptor; fd is our duplicate
	flagTagged                         // counts as a client: see SetDialect
	flagParting                        // its handler's Goodbye or OnClose is on the stack
	flagAbrupt                         // was to be disconnected while parting
)

// Ref returns the name by which other goroutines may address the connection.
func (c *Conn) Ref() Ref { return makeRef(c.loop.index, c.slot, c.gen) }

// Loop returns the loop that owns the connection.
func (c *Conn) Loop() *Loop { return c.loop }

// Handler returns the connection's state machine, nil once it is closing.
func (c *Conn) Handler() Handler { return c.handler }

// SetHandler puts h in charge, for a protocol that changes hands such as an HTTP upgrade. It is
// called from the present handler's OnBytes, which must return next.
func (c *Conn) SetHandler(h Handler) { c.handler = h }

// Peer returns the remote address. It is not meant for hot paths.
func (c *Conn) Peer() netip.AddrPort {
	if c.sock != nil {
		if a, ok := c.sock.RemoteAddr().(*net.TCPAddr); ok {
			ap := a.AddrPort()
			return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
		}
	}
	if c.fd >= 0 { // gnet is done with it, we are not
		return c.loop.engine.system.peer(c.fd)
	}
	return netip.AddrPort{}
}

// Listener returns the configuration of the listener that accepted the connection.
func (c *Conn) Listener() *ListenConfig { return &c.loop.engine.listenerAt(c.listener).config }

// Open reports whether the connection is still in its handler's charge. After a call that may
// close it, such as Write or Publish, a handler looks here before it goes on.
func (c *Conn) Open() bool { return c.state == stateOpen }

// SetDialect says in which wire form the connection takes pushes, an index into
// Config.Dialects, and makes it a client: broadcasts reach it from now on. It must be called
// before the first Subscribe and only once.
func (c *Conn) SetDialect(d uint8) {
	c.dialect = d
	c.flags |= flagTagged
	c.loop.stats.clients[d].Add(1)
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

// Hold leaves the connection's input unhandled until Resume. What arrives meanwhile is bounded
// by Config.InputBacklog.
func (c *Conn) Hold() { c.flags |= flagHoldIn }

// Holding reports whether input is held back.
func (c *Conn) Holding() bool { return c.flags&(flagHoldIn|flagFullIn|flagParked) != 0 }

// Resume ends a Hold. Input that waited is handled before the loop waits for events again, not
// within the call.
func (c *Conn) Resume() {
	c.flags &^= flagHoldIn
	c.loop.resume(c)
}

// Crowded reports whether the connection has so much unsent that its handler should return from
// OnBytes, saying how far it got: the loop sends first, and goes on when there is room.
func (c *Conn) Crowded() bool { return c.queued > c.loop.quarter }

// Buffer returns a slice to append the connection's next bytes to, with room for n more.
// Commit must follow, with the appended slice, before any other call on the connection.
func (c *Conn) Buffer(n int) []byte {
	if e := c.last(); e != nil && e.hold.growing {
		if data := e.hold.block.data; cap(data)-len(data) >= n {
			return data
		}
		e.hold.growing = false
	}
	l := c.loop
	blk := newBlock(n)
	l.backlogDelta += int64(cap(blk.data))
	h := l.newHold(blk)
	h.growing = true
	l.uncommitted = h
	return blk.data
}

// Commit queues what was appended to the slice that Buffer returned: whole packets, as many as
// messages says. They are sent at the end of the loop's turn.
func (c *Conn) Commit(b []byte, messages int) {
	l := c.loop
	h := l.uncommitted
	l.uncommitted = nil
	before := c.queued
	if h == nil {
		e := c.last()
		h = e.hold
		l.adopt(h.block, b)
		c.queued += uint32(len(b)) - e.end
		e.end = uint32(len(b))
		e.messages += uint32(messages)
	} else if l.adopt(h.block, b); len(b) == 0 || c.state == stateDraining || c.state == stateFree {
		l.unhold(h)
		return
	} else {
		h.refs = 0 // push counts the entry
		l.pushEntry(c, entry{hold: h, end: uint32(len(b)), messages: uint32(messages)})
	}
	l.touch(c)
	if int(before) > 2*l.engine.config.Backlog {
		l.overflow(c)
	}
}

// overflow closes a connection that has more of its own replies unsent than holding its input
// back can stop. Only what the socket refused counts: a big reply alone is no reason.
func (l *Loop) overflow(c *Conn) {
	if c.state == stateOpen && c.flags&flagParting == 0 {
		c.flags &^= flagDirty
		l.flush(c)
	}
	if c.state == stateOpen && int(c.queued) > 2*l.engine.config.Backlog {
		c.Close(ReasonSlowConsumer)
	}
}

// Write queues a copy of p.
func (c *Conn) Write(p []byte) {
	c.Commit(append(c.Buffer(len(p)), p...), 1)
}

// Subscribe adds the connection to a topic. name is copied when it is new. It reports false
// when the connection was subscribed already.
func (c *Conn) Subscribe(name []byte) bool {
	return c.loop.shard.Subscribe(&c.member, c.slot, name, c.dialect, c.flags&flagHeld != 0)
}

// Unsubscribe removes the connection from a topic. It reports false when it was not in it.
func (c *Conn) Unsubscribe(name []byte) bool {
	return c.loop.shard.Unsubscribe(&c.member, name, c.flags&flagHeld != 0)
}

// UnsubscribeAll removes the connection from all its topics.
func (c *Conn) UnsubscribeAll() { c.loop.shard.Leave(&c.member, c.flags&flagHeld != 0) }

// Topics appends the names of the connection's topics, in no order.
func (c *Conn) Topics(dst []string) []string { return c.loop.shard.Names(dst, &c.member) }

// TopicCount returns the number of the connection's topics.
func (c *Conn) TopicCount() int { return c.member.Len() }

// Publish sends p to a topic's subscribers, in order with the other publishes made on this loop.
// When a subscriber asks for time or a loop is behind, Publish waits a moment and helps other
// connections, so c may be closed when it returns; p is copied first. If that is not enough, the
// message waits and c's input is held back meanwhile; it is dropped, counted and logged, when a loop
// takes nothing for 10 s. The error is ErrBusy, after 1 s, only where input cannot be held back.
func (c *Conn) Publish(topic []byte, p Push) error { return c.loop.publisher.publish(topic, p, c) }

// Deliver queues a push for the connection in its own dialect.
func (c *Conn) Deliver(p Push) { c.loop.push(c, p) }

// CountPackets adds n to the packets received.
func (c *Conn) CountPackets(n int) { c.loop.stats.packetsIn.Add(uint64(n)) }
