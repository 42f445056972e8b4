package engine

import (
	"sync"
	"sync/atomic"

	"github.com/sluicenet/sluice/topic"
)

// How receivers take what is published, and what becomes of those that do not.
//
// A receiver whose socket is full while more than the high-water mark waits for it is congested:
// publishers may have to wait for it (wait.go). One that has taken nothing for the stall timeout is
// excluded: nobody waits for it until it has drained, and it meets its listener's policy at the
// limit. Both are counted per topic and loop, where publishers look.

const (
	// maxHighWater is the high-water mark in bytes of what a connection has unsent: so much keeps a
	// socket busy, and is still in the processor's cache when it is sent.
	maxHighWater = 256 << 10
	// stallTimeout is how many ms a congested receiver may take nothing before it is excluded;
	// servedTimeout while others that are congested for the same topics take bytes: one program that
	// reads thousands of connections in turn comes back to each after seconds.
	stallTimeout  = 2000
	servedTimeout = 10_000
	// replyStall is how many ms a connection may take nothing of more than twice Config.Backlog of its
	// own before it is closed.
	replyStall = 500
	// minLooks is how many looks must have seen no progress, besides: a process that had no core for
	// a while knows nothing of its readers.
	minLooks = 5
	// lookEvery is how many ms pass between looks at watched and heavy connections.
	lookEvery = 20
	// stuckAfter is how many ms after its last look a loop counts as stuck: what it said of its
	// connections does not count any more.
	stuckAfter = 5000
)

// pressure is what a loop knows of receivers that do not take what comes at once.
type pressure struct {
	watched  []uint32 // slots that are looked at: congested, or with too much of their own unsent
	nextLook int64    // ms

	// Over all connections, for messages to everybody.
	congested, excluded atomic.Int32
	progress            atomic.Int64 // when one has last taken bytes while it was congested
	standing            atomic.Int64 // the same of those that are congested still, as of the last look
	behind              atomic.Int64 // how much of their limits these have used up on the average, in millionths

	mu        sync.Mutex
	receivers map[Ref]*receiver // those congested or excluded, for messages to a list
	relieved  map[Ref]int64     // those no longer congested: ms, when they have last taken bytes; for a while
	count     atomic.Int32      // len(receivers)
}

// A receiver is what publishers see of a connection that is congested or excluded.
type receiver struct {
	excluded atomic.Bool
	progress atomic.Int64
	behind   atomic.Int64
}

// pressed returns c's state as publishers count it.
func (c *Conn) pressed() topic.Pressure {
	switch {
	case c.flags&flagCongested != 0:
		return topic.Congested
	case c.flags&flagExcluded != 0:
		return topic.Excluded
	}
	return topic.Flowing
}

// press changes c's state.
func (l *Loop) press(c *Conn, to topic.Pressure) {
	from := c.pressed()
	if from == to {
		return
	}
	p := &l.pressure
	count := func(s topic.Pressure, n int32) {
		switch s {
		case topic.Congested:
			p.congested.Add(n)
		case topic.Excluded:
			p.excluded.Add(n)
		}
	}
	count(from, -1)
	count(to, 1)
	c.flags &^= flagCongested | flagExcluded
	switch to {
	case topic.Congested:
		c.flags |= flagCongested
	case topic.Excluded:
		c.flags |= flagExcluded
	}
	q := c.ensureQueue()
	switch {
	case from == topic.Flowing:
		r := new(receiver)
		r.excluded.Store(to == topic.Excluded)
		r.progress.Store(l.now)
		q.receiver = r
		p.mu.Lock()
		if p.receivers == nil {
			p.receivers, p.relieved = make(map[Ref]*receiver), make(map[Ref]int64)
		}
		p.receivers[c.Ref()] = r
		p.count.Store(int32(len(p.receivers)))
		p.mu.Unlock()
	case to == topic.Flowing:
		p.mu.Lock()
		if from == topic.Congested {
			p.relieved[c.Ref()] = q.receiver.progress.Load()
			l.lookSoon()
		}
		q.receiver = nil
		delete(p.receivers, c.Ref())
		p.count.Store(int32(len(p.receivers)))
		p.mu.Unlock()
	default:
		q.receiver.excluded.Store(to == topic.Excluded)
	}
	l.shard.Press(&c.member, from, to)
	if to == topic.Congested {
		l.stampProgress(c)
		l.lookedAt.Store(l.now)
	}
	if from == topic.Congested && len(p.watched) <= restandAtOnce {
		l.restand()
	}
	if p.congested.Load() == 0 {
		l.engine.wakeDeferred(l)
	}
}

// stampProgress tells publishers that c, which is congested, has taken bytes now.
func (l *Loop) stampProgress(c *Conn) {
	at := c.queue.progressAt
	c.queue.receiver.progress.Store(at)
	p := &l.pressure
	p.progress.Store(max(at, p.progress.Load()))
	p.standing.Store(max(at, p.standing.Load()))
	l.shard.Progressed(&c.member, at)
}

// restandAtOnce is how many watched connections are gone through whenever one ceases to be congested;
// where there are more, the next look does.
const restandAtOnce = 64

// restand tells publishers of the receivers that are congested still when one has last taken bytes,
// and how far they are behind.
func (l *Loop) restand() {
	p := &l.pressure
	if p.congested.Load() == 0 {
		return
	}
	var standing, n, behind int64
	for _, slot := range p.watched {
		if c := l.at(slot); c.flags&flagCongested != 0 {
			used := l.behind(c)
			c.queue.receiver.behind.Store(used)
			standing = max(standing, c.queue.progressAt)
			n++
			behind += used
		}
	}
	p.standing.Store(standing)
	p.behind.Store(behind / max(n, 1))
	l.shard.Restand(func(yield func(_ *topic.Member, at, behind int64)) {
		for _, slot := range p.watched {
			if c := l.at(slot); c.flags&flagCongested != 0 {
				yield(&c.member, c.queue.progressAt, c.queue.receiver.behind.Load())
			}
		}
	})
}

// behind returns how much of its limits for shared messages c has used up, in millionths.
func (l *Loop) behind(c *Conn) int64 { return l.partOfLimits(int64(c.lag), int64(c.entries())) }

func (l *Loop) partOfLimits(lag, runs int64) int64 {
	return max(1e6*lag/int64(l.lagLimit), 1e6*runs*entrySize/int64(l.limit))
}

// fell notes that those congested of r's receivers are behind by r more. How far that leaves them the
// next look finds out, which is too late for a source that goes flat out.
func (l *Loop) fell(r *run) {
	p := &l.pressure
	if p.congested.Load() == 0 {
		return
	}
	by := l.partOfLimits(int64(r.bytes), 1)
	switch r.to.kind {
	case subscribersOf:
		l.shard.Fell(r.to.key, by)
	case everyClient:
		p.behind.Add(by)
	}
}

// pushed returns the unsent bytes of pushes to c, shared or not: what others make it wait for.
func (c *Conn) pushed() uint32 { return c.lag + c.pushes() }

// review begins c's congestion, and has it watched, after its queue has grown or its socket was found
// full.
func (l *Loop) review(c *Conn) {
	if c.flags&flagBlocked == 0 || c.state != stateOpen || c.flags&flagClosePending != 0 {
		return
	}
	if c.flags&(flagCongested|flagExcluded) == 0 && c.pushed() > l.highWater {
		l.watch(c)
		l.press(c, topic.Congested)
	}
	if c.flags&flagWatched == 0 && (c.own > 2*l.limit || l.lagAge > 0 && c.lag > 0) {
		l.watch(c)
	}
}

// relieve ends what c's smaller queue or its socket's room has made untrue.
func (l *Loop) relieve(c *Conn) {
	if c.flags&(flagCongested|flagExcluded) != 0 {
		low := c.pushed() <= l.highWater
		if low || c.flags&flagCongested != 0 && c.flags&flagBlocked == 0 {
			l.press(c, topic.Flowing)
		}
	}
	if c.flags&flagHeavy != 0 {
		l.weigh(c)
	}
	if c.flags&flagOutputPause != 0 && c.own <= l.highWater/2 {
		c.flags &^= flagOutputPause
		l.resume(c)
	}
}

// watch puts c on the list of those that are looked at.
func (l *Loop) watch(c *Conn) {
	if c.flags&flagWatched != 0 {
		return
	}
	q := c.ensureQueue()
	q.watchIndex = len(l.pressure.watched)
	q.looks = 0
	l.pressure.watched = append(l.pressure.watched, c.slot)
	c.flags |= flagWatched
	l.measure(c) // to tell progress from
	l.lookSoon()
}

func (l *Loop) unwatch(c *Conn) {
	if c.flags&flagWatched == 0 {
		return
	}
	w := l.pressure.watched
	i, last := c.queue.watchIndex, len(w)-1
	w[i] = w[last]
	l.at(w[i]).queue.watchIndex = i
	l.pressure.watched = w[:last]
	c.flags &^= flagWatched
}

// progressed notes that c's peer has taken bytes.
func (l *Loop) progressed(c *Conn) {
	q := c.queue
	if q == nil || fault == 8 {
		return
	}
	q.looks = 0
	if q.progressAt == l.now {
		return
	}
	q.progressAt = l.now
	if c.flags&flagCongested != 0 {
		l.stampProgress(c)
	}
}

// measure looks for progress that the loop was not told of: the socket becomes writable only when a
// part of its buffer is free, but the peer's every acknowledgement counts.
func (l *Loop) measure(c *Conn) {
	unacked, ok := l.engine.system.unacked(c.fd)
	if !ok {
		return
	}
	if unacked < c.queue.unacked {
		l.progressed(c)
	}
	c.queue.unacked = unacked
}

// lookSoon arranges for the next look at watched and heavy connections.
func (l *Loop) lookSoon() { l.tickIn(lookEvery) }

// look goes through the connections that are watched and heavy, if it is time.
func (l *Loop) look() {
	p := &l.pressure
	l.forgetRelieved()
	if len(p.watched) == 0 && len(l.heavy.slots) == 0 && len(p.relieved) == 0 && l.heavy.floor == l.highWater && !l.engine.overfull() {
		return
	}
	if l.now < p.nextLook {
		l.lookSoon()
		return
	}
	p.nextLook = l.now + lookEvery
	for _, slot := range p.watched {
		l.measure(l.at(slot))
	}
	for i := len(p.watched) - 1; i >= 0; i-- {
		l.judge(l.at(p.watched[i]))
	}
	l.restand()
	l.lookedAt.Store(l.now)
	l.shed()
	if len(p.watched) > 0 || len(l.heavy.slots) > 0 || len(p.relieved) > 0 || l.engine.overfull() {
		l.lookSoon()
	}
}

// forgetRelieved forgets those that have ceased to be congested when their progress says nothing any
// more.
func (l *Loop) forgetRelieved() {
	p := &l.pressure
	if len(p.relieved) == 0 {
		return
	}
	p.mu.Lock()
	for ref, at := range p.relieved {
		if l.now-at > quiet {
			delete(p.relieved, ref)
		}
	}
	p.mu.Unlock()
}

// judge says what becomes of a watched connection.
func (l *Loop) judge(c *Conn) {
	q := c.queue
	q.looks++
	silence := l.now - q.progressAt
	stalled := q.looks > minLooks
	if c.flags&flagCongested != 0 && stalled && silence >= stallTimeout && (silence >= servedTimeout || !l.othersServed(c)) {
		l.press(c, topic.Excluded)
	}
	aging := l.lagAge > 0 && c.lag > 0
	switch {
	case c.own > 2*l.limit:
		if stalled && silence >= replyStall {
			l.closeLater(c, ReasonSlowConsumer, true)
		}
	case aging:
		if l.aged(c) {
			l.overAge(c)
		}
	case c.flags&flagCongested == 0:
		l.unwatch(c)
		c.returnQueue()
	}
}

// othersServed reports whether another congested receiver of c's topics has taken bytes lately.
func (l *Loop) othersServed(c *Conn) bool {
	return l.now-l.shard.Progress(&c.member) < stallTimeout
}

// admit reports whether c may queue size more bytes of a push, shared or its own, and applies the
// slow-consumer policy when it may not. Limits are looked at before a message is added, so that a
// bigger one still reaches a client that keeps up.
func (l *Loop) admit(c *Conn, kind entryKind, size, messages uint32) bool {
	if c.unsent()+size > l.highWater && c.first.ref != nil && c.flags&flagBlocked == 0 {
		// Only what the socket refused counts: the queue of a reader that keeps up goes first.
		c.flags &^= flagDirty
		l.flush(c)
	}
	if c.flags&flagClosePending != 0 || c.state != stateOpen {
		l.stats.dropped[DropClosing].Add(uint64(messages))
		return false
	}
	if !l.full(c, kind) {
		return true
	}
	return l.overLimit(c, kind, size, messages)
}

// full reports whether c is at its limit for a kind of pushes.
func (l *Loop) full(c *Conn, kind entryKind) bool {
	switch {
	case uint32(c.entries())*entrySize >= l.limit:
		return true
	case kind == entryShared:
		return c.lag >= l.lagLimit
	}
	return c.pushes() >= l.limit
}

// overLimit applies the policy of c's listener to a push of size bytes. It reports whether there is
// room for it now.
func (l *Loop) overLimit(c *Conn, kind entryKind, size, messages uint32) bool {
	switch c.Listener().SlowConsumer {
	case SlowDropNewest:
		l.stats.dropped[DropSlowConsumer].Add(uint64(messages))
		return false
	case SlowDropOldest:
		dropped := c.dropOldest(func() bool {
			return uint32(c.entries()+1)*entrySize <= l.limit && !l.aged(c) &&
				(kind != entryShared || c.lag == 0 || c.lag+size <= l.lagLimit) &&
				(kind != entryPush || c.pushes() == 0 || c.pushes()+size <= l.limit)
		})
		l.stats.dropped[DropSlowConsumer].Add(uint64(dropped))
		l.missedSpans(c)
		l.relieve(c)
		return true
	}
	l.stats.dropped[DropSlowConsumer].Add(uint64(messages))
	l.engine.log.Debug("slow consumer", "peer", c.LogPeer(), "lag", c.lag, "runs", c.entries(), "own", c.own)
	l.closeLater(c, ReasonSlowConsumer, true)
	return false
}

// overAge applies the policy of c's listener to what is older than Config.LagAge allows.
func (l *Loop) overAge(c *Conn) {
	if c.Listener().SlowConsumer == SlowClose {
		l.closeLater(c, ReasonSlowConsumer, true)
		return
	}
	// Whatever the policy drops elsewhere, what is too old is the oldest.
	l.stats.dropped[DropSlowConsumer].Add(uint64(c.dropOldest(func() bool { return !l.aged(c) })))
	l.missedSpans(c)
	l.relieve(c)
}

// aged reports whether the first of c's pushes is older than Config.LagAge allows.
func (l *Loop) aged(c *Conn) bool {
	limit := l.lagAge
	return limit > 0 && c.first.ref != nil && c.first.kind == entryShared && l.now-c.first.ref.block.born > limit
}
