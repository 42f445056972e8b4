package engine

import (
	"math"
	"sync"

	"github.com/sluicenet/sluice/topic"
)

// How far all connections are. Where the messages of all topics with history have one order, a position
// in it can say where every connection is that may come back: each has received, as far as TCP tells,
// all that is up to there. When a process dies, it is from there that its clients go on elsewhere.
// Asking each connection would take too long: a loop keeps a list of those that were sent something
// of a history since they were last seen to have received all.

// ReceivedAll is behind all positions: who is there lacks nothing.
var ReceivedAll = topic.Position{Epoch: math.MaxUint64, Seq: math.MaxUint64}

// receipts are a loop's connections that may not have received all of their topics' histories.
type receipts struct {
	on    bool
	slots []uint32 // trail.place says where each is
	cut   uint32   // how often CutTrails was called

	question         *receiptQuestion // nil: all are answered
	next, kept, last int              // of slots: looked at next, kept so far, and where the question ends
}

// A receiptQuestion is AskReceived's.
type receiptQuestion struct {
	upTo topic.Position
	each func(*Conn, topic.Position)
	done func(topic.Position)

	mu   sync.Mutex
	left int // loops
	rest topic.Position
}

const (
	// receiptTime is how many ms a loop looks at connections at a stretch, and receiptGrain after how
	// many it looks at the clock.
	receiptTime  = 1
	receiptGrain = 16
	// maxReceiptEntries is how many entries of a queue are looked at. With more it lacks everything.
	maxReceiptEntries = 1024
	// receiptSize is what a place in receipts.slots costs, in bytes. Each trail counts one, with
	// the room that the list has to spare.
	receiptSize = 8
)

// CutTrails says that what is published from now on is told apart from what was before, in answers to
// AskReceived. It is called a moment before that: else a connection to which something is always on its
// way seems to lack what it received long ago. Any goroutine may call it; it does not block.
func (e *Engine) CutTrails() {
	for _, l := range e.loops {
		l.mailbox.post(message{fn: func(l *Loop) {
			l.watchReceipts()
			l.receipts.cut++
		}, bytes: 64})
	}
}

// AskReceived asks how far the connections of Resumers are. Behind what was published before, each is
// called with those that have not received everything up to a position, and with one up to which they
// have, on their loops. done is called then, on a loop, with a position up to which all others have:
// ReceivedAll if they lack nothing. Positions are those of a log, in one order for all topics. Another
// question ends the one before, whose done is not called then, nor is it when the engine stops. Any
// goroutine may call it; it does not block.
func (e *Engine) AskReceived(upTo topic.Position, each func(c *Conn, at topic.Position), done func(rest topic.Position)) {
	q := &receiptQuestion{upTo: upTo, each: each, done: done, left: len(e.loops), rest: ReceivedAll}
	for _, l := range e.loops {
		l.mailbox.post(message{fn: func(l *Loop) {
			l.watchReceipts()
			l.endQuestion()
			r := &l.receipts
			r.question, r.next, r.kept, r.last = q, 0, 0, len(r.slots)
			l.answerReceipts(q)
		}, bytes: 64})
	}
}

// Received returns a position up to which the connection has received all of its topics' histories,
// ReceivedAll if it lacks nothing. It is called on the connection's loop.
func (c *Conn) Received() topic.Position {
	if c.flags&flagTrail == 0 {
		return ReceivedAll
	}
	return c.loop.receivedBy(c, c.loop.trails[c.slot])
}

// MarksNow is Marks for a connection that goes on. It is called on the connection's loop.
func (c *Conn) MarksNow() []Mark {
	l := c.loop
	l.takeMarks(c)
	marks := l.marks
	l.marks = nil
	return marks
}

// watchReceipts begins to note who is sent something.
func (l *Loop) watchReceipts() {
	if l.receipts.on {
		return
	}
	l.receipts.on = true
	for slot, t := range l.trails {
		if t != nil {
			l.noteSent(uint32(slot), t)
		}
	}
}

// sentHistory notes that something of a history was queued for c.
func (l *Loop) sentHistory(c *Conn) {
	if l.receipts.on && c.flags&flagTrail != 0 {
		if t := l.trails[c.slot]; t.place == 0 {
			l.noteSent(c.slot, t)
		}
	}
}

func (l *Loop) noteSent(slot uint32, t *trail) {
	r := &l.receipts
	r.slots = append(r.slots, slot)
	t.place = int32(len(r.slots))
}

// answerReceipts looks at some of the connections that a question is about.
func (l *Loop) answerReceipts(q *receiptQuestion) {
	r := &l.receipts
	if r.question != q {
		return
	}
	rest, deadline := ReceivedAll, l.engine.Now()+receiptTime
	for n := 1; r.next < r.last; n++ {
		if n%receiptGrain == 0 && l.engine.Now() >= deadline {
			break
		}
		slot := r.slots[r.next]
		r.next++
		c, t := l.at(slot), l.trails[slot]
		if t == nil || int(t.place) != r.next {
			continue // of one that has ended
		}
		t.place = 0
		if c.state != stateOpen {
			continue
		}
		at := l.receivedBy(c, t)
		if at == ReceivedAll {
			continue
		}
		r.slots[r.kept] = slot
		r.kept++
		t.place = int32(r.kept)
		if at.Before(q.upTo) {
			q.tell(l, c, at)
		} else if at.Before(rest) {
			rest = at
		}
	}
	more := r.next < r.last
	if !more {
		l.endQuestion()
	}
	if q.answered(rest, !more) {
		q.done(q.rest)
	}
	if more {
		l.mailbox.postTell(tell{fn: func(*Conn) { l.answerReceipts(q) }})
	}
}

// tell calls each. A panic costs the question its answer.
func (q *receiptQuestion) tell(l *Loop, c *Conn, at topic.Position) {
	ok := false
	defer func() {
		if !ok {
			q.mu.Lock()
			q.left++
			q.mu.Unlock()
		}
	}()
	defer l.caught("receipts")
	q.each(c, at)
	ok = true
}

// answered takes a loop's answer, or a part of it, and reports whether it was the last.
func (q *receiptQuestion) answered(rest topic.Position, whole bool) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if rest.Before(q.rest) {
		q.rest = rest
	}
	if whole {
		q.left--
	}
	return whole && q.left == 0
}

// endQuestion closes the gap between those that were kept and those that were not looked at.
func (l *Loop) endQuestion() {
	r := &l.receipts
	if r.question == nil {
		return
	}
	r.question = nil
	for _, slot := range r.slots[r.next:] {
		t := l.trails[slot]
		r.next++
		if t == nil || int(t.place) != r.next {
			continue
		}
		r.slots[r.kept] = slot
		r.kept++
		t.place = int32(r.kept)
	}
	r.slots = r.slots[:r.kept]
	if c := cap(r.slots); c > 1024 && c > 4*len(r.slots) {
		r.slots = append(make([]uint32, 0, 2*len(r.slots)), r.slots...)
	}
}

// receivedBy is Conn.Received. What has arrived leaves the trail.
func (l *Loop) receivedBy(c *Conn, t *trail) topic.Position {
	at := ReceivedAll
	lower := func(p topic.Position) {
		if p.Before(at) {
			at = p
		}
	}
	if c.flags&flagCatching != 0 {
		for _, u := range l.catching.conns[c.slot].list {
			switch {
			case u.lost || u.stream == nil || u.start != atNext:
				return topic.Position{}
			case u.waiting || u.posted > 0 || u.epoch != u.stream.Epoch() || u.next <= u.stream.Heard(l.index):
				lower(topic.Position{Epoch: u.epoch, Seq: u.next - 1})
			}
		}
	}
	arrived := t.sent - l.unreceived(c)
	t.trim(arrived)
	look := func(s *span, end int64) bool {
		if s.stream == nil || end <= max(arrived, t.begins(s.stream.Name())) {
			return true
		}
		if s.lost {
			at = topic.Position{}
			return false
		}
		lower(topic.Position{Epoch: s.stream.Epoch(), Seq: s.first - 1})
		return true
	}
	for i := range t.list {
		if s := &t.list[i]; !look(&s.span, s.end) {
			return at
		}
	}
	if c.entries() > maxReceiptEntries {
		return topic.Position{}
	}
	end := t.sent
	c.eachEntry(func(en *entry) {
		end += int64(en.end - en.off)
		look(&en.ref.block.span, end)
	})
	return at
}

// trim forgets what has arrived.
func (t *trail) trim(arrived int64) {
	kept := 0
	for kept < len(t.list) && t.list[kept].end <= arrived {
		kept++
	}
	n := copy(t.list, t.list[kept:])
	clear(t.list[n:])
	t.list = t.list[:n]
	t.trimAt = max(trimEvery, 2*n)
}
