package engine

import (
	"context"
	"errors"

	"github.com/sluicenet/sluice/topic"
)

// Errors of an Engine's methods and of package server's.
var (
	// ErrBusy means that there is no room for a message from a caller that must not wait, as for
	// server.Server.Send in a handler: nobody gets it. A Publisher waits instead.
	ErrBusy = errors.New("engine: the gateway is busy")
	// ErrTooMany means that there are Limits.MaxConnections connections, so that Attach makes no other.
	ErrTooMany = errors.New("engine: too many connections")
	// ErrStopped means that the engine is stopping, has stopped, or was not started.
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

// A Publisher sends to topics, to clients and to everybody, on behalf of one source: a loop's clients
// or a goroutine. Messages to one topic are delivered in order, and exactly once to each subscriber
// that keeps up; so is all that one outside the loops sends to a client, whichever way. A message
// takes effect when it is flushed. A Publisher must not be used by two goroutines at a time.
type Publisher struct {
	engine *Engine
	loop   *Loop // nil for a goroutine outside the loops
	// local publishers send to no subscribers elsewhere; roomOnly ones wait for room in the mailboxes
	// and not for the crowd.
	local, roomOnly bool

	open *run
	debt debt // of a goroutine; a loop's clients have their own
	ctx  context.Context
	one  [1]Ref                      // the list of a Send
	at   topic.Position              // of the last message that a topic's history has got
	done func(topic.Position, error) // of the message that is published, if the log gets it
}

// NewPublisher makes a Publisher for a goroutine that may block, such as the reader of a worker's
// link: it waits until there is room, and so slows its source down. Do not use it on a loop.
func (e *Engine) NewPublisher() *Publisher { return &Publisher{engine: e} }

// NewLocalPublisher is NewPublisher for a source that publishes to subscribers elsewhere by itself:
// nothing of its goes to the Remote, nor to the Log: with one, it is not in a topic's history.
func (e *Engine) NewLocalPublisher() *Publisher { return &Publisher{engine: e, local: true} }

// Publish adds p to the run under way or begins a new one. p's slices may be used again when it
// returns. Nothing is delivered before Flush. The error is ErrStopped or a LogError.
func (pb *Publisher) Publish(name []byte, p Push) error {
	pb.stats().publishes.Add(1)
	to := audience{kind: subscribersOf, name: name}
	if pb.done == nil && pb.extend(&to, p) {
		return nil
	}
	if !pb.aim(&to) {
		return nil // nobody listens
	}
	if to.logged {
		if err := pb.refused(); err != nil {
			return err
		}
	}
	r := pb.newRun(&to, p)
	r.done = pb.done
	return pb.begin(r)
}

// PublishContext is Publish and Flush, but waits for no longer than ctx lasts: then the error is the
// context's, and nobody gets the message. With a Log, it waits until a topic's history has it; when the
// context ends meanwhile it may get there yet. Else the error is Publish's.
func (pb *Publisher) PublishContext(ctx context.Context, name []byte, p Push) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	pb.Flush()
	_, _, err := pb.publishAt(ctx, name, p)
	return err
}

// Broadcast adds p to the run under way or begins a new one, for every client of every protocol, as
// Publish does for a topic's subscribers. The error is ErrStopped.
func (pb *Publisher) Broadcast(p Push) error { return pb.address(&audience{kind: everyClient}, p) }

// Multicast begins a run for the connections that refs names: one named twice gets p twice. refs
// and p's slices may be used again when it returns. Nothing is delivered before Flush. A connection
// that is gone, or is no client yet, is counted, not an error: that is ErrStopped.
func (pb *Publisher) Multicast(refs []Ref, p Push) error {
	return pb.address(&audience{kind: theseConns, refs: refs}, p)
}

func (pb *Publisher) address(to *audience, p Push) error {
	if pb.extend(to, p) {
		return nil
	}
	to.asked = pb.engine.Now()
	return pb.begin(pb.newRun(to, p))
}

// aim finds out where messages to a topic go, given its name. It reports false when nobody listens.
func (pb *Publisher) aim(to *audience) bool {
	e := pb.engine
	to.asked = e.Now()
	var here bool
	to.key, here = e.topics.Lookup(to.name)
	switch {
	case e.config.Log == nil:
		to.stream = e.streamOf(to.name)
	case !pb.local && e.history.Keeps(to.name):
		to.logged = true
		return true
	}
	if r := e.config.Remote; r != nil && !pb.local {
		to.changes = r.Changes() // first: what becomes true behind it shows in the next message
		to.remote = r.Reaches(to.name, to.asked)
	}
	return here || to.stream != nil || to.remote
}

// extend adds p to the run under way, if that is for the same audience and has room.
func (pb *Publisher) extend(to *audience, p Push) bool {
	r := pb.open
	if r == nil || !to.extends(&r.to) || r.bytes+estimate(p) > pb.engine.maxRun || !pb.holds(r) {
		return false
	}
	pb.append(r, p)
	return true
}

// holds reports whether r is still for everybody whom its audience has.
func (pb *Publisher) holds(r *run) bool {
	e := pb.engine
	if remote := e.config.Remote; remote != nil && !pb.local && r.to.kind == subscribersOf && r.to.changes != remote.Changes() {
		return false
	}
	switch {
	case r.to.stream != nil || r.to.logged || fault == 3:
	case r.to.remote && r.to.key == topic.Key{}: // for those elsewhere alone
		if _, here := e.topics.Lookup(r.to.name); here {
			return false
		}
	case !e.live(&r.to):
		return false
	}
	return e.dialects(&r.to) == r.mask
}

// newRun makes a run that holds p. It keeps nothing of to's.
func (pb *Publisher) newRun(to *audience, p Push) *run {
	r := runs.Get().(*run)
	r.to.set(to)
	r.mask, r.bytes, r.payload, r.messages, r.first = pb.engine.dialects(to), 0, 0, 0, 0
	pb.append(r, p)
	return r
}

// begin makes r, which is new, the run under way, once it may go.
func (pb *Publisher) begin(r *run) error {
	if err := pb.await(&r.to); err != nil {
		pb.stats().dropped[DropMailboxFull].Add(1)
		pb.recycle(r)
		return err
	}
	pb.Flush() // what was open goes first
	pb.open = r
	return nil
}

// publish is Publish on behalf of from, a connection of pb's loop. It does not wait: what may not go
// yet is deferred. The error is a LogError.
func (pb *Publisher) publish(name []byte, p Push, from *Conn) error {
	l := pb.loop
	l.stats.publishes.Add(1)
	to := audience{kind: subscribersOf, name: name}
	if from.flags&flagDeferred == 0 && pb.extend(&to, p) {
		return nil
	}
	if !pb.aim(&to) {
		return nil // nobody listens
	}
	if to.logged {
		if err := pb.refused(); err != nil {
			return err
		}
	}
	if from.flags&flagDeferred == 0 && !l.output.pending {
		s := pb.see(&to)
		w := wait{begun: to.asked}
		if !s.full && !s.elsewhere && w.mayGo(&s, l.deferred.debt(from.Ref()), w.begun) {
			pb.Flush()
			pb.open = pb.newRun(&to, p)
			return nil
		}
	}
	l.deferPublish(pb.newRun(&to, p), from)
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
	r.messages++
	for d, mask := 0, r.mask; mask != 0; d, mask = d+1, mask>>1 {
		if mask&1 == 0 {
			continue
		}
		enc := pb.engine.wire[d].Append
		if enc == nil {
			continue
		}
		b := r.blocks[d]
		if b == nil {
			b = newBlock(max(estimate, firstBlock))
			b.born = r.to.asked
			pb.account(KindShared, int64(cap(b.data)))
			r.blocks[d] = b
		} else if len(b.data)+estimate > cap(b.data) {
			bigger := newBlock(2 * (len(b.data) + estimate))
			bigger.data = append(bigger.data, b.data...)
			bigger.born = b.born
			pb.account(KindShared, int64(cap(bigger.data)))
			pb.account(KindShared, -b.release())
			b = bigger
			r.blocks[d] = b
		}
		out, err := enc(b.data, p)
		if err != nil {
			pb.stats().dropped[inexpressible(err)].Add(1)
			pb.engine.log.Debug("push not expressible", "dialect", pb.engine.wire[d].Name, "err", err)
			continue
		}
		if cap(out) != cap(b.data) {
			pb.account(KindShared, int64(cap(out)-cap(b.data)))
			b.class = -1
		}
		b.data = out
		r.counts[d]++
		r.bytes = max(r.bytes, len(out))
	}
	if r.to.stream != nil || r.to.remote || r.to.logged {
		pb.keep(r, p)
	}
}

func (pb *Publisher) account(k Kind, n int64) {
	if pb.loop != nil {
		pb.loop.accounts.add(k, n)
	} else {
		pb.engine.Charge(k, n)
	}
}

// Flush passes the run under way on to the loops that its audience is on. A loop flushes its own
// Publisher.
func (pb *Publisher) Flush() {
	r := pb.open
	if r == nil {
		return
	}
	pb.open = nil
	e := pb.engine
	if r.to.logged {
		e.config.Log.Append(r.to.name, r.kept.data, r.messages, r.done)
		pb.recycle(r)
		return
	}
	if r.to.remote {
		e.config.Remote.Publish(r.to.name, r.kept.data, r.messages)
	}
	if r.to.stream != nil && pb.flushHistory(r) {
		return
	}
	pb.dropKept(r)
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
		pb.loop.deliverRun(r, 0)
	}
}
