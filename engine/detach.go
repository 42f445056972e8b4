package engine

import (
	"errors"
	"io"
)

// gnet closes a connection's descriptor as soon as it reads the end of the stream. The peer may have
// closed its writing side only: what it has sent is still to be handled, and what it asked for is
// still to be sent. Such a connection goes on with a duplicate of the descriptor, detached from gnet.

// gone is called when gnet closes c's descriptor by itself, because of err.
func (l *Loop) gone(c *Conn, err error) {
	half := errors.Is(err, io.EOF) && (fault == 10 || !l.engine.system.broken(c.fd))
	unread, early := []byte(nil), false
	if half && c.flags&flagReadingPaused != 0 {
		// A reset of a connection that is not being read comes as an end of stream, too, and so does the
		// close of a unix socket: what a client has sent before it is not read yet.
		if c.flags&flagClient != 0 {
			unread, early = l.engine.system.leftUnread(c.fd)
		}
		half = early || fault == 10
	}
	if half && c.Open() {
		if c.flags&heldFlags == 0 && !early {
			c.flags &^= flagOutputPause
			l.pump(c, false)
		}
		more := early || c.flags&heldFlags != 0 || c.flags&flagOutputPause != 0 && l.hasInput(c)
		if h, ok := c.handler.(*handshake); ok && !h.answered {
			more = false // a client that has not heard from us has not said all there is to say
		}
		if c.Open() && more && l.keepHalf(c, unread) {
			l.resume(c)
			return
		}
	}
	if c.state == stateOpen {
		why, graceful := ReasonPeerClosed, false
		if c.flags&flagClosePending != 0 {
			why, graceful = c.why, c.flags&flagGraceful != 0
			c.flags &^= flagClosePending | flagGraceful // or final words are discarded
		}
		l.endHandler(c, why, graceful)
	}
	c.flags &^= flagClosePending | flagGraceful
	if half && (c.flags&flagTLS != 0 || l.unsentBytes(c)) { // close(2) sends the FIN, close_notify is ours
		l.flush(c)
		if fault != 14 && l.unsentBytes(c) && l.detach(c) {
			l.schedule(c.slot, l.engine.limits.Load().Linger)
			l.markDirty(c)
			return
		}
	}
	l.leaveAddress(c)
	c.sock = nil
	l.free(c)
}

// keepHalf keeps a connection whose peer has closed its writing side while its input was left
// unhandled, for a login's verdict or until it has read earlier answers: what it had sent is still to
// be handled and answered. unread is what gnet has not read of that.
func (l *Loop) keepHalf(c *Conn, unread []byte) bool {
	var rest []byte
	if n := l.buffered(c); n > 0 {
		b, err := l.peek(c, n)
		if err != nil {
			return false
		}
		rest = append(rest, b...)
	}
	if !l.detach(c) {
		return false
	}
	if len(unread) > 0 {
		l.countArrived(c, len(unread))
		rest = append(rest, unread...)
	}
	if c.flags&flagLongInput != 0 {
		l.dropLongInput(c)
	}
	l.halfClosed[c.slot] = rest
	l.setInput(c, len(rest))
	l.markDirty(c) // whoever watched the old descriptor for room is gone
	return true
}

// detach makes the connection independent of the descriptor that gnet is about to close.
func (l *Loop) detach(c *Conn) bool {
	s := l.engine.system
	fd, err := s.dup(c.fd)
	if err != nil {
		return false
	}
	if c.flags&flagPolled != 0 {
		// The file outlives the old number, and so would its place in the poller's set.
		s.disarm(c.fd)
	}
	c.keepPeer(c.Peer()) // a socket that has failed does not tell it any more
	c.fd = fd
	c.sock = nil
	c.flags &^= flagPolled | flagBlocked | flagReadingPaused
	c.flags |= flagDetached
	l.hearFailure(c)
	return true
}

// pumpHalf is pump for a connection that keepHalf kept. When everything is handled, it is over.
func (l *Loop) pumpHalf(c *Conn) {
	if c.OutputFull() { // the handler would take nothing
		l.makeRoom(c)
	}
	if c.Open() && !c.Paused() {
		l.pump(c, true)
	}
	if c.Open() && !c.Paused() {
		c.Close(ReasonPeerClosed)
	}
}

// hasInput reports whether there is input of c that is not handled.
func (l *Loop) hasInput(c *Conn) bool {
	if t := l.tlsOf(c); t != nil && t.plain != nil {
		return true
	}
	return l.buffered(c) > 0
}

// unsentBytes reports whether there is something that the socket has not taken.
func (l *Loop) unsentBytes(c *Conn) bool {
	if t := l.tlsOf(c); t != nil {
		return l.unsentTLS(c, t)
	}
	return c.first.ref != nil
}
