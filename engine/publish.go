package engine

import (
	"errors"
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
func (pb *Publisher) Publish(name []byte, p Push) error { return pb.publish(name, p, nil) }

// publish is Publish on behalf of from, a connection of pb's loop, or nil.
func (pb *Publisher) publish(name []byte, p Push, from *Conn) error {
	e := pb.engine
	pb.stats().publishes.Add(1)
	estimate := len(p.Payload) + len(p.Route) + overhead
	if r := pb.open; r != nil && (from == nil || from.flags&flagParked == 0) &&
		string(r.name) == string(name) && !r.alone && r.bytes+estimate <= e.maxRun &&
		e.topics.Live(r.key) && e.topics.Dialects(r.key) == r.mask {
		pb.append(r, p, estimate)
		return nil
	}
	key, ok := e.topics.Lookup(name)
	if !ok {
		return nil // nobody listens
	}
	r := runs.Get().(*run)
	r.key, r.mask, r.bytes, r.payload, r.alone = key, e.topics.Dialects(key), 0, 0, false
	// Copied before waiting: helping may close the connection p was read from.
	r.name = append(r.name[:0], name...)
	pb.append(r, p, estimate)
	if from != nil && pb.loop.epoll >= 0 {
		gen := from.gen
		if !pb.brief(key, from) && from.gen == gen && from.state == stateOpen {
			pb.loop.park(r, from)
			return nil
		}
	}
	var err error
	if r.alone, err = pb.await(key, estimate); err != nil {
		pb.stats().dropped[DropMailboxFull].Add(1)
		pb.recycle(r)
		return err
	}
	pb.Flush() // what was open goes first
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
func (pb *Publisher) await(key topic.Key, bytes int) (hurried bool, err error) {
	return pb.awaitRoom(bytes, func() (full, slow bool) { return pb.look(key) })
}

// brief waits a moment for whatever is in the way of a run for key: nearly always that is all it
// takes. It reports false when it takes longer, or when from has something parked already.
func (pb *Publisher) brief(key topic.Key, from *Conn) bool {
	l := pb.loop
	if from.flags&flagParked != 0 || l.spent {
		return false
	}
	full, slow := pb.look(key)
	if !full && !slow && !l.behind {
		return true
	}
	pb.stats().waits.Add(1)
	now := pb.engine.Now()
	begun := now
	for deadline := now + l.waitLeft; (full || slow || l.behind) && now < deadline && !l.spent; {
		if !l.help() {
			time.Sleep(50 * time.Microsecond)
		}
		now = pb.engine.Now()
		full, slow = pb.look(key)
	}
	l.waitLeft -= now - begun
	return !full && !slow && !l.behind
}

// look says whether a mailbox that a run for key goes through is full, and whether a subscriber
// asks for time or the gateway as a whole holds too much. The clock is read only if it matters.
func (pb *Publisher) look(key topic.Key) (full, slow bool) {
	e := pb.engine
	slow = e.backlog.Load() > e.config.BacklogSoft
	for i, l := range e.loops {
		if e.topics.Subscribers(key, i) == 0 {
			continue
		}
		full = full || l != pb.loop && l.mailbox.full()
		slow = slow || e.topics.Held(key, i) > 0 && e.Now() < l.heldUntil.Load()
	}
	return full, slow
}

// awaitRoom waits while look says that a mailbox is full or a subscriber asks for time: at most
// longestWait, but for a full mailbox as long as it takes when pb is patient.
func (pb *Publisher) awaitRoom(bytes int, look func() (full, slow bool)) (hurried bool, err error) {
	e := pb.engine
	full, slow := look()
	if !full && !slow {
		return false, nil
	}
	pb.stats().waits.Add(1)
	now := e.Now()
	begun, pause := now, 50*time.Microsecond
	for full || slow {
		switch {
		case e.stopping.Load():
			return false, ErrStopped
		case now < begun+e.longestWait(bytes):
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
		full, slow = look()
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
