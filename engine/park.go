package engine

import "time"

// A publish that has to wait, because a subscriber asks for time or a loop is behind, is parked, and
// the connection it came from is not read meanwhile: its client is slowed down, and nobody else on
// the loop is.

type parked struct {
	run   *run
	from  Ref
	since int64 // ms
}

const (
	// parkEvery is how often a loop looks whether what is parked may go on.
	parkEvery = 2 * time.Millisecond
	// parkAtMost is how many ms a publish is parked because a loop takes nothing. Nobody waits
	// for it meanwhile but its client, so it may be long: a message is lost when it is over.
	parkAtMost = 10_000
)

// park keeps r until its time has come. Nothing else that c sends is handled before.
func (l *Loop) park(r *run, c *Conn) {
	l.parked = append(l.parked, parked{r, c.Ref(), l.engine.Now()})
	l.parkedCount.Store(int32(len(l.parked)))
	c.flags |= flagParked
	l.lookLater()
}

func (l *Loop) lookLater() {
	l.engine.system.tickAfter(l, parkEvery)
}

// nudge has the other loops look at what they have parked: l has room again, or nobody on it asks
// for time.
func (e *Engine) nudge(l *Loop) {
	for _, other := range e.loops {
		if other != l && other.parkedCount.Load() > 0 {
			other.mailbox.postTick()
		}
	}
}

// unpark lets go what may: what was in the way has gone, or had its time. It is called within a
// turn, before input that was held back is handled.
func (l *Loop) unpark() {
	if len(l.parked) == 0 || l.behind { // behind: there is another turn soon
		return
	}
	kept := l.parked[:0]
	kin := make(map[Ref]bool) // connections of which something is kept: what follows stays behind it
	var freed []Ref
	for i, p := range l.parked {
		if l.behind {
			kept = append(kept, l.parked[i:]...)
			for _, p := range l.parked[i:] {
				kin[p.from] = true
			}
			break
		}
		now := l.engine.Now()
		full, slow := l.publisher.look(&p.run.to)
		waited := now - p.since
		if kin[p.from] || slow && waited < l.engine.longestWait(p.run.bytes) || full && waited < parkAtMost {
			kept = append(kept, p)
			kin[p.from] = true
			continue
		}
		if full {
			l.stats.dropped[DropMailboxFull].Add(1)
			l.engine.log.Warn("a publish was dropped: a loop takes nothing", "topic", string(p.run.to.name))
			l.publisher.recycle(p.run)
		} else {
			l.publisher.Flush()
			// Left open for what its connection sends next, unless a subscriber had wanted more
			// time: then each message waits for itself.
			p.run.alone = slow
			l.publisher.open = p.run
		}
		freed = append(freed, p.from)
	}
	clear(l.parked[len(kept):])
	l.parked = kept
	l.parkedCount.Store(int32(len(kept)))
	for _, ref := range freed {
		if c := l.conn(ref); c != nil && !kin[ref] {
			c.flags &^= flagParked
			l.resume(c)
		}
	}
	if len(kept) > 0 {
		l.lookLater()
	}
}
