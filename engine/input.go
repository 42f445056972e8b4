package engine

// Unhandled returns how many received bytes the handler had not taken at the end of the loop's last
// turn with the connection: the beginning of a packet, or input that is paused. A number that
// grows is a sign of life of which OnBytes is not told before the packet is whole.
func (c *Conn) Unhandled() int {
	n := int(c.input)
	if t := c.loop.tlsOf(c); t != nil && t.plain != nil {
		n += len(t.plain.buf) - t.plain.off
	}
	return n
}

// SilenceLeft returns how many ms more the peer may be silent, 0 or less when its time is up. heard
// is when it was last heard, the low half of Loop.Now, and limit how many ms it may be silent in all.
// Where the gateway does not listen, that is no silence: heard moves to when it last did.
func (c *Conn) SilenceLeft(heard *uint32, limit int64) int64 {
	now := uint32(c.loop.now)
	if since, ok := c.heldSince(); ok && int32(since-*heard) > 0 {
		*heard = since
	}
	left := limit - int64(now-*heard)
	if left <= 0 && c.unread() {
		*heard, left = now, limit
	}
	return left
}

// heldSince reports since when, the low half of Loop.Now, the connection has shown no sign of life
// that the engine knows of, although its input is paused: now, when it is the gateway that
// makes it wait; when it last took bytes, when it is its own unread replies. ok is false when its
// input is not paused.
func (c *Conn) heldSince() (since uint32, ok bool) {
	switch now := uint32(c.loop.now); {
	case c.flags&heldFlags != 0:
		return now, true
	case c.flags&flagOutputPause != 0:
		if c.queue == nil {
			return now, true
		}
		return uint32(c.queue.progressAt), true
	}
	return 0, false
}

// unread reports whether bytes wait in the socket. A loop that had no core for a while, or has very
// many to read from, comes to a deadline before it comes to them.
func (c *Conn) unread() bool {
	return c.loop.engine.system.unread(c.fd)
}
