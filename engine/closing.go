package engine

import "github.com/sluicenet/sluice/topic"

// A connection ends in up to three steps. Close ends it for its handler, which writes its final words;
// when they are sent, so is a FIN, in the same segment; then input is read and discarded until the
// peer closes or the linger time is up, because closing a socket with unread input would reset it and
// might destroy the final words on their way. Abort skips all that.
//
// One that is closed for what it does not read has no room for final words: its socket is full, and
// much is queued. That is dropped, but for the rest of a packet that was sent in part, so that the
// final words follow whole packets; see cutQueue.
//
// Both only note what is to be done. It is done at one place, runCloses, at the end of the step: no
// connection goes away under a handler, or under a walk over connections.

// Close ends the connection with the protocol's final words, at the end of the step. From now on it is
// not Open, and what its handler writes is discarded.
func (c *Conn) Close(why Reason) { c.loop.closeLater(c, why, true) }

// Abort ends the connection without a word, at the end of the step: what is queued is lost, and the
// peer may see a reset.
func (c *Conn) Abort(why Reason) { c.loop.closeLater(c, why, false) }

// closeLater has runCloses end c. What has begun gracefully may still be cut short.
func (l *Loop) closeLater(c *Conn, why Reason, graceful bool) {
	switch {
	case c.state == stateFree, graceful && c.state != stateOpen:
		return
	case c.flags&flagClosePending != 0:
		if !graceful {
			c.flags &^= flagGraceful
		}
		return
	}
	c.flags |= flagClosePending
	if graceful {
		c.flags |= flagGraceful
	}
	c.why = why
	l.closes = append(l.closes, c.slot)
}

// runCloses ends the connections whose close is pending. What their handlers do may add more.
func (l *Loop) runCloses() {
	for i := 0; i < len(l.closes); i++ {
		c := l.at(l.closes[i])
		if c.flags&flagClosePending == 0 {
			continue // it has ended meanwhile
		}
		graceful := c.flags&flagGraceful != 0
		c.flags &^= flagClosePending | flagGraceful
		if c.state == stateOpen {
			graceful = l.endHandler(c, c.why, graceful)
		}
		if !graceful {
			l.disconnect(c)
			continue
		}
		l.schedule(c.slot, l.engine.limits.Load().Linger)
		l.flush(c)
	}
	l.closes = l.closes[:0]
}

// endHandler ends the connection for its handler and its topics. It reports whether that was
// graceful: final words may not be possible.
func (l *Loop) endHandler(c *Conn, why Reason, graceful bool) bool {
	l.runStepEnd()      // what c has asked for goes before the news of its end
	l.publisher.Flush() // what c is to have of it goes before the final words
	if c.flags&flagClosePending != 0 {
		// That was too much for c, which ends in any case: a pending close would discard its final
		// words.
		graceful = graceful && c.flags&flagGraceful != 0
		c.flags &^= flagClosePending | flagGraceful
		c.why = why
	}
	if c.flags&flagRefused == 0 { // or noteRefused has told of it
		l.stats.closed[why].Add(1)
	}
	l.takeMarks(c)
	c.state = stateClosing
	l.wheel.clear(c.slot)
	l.unpause(c) // what still comes is discarded, up to the peer's end
	if graceful && (why == ReasonSlowConsumer || why == ReasonBacklogTotal || why == ReasonMemory) {
		graceful = l.cutQueue(c)
	}
	if graceful {
		l.goodbye(c, why)
	}
	if c.flags&flagRefused == 0 {
		l.logEnd(c, why)
		l.tellEnd(c, why, c.finalTraffic(graceful))
	}
	l.lastCall(c, why)
	l.unwatch(c)
	l.leaveTopics(c)
	l.shard.Leave(&c.member, c.pressed())
	if fault != 4 {
		l.press(c, topic.Flowing)
	}
	if c.flags&flagClient != 0 {
		c.flags &^= flagClient
		l.stats.clients[c.dialect].Add(-1)
		l.stats.allClients.Add(-1)
	}
	l.wheel.clear(c.slot)
	if c.flags&flagLongInput != 0 {
		l.dropLongInput(c)
	}
	l.setInput(c, 0)
	if t := l.tlsOf(c); t != nil {
		l.dropPlain(t)
	}
	if c.charged != 0 {
		l.engine.log.Error("a handler has left charges behind", "bytes", int32(c.charged), "reason", why.String())
	}
	return graceful
}

const (
	// maxRest is how long, in bytes, the rest of what was sent in part may be for final words to follow
	// it: a run is no longer.
	maxRest = maxRun
	// restPart bounds what is kept of all such connections: this part of Config.BacklogTotal, shared by
	// the loops. Thousands that lag behind the same messages may be closed at once.
	restPart = 32
)

// cutQueue drops what is queued for c, which does not read it, but for the rest of an entry that was
// sent in part, which becomes a reply of c's own. It reports false when it has dropped that, too: it
// is too long, or too much is kept of others.
func (l *Loop) cutQueue(c *Conn) bool {
	if f := l.engine.beforeCut; f != nil {
		f(c)
	}
	kept, messages := []byte(nil), 0
	if c.flags&flagPartial != 0 {
		e := &c.first
		kept, messages = e.ref.block.data[e.off:e.end], int(e.messages)
	}
	room := l.engine.limits.Load().BacklogTotal / restPart / int64(len(l.engine.loops))
	ok := len(kept) <= maxRest && l.rests+int64(len(kept)) <= room
	if !ok || fault == 15 {
		kept, messages = nil, 0
	}
	kept = append(l.memory.scratch[:0], kept...)
	l.stats.dropped[DropClosing].Add(uint64(c.dropQueue() - messages))
	c.flags |= flagCut
	if len(kept) > 0 {
		c.commit(append(c.buffer(len(kept), entryReply), kept...), messages, entryReply)
		c.flags |= flagPartial
	}
	l.weigh(c)
	return ok
}

// logEnd logs the end of c. A panic of Config.Describe costs the line.
func (l *Loop) logEnd(c *Conn, why Reason) {
	defer l.caught("the line of an end")
	l.engine.logEnd(c, why)
}

// goodbye has the handler write its final words. A panic costs it the rest of them.
func (l *Loop) goodbye(c *Conn, why Reason) {
	defer l.caught("goodbye")
	l.onGoodbye(c, why)
}

// lastCall tells the handler that it is over.
func (l *Loop) lastCall(c *Conn, why Reason) {
	h := c.handler
	c.handler = nil
	defer l.caught("close")
	l.onClose(c, h, why)
}

// cutOff ends c, which is closing, whatever has not been sent to it. Of a shutdown such an end is
// counted: its client was not told.
func (l *Loop) cutOff(c *Conn, why Reason) {
	if c.state == stateClosing && c.why == ReasonShutdown {
		l.stats.cutOff.Add(1)
	}
	c.Abort(why)
}

// finish sends the FIN behind the final words.
func (l *Loop) finish(c *Conn) {
	c.state = stateDraining
	if c.flags&flagRefused == 0 {
		l.stats.told.Add(1)
	}
	if err := l.engine.system.shutdown(c.fd); err != nil || c.flags&flagDetached != 0 {
		l.closeLater(c, ReasonPeerClosed, false)
	}
}

// disconnect closes the socket and frees the slot.
func (l *Loop) disconnect(c *Conn) {
	l.leaveAddress(c)
	if c.flags&flagDetached != 0 {
		l.engine.system.close(c.fd)
	} else if sock := c.sock; sock != nil {
		c.sock = nil // gnet calls OnClose on this stack: we know
		if err := l.gnet.Close(sock); err != nil {
			l.engine.log.Debug("closing a socket", "err", err)
		}
	}
	l.free(c)
}

// free gives the slot back.
func (l *Loop) free(c *Conn) {
	if n := c.dropQueue(); n > 0 {
		l.stats.dropped[DropClosing].Add(uint64(n))
	}
	l.unwatch(c)
	l.untrack(c)
	if c.flags&flagTLS != 0 {
		l.dropTLS(c)
	}
	switch {
	case c.flags&flagRefused != 0:
		l.engine.refusals.onLoops.Add(-1)
	case c.state == stateDraining:
		l.stats.told.Add(-1)
	}
	c.state = stateFree
	l.weigh(c) // off the list
	c.flags &^= flagBlocked
	c.returnQueue()
	l.wheel.clear(c.slot)
	l.stats.open.Add(-1)
	l.engine.connections.Add(-1)
	delete(l.halfClosed, c.slot)
	l.forgetPeer(c)
	delete(l.deferred.debts, c.Ref())
	gen := c.gen
	*c = Conn{loop: l, slot: c.slot, gen: gen, fd: -1}
	l.freeSlots = append(l.freeSlots, c.slot)
}
