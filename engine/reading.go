package engine

// pauseAbove is how many bytes of unhandled input gnet may have before reading is paused: most
// pauses of a handler are over before anything arrives.
const pauseAbove = 16 << 10

// pause stops reading c. It reports false where that cannot be done: input is then bounded by
// closing the connection.
func (l *Loop) pause(c *Conn) bool {
	if c.flags&flagReadingPaused != 0 {
		return true
	}
	if c.sock == nil || !l.engine.system.pauseReading(l, c.fd) {
		return false
	}
	c.flags |= flagReadingPaused
	l.hearFailure(c)
	return true
}

// hearFailure asks for a notice of c's failure where nobody else would tell: gnet is done with it, or
// is deaf during a pause. A full socket's notice of room tells of it as well.
func (l *Loop) hearFailure(c *Conn) {
	s := l.engine.system
	if !l.failureUnseen(c) || c.flags&flagBlocked != 0 || c.fd < 0 {
		return
	}
	if err := s.arm(c.fd, c.Ref(), false, c.flags&flagPolled != 0); err != nil {
		l.engine.log.Error("cannot wait for a socket's failure", "err", err)
		l.closeLater(c, ReasonServerError, false)
		return
	}
	c.flags |= flagPolled
}

// failureUnseen reports whether nobody but the write poller would tell of c's failure.
func (l *Loop) failureUnseen(c *Conn) bool {
	return c.flags&flagDetached != 0 || c.flags&flagReadingPaused != 0 && l.engine.system.pauseIsDeaf()
}

// unpause reads c again.
func (l *Loop) unpause(c *Conn) {
	if c.flags&flagReadingPaused == 0 || c.sock == nil {
		return
	}
	c.flags &^= flagReadingPaused
	if err := l.engine.system.resumeReading(l, c.fd); err != nil {
		l.engine.log.Error("cannot read a connection again", "err", err)
		l.closeLater(c, ReasonServerError, false)
	}
}
