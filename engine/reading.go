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
	return true
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
