package engine

import "time"

// A publish that a slow subscriber asks to wait is parked, and the connection it came from is not
// read meanwhile: its client is slowed down, and nobody else on the loop is.

type parked struct {
	run   *run
	from  Ref
	since int64 // ms
}

// parkEvery is how often a loop looks whether what is parked may go on.
const parkEvery = 2 * time.Millisecond

// park keeps r until its time has come. Nothing else that c sends is handled before.
func (l *Loop) park(r *run, c *Conn) {
	l.parked = append(l.parked, parked{r, c.Ref(), l.engine.Now()})
	c.flags |= flagParked
	l.lookLater()
}

func (l *Loop) lookLater() {
	if l.parkTimer == nil {
		l.parkTimer = time.AfterFunc(parkEvery, l.mailbox.postTick)
	} else {
		l.parkTimer.Reset(parkEvery)
	}
}

// unpark lets go what may: its subscribers have caught up, or had their time. It is called when a
// turn is over, so nothing is parked meanwhile.
func (l *Loop) unpark() {
	if len(l.parked) == 0 {
		return
	}
	kept := l.parked[:0]
	behind := make(map[Ref]bool) // connections of which something is kept: what follows stays behind it
	var freed []Ref
	for _, p := range l.parked {
		now := l.engine.Now()
		full, slow := l.publisher.look(p.run.key, now)
		waited := now - p.since
		if behind[p.from] || slow && waited < publishWait || full && waited < mailboxWait {
			kept = append(kept, p)
			behind[p.from] = true
			continue
		}
		if full {
			l.stats.dropped[DropMailboxFull].Add(1)
			l.engine.log.Warn("a publish was dropped: a loop takes nothing", "topic", string(p.run.name))
			l.publisher.recycle(p.run)
		} else {
			l.publisher.Flush()
			l.publisher.open = p.run
			l.publisher.Flush()
		}
		freed = append(freed, p.from)
	}
	clear(l.parked[len(kept):])
	l.parked = kept
	for _, ref := range freed {
		if c := l.conn(ref); c != nil && !behind[ref] {
			c.flags &^= flagParked
			l.resume(c)
		}
	}
	if len(kept) > 0 {
		l.lookLater()
	}
}
