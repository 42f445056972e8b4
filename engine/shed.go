package engine

import (
	"math/bits"
	"sync/atomic"
)

// Who goes when all that is kept for connections (Config.BacklogTotal) is used up: the connection
// with the largest account or lag that has not been below the high-water mark for heavyFor, over all
// loops, whoever has added the last byte; then the next largest. Nobody waits because of the total.
// Where many small accounts have used it up, and a quarter more, the largest of those go.

const (
	// heavyFor is how many ms an account must have been above the high-water mark: whoever is just
	// being served is below it again by then.
	heavyFor = 2000
	// At a quarter more than the total the age does not matter: memory is bounded whatever happens.
	urgentPart = 4
	// judgedFor is how many ms a loop's judgement is good for: loops that are busy look late.
	judgedFor = 200
	// Whose account is below this part of the average has not used the total up, and does not go for
	// it: all of these together have less than such a part of it. So a loop with none but small ones
	// closes nobody while another, whose connections have it, is late.
	smallPart = 8
	// sievedFor is how many ms pass before a loop goes through all its connections again.
	sievedFor = 100
)

// heavy are a loop's connections whose account or lag is above the floor.
type heavy struct {
	slots []uint32
	// floor is the high-water mark, in bytes. It is lower while many smaller accounts have used up
	// the total: see sieve.
	floor   uint32
	sieveAt int64        // ms, when they may be gone through again
	count   atomic.Int32 // len(slots), for other loops
	// candidate is the weight of the loop's connection that would go first, 0 when none may, as of
	// judged, ms on the engine's clock.
	candidate atomic.Int64
	urgent    atomic.Int64 // the same whatever the age
	judged    atomic.Int64

	logAt    int64 // ms, when the next line may be logged
	unlogged int   // connections closed since the last one
}

// weigh puts c among the heavy, or takes it off, after its account or its lag has changed.
func (l *Loop) weigh(c *Conn) {
	over := c.state != stateFree && c.weight() > int64(l.heavy.floor)
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

// A heaviest is the loop's connection that would go first, nil when none may.
type heaviest struct {
	conn   *Conn
	weight int64
}

func (h *heaviest) weigh(c *Conn) {
	if w := c.weight(); w > h.weight {
		h.conn, h.weight = c, w
	}
}

// heaviest returns who would go first, of those that have been heavy for long enough and of all.
func (l *Loop) heaviest() (due, most heaviest) {
	for _, slot := range l.heavy.slots {
		c := l.at(slot)
		if c.flags&flagClosePending != 0 {
			continue
		}
		most.weigh(c)
		if l.now-c.queue.heavySince >= heavyFor {
			due.weigh(c)
		}
	}
	return due, most
}

// shed closes the loop's heaviest connections while the total is used up and no other loop has a
// heavier one. It is called by every look at the watched and heavy connections.
func (l *Loop) shed() {
	e := l.engine
	l.publishAccounts()
	limit, why := e.backlogTotal()
	if e.overfull() && len(l.deferred.list) > 0 {
		l.runDeferred() // what clients have left behind goes on its receivers' accounts first
		l.publisher.Flush()
		l.runCloses()
		l.publishAccounts()
	}
	for {
		total := e.total.Load()
		if total <= limit {
			l.unsieve()
			return
		}
		goes, most := l.heaviest()
		l.heavy.candidate.Store(goes.weight)
		l.heavy.urgent.Store(most.weight)
		l.heavy.judged.Store(l.now)
		urgent := total > limit+limit/urgentPart
		if urgent {
			goes = most
		}
		if goes.conn == nil && urgent && l.sieve(total-limit) {
			continue
		}
		if goes.conn == nil || !l.isHeaviest(goes.weight, urgent) {
			return
		}
		l.logShed(goes.conn, total)
		if goes.conn.Open() {
			goes.conn.Close(why)
		} else {
			l.cutOff(goes.conn, why) // it is in the way
		}
		l.runCloses()
		l.publishAccounts()
	}
}

// logShed says that c goes, once a second at most: there may be thousands.
func (l *Loop) logShed(c *Conn, total int64) {
	h := &l.heavy
	h.unlogged++
	if l.now < h.logAt {
		return
	}
	l.engine.log.Warn("closing the heaviest connections: the total is used up", "loop", l.index, "closed", h.unlogged,
		"peer", c.LogPeer(), "account", c.account(), "lag", c.lag, "total", total)
	h.unlogged, h.logAt = 0, l.now+1000
}

// overfull reports whether the total is used up.
func (e *Engine) overfull() bool {
	limit, _ := e.backlogTotal()
	return e.total.Load() > limit
}

// sieve makes room when the total is exceeded by a quarter, and no connection is above the high-water
// mark: it is used up by many that are below. It lowers the floor, by powers of two, so far that the
// loop's share of what is over lies above it, and reports whether there are heavy connections now. The
// other loops do likewise.
func (l *Loop) sieve(over int64) bool {
	e, h := l.engine, &l.heavy
	for _, other := range e.loops {
		if other == l {
			continue
		}
		if l.now-other.lookedAt.Load() > judgedFor {
			other.mailbox.postTick() // it may have had no reason to look
		}
		if other.heavy.count.Load() > 0 {
			return false // who is to go is there
		}
	}
	if l.now < h.sieveAt {
		return false
	}
	h.sieveAt = l.now + sievedFor
	var sums [64]int64 // of weights, by their length in bits
	l.each(func(c *Conn) {
		w := c.weight()
		sums[bits.Len64(uint64(w))] += w
	})
	share := over/int64(len(e.loops)) + 1
	n := bits.Len32(l.highWater)
	least := max(bits.Len64(uint64(e.total.Load()/max(e.connections.Load(), 1)/smallPart)), 1)
	for sum := sums[n]; n > least && sum < share; sum += sums[n] {
		n--
	}
	h.floor = 1<<(n-1) - 1
	l.each(l.weigh)
	return len(h.slots) > 0
}

// unsieve ends what sieve has begun, when there is room.
func (l *Loop) unsieve() {
	h := &l.heavy
	if h.floor == l.highWater {
		return
	}
	h.floor = l.highWater
	for i := len(h.slots) - 1; i >= 0; i-- {
		l.weigh(l.at(h.slots[i]))
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
