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
			l.engine.ticker.hurry(next)
		}
	}
}

// expire runs the deadlines that have come.
func (l *Loop) expire() {
	due := l.wheel.expire(l.due[:0], uint32(l.now/tickMillis))
	l.due = due
	for _, slot := range due {
		c := l.at(slot)
		switch {
		case c.Open():
			l.deadline(c)
		case c.state != stateOpen:
			l.cutOff(c, ReasonPeerClosed) // the peer had its time
		}
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
