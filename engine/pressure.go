package engine

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// How publishers are made to wait, and for whom.
//
// A subscriber whose socket is full and whose queue is over a quarter of its limit is held: it
// asks publishers to its topics, and those who push to it alone, to wait. It may ask only while
// it makes progress, and only for so long: a reader that has stalled, or is simply slower than
// what it subscribed to, runs into its limit and meets the listener's policy, and holds up nobody.
//
// How long a silence means that a reader has stalled is learned from its neighbours. One program
// that reads thousands of connections in turn comes back to each once a round, which may take
// seconds; then each of them has been silent for about as long as those that were just served.

const (
	// stalledAfter is in ms. On loopback a reader's progress shows in steps of 64 KiB, its window
	// updates, so this tells readers of 128 KB/s and more from those that have stopped.
	stalledAfter = 500
	// stalledLooks are so many without progress, besides.
	stalledLooks = 5
	// A peer that has taken readerProven bytes has read some of them (for one that never reads,
	// Linux takes 208 KiB unless it is told otherwise), and may be busy: it gets provenAfter ms.
	readerProven = 384 << 10
	provenAfter  = 2000
	// heldFor is how many ms a hold counts after its loop has last looked at it. One that has not
	// looked for longer is stuck; it may be only without a core, and all others were, too.
	heldFor = 5000
	// holdAtMost is in ms over a quarter without once falling below it.
	holdAtMost = 5000
	// Where one in crowdPart of a topic's subscribers is held, and learnFrom at least, it is not
	// they who are slow but the publishers who are fast, and there may be nothing to learn from
	// yet: TCP tells of a reader's first steps late.
	crowdPart         = 4
	crowdStalledAfter = 5000
	crowdHoldAtMost   = 60_000

	// Silences are learned from while at least learnFrom subscribers are held: a few odd readers
	// are no measure. What was learned fades by half every fadeEvery ms, and patience ends at
	// patienceAtMost ms.
	learnFrom      = 16
	fadeEvery      = 5000
	patienceAtMost = 20_000

	reviewEvery = 50  // ms between looks at those that are held
	publishWait = 100 // ms a publish waits for slow subscribers, at the least; see longestWait

	// briefWait is how many of these a loop waits with the publisher in one turn, doing its mail
	// meanwhile, before it parks the message and goes on: parking has its price.
	briefWait = 4
	// mailboxWait is how many ms a publish waits for a loop that takes nothing. A loop that is
	// well is never that long about it, but the system may leave its thread waiting for a core;
	// the message is lost when the time is up.
	mailboxWait = 1000
)

// askers are a loop's held connections, for publishers outside it to look at.
type askers struct {
	count atomic.Int32
	mu    sync.Mutex
	refs  map[Ref]struct{}
}

func (a *askers) add(ref Ref) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.refs == nil {
		a.refs = make(map[Ref]struct{})
	}
	a.refs[ref] = struct{}{}
	a.count.Store(int32(len(a.refs)))
}

func (a *askers) remove(ref Ref) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.refs, ref)
	a.count.Store(int32(len(a.refs)))
}

// has reports whether one of refs is held.
func (a *askers) has(refs ...Ref) bool {
	if a.count.Load() == 0 {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, ref := range refs {
		if _, ok := a.refs[ref]; ok {
			return true
		}
	}
	return false
}

// review begins or ends c's hold after its queue or its socket changed.
func (l *Loop) review(c *Conn) {
	over := c.flags&flagBlocked != 0 && c.queued > l.quarter && c.state == stateOpen
	switch {
	case over && c.flags&(flagHeld|flagForfeit) == 0:
		b := c.ensureBacklog()
		b.overSince, b.lastProgress = uint32(l.now), uint32(l.now)
		b.heldIndex = len(l.held)
		b.looks = 0
		c.measure() // to tell progress from
		b.lastProgress = uint32(l.now)
		l.held = append(l.held, c.slot)
		l.askers.add(c.Ref())
		c.flags |= flagHeld
		l.shard.Hold(&c.member, true)
		l.heldUntil.Store(l.now + heldFor)
	case !over:
		l.relieve(c)
	}
}

// relieve ends c's hold once it has caught up.
func (l *Loop) relieve(c *Conn) {
	if c.queued > l.quarter && c.flags&flagBlocked != 0 {
		return
	}
	if c.queued <= l.quarter {
		c.flags &^= flagForfeit
	}
	if c.flags&flagHeld != 0 {
		l.unheld(c)
	}
	if c.flags&flagFullIn != 0 && c.queued <= l.quarter/2 {
		c.flags &^= flagFullIn
		l.resume(c)
	}
}

// unheld takes c off the list of those that make publishers wait.
func (l *Loop) unheld(c *Conn) {
	i, last := c.backlog.heldIndex, len(l.held)-1
	l.held[i] = l.held[last]
	l.at(l.held[i]).backlog.heldIndex = i
	l.held = l.held[:last]
	l.askers.remove(c.Ref())
	c.flags &^= flagHeld
	l.shard.Hold(&c.member, false)
	if len(l.held) == 0 {
		l.patienceNow.Store(0)
		l.engine.nudge(l)
	}
}

// progress notes that c's peer has taken something.
func (l *Loop) progress(c *Conn) {
	b := c.backlog
	now := uint32(l.now)
	if c.flags&flagHeld != 0 && len(l.held) >= learnFrom {
		if silence := int64(now - b.lastProgress); silence >= l.learned() {
			l.silence, l.silenceAt = silence, l.now
		}
	}
	b.lastProgress = now
}

// learned is after what silence, in ms, held subscribers have lately come back.
func (l *Loop) learned() int64 { return l.silence >> min((l.now-l.silenceAt)/fadeEvery, 62) }

// patience is how many ms a held subscriber may be silent.
func (l *Loop) patience() int64 { return min(stalledAfter+2*l.learned(), patienceAtMost) }

// longestWait is how many ms a publish of some bytes waits for slow subscribers. What trickles
// through while their loop is patient must find room between a quarter of a queue's limit and the
// limit, with publishers to spare.
func (e *Engine) longestWait(bytes int) int64 {
	wait := int64(publishWait)
	for _, l := range e.loops {
		patience := l.patienceNow.Load()
		room := max(int64(l.limit-l.quarter)/4, 1)
		wait = max(wait, min(int64(bytes)*patience/room, patience))
	}
	return wait
}

// ageHeld ends the holds of subscribers that have stalled or asked for too much.
func (l *Loop) ageHeld() {
	if len(l.held) == 0 || l.now < l.nextReview {
		return
	}
	l.nextReview = l.now + reviewEvery
	for _, slot := range l.held {
		l.at(slot).measure()
	}
	patience := uint32(l.patience())
	for i := len(l.held) - 1; i >= 0; i-- {
		c := l.at(l.held[i])
		b := c.backlog
		now := uint32(l.now)
		silence := now - b.lastProgress
		// Looks are counted too: a loop that had no core for a while knows nothing of its readers.
		if b.looks++; silence == 0 {
			b.looks = 0
		}
		stalled := silence >= patience && b.looks >= stalledLooks && (silence >= provenAfter || !c.proven())
		age, most := now-b.overSince, max(holdAtMost, 2*patience)
		if (stalled || age >= most) && l.shard.Crowded(&c.member, learnFrom, crowdPart) {
			stalled = stalled && silence >= crowdStalledAfter
			most = crowdHoldAtMost
		}
		if stalled || age >= most {
			c.flags |= flagForfeit
			l.unheld(c)
		}
	}
	if len(l.held) > 0 {
		l.heldUntil.Store(l.now + heldFor)
		l.patienceNow.Store(int64(patience))
	}
}

// measure looks for progress that the loop was not told of: the socket becomes writable only
// when a third of its buffer is free, but the peer's every acknowledgement counts.
func (c *Conn) measure() {
	unsent, ok := c.loop.engine.system.unacked(c.fd)
	if !ok {
		return
	}
	if unsent < c.backlog.unacknowledged {
		c.loop.progress(c)
	}
	c.backlog.unacknowledged = unsent
}

// proven reports whether c's peer has acknowledged more than the system keeps for a program that does
// not read.
func (c *Conn) proven() bool {
	info, err := unix.GetsockoptTCPInfo(int(c.fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	return err == nil && info.Bytes_acked > readerProven
}

// admit reports whether c may queue size more bytes of a push, and applies the slow-consumer
// policy when it may not.
func (l *Loop) admit(c *Conn, size, messages uint32) bool {
	if c.queued+size > l.quarter && c.queued > 0 && c.flags&flagBlocked == 0 {
		// Only what the socket refused counts: the queue of a reader that keeps up goes first.
		c.flags &^= flagDirty
		l.flush(c)
		if c.state != stateOpen || c.flags&flagDoomed != 0 {
			l.stats.dropped[DropClosing].Add(uint64(messages))
			return false
		}
	}
	if c.queued < l.limit {
		return true
	}
	switch c.Listener().SlowConsumer {
	case SlowDropNewest:
		l.stats.dropped[DropSlowConsumer].Add(uint64(messages))
		return false
	case SlowDropOldest:
		var want uint32
		if size < l.limit {
			want = l.limit - size
		}
		l.stats.dropped[DropSlowConsumer].Add(uint64(c.dropOldest(want)))
		return true
	}
	l.stats.dropped[DropSlowConsumer].Add(uint64(messages))
	l.cut(c, ReasonSlowConsumer)
	return false
}

// shed closes the connections with the longest queues when the gateway as a whole holds too much.
func (l *Loop) shed() {
	e := l.engine
	if e.backlog.Load()+l.backlogDelta <= e.config.BacklogTotal || l.now < l.nextShed {
		return
	}
	l.nextShed = l.now + 10
	var longest uint32
	l.each(func(c *Conn) { longest = max(longest, c.queued) })
	if longest == 0 {
		return
	}
	l.each(func(c *Conn) {
		if c.flags&flagBlocked != 0 && c.queued > longest/2 {
			l.cut(c, ReasonBacklogTotal)
		}
	})
}
