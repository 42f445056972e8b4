package engine

import "syscall"

const (
	// gatherBelow is the entry size in bytes under which copying into the loop's scratch buffer
	// is cheaper than a system call of its own.
	gatherBelow = 4 << 10
	scratchSize = 64 << 10
	// flushBudget is what one connection may send per flush, so that a fast reader with a long
	// queue does not keep the loop.
	flushBudget = 4 << 20
	// flushTime is how many ms a turn sends at a stretch. A long run for thousands of subscribers is
	// hundreds of megabytes: other sockets have their turn in between.
	flushTime = 4
	// clockEvery is how many connections are flushed between two looks at the clock.
	clockEvery = 64
)

// output is a loop's sending.
type output struct {
	dirty   []uint32 // slots to flush at the end of the step
	pending bool     // the last flush did not get through dirty
	spent   bool     // and used up the time there is for it until the next turn
}

// flush sends what c has queued, until it is all sent or the socket is full. gather, send and sent are
// separate so that many sends may be handed to the system at once.
func (l *Loop) flush(c *Conn) {
	if c.flags&flagBlocked != 0 || c.state == stateFree || c.fd < 0 {
		return
	}
	if c.flags&flagTLS != 0 {
		l.flushTLS(c)
		return
	}
	for budget := flushBudget; c.first.ref != nil; {
		p := l.gather(c, scratchSize)
		more := c.state == stateClosing && len(p) == int(c.unsent()) // a FIN follows
		n, errno := l.transmit(c, p, more)
		if !l.sent(c, len(p), n, errno) {
			return
		}
		if budget -= n; budget <= 0 && c.first.ref != nil {
			l.requeue(c)
			break
		}
	}
	l.relieve(c)
	l.catchMore(c)
	if c.first.ref == nil {
		c.returnQueue()
		if c.state == stateClosing {
			l.finish(c)
		}
	}
}

// gather returns the next bytes of c's queue: a long entry as it is, short ones copied together as
// far as they fit into size.
func (l *Loop) gather(c *Conn, size int) []byte {
	e := &c.first
	p := e.ref.block.data[e.off:e.end]
	q := c.queue
	if len(p) >= gatherBelow || q == nil || q.head == len(q.entries) {
		return p
	}
	s := append(l.memory.scratch[:0], p...)
	for i := q.head; i < len(q.entries); i++ {
		e := &q.entries[i]
		p := e.ref.block.data[e.off:e.end]
		if len(p) >= gatherBelow || len(s)+len(p) > size {
			break
		}
		s = append(s, p...)
	}
	return s
}

// sent notes what became of a send of size bytes of c's queue. It reports whether the socket may take
// more.
func (l *Loop) sent(c *Conn, size, n int, errno syscall.Errno) bool {
	if errno == 0 {
		l.advance(c, n)
	}
	return l.taken(c, size, n, errno)
}

// advance takes n bytes off the front of c's queue, and counts the messages that end in them.
func (l *Loop) advance(c *Conn, n int) {
	if c.flags&flagTrail != 0 {
		l.note(c, n)
	}
	messages := c.advance(n)
	l.stats.packetsOut.Add(messages)
	c.meter().PacketsOut += messages
}

// taken notes that c's socket has taken n of size bytes, or why not. It reports whether it may take
// more.
func (l *Loop) taken(c *Conn, size, n int, errno syscall.Errno) bool {
	switch errno {
	case 0:
	case syscall.EAGAIN, syscall.ENOBUFS, syscall.ENOMEM: // the kernel is short of memory, or the socket full
		l.block(c)
		l.relieve(c)
		return false
	default:
		l.closeLater(c, ReasonWriteError, false)
		return false
	}
	l.stats.sends.Add(1)
	l.stats.bytesOut.Add(uint64(n))
	c.meter().BytesOut += uint64(n)
	l.progressed(c)
	if n < size {
		l.block(c)
		l.relieve(c)
		return false
	}
	return true
}

// block notes that c's socket is full and asks for a notice when it is not.
func (l *Loop) block(c *Conn) {
	if err := l.engine.system.arm(c.fd, c.Ref(), true, c.flags&flagPolled != 0); err != nil {
		l.engine.log.Error("cannot wait for a socket", "err", err)
		l.closeLater(c, ReasonServerError, false)
		return
	}
	c.flags |= flagPolled | flagBlocked
	c.ensureQueue()
	l.review(c)
	l.weigh(c)
}

// writable answers a notice of the write poller.
func (l *Loop) writable(ref Ref) {
	c := l.conn(ref)
	if c == nil {
		return
	}
	if l.failureUnseen(c) && l.engine.system.broken(c.fd) {
		l.closeLater(c, ReasonPeerClosed, false)
		return
	}
	if c.flags&flagBlocked == 0 {
		return
	}
	c.flags &^= flagBlocked
	l.progressed(c)
	l.flush(c)
	l.hearFailure(c) // a notice comes once
}

// markDirty puts c among the connections that are flushed at the end of the step.
func (l *Loop) markDirty(c *Conn) {
	if c.flags&(flagDirty|flagBlocked) == 0 {
		c.flags |= flagDirty
		l.output.dirty = append(l.output.dirty, c.slot)
	}
}

// requeue has c flushed in the loop's next turn, after other sockets had theirs.
func (l *Loop) requeue(c *Conn) {
	l.mailbox.postWritable(c.Ref())
	c.flags |= flagBlocked
	c.ensureQueue()
}

// flushDirty flushes what is queued, as far as its time goes: what is left is pending until the next
// turn.
func (l *Loop) flushDirty() {
	o := &l.output
	if len(o.dirty) == 0 || o.spent {
		return
	}
	i, deadline := 0, int64(0)
	if len(o.dirty) >= clockEvery { // few are flushed without a look at the clock
		deadline = l.engine.Now() + flushTime
	}
	for ; i < len(o.dirty); i++ {
		if i%clockEvery == clockEvery-1 && l.engine.Now() >= deadline {
			o.spent = true
			break
		}
		c := l.at(o.dirty[i])
		if c.flags&flagDirty != 0 {
			c.flags &^= flagDirty
			l.flush(c)
		}
	}
	o.dirty = o.dirty[:copy(o.dirty, o.dirty[i:])]
	o.pending = len(o.dirty) > 0
}
