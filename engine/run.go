package engine

import (
	"sync"
	"sync/atomic"
)

// A run is what loops pass on: messages that followed one another to one audience, encoded back to
// back, once per dialect.
type run struct {
	to      audience
	blocks  [MaxDialects]*block
	counts  [MaxDialects]uint32 // messages in each block
	mask    uint32              // the dialects in blocks
	refs    atomic.Int32        // loops that have yet to deliver it
	alone   bool                // it was let through in spite of a slow subscriber: one message only
	bytes   int                 // of the longest block
	payload int                 // bytes of the messages' payloads, without what dialects add
}

var runs = sync.Pool{New: func() any { return new(run) }}

// recycle gives up a run that no loop has.
func (pb *Publisher) recycle(r *run) {
	for d, b := range r.blocks {
		if b != nil {
			pb.account(-b.release())
			r.blocks[d] = nil
		}
	}
	clear(r.counts[:])
	runs.Put(r)
}

// abandon gives up the share of a loop that has stopped.
func (e *Engine) abandon(r *run) {
	for _, b := range r.blocks {
		if b != nil {
			e.backlog.Add(-b.release())
		}
	}
	r.finished()
}

// finished notes that one loop is done with the run's description; the blocks live on by their
// own counts.
func (r *run) finished() {
	if r.refs.Add(-1) == 0 {
		clear(r.blocks[:])
		clear(r.counts[:])
		runs.Put(r)
	}
}

// cost is what r counts against the limit of a mailbox, in bytes.
func (r *run) cost() uint32 { return uint32(r.bytes + refSize*len(r.to.refs)) }

// deliverRun queues a run for its audience on the loop.
func (l *Loop) deliverRun(r *run) {
	var holds [MaxDialects]*hold
	outer := l.walking
	l.walking = true
	delivered, reached := uint64(0), uint64(0)
	l.eachOf(&r.to, func(c *Conn) {
		b := r.blocks[c.dialect]
		if b == nil || len(b.data) == 0 || c.flags&flagDoomed != 0 {
			return
		}
		n := r.counts[c.dialect]
		size := uint32(len(b.data))
		if c.queued+size > l.quarter && !l.admit(c, size, n) {
			return
		}
		h := holds[c.dialect]
		if h == nil {
			h = l.newHold(b)
			holds[c.dialect] = h
		}
		l.pushEntry(c, entry{hold: h, end: size, messages: n})
		delivered += uint64(n)
		reached++
		if c.flags&(flagDirty|flagBlocked) == 0 {
			c.flags |= flagDirty
			l.dirty = append(l.dirty, c.slot)
		} else if c.flags&flagBlocked != 0 && c.queued > l.quarter && c.flags&(flagHeld|flagForfeit) == 0 {
			l.review(c)
		}
	})
	l.walking = outer
	l.stats.deliveries.Add(delivered)
	l.stats.payloadOut.Add(reached * uint64(r.payload))
	for d, b := range r.blocks {
		if b == nil {
			continue
		}
		if h := holds[d]; h != nil {
			l.unhold(h) // the walk's own reference
		} else {
			l.backlogDelta -= b.release()
		}
	}
	r.finished()
	if !outer {
		l.reap()
	}
}
