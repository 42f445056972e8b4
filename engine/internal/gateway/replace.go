package gateway

import (
	"cmp"

	"github.com/sluicenet/sluice/engine"
)

// replace closes the connections of this gateway that the new one replaces, then lets it in. The end of
// the one that has the session's state is awaited, and that of the user's older one. The session's
// holder may be another, which waits for that state, too.
func (g *Gateway) replace(c *engine.Conn, s Session, a *admission) {
	old, why := a.kicked, engine.ReasonKickedOut
	former, holder := engine.Ref(a.resumed.Former), engine.Ref(a.resumed.Holder)
	if holder == c.Ref() {
		holder = 0
	}
	if old == 0 && former == 0 && holder == 0 {
		g.enterSettled(c, s, a)
		return
	}
	later := *a // the usual login leaves no garbage
	if a.resuming {
		s.Base().extra.undelivered = &later.resumed
	}
	if old != 0 && (old == former || old == holder) {
		why = engine.ReasonSessionTakenOver
	}
	first := cmp.Or(former, holder)
	if holder != 0 && holder != first && holder != old {
		g.evict(c, &later, holder, engine.ReasonSessionTakenOver, nil)
	}
	if fault == 11 && old != 0 && old != first {
		g.evict(c, &later, first, engine.ReasonSessionTakenOver, nil)
		first = 0
	}
	over := func(c *engine.Conn, s Session, stays bool) {
		if stays {
			g.refuse(c, s, LoginConcurrent)
			return
		}
		g.enterSettled(c, s, &later)
	}
	switch {
	case old == 0 || old == first:
		g.evict(c, &later, first, engine.ReasonSessionTakenOver, over)
	case first == 0:
		g.evict(c, &later, old, why, over)
	default:
		g.evict(c, &later, first, engine.ReasonSessionTakenOver, func(c *engine.Conn, _ Session, _ bool) {
			g.evict(c, &later, old, why, over)
		})
	}
}

// evict closes old, then calls then on c's loop, if c still waits. stays says that old was not
// closed, because it arrived later than the login for which it was to go. All steps are rare, and go
// through the lane that never waits, so two loops that evict each other's cannot block.
func (g *Gateway) evict(c *engine.Conn, a *admission, old engine.Ref, why engine.Reason, then func(c *engine.Conn, s Session, stays bool)) {
	ref := c.Ref()
	if then != nil {
		c.Pause()
	}
	g.engine.Tell(old, func(oc *engine.Conn) {
		stays := a.dismiss(oc, why)
		if then == nil {
			return
		}
		// A connection ends at the end of its loop's step, and what it leaves behind is to be there.
		g.engine.TellLoop(old.Loop(), func() {
			g.engine.Tell(ref, func(c *engine.Conn) {
				if s := waiting(c); s != nil {
					then(c, s, stays)
				}
			})
		})
	})
}

// dismiss closes a connection, nil if it is gone, in favour of a login. It reports true, and leaves
// it, when the user's connection arrived later than that: verdicts come in any order.
func (a *admission) dismiss(oc *engine.Conn, why engine.Reason) (stays bool) {
	if oc == nil {
		return false
	}
	if s, ok := oc.Handler().(Session); ok && why == engine.ReasonKickedOut {
		cl := s.Base()
		if fault != 1 && cl.standing.after(a.arrival) {
			return true
		}
		if a.resuming && cl.extra != nil && cl.extra.resumable && cl.extra.issued.ID == a.resumed.ID {
			why = engine.ReasonSessionTakenOver // which does not end the session
		}
	}
	oc.Close(why)
	return false
}
