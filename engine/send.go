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
)

// flush sends what c has queued, until it is all sent or the socket is full.
func (l *Loop) flush(c *Conn) {
	if c.flags&flagBlocked != 0 || c.state == stateFree || c.fd < 0 {
		return
	}
	for budget := flushBudget; c.first.hold != nil; {
		p := l.gather(c)
		more := c.state == stateClosing && len(p) == int(c.queued) // a FIN follows
		n, errno := l.engine.system.send(c.fd, p, more)
		switch {
		case errno == syscall.EAGAIN:
			l.block(c)
			return
		case errno == syscall.ENOBUFS || errno == syscall.ENOMEM:
			l.block(c) // the kernel is short of memory: the socket is not at fault
			return
		case errno != 0:
			l.cut(c, ReasonWriteError)
			return
		}
		l.stats.sends.Add(1)
		l.stats.bytesOut.Add(uint64(n))
		l.stats.packetsOut.Add(c.advance(n))
		if c.backlog != nil {
			l.progress(c)
		}
		if n < len(p) {
			l.block(c)
			return
		}
		if budget -= n; budget <= 0 && c.first.hold != nil {
			l.touchAgain(c)
			break
		}
	}
	l.relieve(c)
	if c.first.hold == nil {
		c.returnBacklog()
		if c.state == stateClosing {
			l.finish(c)
		}
	}
}

// gather returns the next bytes of c's queue: a long entry as it is, short ones copied together.
func (l *Loop) gather(c *Conn) []byte {
	e := &c.first
	p := e.hold.block.data[e.off:e.end]
	b := c.backlog
	if len(p) >= gatherBelow || b == nil || b.head == len(b.entries) {
		return p
	}
	s := append(l.scratch[:0], p...)
	for i := b.head; i < len(b.entries); i++ {
		e := &b.entries[i]
		p := e.hold.block.data[e.off:e.end]
		if len(p) >= gatherBelow || len(s)+len(p) > scratchSize {
			break
		}
		s = append(s, p...)
	}
	return s
}

// block notes that c's socket is full and asks for a notice when it is not.
func (l *Loop) block(c *Conn) {
	if err := l.engine.system.arm(c.fd, c.Ref(), true, c.flags&flagPolled != 0); err != nil {
		l.engine.log.Error("cannot wait for a socket", "err", err)
		l.cut(c, ReasonServerError)
		return
	}
	c.flags |= flagPolled | flagBlocked
	c.ensureBacklog()
	l.review(c)
}

// writable answers a notice of the write poller.
func (l *Loop) writable(ref Ref) {
	c := l.conn(ref)
	if c == nil || c.flags&flagBlocked == 0 {
		return
	}
	c.flags &^= flagBlocked
	if c.backlog != nil {
		l.progress(c)
	}
	l.flush(c)
}

// touch puts c among the connections that are flushed at the end of the turn.
func (l *Loop) touch(c *Conn) {
	if c.flags&(flagDirty|flagBlocked) == 0 {
		c.flags |= flagDirty
		l.dirty = append(l.dirty, c.slot)
	}
}

// touchAgain has c flushed in the loop's next turn, after other sockets had theirs.
func (l *Loop) touchAgain(c *Conn) {
	l.mailbox.postWritable(c.Ref())
	c.flags |= flagBlocked
	c.ensureBacklog()
}

// flushTime is how many ms a turn sends at a stretch. A long run for thousands of subscribers is
// hundreds of megabytes: other sockets have their turn in between.
const flushTime = 4

// flushDirty flushes what is queued, as far as its time goes: what is left makes the loop behind,
// and is for the next turn.
func (l *Loop) flushDirty() {
	if len(l.dirty) == 0 || l.flushing || l.spent {
		return // closing a connection settles the loop, and we may be the one who closes it
	}
	l.flushing = true
	i, deadline := 0, l.engine.Now()+flushTime
	for ; i < len(l.dirty); i++ { // flushing may close, closing may touch
		if i%64 == 63 && l.engine.Now() >= deadline {
			l.spent = true
			break
		}
		c := l.at(l.dirty[i])
		if c.flags&flagDirty != 0 {
			c.flags &^= flagDirty
			l.flush(c)
		}
	}
	l.flushing = false
	l.dirty = l.dirty[:copy(l.dirty, l.dirty[i:])]
	l.behind = len(l.dirty) > 0
	if l.behind && !l.inTurn {
		l.mailbox.postTick() // a turn ends with another if there is more to send
	}
}
