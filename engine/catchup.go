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
	by      map[join]*catchup
	conns   map[uint32]*catcher // by slot
	ready   []uint32            // slots whose turn comes
	view    topic.View
	waiting map[string]map[join]struct{} // those that wait for the log, by topic
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
	next   uint64 // the message that comes next has this number or a greater one
	lost   bool   // some before next are gone, which was not said yet
	// Once the loop has handled so many messages of its mailbox, it has heard of all up to last; 0: it
	// has.
	posted, last uint64

	// With a Log: see await.go.
	waiting bool
	start   start
	tail    int    // with atTail: so many messages up to upTo, 0: up to where the history begins
	upTo    uint64 // a number of epoch
	asked   uint8  // times that the log was, for what it waits for
	epoch   uint64 // of next
	since   int64  // Mark.At of the position before next, 0: not known
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
	u := &catchup{join: join{c.slot, id}, stream: st, next: next, epoch: st.Epoch()}
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
	l.sentHistory(c)
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
		if l.engine.config.Log != nil {
			switch {
			case u.waiting:
				i++
				continue
			case !l.engine.history.Known(u.stream) && !l.reattach(c, u):
				l.endCatchup(c, r, i)
				continue
			case !l.placed(u):
				i++
				continue
			}
		}
		if u.next > u.stream.Heard(l.index) && !u.lost { // it has all there is, or waits for the loop to hear of more
			switch {
			case u.next != u.stream.Heard(l.index)+1:
				i++
			case l.engine.history.Known(u.stream):
				l.endCatchup(c, r, i)
			case l.engine.config.Log != nil: // it has gone since it was looked at
				l.catchSoon(c.slot)
				i++
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
	switch {
	case !v.Known:
		l.reattach(c, u)
		return 1 // the next turn goes on with the other stream
	case v.Open && u.next < v.First && fault != 111 && u.asked < mostAsked:
		u.asked++
		l.awaitOlder(u, topic.Position{Epoch: st.Epoch(), Seq: u.next - 1}, v.First)
		return 1
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
	u.since = 0
	messages, payload := uint32(0), 0
	end := v.End
	for m := v.Read(); m != nil; m = v.Read() {
		p := Push{Route: m.Route, Cmd: m.Cmd, Payload: m.Payload}
		if messages > 0 && len(b.data)+estimate(p) > catchChunk {
			end = 0
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
	u.next = max(u.next, end)
	s.last = u.next - 1
	if messages > 0 {
		u.asked = 0
	}
	size := len(b.data)
	if size == 0 {
		l.releaseRef(ref)
		return 1
	}
	b.span = s
	ref.refs = 0 // enqueue counts the entry
	l.enqueue(c, entry{ref: ref, end: uint32(size), messages: messages, kind: entryPush})
	l.sentHistory(c)
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

// reattach has u go on with the history that its topic has in place of a forgotten one. It reports
// false when there is none; then u has no stream.
func (l *Loop) reattach(c *Conn, u *catchup) bool {
	e, st := l.engine, u.stream
	name := st.Name()
	u.stream = e.streamOf([]byte(name))
	switch {
	case e.config.Log == nil:
		u.lost = u.lost || u.next <= e.history.Last(st)
		u.next = 1
	case u.stream == nil:
		u.lost = true
	}
	switch {
	case u.stream == nil && u.lost:
		l.sayGap(c, name)
	case u.stream != nil && e.config.Log == nil:
		u.epoch = u.stream.Epoch()
	}
	return u.stream != nil
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
	if u.waiting {
		l.unwait(u)
	}
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
			if sameHistory(other.stream, s.stream) && other.first < s.first {
				s = other
			}
		}
		l.dropped = l.dropped[1:]
		c.dropStream(s.stream) // which adds to the list
		kept := l.dropped[:0]
		for _, other := range l.dropped {
			if !sameHistory(other.stream, s.stream) {
				kept = append(kept, other)
			}
		}
		l.dropped = kept
		k, ok := l.engine.topics.Lookup([]byte(s.stream.Name()))
		if !ok || !c.member.Has(k.ID) {
			continue
		}
		if u := l.catching.by[join{c.slot, k.ID}]; u != nil && u.epoch == s.stream.Epoch() {
			u.next, u.lost, u.since = min(u.next, s.first), u.lost || s.lost, 0
		} else if u == nil {
			l.catchFrom(c, k.ID, s.stream, s.first).lost = s.lost
		}
	}
	l.dropped = nil
}
