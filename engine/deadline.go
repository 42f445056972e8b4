package engine

import (
	"math"
	"time"
)

// schedule sets slot's deadline d from now.
func (l *Loop) schedule(slot uint32, d time.Duration) {
	due := (l.now + 1 + d.Milliseconds() + tickMillis - 1) / tickMillis // now has lost its fraction
	if d > 10*time.Second {
		due = (due + 9) / 10 * 10 // whole seconds: fewer wake-ups
	}
	l.wheel.set(slot, uint32(due))
	l.rearm()
}

// hasten sets slot's deadline d from now, unless it is sooner.
func (l *Loop) hasten(slot uint32, d time.Duration) {
	due := l.wheel.due(slot)
	l.schedule(slot, d)
	if due != 0 && due < l.wheel.due(slot) {
		l.wheel.set(slot, due)
		l.rearm()
	}
}

// tickMillis is the wheel's granularity.
const tickMillis = 100

// rearm tells the ticker when the wheel wants to be looked at next.
func (l *Loop) rearm() {
	next := int64(math.MaxInt64)
	if t, ok := l.wheel.next(); ok {
		next = int64(t) * tickMillis
	}
	if old := l.nextDue.Load(); next != old {
		l.nextDue.Store(next)
		if next < old {
			l.engine.ticker.rearm(next)
		}
	}
}

const (
	// expireStep is how many deadlines are run between two looks at the clock. To close a connection
	// takes 10 to 15 µs.
	expireStep = 32
	// expireMost is how many are run in a turn, however quick they are.
	expireMost = 1024
)

// expire runs deadlines that have come, until the clock says until. Thousands may come at once, of
// those that have connected together. The next turn, which must then come, goes on where it stops.
func (l *Loop) expire(until int64) {
	now := uint32(l.now / tickMillis)
	l.expiring = true
	for n := 0; l.expiring && n < expireMost; n += expireStep {
		if n > 0 && l.engine.Now() >= until {
			break
		}
		var due [expireStep]uint32
		var slots []uint32
		slots, l.expiring = l.wheel.expire(due[:0], now)
		for _, slot := range slots {
			c := l.at(slot)
			switch {
			case c.Open():
				l.deadline(c)
			case c.state != stateOpen:
				l.cutOff(c, ReasonPeerClosed) // the peer had its time
			}
		}
		l.runCloses()
	}
	l.rearm()
}

func (l *Loop) deadline(c *Conn) {
	ref := c.Ref()
	defer func() {
		if r := recover(); r != nil {
			l.panicked("deadline", r)
			if c := l.conn(ref); c != nil {
				c.Abort(ReasonServerError)
			}
		}
	}()
	l.onDeadline(c)
}
