package engine

import (
	"slices"
	"unsafe"

	"github.com/sluicenet/sluice/topic"
)

// Where a connection is in the histories of its topics. The loop knows what it has queued for it; what
// of that has arrived says TCP, in bytes: what the peer has not acknowledged counts as not received. A
// trail says which messages those bytes were.

// A Mark says where in a topic's history a connection is, or was when it ended.
type Mark struct {
	Topic string
	topic.Position
	// At is a time, in unix ms: messages with greater numbers were published later. 0: not known. It
	// is for a Log, which can tell by it that nothing is gone.
	At int64
	// Last says of a connection that has received nothing yet, and has asked for the last so many
	// messages, that those up to the Position are to come, too: see SubscribeLast.
	Last int
}

// A Resumer is a Handler whose client may come back, and then wants what it has missed: its
// connection's place in the histories of its topics is known when it ends. See Conn.Marks.
type Resumer interface {
	// Resumable reports whether its client may come back as far as is known now. It is called on the
	// connection's loop, when the connection subscribes to a topic with history.
	Resumable() bool
}

// A span is messages of a topic with history, one behind the other in a block.
type span struct {
	stream *topic.Stream // nil: the block has none
	first  uint64        // what the span stands for begins here: a bound
	from   uint64        // and its messages here; those from first on are gone, which lead says
	last   uint64        // it stands for all up to there
	lead   uint32        // bytes in front of the messages
	lost   bool          // more is gone than numbers tell
}

// A stretch is a span on its way to a connection.
type stretch struct {
	span
	size int64 // bytes
	end  int64 // where it ends in what was sent to the connection
}

// A trail is what was sent to a connection lately of its topics' histories: at least what its peer
// has not acknowledged.
type trail struct {
	sent   int64 // bytes, since the trail began
	list   []stretch
	trimAt int // length of list at which the system is asked what has arrived
	begun  []beginning
	place  int32  // in receipts.slots, from 1; 0: it is not there
	cut    uint32 // receipts.cut when something was noted last
}

// A beginning is where a subscription begins in what is sent to a connection, when the connection had
// the topic before: what was sent up to there is not of this subscription.
type beginning struct {
	topic string
	at    int64
}

const (
	trailSize   = int64(unsafe.Sizeof(trail{})) + receiptSize
	stretchSize = int64(unsafe.Sizeof(stretch{}))
	begunSize   = int64(unsafe.Sizeof(beginning{}))
	// trimEvery is how many stretches are noted between two questions to the system.
	trimEvery = 32
	// maxStretch is how long a stretch becomes, in bytes, when it takes in the next one.
	maxStretch = 64 << 10
)

func (t *trail) memory() int64 {
	return trailSize + int64(cap(t.list))*stretchSize + int64(cap(t.begun))*begunSize
}

// track begins c's trail.
func (l *Loop) track(c *Conn) {
	if c.flags&flagTrail != 0 {
		return
	}
	c.flags |= flagTrail
	for int(c.slot) >= len(l.trails) {
		l.trails = append(l.trails, nil)
	}
	t := &trail{trimAt: trimEvery}
	l.trails[c.slot] = t
	l.accounts.add(KindUnsent, t.memory())
}

// untrack ends it.
func (l *Loop) untrack(c *Conn) {
	if c.flags&flagTrail != 0 {
		c.flags &^= flagTrail
		l.accounts.add(KindUnsent, -l.trails[c.slot].memory())
		l.trails[c.slot] = nil
	}
}

// begin notes that c has subscribed to a topic just now, if something of it is on its way from before.
func (l *Loop) begin(c *Conn, st *topic.Stream) {
	if c.flags&flagTrail == 0 {
		return
	}
	t := l.trails[c.slot]
	t.begun = slices.DeleteFunc(t.begun, func(b beginning) bool { return b.topic == st.Name() })
	before := slices.ContainsFunc(t.list, func(s stretch) bool { return s.stream.Name() == st.Name() })
	c.eachEntry(func(en *entry) {
		s := &en.ref.block.span
		before = before || s.stream != nil && s.stream.Name() == st.Name()
	})
	if before && fault != 110 {
		was := cap(t.begun)
		t.begun = append(t.begun, beginning{st.Name(), t.sent + int64(c.unsent())})
		l.accounts.add(KindUnsent, int64(cap(t.begun)-was)*begunSize)
	}
}

// begins returns where the subscription to a topic begins in what was sent.
func (t *trail) begins(name string) int64 {
	for _, b := range t.begun {
		if b.topic == name {
			return b.at
		}
	}
	return 0
}

// note adds to c's trail that n bytes are taken off the front of its queue, which still has them.
func (l *Loop) note(c *Conn, n int) {
	t := l.trails[c.slot]
	e, rest := &c.first, 0
	if q := c.queue; q != nil {
		rest = q.head
	}
	for n > 0 {
		left := int(e.end - e.off)
		if n < left {
			t.sent += int64(n)
			return
		}
		n -= left
		t.sent += int64(left)
		if s := &e.ref.block.span; s.stream != nil {
			l.noteStretch(c, t, stretch{span: *s, size: int64(e.end), end: t.sent})
		}
		if n > 0 {
			e = &c.queue.entries[rest]
			rest++
		}
	}
}

func (l *Loop) noteStretch(c *Conn, t *trail, s stretch) {
	if i := len(t.list) - 1; i >= 0 {
		before := &t.list[i]
		if before.stream == s.stream && t.cut == l.receipts.cut && before.end == s.end-s.size && before.last+1 == s.first && s.lead == 0 &&
			!s.lost && s.first == s.from && before.size+s.size <= maxStretch {
			before.last, before.end = s.last, s.end
			before.size += s.size
			return
		}
	}
	t.cut = l.receipts.cut
	if len(t.list) >= t.trimAt {
		t.trim(t.sent - s.size - l.unreceived(c))
	}
	before := cap(t.list)
	t.list = append(t.list, s)
	if grown := cap(t.list) - before; grown > 0 {
		l.accounts.add(KindUnsent, int64(grown)*stretchSize)
	}
}

// unreceived returns how many bytes that were taken off c's queue its peer has not acknowledged. With
// TLS it is as many as they are encrypted, which is a little more.
func (l *Loop) unreceived(c *Conn) int64 {
	n, _ := l.engine.system.unacked(c.fd)
	if t := l.tlsOf(c); t != nil && t.sealed != nil {
		n += len(t.sealed.data) - t.sent
	}
	return int64(n)
}

// Marks returns where the connection is in the histories of its topics, as far as the peer has
// acknowledged. It is for OnClose of a Resumer; the list is the caller's.
func (c *Conn) Marks() []Mark {
	if c.flags&flagTrail == 0 {
		return nil
	}
	return c.loop.marks
}

// takeMarks finds that out.
func (l *Loop) takeMarks(c *Conn) {
	l.marks = nil
	e := l.engine
	if c.flags&flagTrail == 0 || !e.history.On() {
		return
	}
	var names []string
	for _, name := range l.shard.Names(names, &c.member) {
		st := e.streamOf([]byte(name))
		switch {
		case st == nil && e.history.Keeps([]byte(name)): // for want of room: nobody will know what there was
			l.marks = append(l.marks, Mark{Topic: name})
			continue
		case st == nil:
			continue
		}
		e.history.Touch(st, e.Now())
		m := Mark{Topic: name, Position: topic.Position{Epoch: st.Epoch(), Seq: st.Heard(l.index)}, At: e.markedAt()}
		if at, ok := e.restarts.place(l, name); ok {
			m.Position, m.At = at, 0
		}
		k, _ := e.topics.Lookup([]byte(name))
		if u := l.catching.by[join{c.slot, k.ID}]; u != nil {
			switch m.Position, m.At = (topic.Position{Epoch: u.epoch, Seq: u.next - 1}), u.since; {
			case u.lost || u.stream == nil || u.start == atTail && u.epoch == 0: // nobody knows where it has begun
				m.Position = topic.Position{}
			case u.start == atTail:
				m.Position, m.Last = topic.Position{Epoch: u.epoch, Seq: u.upTo}, u.tail
			}
		}
		l.marks = append(l.marks, m)
	}
	if len(l.marks) == 0 {
		return
	}
	t := l.trails[c.slot]
	arrived := t.sent - l.unreceived(c)
	if fault == 107 {
		arrived = t.sent
	}
	found := make(map[string]bool)
	look := func(s *stretch) {
		if s.end <= max(arrived, t.begins(s.stream.Name())) || found[s.stream.Name()] {
			return
		}
		found[s.stream.Name()] = true
		for i := range l.marks {
			if m := &l.marks[i]; m.Topic == s.stream.Name() {
				m.Position, m.At = l.arrivedOf(c, s, min(s.end-arrived, s.size)), 0
			}
		}
	}
	for i := range t.list {
		look(&t.list[i])
	}
	end := t.sent
	if fault == 108 {
		return
	}
	c.eachEntry(func(en *entry) {
		end += int64(en.end - en.off)
		if s := &en.ref.block.span; s.stream != nil {
			look(&stretch{span: *s, size: int64(en.end), end: end})
		}
	})
}

// arrivedOf returns the position behind the last message of s that has arrived whole, when the last
// so many bytes of s have not.
func (l *Loop) arrivedOf(c *Conn, s *stretch, missing int64) topic.Position {
	at := topic.Position{Epoch: s.stream.Epoch(), Seq: s.first - 1}
	enc := l.engine.wire[c.dialect].Append
	switch body := s.size - int64(s.lead); {
	case missing > body && s.lost: // the gap was not told either
		return topic.Position{}
	case missing > body || enc == nil:
		return at
	case missing == body:
		at.Seq = s.from - 1
		return at
	}
	v := new(topic.View)
	l.engine.history.Look(v, s.stream, s.from, s.last, l.engine.Now(), int(maxStretch+maxRun))
	var sizes []int64
	var numbers []uint64
	var scratch []byte
	for m := v.Read(); m != nil; m = v.Read() {
		numbers = append(numbers, m.Seq)
		out, err := enc(scratch[:0], Push{Route: m.Route, Cmd: m.Cmd, Payload: m.Payload})
		if err != nil {
			out = scratch[:0]
		}
		scratch = out
		sizes = append(sizes, int64(len(out)))
	}
	n := len(sizes)
	for n > 0 && (missing > 0 && fault != 109 || missing > sizes[n-1]) {
		n--
		missing -= sizes[n]
	}
	switch {
	case missing <= 0 && n > 0:
		at.Seq = numbers[n-1]
	case missing <= 0 && len(numbers) > 0:
		at.Seq = max(s.from, v.First) - 1
	case v.First > s.from && len(numbers) > 0: // what has not arrived is not kept any more
		at.Seq = max(at.Seq, v.First-2)
	}
	return at
}

// sameHistory reports whether positions in two streams mean the same messages.
func sameHistory(a, b *topic.Stream) bool {
	return a == b || a.Epoch() == b.Epoch() && a.Name() == b.Name()
}

// eachEntry calls f for each entry of c's queue, first to last.
func (c *Conn) eachEntry(f func(*entry)) {
	if c.first.ref == nil {
		return
	}
	f(&c.first)
	if q := c.queue; q != nil {
		for i := q.head; i < len(q.entries); i++ {
			f(&q.entries[i])
		}
	}
}

// DropHistory drops what is queued for the connection of the histories of its topics and was not begun:
// it comes when the session is resumed. It is for OnClose, and for who has kept Marks.
func (c *Conn) DropHistory() {
	if c.flags&flagTrail == 0 {
		return
	}
	c.dropSpans(func(s *span) bool { return s.stream != nil })
	c.loop.dropped = nil
}

// dropStream drops what is queued of a history and was not begun.
func (c *Conn) dropStream(st *topic.Stream) {
	c.dropSpans(func(s *span) bool { return s.stream != nil && sameHistory(s.stream, st) })
}

// dropSpans drops entries of a history that which picks, unless they were sent in part.
func (c *Conn) dropSpans(which func(*span) bool) {
	for c.first.ref != nil && c.flags&flagPartial == 0 && which(&c.first.ref.block.span) {
		c.loop.noteDropped(c, &c.first)
		c.pop()
	}
	q := c.queue
	if q == nil {
		return
	}
	kept := q.entries[:q.head]
	for i := q.head; i < len(q.entries); i++ {
		e := q.entries[i]
		if !which(&e.ref.block.span) {
			kept = append(kept, e)
			continue
		}
		c.loop.noteDropped(c, &e)
		c.unqueue(&e)
	}
	q.keep(kept)
}

// noteDropped remembers what of a history was dropped from c's queue.
func (l *Loop) noteDropped(c *Conn, e *entry) {
	if c.flags&flagTrail != 0 {
		l.trails[c.slot].begun = l.trails[c.slot].begun[:0] // they are elsewhere now
	}
	if s := &e.ref.block.span; s.stream != nil {
		l.dropped = append(l.dropped, *s)
	}
}
