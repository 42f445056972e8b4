package engine

import "sync/atomic"

// Who goes when all that is kept for connections (Config.BacklogTotal) is used up: the connection
// with the largest account or lag that has not been below the high-water mark for heavyFor, over all
// loops, whoever has added the last byte; then the next largest. Nobody waits because of the total.

const (
	// heavyFor is how many ms an account must have been above the high-water mark: whoever is just
	// being served is below it again by then.
	heavyFor = 2000
	// At a quarter more than the total the age does not matter: memory is bounded whatever happens.
	urgentPart = 4
	// judgedFor is how many ms a loop's judgement is good for: loops that are busy look late.
	judgedFor = 200
)

// heavy are a loop's connections whose account or lag is above the high-water mark.
type heavy struct {
	slots []uint32
	count atomic.Int32 // len(slots), for other loops
	// candidate is the weight of the loop's connection that would go first, 0 when none may, as of
	// judged, ms on the engine's clock.
	candidate atomic.Int64
	urgent    atomic.Int64 // the same whatever the age
	judged    atomic.Int64
}

// weigh puts c among the heavy, or takes it off, after its account or its lag has changed.
func (l *Loop) weigh(c *Conn) {
	over := c.state != stateFree && c.weight() > int64(l.highWater)
	if over == (c.flags&flagHeavy != 0) {
		return
	}
	h := &l.heavy
	if over {
		q := c.ensureQueue()
		q.heavyIndex, q.heavySince = len(h.slots), l.now
		h.slots = append(h.slots, c.slot)
		c.flags |= flagHeavy
		l.lookSoon()
	} else {
		i, last := c.queue.heavyIndex, len(h.slots)-1
		h.slots[i] = h.slots[last]
		l.at(h.slots[i]).queue.heavyIndex = i
		h.slots = h.slots[:last]
		c.flags &^= flagHeavy
		c.returnQueue()
	}
	h.count.Store(int32(len(h.slots)))
}

// heaviest returns the loop's connection that would go first, nil when none may.
func (l *Loop) heaviest(urgent bool) (c *Conn, weight int64) {
	for _, slot := range l.heavy.slots {
		other := l.at(slot)
		if other.flags&flagClosePending != 0 || !urgent && l.now-other.queue.heavySince < heavyFor {
			continue
		}
		if w := other.weight(); w > weight {
			c, weight = other, w
		}
	}
	return c, weight
}

// shed closes the loop's heaviest connections while the total is used up and no other loop has a
// heavier one. It is called by every look at the watched and heavy connections.
func (l *Loop) shed() {
	e := l.engine
	l.publishAccounts()
	limit := e.config.BacklogTotal
	for {
		total := e.total.Load()
		if total <= limit {
			return
		}
		c, weight := l.heaviest(false)
		l.heavy.candidate.Store(weight)
		heaviest, most := l.heaviest(true)
		l.heavy.urgent.Store(most)
		l.heavy.judged.Store(l.now)
		urgent := total > limit+limit/urgentPart
		if urgent {
			c, weight = heaviest, most
		}
		if c == nil || !l.isHeaviest(weight, urgent) {
			return
		}
		e.log.Info("closing the heaviest connection: the total is used up", "peer", c.Peer(), "account", c.account(), "lag", c.lag, "total", total)
		l.closeLater(c, ReasonBacklogTotal, false)
		l.runCloses()
		l.publishAccounts()
	}
}

// isHeaviest reports whether no other loop has a connection that is to go before one of weight. A
// loop whose judgement is old is asked for a new one first, unless it is stuck.
func (l *Loop) isHeaviest(weight int64, urgent bool) bool {
	first := true
	if fault == 2 {
		return true
	}
	for _, other := range l.engine.loops {
		if other == l || other.heavy.count.Load() == 0 {
			continue
		}
		age := l.now - other.heavy.judged.Load()
		w := other.heavy.candidate.Load()
		if urgent {
			w = other.heavy.urgent.Load()
		}
		switch {
		case age > judgedFor:
			if l.now-other.lookedAt.Load() <= stuckAfter {
				other.mailbox.postTick()
				first = false
			}
		case w > weight || w == weight && other.index < l.index:
			other.mailbox.postTick()
			first = false
		}
	}
	return first
}
