package gateway

import "github.com/sluicenet/sluice/engine"

// replace closes the connections of this gateway that the new one replaces, then lets it in.
func (g *Gateway) replace(c *engine.Conn, s Session, a *admission) {
	old, why := a.kicked, engine.ReasonKickedOut
	former, holder := engine.Ref(a.resumed.Former), engine.Ref(a.resumed.Holder)
	if holder == c.Ref() {
		holder = 0
	}
	if fault == 11 {
		former = 0
	}
	if old == 0 && former == 0 && holder == 0 {
		g.enterSettled(c, s, a)
		return
	}
	later := *a // the usual login leaves no garbage
	if a.resuming {
		s.Base().extra.undelivered = &later.resumed
	}
	// The end of the one that has the session's state is awaited. The holder may be another, which
	// waits for that, too.
	for _, other := range [...]engine.Ref{former, holder} {
		switch {
		case other == 0:
		case old == 0 || old == other:
			old, why = other, engine.ReasonSessionTakenOver
		default:
			g.evict(c, &later, other, engine.ReasonSessionTakenOver, nil)
		}
	}
	g.evict(c, &later, old, why, func(c *engine.Conn, s Session, stays bool) {
		if stays {
			g.refuse(c, s, LoginConcurrent)
			return
		}
		g.enterSettled(c, s, &later)
	})
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
