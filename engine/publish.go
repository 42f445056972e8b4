package engine

import (
	"errors"
	"time"
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

// A Publisher sends to topics, to clients and to everybody, on behalf of one source: a loop or a
// goroutine. Messages to one topic are delivered in order, and exactly once to each subscriber that
// keeps up; so is all that one outside the loops sends to a client, whichever way. A Publisher must
// not be used by two goroutines at a time.
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
	pb.stats().publishes.Add(1)
	to := audience{kind: subscribersOf, name: name}
	if (from == nil || from.flags&flagParked == 0) && pb.extend(&to, p) {
		return nil
	}
	var ok bool
	if to.key, ok = pb.engine.topics.Lookup(name); !ok {
		return nil // nobody listens
	}
	r := pb.newRun(&to, p)
	if from != nil && pb.loop.poller >= 0 {
		gen := from.gen
		if !pb.brief(&r.to, from) && from.gen == gen && from.state == stateOpen {
			pb.loop.park(r, from)
			return nil
		}
	}
	return pb.begin(r)
}

// Broadcast adds p to the run under way or begins a new one, for every client of every protocol, as
// Publish does for a topic's subscribers.
func (pb *Publisher) Broadcast(p Push) error { return pb.address(&audience{kind: everyClient}, p) }

// Multicast begins a run for the connections that refs names: one named twice gets p twice. refs
// and p's slices may be used again when it returns. Nothing is delivered before Flush. A connection
// that is gone, or is no client yet, is counted, not an error.
func (pb *Publisher) Multicast(refs []Ref, p Push) error {
	return pb.address(&audience{kind: theseConns, refs: refs}, p)
}

func (pb *Publisher) address(to *audience, p Push) error {
	if pb.extend(to, p) {
		return nil
	}
	return pb.begin(pb.newRun(to, p))
}

// extend adds p to the run under way, if that is for the same audience and has room.
func (pb *Publisher) extend(to *audience, p Push) bool {
	r := pb.open
	if r == nil || !to.extends(&r.to) || r.alone || r.bytes+estimate(p) > pb.engine.maxRun ||
		!pb.engine.live(&r.to) || pb.engine.dialects(&r.to) != r.mask {
		return false
	}
	pb.append(r, p)
	return true
}

// newRun makes a run that holds p. It keeps nothing of to's.
func (pb *Publisher) newRun(to *audience, p Push) *run {
	r := runs.Get().(*run)
	r.to.set(to)
	r.mask, r.bytes, r.payload, r.alone = pb.engine.dialects(to), 0, 0, false
	pb.append(r, p)
	return r
}

// begin makes r, which is new, the run under way, once it may go.
func (pb *Publisher) begin(r *run) error {
	var err error
	if r.alone, err = pb.await(&r.to, r.bytes); err != nil {
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

// estimate is no less than p's size in any dialect, in bytes.
func estimate(p Push) int { return len(p.Payload) + len(p.Route) + overhead }

// append encodes p into r, once per dialect.
func (pb *Publisher) append(r *run, p Push) {
	estimate := estimate(p)
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

// await waits until the loops that a run for to goes through can take it. hurried means that a
// receiver would have liked more time.
func (pb *Publisher) await(to *audience, bytes int) (hurried bool, err error) {
	return pb.awaitRoom(bytes, func() (full, slow bool) { return pb.look(to) })
}

// brief waits a moment for whatever is in the way of a run for to: nearly always that is all it
// takes. It reports false when it takes longer, or when from has something parked already.
func (pb *Publisher) brief(to *audience, from *Conn) bool {
	l := pb.loop
	if from.flags&flagParked != 0 || l.spent {
		return false
	}
	full, slow := pb.look(to)
	if !full && !slow && !l.behind {
		return true
	}
	pb.stats().waits.Add(1)
	now := pb.engine.Now()
	begun := now
	for deadline := now + l.waitLeft; (full || slow || l.behind) && now < deadline && !l.spent; {
		if !l.help() {
			pb.engine.system.sleep(50 * time.Microsecond)
		}
		now = pb.engine.Now()
		full, slow = pb.look(to)
	}
	l.waitLeft -= now - begun
	return !full && !slow && !l.behind
}

// look says whether a mailbox that a run for to goes through is full, and whether a receiver asks
// for time or the gateway as a whole holds too much. The clock is read only if it matters.
func (pb *Publisher) look(to *audience) (full, slow bool) {
	e := pb.engine
	slow = e.backlog.Load() > e.config.BacklogSoft
	for _, l := range e.loops {
		if !l.reaches(to) {
			continue
		}
		full = full || l != pb.loop && l.mailbox.full()
		slow = slow || l.asked(to)
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
			pb.engine.system.sleep(pause)
			pause = min(2*pause, time.Millisecond)
		} else if !pb.loop.help() {
			pb.engine.system.sleep(50 * time.Microsecond)
		}
		now = e.Now()
		full, slow = look()
	}
	return false, nil
}

// Flush passes the run under way on to the loops that its audience is on.
func (pb *Publisher) Flush() {
	r := pb.open
	if r == nil {
		return
	}
	pb.open = nil
	e := pb.engine
	var loops [maxLoops / 64]uint64
	n := int32(0)
	for i, l := range e.loops {
		if l.reaches(&r.to) {
			loops[i/64] |= 1 << (i % 64)
			n++
		}
	}
	if n == 0 || !e.live(&r.to) {
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
		if !l.mailbox.post(message{run: r, bytes: r.cost()}) {
			e.abandon(r)
		}
	}
	if own {
		pb.loop.deliverRun(r)
		pb.loop.settle()
	}
}
