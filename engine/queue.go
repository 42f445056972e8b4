package engine

// An entry is a stretch of a block that one connection has yet to send.
type entry struct {
	ref      *blockRef
	off, end uint32 // in bytes, within the block
	messages uint32 // how many messages it carries
	kind     entryKind
}

// An entryKind says what an entry carries: slow-consumer policies drop pushes only, and what is
// shared is not the connection's own.
type entryKind uint8

const (
	entryReply  entryKind = iota // replies, acknowledgements, pongs, final words
	entryPush                    // pushes to this connection alone
	entryShared                  // part of a published run
)

const entrySize = 24 // bytes; a long queue of small messages is mostly this

// A queue is what a connection has when it has more than one entry to send, its socket is full, or
// its account is large. Connections that keep up have none.
type queue struct {
	entries []entry // behind Conn.first
	head    int
	pushes  uint32 // of Conn.own, in bytes: pushes to this connection alone

	// What follows is the connection's place among those that are watched; see pressure.go.
	watchIndex int   // in the loop's list of watched connections
	progressAt int64 // ms on the engine's clock, when the peer was last seen to take bytes
	unacked    int   // sent bytes the peer had not acknowledged when last looked at
	looks      int   // since progress was seen
	receiver   *receiver

	// And its place among those with large accounts; see shed.go.
	heavyIndex int
	heavySince int64 // ms, since when the account has been above the high-water mark
}

// unsent returns all unsent bytes of c.
func (c *Conn) unsent() uint32 { return c.own + c.lag }

// entries returns the number of entries in c's queue.
func (c *Conn) entries() int {
	if c.first.ref == nil {
		return 0
	}
	if q := c.queue; q != nil {
		return 1 + len(q.entries) - q.head
	}
	return 1
}

// pushes returns the unsent bytes of pushes to c alone.
func (c *Conn) pushes() uint32 {
	if c.queue != nil {
		return c.queue.pushes
	}
	if c.first.ref != nil && c.first.kind == entryPush {
		return c.first.end - c.first.off
	}
	return 0
}

// counted adds n unsent bytes of a kind, or takes them away.
func (c *Conn) counted(kind entryKind, n uint32) {
	if kind == entryShared {
		c.lag += n
		return
	}
	c.own += n
	if c.flags&flagCut != 0 {
		c.loop.rests += int64(int32(n))
	}
	if kind == entryPush && c.queue != nil {
		c.queue.pushes += n
	}
}

// push appends e to the queue.
func (c *Conn) push(e entry) {
	c.loop.accounts.add(KindUnsent, entrySize)
	if f := &c.first; f.ref == nil {
		// Field by field, as e was written a moment ago: the processor would wait for a copy of the whole.
		f.ref, f.off, f.end, f.messages, f.kind = e.ref, e.off, e.end, e.messages, e.kind
	} else {
		q := c.ensureQueue()
		q.entries = append(q.entries, e)
	}
	c.counted(e.kind, e.end-e.off)
}

// pop removes the first entry, of which what was left is no longer queued.
func (c *Conn) pop() {
	e := c.first
	c.counted(e.kind, -(e.end - e.off))
	if fault != 7 || c.flags&flagPartial == 0 {
		c.loop.accounts.add(KindUnsent, -entrySize)
	}
	c.loop.releaseRef(e.ref)
	c.flags &^= flagPartial
	c.first = entry{}
	q := c.queue
	if q == nil {
		return
	}
	if q.head < len(q.entries) {
		c.first = q.entries[q.head]
		q.entries[q.head] = entry{}
		q.head++
		if q.head == len(q.entries) {
			q.entries, q.head = q.entries[:0], 0
		} else if q.head >= 1024 && q.head*2 >= len(q.entries) {
			n := copy(q.entries, q.entries[q.head:])
			clear(q.entries[n:])
			q.entries, q.head = q.entries[:n], 0
		}
	}
}

// last returns the entry at the tail of the queue, nil when the queue is empty.
func (c *Conn) last() *entry {
	if q := c.queue; q != nil && q.head < len(q.entries) {
		return &q.entries[len(q.entries)-1]
	}
	if c.first.ref != nil {
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
		c.counted(e.kind, -uint32(n))
		c.flags |= flagPartial
		break
	}
	return messages
}

// dropQueue forgets everything unsent, and reports how many messages that were.
func (c *Conn) dropQueue() (messages int) {
	for c.first.ref != nil {
		messages += int(c.first.messages)
		c.pop()
	}
	return messages
}

// dropOldest drops pushes, oldest first, until enough says so or none is left, and reports how many
// messages went. Replies stay, and so does an entry that was sent in part: the client would lose the
// stream's framing.
func (c *Conn) dropOldest(enough func() bool) (messages int) {
	for c.first.ref != nil && (c.first.kind != entryReply || fault == 6) && c.flags&flagPartial == 0 {
		if enough() {
			return messages
		}
		messages += int(c.first.messages)
		c.loop.noteDropped(c, &c.first)
		c.pop()
	}
	q := c.queue
	if q == nil || enough() {
		return messages
	}
	// Something that must stay is in front: one pass over what is behind it.
	kept := q.entries[:q.head]
	for i := q.head; i < len(q.entries); i++ {
		e := q.entries[i]
		if e.kind == entryReply && fault != 6 || enough() {
			kept = append(kept, e)
			continue
		}
		messages += int(e.messages)
		c.loop.noteDropped(c, &e)
		c.unqueue(&e)
	}
	q.keep(kept)
	return messages
}

// unqueue takes an entry off the accounts that was behind the first, and is in the queue no more.
func (c *Conn) unqueue(e *entry) {
	c.counted(e.kind, -(e.end - e.off))
	c.loop.accounts.add(KindUnsent, -entrySize)
	c.loop.releaseRef(e.ref)
}

// keep makes kept, which begins where the entries do, all that is left of them.
func (q *queue) keep(kept []entry) {
	clear(q.entries[len(kept):])
	q.entries = kept
	if q.head == len(q.entries) {
		q.entries, q.head = q.entries[:0], 0
	}
}

func (c *Conn) ensureQueue() *queue {
	if c.queue == nil {
		pushes := c.pushes()
		m := &c.loop.memory
		if n := len(m.queues); n > 0 {
			c.queue = m.queues[n-1]
			m.queues = m.queues[:n-1]
		} else {
			c.queue = &queue{entries: make([]entry, 0, 4)}
		}
		c.queue.pushes = pushes
		c.queue.progressAt = c.loop.now
	}
	return c.queue
}

// What a loop keeps of queues is bounded so that a burst does not cost memory for good.
const (
	maxSpareQueues    = 256
	maxSpareQueueSize = 64 // entries
)

// returnQueue gives an empty queue back to the loop, unless it is still of use.
func (c *Conn) returnQueue() {
	q, m := c.queue, &c.loop.memory
	if q == nil || c.first.ref != nil || c.flags&(flagWatched|flagHeavy|flagBlocked) != 0 {
		return
	}
	c.queue = nil
	if cap(q.entries) <= maxSpareQueueSize && len(m.queues) < maxSpareQueues {
		*q = queue{entries: q.entries[:0]}
		m.queues = append(m.queues, q)
	}
}
