package engine

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicenet/sluice/topic"
)

// Errors of a publish or a push.
var (
	// ErrBusy means that a loop took nothing for 1 s: the message was not sent to anybody.
	ErrBusy = errors.New("engine: the gateway is busy")
	// ErrStopped means that the engine is stopping.
	ErrStopped = errors.New("engine: stopped")
)

// A run is what loops pass on: publishes that followed one another to one topic, encoded back to
// back, once per dialect.
type run struct {
	key     topic.Key
	name    []byte // of the topic
	blocks  [MaxDialects]*block
	counts  [MaxDialects]uint32 // messages in each block
	mask    uint32              // the dialects in blocks
	refs    atomic.Int32        // loops that have yet to deliver it
	alone   bool                // it was let through in spite of a slow subscriber: one message only
	bytes   int                 // of the longest block
	payload int                 // bytes of the messages' payloads, without what dialects add
}

var runs = sync.Pool{New: func() any { return new(run) }}

const (
	// maxRun bounds a run in bytes, so that no loop is busy with one for long.
	maxRun = 64 << 10
	// firstBlock is what a run starts with; it moves to a bigger block as it grows.
	firstBlock = 1 << 10
	// overhead is more than any dialect adds to a push's payload and route.
	overhead = 64
)

// A Publisher sends to topics on behalf of one source: a loop or a goroutine. Messages to one
// topic are delivered in order, and exactly once to each subscriber that keeps up. A Publisher
// must not be used by two goroutines at a time.
type Publisher struct {
	engine *Engine
	loop   *Loop // nil for a goroutine outside the loops
	// patient publishers wait for room in a mailbox for as long as it takes.
	patient bool

	open *run
}

// NewPublisher makes a Publisher for a goroutine that may block, such as the reader of a worker's
// link: it waits until there is room, and so slows its source down. Do not use it on a loop.
func (e *Engine) NewPublisher() *Publisher { return &Publisher{engine: e, patient: true} }

// Publish adds p to the run under way or begins a new one. p's slices may be used again when it
// returns. Nothing is delivered before Flush; a loop flushes its own Publisher.
func (pb *Publisher) Publish(name []byte, p Push) error {
	e := pb.engine
	pb.stats().publishes.Add(1)
	estimate := len(p.Payload) + len(p.Route) + overhead
	if r := pb.open; r != nil {
		if string(r.name) == string(name) && !r.alone && r.bytes+estimate <= e.maxRun &&
			e.topics.Live(r.key) && e.topics.Dialects(r.key) == r.mask {
			pb.append(r, p, estimate)
			return nil
		}
		pb.Flush()
	}
	key, ok := e.topics.Lookup(name)
	if !ok {
		return nil // nobody listens
	}
	r := runs.Get().(*run)
	r.key, r.mask, r.bytes, r.payload = key, e.topics.Dialects(key), 0, 0
	// Copied before waiting: helping may close the connection p was read from.
	r.name = append(r.name[:0], name...)
	pb.append(r, p, estimate)
	var err error
	if r.alone, err = pb.await(key); err != nil {
		pb.stats().dropped[DropMailboxFull].Add(1)
		pb.recycle(r)
		return err
	}
	if pb.open != nil {
		// Waiting helped a connection that published: its run goes first.
		pb.Flush()
	}
	pb.open = r
	return nil
}

func (pb *Publisher) stats() *loopStats {
	if pb.loop != nil {
		return pb.loop.stats
	}
	return &pb.engine.outside
}

// append encodes p into r, once per dialect.
func (pb *Publisher) append(r *run, p Push, estimate int) {
	r.payload += len(p.Payload)
	for d, mask := 0, r.mask; mask != 0; d, mask = d+1, mask>>1 {
		if mask&1 == 0 {
			continue
		}
		enc := pb.engine.config.Dialects[d].Append
		if enc == nil {
			continue
		}
		b := r.blocks[d]
		if b == nil {
			b = newBlock(max(estimate, firstBlock))
			pb.account(int64(cap(b.data)))
			r.blocks[d] = b
		} else if len(b.data)+estimate > cap(b.data) {
			bigger := newBlock(2 * (len(b.data) + estimate))
			bigger.data = append(bigger.data, b.data...)
			pb.account(int64(cap(bigger.data)))
			pb.account(-b.release())
			b = bigger
			r.blocks[d] = b
		}
		out, err := enc(b.data, p)
		if err != nil {
			pb.stats().dropped[DropTooLong].Add(1)
			pb.engine.log.Debug("push not expressible", "dialect", pb.engine.config.Dialects[d].Name, "err", err)
			continue
		}
		if cap(out) != cap(b.data) {
			pb.account(int64(cap(out) - cap(b.data)))
			b.class = -1
		}
		b.data = out
		r.counts[d]++
		r.bytes = max(r.bytes, len(out))
	}
}

func (pb *Publisher) account(n int64) {
	if pb.loop != nil {
		pb.loop.backlogDelta += n
	} else {
		pb.engine.backlog.Add(n)
	}
}

// await waits until the loops that have subscribers of key can take a run. hurried means that
// a subscriber would have liked more time.
func (pb *Publisher) await(key topic.Key) (hurried bool, err error) {
	e := pb.engine
	return pb.awaitRoom(func(now int64) (full, slow bool) {
		slow = e.backlog.Load() > e.config.BacklogSoft
		for i, l := range e.loops {
			if e.topics.Subscribers(key, i) == 0 {
				continue
			}
			full = full || l != pb.loop && l.mailbox.full()
			slow = slow || e.topics.Held(key, i) > 0 && now < l.heldUntil.Load()
		}
		return full, slow
	})
}

// awaitRoom waits while look says that a mailbox is full or a subscriber asks for time: at most
// publishWait, but for a full mailbox as long as it takes when pb is patient.
func (pb *Publisher) awaitRoom(look func(now int64) (full, slow bool)) (hurried bool, err error) {
	e := pb.engine
	now := e.Now()
	full, slow := look(now)
	if !full && !slow {
		return false, nil
	}
	pb.stats().waits.Add(1)
	begun, pause := now, 50*time.Microsecond
	for full || slow {
		switch {
		case e.stopping.Load():
			return false, ErrStopped
		case now < begun+publishWait:
		case !full:
			return true, nil
		case !pb.patient && now >= begun+mailboxWait:
			return false, ErrBusy
		}
		if pb.loop == nil {
			time.Sleep(pause)
			pause = min(2*pause, time.Millisecond)
		} else if !pb.loop.help() {
			time.Sleep(50 * time.Microsecond)
		}
		now = e.Now()
		full, slow = look(now)
	}
	return false, nil
}

// Flush passes the run under way on to the loops that have subscribers.
func (pb *Publisher) Flush() {
	r := pb.open
	if r == nil {
		return
	}
	pb.open = nil
	e := pb.engine
	var loops [maxLoops / 64]uint64
	n := int32(0)
	for i := range e.loops {
		if e.topics.Subscribers(r.key, i) > 0 {
			loops[i/64] |= 1 << (i % 64)
			n++
		}
	}
	if n == 0 || r.bytes == 0 || !e.topics.Live(r.key) {
		pb.recycle(r)
		return
	}
	r.refs.Store(n)
	for _, b := range r.blocks {
		if b != nil {
			b.shared.Store(n)
		}
	}
	own := false
	for i, l := range e.loops {
		if loops[i/64]&(1<<(i%64)) == 0 {
			continue
		}
		if l == pb.loop {
			own = true
			continue
		}
		if !l.mailbox.post(message{run: r, bytes: uint32(r.bytes)}) {
			e.abandon(r)
		}
	}
	if own {
		pb.loop.deliverRun(r)
		pb.loop.settle()
	}
}

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

// deliverRun queues a run for the loop's subscribers.
func (l *Loop) deliverRun(r *run) {
	var holds [MaxDialects]*hold
	outer := l.walking
	l.walking = true
	delivered, reached := uint64(0), uint64(0)
	for _, s := range l.shard.Subscribers(r.key) {
		c := l.at(s.Slot)
		b := r.blocks[c.dialect]
		if b == nil || len(b.data) == 0 || c.flags&flagDoomed != 0 {
			continue
		}
		n := r.counts[c.dialect]
		size := uint32(len(b.data))
		if c.queued+size > l.quarter && !l.admit(c, size, n) {
			continue
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
	}
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

// Send queues p for one connection, behind what this Publisher published. p's slices may be used
// again when it returns. A connection that is gone, or is no client yet, is counted, not an error.
func (pb *Publisher) Send(ref Ref, p Push) error {
	pb.Flush()
	e := pb.engine
	if ref.loop() >= len(e.loops) || ref == 0 {
		pb.stats().dropped[DropNotConnected].Add(1)
		return nil
	}
	l := e.loops[ref.loop()]
	if l == pb.loop {
		if c := l.Conn(ref); c != nil {
			l.push(c, p)
		} else {
			l.stats.dropped[DropNotConnected].Add(1)
		}
		return nil
	}
	return pb.post(l, message{ref: ref, block: pb.copy(p), route: p.Route, cmd: p.Cmd, bytes: uint32(len(p.Payload))})
}

// Broadcast queues p for every client of every protocol, behind what this Publisher published.
func (pb *Publisher) Broadcast(p Push) error {
	pb.Flush()
	var failed error
	for _, l := range pb.engine.loops {
		if l == pb.loop {
			l.broadcast(p)
			continue
		}
		m := message{block: pb.copy(p), route: p.Route, cmd: p.Cmd, bytes: uint32(len(p.Payload))}
		if err := pb.post(l, m); err != nil {
			failed = err
		}
	}
	return failed
}

// Mail has m called on the loop of ref with a, b and a copy of payload, behind what this Publisher
// sent there. It is Do without an allocation.
func (pb *Publisher) Mail(ref Ref, m Mail, a uint32, b int32, payload []byte) error {
	pb.Flush()
	if ref.loop() >= len(pb.engine.loops) {
		return nil
	}
	l := pb.engine.loops[ref.loop()]
	if l == pb.loop {
		m.OnMail(l.Conn(ref), a, b, payload)
		return nil
	}
	return pb.post(l, message{mail: m, ref: ref, a: a, b: b, block: pb.copy(Push{Payload: payload}), bytes: uint32(len(payload))})
}

// Do runs fn on the loop of ref, behind what this Publisher sent there, with the connection or,
// when it is gone, with nil. fn must not publish.
func (pb *Publisher) Do(ref Ref, fn func(*Conn)) error {
	pb.Flush()
	if ref.loop() >= len(pb.engine.loops) {
		return nil
	}
	l := pb.engine.loops[ref.loop()]
	if l == pb.loop {
		fn(l.Conn(ref))
		return nil
	}
	return pb.post(l, message{fn: func(l *Loop) { fn(l.Conn(ref)) }, bytes: 64})
}

// DoEach runs fn on every loop, behind what this Publisher sent there. fn must not publish.
func (pb *Publisher) DoEach(fn func(*Loop)) error {
	pb.Flush()
	var failed error
	for _, l := range pb.engine.loops {
		if l == pb.loop {
			fn(l)
		} else if err := pb.post(l, message{fn: fn, bytes: 64}); err != nil {
			failed = err
		}
	}
	return failed
}

func (pb *Publisher) copy(p Push) *block {
	b := newBlock(len(p.Payload))
	b.data = append(b.data, p.Payload...)
	pb.account(int64(cap(b.data)))
	return b
}

// post waits for room in l's mailbox as Publish does, then posts m.
func (pb *Publisher) post(l *Loop, m message) error {
	_, err := pb.awaitRoom(func(int64) (full, slow bool) {
		return l.mailbox.full(), pb.engine.backlog.Load() > pb.engine.config.BacklogSoft
	})
	if err == nil && !l.mailbox.post(m) {
		err = ErrStopped
	}
	if err != nil {
		if m.block != nil {
			pb.account(-m.block.release())
		}
		pb.stats().dropped[DropMailboxFull].Add(1)
	}
	return err
}

// push queues p for one connection.
func (l *Loop) push(c *Conn, p Push) {
	if c.state != stateOpen || c.flags&flagTagged == 0 {
		l.stats.dropped[DropNotConnected].Add(1)
		return
	}
	enc := l.engine.config.Dialects[c.dialect].Append
	if enc == nil {
		return
	}
	size := len(p.Payload) + len(p.Route) + overhead
	if c.queued+uint32(size) > l.quarter && !l.admit(c, uint32(size), 1) {
		return
	}
	dst := c.Buffer(size)
	out, err := enc(dst, p)
	if err != nil {
		c.Commit(dst, 0)
		l.stats.dropped[DropTooLong].Add(1)
		return
	}
	c.Commit(out, 1)
	l.stats.deliveries.Add(1)
	l.stats.payloadOut.Add(uint64(len(p.Payload)))
	if c.flags&flagBlocked != 0 {
		l.review(c)
	}
}

// deliverBlock queues a push posted by another goroutine, for one connection or for all.
func (l *Loop) deliverBlock(m *message) {
	p := Push{Route: m.route, Cmd: m.cmd, Payload: m.block.data}
	if m.mail != nil {
		m.mail.OnMail(l.Conn(m.ref), m.a, m.b, m.block.data)
	} else if m.ref != 0 {
		if c := l.Conn(m.ref); c != nil {
			l.push(c, p)
		} else {
			l.stats.dropped[DropNotConnected].Add(1)
		}
	} else {
		l.broadcast(p)
	}
	l.backlogDelta -= m.block.release()
	m.block = nil
}

// broadcast queues p for every client of the loop, encoded once per dialect.
func (l *Loop) broadcast(p Push) {
	var blocks [MaxDialects]*hold
	l.Each(func(c *Conn) {
		enc := l.engine.config.Dialects[c.dialect].Append
		if enc == nil {
			return
		}
		h := blocks[c.dialect]
		if h == nil {
			b := newBlock(len(p.Payload) + len(p.Route) + overhead)
			l.backlogDelta += int64(cap(b.data))
			h = l.newHold(b)
			blocks[c.dialect] = h
			if out, err := enc(b.data, p); err == nil {
				l.adopt(b, out)
			}
		}
		size := uint32(len(h.block.data))
		if size == 0 {
			l.stats.dropped[DropTooLong].Add(1)
			return
		}
		if c.queued+size > l.quarter && !l.admit(c, size, 1) {
			return
		}
		l.pushEntry(c, entry{hold: h, end: size, messages: 1})
		l.stats.deliveries.Add(1)
		l.stats.payloadOut.Add(uint64(len(p.Payload)))
		l.touch(c)
		if c.flags&flagBlocked != 0 {
			l.review(c)
		}
	})
	for _, h := range blocks {
		if h != nil {
			l.unhold(h)
		}
	}
}
