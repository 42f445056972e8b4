package engine

import (
	"unsafe"

	"github.com/sluicenet/sluice/topic"
)

// A subscriber of a topic with history that is behind catches up: who resumes a session, who asks for
// the last messages, and whose listener's policy has dropped some. What is published meanwhile passes
// it by, since it is in the history, too; the subscription is marked fresh, so that the walk over a
// topic's subscribers costs nothing more. The loop gives it what it lacks in short stretches, while
// little waits for it, up to what the loop itself has heard of: from then on it is as any other.

// catching are a loop's subscribers that catch up.
type catching struct {
	by    map[join]*catchup
	conns map[uint32]*catcher // by slot
	ready []uint32            // slots whose turn comes
	view  topic.View
}

// A catcher is a connection that catches up.
type catcher struct {
	list  []*catchup
	ready bool // it is in catching.ready
}

// A catchup is one of its topics.
type catchup struct {
	join
	stream *topic.Stream
	next   uint64 // the message that comes next
	lost   bool   // some before next are gone, which was not said yet
	// Once the loop has handled so many messages of its mailbox, it has heard of all up to last; 0: it
	// has.
	posted, last uint64
}

const (
	// catchupSize is what one costs, in bytes: itself, and its places in a list and a map.
	catchupSize = int64(unsafe.Sizeof(catchup{})) + 64
	// catchBelow is how much may wait for a connection, in bytes, that gets more of a history.
	catchBelow = 16 << 10
	// catchChunk is how much it gets at a time, in bytes.
	catchChunk = 32 << 10
	// In a turn so many bytes are given out at most, and so many ms spent.
	catchBytes = 1 << 20
	catchTime  = 2
)

// has reports whether a subscription catches up.
func (k *catching) has(slot uint32, id topic.ID) bool {
	return len(k.by) > 0 && k.by[join{slot, id}] != nil
}

// catchFrom has c's subscription to a topic catch up from a message on, unless it does already.
func (l *Loop) catchFrom(c *Conn, id topic.ID, st *topic.Stream, next uint64) *catchup {
	k := &l.catching
	if u := k.by[join{c.slot, id}]; u != nil {
		return u
	}
	if k.by == nil {
		k.by, k.conns = make(map[join]*catchup), make(map[uint32]*catcher)
	}
	u := &catchup{join: join{c.slot, id}, stream: st, next: next}
	k.by[u.join] = u
	r := k.conns[c.slot]
	if r == nil {
		r = new(catcher)
		k.conns[c.slot] = r
	}
	r.list = append(r.list, u)
	l.accounts.add(KindTopics, catchupSize)
	c.flags |= flagCatching
	l.shard.Unsettle(&c.member, id)
	l.catchSoon(c.slot)
	return u
}

// catchSoon has a connection that catches up get its turn.
func (l *Loop) catchSoon(slot uint32) {
	k := &l.catching
	if r := k.conns[slot]; r != nil && !r.ready {
		r.ready = true
		k.ready = append(k.ready, slot)
	}
}

// catchMore does so for one that has room again.
func (l *Loop) catchMore(c *Conn) {
	if c.flags&flagCatching != 0 && c.unsent() <= catchBelow {
		l.catchSoon(c.slot)
	}
}

// serveCatchups gives those that catch up what they lack, for a part of a turn. A round is one visit to
// each.
func (l *Loop) serveCatchups() {
	k := &l.catching
	n := len(k.ready)
	if n == 0 || l.output.pending {
		return
	}
	i, bytes, deadline := 0, 0, l.engine.Now()+catchTime
	for ; i < n && bytes < catchBytes; i++ {
		if i%16 == 15 && l.engine.Now() >= deadline {
			break
		}
		slot := k.ready[i]
		if r := k.conns[slot]; r != nil {
			r.ready = false
			bytes += l.catchUp(l.at(slot), r)
		}
	}
	k.ready = k.ready[:copy(k.ready, k.ready[i:])]
}

// catchUp gives c some of what it lacks, and returns how many bytes.
func (l *Loop) catchUp(c *Conn, r *catcher) (bytes int) {
	for i := 0; i < len(r.list) && c.Open(); {
		u := r.list[i]
		if u.posted > 0 {
			if l.mail.position < u.posted {
				l.catchSoon(c.slot) // there is another turn
				i++
				continue
			}
			u.posted = 0
			u.stream.Hear(l.index, u.last)
		}
		if u.next > u.stream.Heard(l.index) && !u.lost { // it has all there is, or waits for the loop to hear of more
			switch {
			case u.next != u.stream.Heard(l.index)+1:
				i++
			case l.engine.history.Known(u.stream):
				l.endCatchup(c, r, i)
			default: // what the topic has had since has passed it by
				u.lost = true
			}
			continue
		}
		if bytes > 0 || c.unsent() > catchBelow {
			l.catchMore(c) // if nothing was queued, no flush brings it back
			break
		}
		bytes += l.replay(c, u)
		if u.stream == nil {
			l.endCatchup(c, r, i)
		}
	}
	return bytes
}

// replay queues the next stretch of a history for c, and returns its bytes. When the topic has no
// history any more, u has no stream afterwards.
func (l *Loop) replay(c *Conn, u *catchup) int {
	e, st := l.engine, u.stream
	v := &l.catching.view
	heard := st.Heard(l.index)
	e.history.Look(v, st, u.next, heard, e.Now(), catchChunk)
	if !v.Known {
		u.lost = u.lost || u.next <= e.history.Last(st)
		lost := u.lost
		u.stream, u.next = e.streamOf([]byte(st.Name())), 1
		if u.stream == nil && lost {
			l.sayGap(c, st.Name())
		}
		return 1 // the next turn goes on with the other stream
	}
	s := span{stream: st, first: u.next, from: max(u.next, v.First), lost: u.lost}
	enc := e.wire[c.dialect].Append
	b := newBlock(catchChunk)
	l.accounts.add(KindUnsent, int64(cap(b.data)))
	ref := l.newRef(b, KindUnsent)
	if (v.First > u.next && u.next <= heard || u.lost) && fault != 104 {
		l.adopt(ref, l.appendGap(b.data, c, st.Name()))
		s.lead = uint32(len(b.data))
		l.stats.gaps.Add(1)
	}
	u.lost = fault == 103 && s.lead > 0
	u.next = max(u.next, min(v.First, heard+1))
	messages, payload := uint32(0), 0
	for m := v.Read(); m != nil; m = v.Read() {
		p := Push{Route: m.Route, Cmd: m.Cmd, Payload: m.Payload}
		if messages > 0 && len(b.data)+estimate(p) > catchChunk {
			break
		}
		u.next = m.Seq + 1
		if enc == nil {
			continue
		}
		out, err := enc(b.data, p)
		if err != nil {
			l.stats.dropped[inexpressible(err)].Add(1)
			continue
		}
		l.adopt(ref, out)
		messages++
		payload += len(p.Payload)
	}
	s.last = u.next - 1
	size := len(b.data)
	if size == 0 {
		l.releaseRef(ref)
		return 1
	}
	b.span = s
	ref.refs = 0 // enqueue counts the entry
	l.enqueue(c, entry{ref: ref, end: uint32(size), messages: messages, kind: entryPush})
	l.stats.deliveries.Add(uint64(messages))
	l.stats.replayed.Add(uint64(messages))
	l.stats.payloadOut.Add(uint64(payload))
	l.markDirty(c)
	if c.unsent() > l.highWater {
		l.review(c)
		l.weigh(c)
	}
	return size
}

// appendGap appends the push that says that messages of a topic are gone for good, if c has words for
// it.
func (l *Loop) appendGap(dst []byte, c *Conn, name string) []byte {
	d := &l.engine.wire[c.dialect]
	if l.engine.config.Gap == nil || d.Append == nil || d.NoGaps {
		return dst
	}
	out, err := d.Append(dst, l.engine.config.Gap(name))
	if err != nil {
		l.stats.dropped[inexpressible(err)].Add(1)
		return dst
	}
	return out
}

// SayGap tells the client that messages of a topic's history are gone for good, by Config.Gap's push.
// The empty topic stands for all that the client had. It is called on the connection's loop.
func (c *Conn) SayGap(topic string) { c.loop.sayGap(c, topic) }

// sayGap queues that push alone.
func (l *Loop) sayGap(c *Conn, name string) {
	l.stats.gaps.Add(1)
	if !c.Open() {
		return
	}
	dst := c.buffer(256+len(name), entryPush)
	before := len(dst)
	out := l.appendGap(dst, c, name)
	messages := 0
	if len(out) > before {
		messages = 1
	}
	c.commit(out, messages, entryPush)
}

// endCatchup ends the catching up of c's place i: from now on it is as any subscriber.
func (l *Loop) endCatchup(c *Conn, r *catcher, i int) {
	u := r.list[i]
	last := len(r.list) - 1
	r.list[i], r.list[last] = r.list[last], nil
	r.list = r.list[:last]
	l.forgetCatchup(u)
	if _, fresh := l.joins.after[u.join]; !fresh {
		l.shard.Settle(&c.member, u.topic)
	}
	if last == 0 {
		delete(l.catching.conns, c.slot)
		c.flags &^= flagCatching
	}
}

func (l *Loop) forgetCatchup(u *catchup) {
	delete(l.catching.by, u.join)
	l.accounts.add(KindTopics, -catchupSize)
}

// leaveTopic ends c's catching up with a topic that it is about to leave.
func (l *Loop) leaveTopic(c *Conn, name []byte) {
	if c.flags&flagCatching == 0 {
		return
	}
	k, _ := l.engine.topics.Lookup(name)
	u := l.catching.by[join{c.slot, k.ID}]
	if u == nil {
		return
	}
	r := l.catching.conns[c.slot]
	for i := range r.list {
		if r.list[i] == u {
			l.endCatchup(c, r, i)
			return
		}
	}
}

// leaveTopics does so with all topics.
func (l *Loop) leaveTopics(c *Conn) {
	if c.flags&flagCatching == 0 {
		return
	}
	for _, u := range l.catching.conns[c.slot].list {
		l.forgetCatchup(u)
	}
	delete(l.catching.conns, c.slot)
	c.flags &^= flagCatching
}

// missed has c catch up with what of r it does not get.
func (l *Loop) missed(c *Conn, r *run) {
	if st := r.to.stream; st != nil && l.engine.wire[c.dialect].Append != nil {
		l.catchFrom(c, r.to.key.ID, st, r.first)
	}
}

// missedSpans has c catch up with the parts of histories that were dropped from its queue, and drops
// what else of them is queued: it comes again, in order.
func (l *Loop) missedSpans(c *Conn) {
	for len(l.dropped) > 0 {
		s := l.dropped[0]
		for _, other := range l.dropped[1:] {
			if other.stream == s.stream && other.first < s.first {
				s = other
			}
		}
		l.dropped = l.dropped[1:]
		c.dropStream(s.stream) // which adds to the list
		kept := l.dropped[:0]
		for _, other := range l.dropped {
			if other.stream != s.stream {
				kept = append(kept, other)
			}
		}
		l.dropped = kept
		k, ok := l.engine.topics.Lookup([]byte(s.stream.Name()))
		if !ok || !c.member.Has(k.ID) {
			continue
		}
		if u := l.catching.by[join{c.slot, k.ID}]; u != nil && u.stream == s.stream {
			u.next, u.lost = min(u.next, s.first), u.lost || s.lost
		} else if u == nil {
			l.catchFrom(c, k.ID, s.stream, s.first).lost = s.lost
		}
	}
	l.dropped = nil
}
