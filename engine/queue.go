package engine

// An entry is a stretch of a block that one connection has yet to send.
type entry struct {
	hold     *hold
	off, end uint32 // in bytes, within the block
	messages uint32 // how many messages it carries
}

const entrySize = 24 // bytes, counted against the total backlog

// A backlog is what a connection has when its queue holds more than one entry or its socket is
// full. Connections that keep up have none.
type backlog struct {
	entries []entry // behind Conn.first
	head    int

	heldIndex    int    // place in the loop's list of held connections
	lastProgress uint32 // ms on the engine's clock
	overSince    uint32 // ms, when the queue passed a quarter of the limit
	// unacknowledged is how many sent bytes the peer had not acknowledged when last looked at.
	unacknowledged int
	looks          int // since progress was seen
}

// push appends e to the queue.
func (c *Conn) push(e entry) {
	c.queued += e.end - e.off
	c.loop.backlogDelta += entrySize
	if c.first.hold == nil {
		c.first = e
		return
	}
	b := c.ensureBacklog()
	b.entries = append(b.entries, e)
}

// pop removes the first entry, of which what was left is no longer queued.
func (c *Conn) pop() {
	e := c.first
	c.queued -= e.end - e.off
	c.loop.backlogDelta -= entrySize
	c.loop.unhold(e.hold)
	c.flags &^= flagPartial
	c.first = entry{}
	b := c.backlog
	if b == nil {
		return
	}
	if b.head < len(b.entries) {
		c.first = b.entries[b.head]
		b.entries[b.head] = entry{}
		b.head++
		if b.head == len(b.entries) {
			b.entries, b.head = b.entries[:0], 0
		} else if b.head >= 1024 && b.head*2 >= len(b.entries) {
			n := copy(b.entries, b.entries[b.head:])
			clear(b.entries[n:])
			b.entries, b.head = b.entries[:n], 0
		}
	}
}

// last returns the entry at the tail of the queue, nil when the queue is empty.
func (c *Conn) last() *entry {
	if b := c.backlog; b != nil && b.head < len(b.entries) {
		return &b.entries[len(b.entries)-1]
	}
	if c.first.hold != nil {
		return &c.first
	}
	return nil
}

// advance takes n sent bytes off the front of the queue, and reports how many messages ended in
// entries that are sent whole now.
func (c *Conn) advance(n int) (messages uint64) {
	for n > 0 {
		e := &c.first
		if left := int(e.end - e.off); n >= left {
			n -= left
			messages += uint64(e.messages)
			c.pop()
			continue
		}
		e.off += uint32(n)
		c.queued -= uint32(n)
		c.flags |= flagPartial
		break
	}
	return messages
}

// dropQueue forgets everything unsent, and reports how many messages that were.
func (c *Conn) dropQueue() (messages int) {
	for c.first.hold != nil {
		messages += int(c.first.messages)
		c.pop()
	}
	return messages
}

// dropOldest removes messages from the front of the queue until at most want bytes are left.
// An entry that was sent in part stays: the client would lose the stream's framing.
func (c *Conn) dropOldest(want uint32) (messages int) {
	var kept entry
	if c.flags&flagPartial != 0 {
		kept = c.first
		kept.hold.refs++
		c.pop()
	}
	for c.first.hold != nil && c.queued > want {
		messages += int(c.first.messages)
		c.pop()
	}
	if kept.hold != nil {
		rest := c.first
		c.first = kept
		c.flags |= flagPartial
		c.queued += kept.end - kept.off
		c.loop.backlogDelta += entrySize
		if rest.hold != nil {
			c.unshift(rest)
		}
	}
	return messages
}

// unshift puts e, which is counted already, in front of the backlog's entries.
func (c *Conn) unshift(e entry) {
	b := c.ensureBacklog()
	if b.head > 0 {
		b.head--
		b.entries[b.head] = e
		return
	}
	b.entries = append([]entry{e}, b.entries...)
}

func (c *Conn) ensureBacklog() *backlog {
	if c.backlog == nil {
		l := c.loop
		if n := len(l.spareBacklogs); n > 0 {
			c.backlog = l.spareBacklogs[n-1]
			l.spareBacklogs = l.spareBacklogs[:n-1]
		} else {
			c.backlog = &backlog{entries: make([]entry, 0, 4)}
		}
		c.backlog.lastProgress = uint32(l.now)
	}
	return c.backlog
}

// spareBacklogs is bounded so that a burst does not cost memory for good.
const (
	maxSpareBacklogs    = 1024
	maxSpareBacklogSize = 64 // entries
)

// returnBacklog gives an empty backlog back to the loop.
func (c *Conn) returnBacklog() {
	b, l := c.backlog, c.loop
	if b == nil {
		return
	}
	c.backlog = nil
	if cap(b.entries) <= maxSpareBacklogSize && len(l.spareBacklogs) < maxSpareBacklogs {
		*b = backlog{entries: b.entries[:0]}
		l.spareBacklogs = append(l.spareBacklogs, b)
	}
}
