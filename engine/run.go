package engine

import (
	"sync"
	"sync/atomic"

	"github.com/sluicenet/sluice/topic"
)

// A run is what loops pass on: messages that followed one another to one audience, encoded back to
// back, once per dialect.
type run struct {
	to      audience
	blocks  [MaxDialects]*block
	counts  [MaxDialects]uint32 // messages in each block
	mask    uint32              // the dialects in blocks
	refs    atomic.Int32        // loops that have yet to deliver it
	bytes   int                 // of the longest block
	payload int                 // bytes of the messages' payloads, without what dialects add

	messages int
	// kept are the messages as records: of a topic with history until they have their numbers, or
	// the log has them, of one with subscribers elsewhere until they have gone there.
	kept        *block
	first, last uint64                      // of a topic with history; before it has them, first is 0 or the number that is given
	at          int64                       // ms, when messages came that have given numbers
	done        func(topic.Position, error) // see Log.Append
}

var runs = sync.Pool{New: func() any { return new(run) }}

// recycle gives up a run that no loop has.
func (pb *Publisher) recycle(r *run) {
	for d, b := range r.blocks {
		if b != nil {
			pb.account(KindShared, -b.release())
			r.blocks[d] = nil
		}
	}
	pb.dropKept(r)
	clear(r.counts[:])
	r.to.stream, r.done = nil, nil
	runs.Put(r)
}

// abandon gives up the share of a loop that has stopped.
func (e *Engine) abandon(r *run) {
	for _, b := range r.blocks {
		if b != nil {
			e.Charge(KindShared, -b.release())
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
		r.to.stream = nil
		runs.Put(r)
	}
}

// memory is what r's blocks take, in bytes.
func (r *run) memory() (n int64) {
	for _, b := range r.blocks {
		if b != nil {
			n += int64(cap(b.data))
		}
	}
	if r.kept != nil {
		n += int64(cap(r.kept.data))
	}
	return n
}

// cost is what r counts against the limit of a mailbox, in bytes.
func (r *run) cost() uint32 { return uint32(r.bytes + refSize*len(r.to.refs)) }

// deliverRun queues a run for its audience on the loop. position is its place in the mailbox, 0 for
// the loop's own.
func (l *Loop) deliverRun(r *run, position uint64) {
	var refs [MaxDialects]*blockRef
	delivered, reached := uint64(0), uint64(0)
	if r.to.stream != nil {
		last := r.last
		if fault == 105 {
			last = r.first
		}
		r.to.stream.Hear(l.index, last)
	}
	l.eachOf(&r.to, position, func(c *Conn) {
		b := r.blocks[c.dialect]
		if b == nil {
			l.missed(c, r) // its dialect was not spoken when the run was begun
			return
		}
		if len(b.data) == 0 {
			return
		}
		n := r.counts[c.dialect]
		size := uint32(len(b.data))
		high := c.own+c.lag+size > l.highWater || c.flags&flagClosePending != 0
		if high {
			if !l.admit(c, entryShared, size, n) {
				l.missed(c, r)
				return
			}
			if r.to.stream != nil && l.catching.has(c.slot, r.to.key.ID) {
				return // what was dropped for it comes first
			}
		}
		ref := refs[c.dialect]
		if ref == nil {
			ref = l.newRef(b, KindShared)
			refs[c.dialect] = ref
		}
		l.enqueue(c, entry{ref: ref, end: size, messages: n, kind: entryShared})
		if r.to.stream != nil {
			l.sentHistory(c)
		}
		delivered += uint64(n)
		reached++
		if c.flags&(flagDirty|flagBlocked) == 0 {
			c.flags |= flagDirty
			l.output.dirty = append(l.output.dirty, c.slot)
		} else if high {
			l.review(c)
			l.weigh(c)
		}
	})
	l.topics.count(l, r, delivered)
	l.fell(r)
	l.stats.deliveries.Add(delivered)
	l.stats.payloadOut.Add(reached * uint64(r.payload))
	for d, b := range r.blocks {
		if b == nil {
			continue
		}
		if ref := refs[d]; ref != nil {
			l.releaseRef(ref) // the walk's own reference
		} else {
			l.accounts.add(KindShared, -b.release())
		}
	}
	r.finished()
}
