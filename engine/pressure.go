package engine

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// How publishers are made to wait, and for whom.
//
// A subscriber whose socket is full and whose queue is over a quarter of its limit is held: it
// asks publishers to its topics, and those who push to it alone, to wait. It may ask only while it makes progress, and only for so
// long: a reader that has stalled, or is simply slower than what it subscribed to, runs into its
// limit and meets the listener's policy, and holds up nobody.

const (
	// stalledAfter is in ms. On loopback a reader's progress shows in steps of 64 KiB, its window
	// updates, so this tells readers of 128 KB/s and more from those that have stopped.
	stalledAfter = 500
	// A peer that has taken so many bytes has read some of them, and may be busy: it gets longer.
	readerProven = 1 << 20
	provenAfter  = 2000
	holdAtMost   = 5000 // ms over a quarter without once falling below it
	stalledLooks = 5    // without progress, besides
	reviewEvery  = 50   // ms between looks at those that are held
	publishWait  = 100  // ms a publish waits for slow subscribers, at most; for a crowd see longestWait

	// Many full sockets in one topic are a crowd, which is slow and not stalled: what reads it is
	// one busy program, perhaps, that turns from one connection to the next, and each shows
	// progress once a turn. The patience with a crowd is in ms; when it is half of the topic's
	// subscribers or more, there is hardly anybody beside it who could be held up.
	crowdAtLeast  = 16
	crowdPart     = 8 // at least one subscriber in so many
	crowdPatience = 5_000
	massPatience  = 30_000

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

// has reports whether ref is held; with 0, whether anybody is.
func (a *askers) has(ref Ref) bool {
	if a.count.Load() == 0 {
		return false
	}
	if ref == 0 {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.refs[ref]
	return ok
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
		l.heldUntil.Store(l.now + stalledAfter)
	case over && c.flags&flagHeld != 0:
		if c.backlog.lastProgress == uint32(l.now) {
			l.heldUntil.Store(l.now + stalledAfter)
		}
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
		l.engine.nudge(l)
	}
}

// noteCrowd looks for a crowd in a walk over a topic's subscribers, of which full have full sockets.
func (l *Loop) noteCrowd(full, subscribers int) {
	if full < crowdAtLeast || full*crowdPart < subscribers {
		return
	}
	patience := int64(crowdPatience)
	if 2*full >= subscribers {
		patience = massPatience
	}
	if l.now >= l.crowdUntil.Load() || patience > l.crowdPatience {
		l.crowdPatience = patience
	}
	l.crowdUntil.Store(l.now + l.crowdPatience)
}

// patienceFor is how many ms a held subscriber may go without progress, and stay over a quarter.
func (l *Loop) patienceFor() (stalled, hold uint32) {
	if l.now < l.crowdUntil.Load() {
		return uint32(l.crowdPatience), uint32(2 * l.crowdPatience)
	}
	return stalledAfter, holdAtMost
}

// longestWait is how many ms a publish of some bytes waits for slow subscribers. For a crowd it
// grows with the size: what trickles through during all that patience must find room between a
// quarter of a queue's limit and the limit.
func (e *Engine) longestWait(now int64, bytes int) int64 {
	for _, l := range e.loops {
		if now < l.crowdUntil.Load() {
			room := int64(max(l.limit-l.quarter, 1))
			return max(publishWait, min(int64(bytes)*massPatience/room, crowdPatience))
		}
	}
	return publishWait
}

// ageHeld ends the holds of subscribers that have stalled or asked for too much.
func (l *Loop) ageHeld() {
	if len(l.held) == 0 || l.now < l.nextReview {
		return
	}
	l.nextReview = l.now + reviewEvery
	stalled, hold := l.patienceFor()
	if stalled > stalledAfter {
		l.heldUntil.Store(l.now + stalledAfter)
	}
	for i := len(l.held) - 1; i >= 0; i-- {
		c := l.at(l.held[i])
		now := uint32(l.now)
		c.measure()
		b := c.backlog
		b.looks++
		if b.lastProgress == now {
			b.looks = 0
			l.heldUntil.Store(l.now + stalledAfter)
		}
		// Looks are counted too: a loop that had no core for a while knows nothing of its readers.
		quiet := now - b.lastProgress
		gone := quiet >= stalled && b.looks >= stalledLooks
		if gone && quiet < provenAfter && c.proven() {
			l.heldUntil.Store(l.now + stalledAfter)
			gone = false
		}
		if gone || now-b.overSince >= hold {
			c.flags |= flagForfeit
			l.unheld(c)
		}
	}
}

// measure looks for progress that the loop was not told of: the socket becomes writable only
// when a third of its buffer is free, but the peer's every acknowledgement counts.
func (c *Conn) measure() {
	unsent, err := unix.IoctlGetInt(int(c.fd), unix.SIOCOUTQ)
	if err != nil {
		return
	}
	if b := c.backlog; unsent < b.unacknowledged {
		b.unacknowledged = unsent
		b.lastProgress = uint32(c.loop.now)
	} else {
		b.unacknowledged = unsent
	}
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
