package engine

// A connection ends in up to three steps. Close ends it for its handler, which leaves its last
// words in the queue; when they are sent, so is a FIN, in the same segment; then input is read
// and discarded until the peer closes or its time is up, because closing a socket with unread
// input would reset it and might destroy the last words on their way. Cut skips all that.

// Close ends the connection with the protocol's last words.
func (c *Conn) Close(why Reason) {
	if c.state != stateOpen || c.flags&(flagDoomed|flagParting) != 0 {
		return
	}
	l := c.loop
	if l.walking {
		l.doomSoon(c, why, true)
		return
	}
	l.goodbye(c, why)
	if c.state != stateOpen {
		return
	}
	if !l.over(c, why) {
		l.disconnect(c)
		return
	}
	l.schedule(c.slot, l.engine.config.LastWords)
	l.flush(c)
}

// Cut ends the connection without a word: what is queued is lost, and the peer may see a reset.
func (c *Conn) Cut(why Reason) { c.loop.cut(c, why) }

// goodbye has the handler write its last words. A panic costs it the rest of them.
func (l *Loop) goodbye(c *Conn, why Reason) {
	gen := c.gen
	c.flags |= flagParting // the last words may be too much: that is no reason to say them again
	defer func() {
		if r := recover(); r != nil {
			l.panicked("goodbye", r)
		}
		if c.gen == gen {
			c.flags &^= flagParting
		}
	}()
	c.handler.Goodbye(c, why)
}

// over ends the connection for its handler and its topics. It reports false when the handler, or
// what the loop did while the handler waited, wants it cut.
func (l *Loop) over(c *Conn, why Reason) (polite bool) {
	l.stats.closed[why].Add(1)
	c.state = stateClosing // before OnClose, which may close c again or have the loop look at it
	c.flags |= flagParting // and the slot stays until we are done with it
	l.wheel.clear(c.slot)
	l.unpause(c) // what still comes is discarded, up to the peer's end
	l.lastCall(c, why)
	if c.flags&flagHeld != 0 {
		l.unheld(c)
	}
	l.shard.Leave(&c.member, false)
	if c.flags&flagTagged != 0 {
		c.flags &^= flagTagged
		l.stats.clients[c.dialect].Add(-1)
	}
	l.wheel.clear(c.slot)
	l.input(c, 0)
	polite = c.flags&flagAbrupt == 0
	c.flags &^= flagParting | flagAbrupt
	return polite
}

// lastCall tells the handler that it is over.
func (l *Loop) lastCall(c *Conn, why Reason) {
	h := c.handler
	c.handler = nil
	defer l.caught("close")
	h.OnClose(c, why)
}

// finish sends the FIN behind the last words.
func (l *Loop) finish(c *Conn) {
	c.state = stateDraining
	if err := l.engine.system.shutdown(c.fd); err != nil || c.flags&flagOrphan != 0 {
		l.disconnect(c)
	}
}

// cut ends the connection at once, or as soon as no walk over connections is under way.
func (l *Loop) cut(c *Conn, why Reason) {
	if c.state == stateFree || c.flags&flagDoomed != 0 {
		return
	}
	if l.walking {
		l.doomSoon(c, why, false)
		return
	}
	if c.state == stateOpen {
		l.over(c, why)
	}
	l.disconnect(c)
}

// doomSoon has c closed when the walk over connections that is under way has ended.
func (l *Loop) doomSoon(c *Conn, why Reason, polite bool) {
	c.flags |= flagDoomed
	if polite {
		c.flags |= flagPolite
	}
	c.doom = why
	l.doomed = append(l.doomed, c.slot)
}

// reap closes the connections that were doomed during a walk.
func (l *Loop) reap() {
	for len(l.doomed) > 0 && !l.walking {
		slot := l.doomed[len(l.doomed)-1]
		l.doomed = l.doomed[:len(l.doomed)-1]
		c := l.at(slot)
		if c.flags&flagDoomed == 0 {
			continue
		}
		polite := c.flags&flagPolite != 0
		c.flags &^= flagDoomed | flagPolite
		if polite {
			c.Close(c.doom)
		} else {
			l.cut(c, c.doom)
		}
	}
}

// disconnect closes the socket. gnet calls OnClose on this stack, which frees the slot.
func (l *Loop) disconnect(c *Conn) {
	if c.flags&flagParting != 0 && c.state != stateOpen {
		c.flags |= flagAbrupt
		return
	}
	if c.flags&flagOrphan != 0 {
		l.engine.system.close(c.fd)
		l.release(c)
		return
	}
	if err := l.gnet.Close(c.sock); err != nil {
		l.engine.log.Debug("closing a socket", "err", err)
	}
}

// closed is called when gnet closes the connection's descriptor, whoever asked for it.
func (l *Loop) closed(c *Conn, readErr error) {
	defer func() {
		if c.state == stateOpen && c.flags&flagOrphan == 0 { // its handler panicked in pump
			l.over(c, ReasonServerError)
		}
		c.sock = nil
		if c.flags&flagOrphan == 0 {
			l.release(c)
		}
	}()
	if c.state != stateOpen {
		if c.state == stateClosing && c.first.hold != nil && isEOF(readErr) {
			l.orphan(c) // the peer has only closed its writing side, perhaps
		}
		return
	}
	if c.flags&flagDoomed != 0 {
		l.over(c, c.doom)
		return
	}
	// The peer closed its side. Its last requests may have been held back, and the answers may
	// be more than its socket took: it may have closed no more than its writing side.
	if isEOF(readErr) {
		if c.flags&(flagHoldIn|flagParked) == 0 {
			c.flags &^= flagFullIn
			l.pump(c, false)
			if c.state != stateOpen {
				return
			}
		}
		more := c.flags&(flagHoldIn|flagParked) != 0 || c.flags&flagFullIn != 0 && c.sock.InboundBuffered() > 0
		if more && l.keepHalf(c) {
			return
		}
	}
	if !l.over(c, ReasonPeerClosed) || c.first.hold == nil || !isEOF(readErr) {
		return
	}
	l.orphan(c)
}

// keepHalf keeps a connection whose peer has closed its writing side while its input was held back,
// for a login's verdict or until it has read earlier answers: what it had sent is still to be handled
// and answered.
func (l *Loop) keepHalf(c *Conn) bool {
	var rest []byte
	if n := c.sock.InboundBuffered(); n > 0 {
		b, err := c.sock.Peek(n)
		if err != nil {
			return false
		}
		rest = append(rest, b...)
	}
	if !l.adoptFile(c) {
		return false
	}
	l.halves[c.slot] = rest
	if c.first.hold != nil {
		l.touch(c) // whoever watched the old descriptor for room is gone
	}
	return true
}

// pumpHalf is pump for a connection that keepHalf kept. When everything is handled, it is over.
func (l *Loop) pumpHalf(c *Conn) {
	gen, rest := c.gen, l.halves[c.slot]
	for {
		if c.Crowded() { // the handler would take nothing
			l.makeRoom(c)
			if c.state != stateOpen || c.Holding() {
				return
			}
		}
		n, need := c.handler.OnBytes(c, rest)
		if c.gen != gen || c.state != stateOpen {
			return
		}
		rest = rest[n:]
		l.halves[c.slot] = rest
		switch {
		case c.Holding():
			return
		case c.Crowded():
		case len(rest) == 0 || need > len(rest) || n == 0:
			c.Close(ReasonPeerClosed)
			return
		}
	}
}

// orphan keeps a connection that still has bytes to send alive on a descriptor of our own.
func (l *Loop) orphan(c *Conn) {
	if l.adoptFile(c) {
		l.schedule(c.slot, l.engine.config.LastWords)
		l.touch(c)
		l.mailbox.postTick()
	}
}

// adoptFile makes the connection independent of the descriptor that gnet is about to close.
func (l *Loop) adoptFile(c *Conn) bool {
	fd, err := l.engine.system.dup(c.fd)
	if err != nil {
		return false
	}
	if c.flags&flagPolled != 0 {
		// The file outlives the old number, and so would its place in the poller's set.
		l.engine.system.disarm(c.fd)
	}
	c.fd = fd
	c.flags &^= flagPolled | flagBlocked | flagPaused
	c.flags |= flagOrphan
	return true
}

// release frees the slot.
func (l *Loop) release(c *Conn) {
	if n := c.dropQueue(); n > 0 {
		l.stats.dropped[DropClosing].Add(uint64(n))
	}
	if c.flags&flagHeld != 0 {
		l.unheld(c)
	}
	c.returnBacklog()
	l.wheel.clear(c.slot)
	l.stats.open.Add(-1)
	l.engine.connections.Add(-1)
	delete(l.halves, c.slot)
	gen := c.gen
	*c = Conn{loop: l, slot: c.slot, gen: gen, fd: -1}
	l.free = append(l.free, c.slot)
}
