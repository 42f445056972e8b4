package engine

// Output of a connection with TLS is queued as any other's, and encrypted when it is sent: a batch at a
// time, small where the socket was full. What the socket does not take of a batch is kept, on the
// connection's account, and goes first. Everything else sees the queue alone: limits, policies, final
// words and who is congested are the same with TLS and without.

const (
	// A batch is minBatch bytes at first, and doubles up to maxBatch while the socket takes all of it:
	// so much is kept encrypted of one that is full, in memory that is not shared.
	minBatch  = 16 << 10
	maxShifts = 2
	maxBatch  = minBatch << maxShifts
	// maxSealed is how much may be kept encrypted, in bytes: a batch, and what was written meanwhile
	// because of what the peer sent. Who does not read, and has more written, is closed.
	maxSealed = 8 * maxBatch
)

// flushTLS is flush for a connection with TLS.
func (l *Loop) flushTLS(c *Conn) {
	t := l.tls[c.slot]
	for budget := flushBudget; ; {
		p, kept := l.nextSealed(c, t)
		if len(p) == 0 {
			break
		}
		last := c.state == stateClosing && c.first.ref == nil // a FIN follows
		n, errno := l.engine.system.send(c.fd, p, last)
		if errno == 0 && n == len(p) {
			t.batch = min(t.batch+1, maxShifts)
		} else {
			t.batch = 0
		}
		l.unsealed(t, p, n, kept)
		if !l.taken(c, len(p), n, errno) {
			return
		}
		if budget -= n; budget <= 0 && l.unsentTLS(c, t) {
			l.requeue(c)
			break
		}
	}
	l.relieve(c)
	l.catchMore(c)
	if !l.unsentTLS(c, t) {
		c.returnQueue()
		if c.state == stateClosing {
			l.finish(c)
		}
	}
}

// unsentTLS reports whether there is something to be sent.
func (l *Loop) unsentTLS(c *Conn, t *tlsConn) bool { return c.first.ref != nil || t.sealed != nil }

// nextSealed returns the next bytes for the socket: what was kept, or a batch of the queue that it
// encrypts into the loop's scratch memory.
func (l *Loop) nextSealed(c *Conn, t *tlsConn) (p []byte, kept bool) {
	if t.sealed != nil {
		return t.sealed.data[t.sent:], true
	}
	if t.hs != nil || t.flags&tlsFailed != 0 {
		if n := c.dropQueue(); n > 0 { // nobody will hear it
			l.stats.dropped[DropClosing].Add(uint64(n))
		}
		return nil, false
	}
	m := &l.memory
	m.sealing = m.sealing[:0]
	if c.first.ref != nil {
		l.seal(c, t)
	}
	if c.state == stateClosing && c.first.ref == nil && t.flags&(tlsNotified|tlsFailed) == 0 {
		t.flags |= tlsNotified
		if err := t.tls.CloseWrite(); err != nil {
			l.engine.log.Debug("TLS: no close_notify", "peer", c.Peer(), "err", err)
		}
	}
	p, m.sealing = m.sealing, m.sealing[:0]
	return p, false
}

// seal encrypts a batch from the front of c's queue.
func (l *Loop) seal(c *Conn, t *tlsConn) {
	size := minBatch << t.batch
	p := l.gather(c, size)
	p = p[:min(len(p), size)]
	n, err := t.write(p)
	if err != nil {
		l.failTLS(c, t, ReasonTLSError, err)
		return
	}
	l.advance(c, n)
}

// write encrypts p: as it is, or each packet for itself. It returns how much of p that was.
func (t *tlsConn) write(p []byte) (n int, err error) {
	if t.packets == nil {
		return t.tls.Write(p)
	}
	for n < len(p) {
		rest := p[n:]
		size := int(t.left)
		if size == 0 {
			size = t.packets.PacketSize(rest)
		}
		if size <= 0 {
			if n > 0 {
				return n, nil // it may tell with more behind it
			}
			size = len(rest)
		}
		part := min(size, len(rest))
		if n > 0 && (part < size || len(t.loop.memory.sealing) > maxSealed/2) {
			return n, nil // whole with the next batch; and small packets take more as records
		}
		if _, err := t.tls.Write(rest[:part]); err != nil {
			return n, err
		}
		t.left = uint32(size - part)
		n += part
	}
	return n, nil
}

// unsealed notes that the socket has taken n bytes of p, which were kept or are to be now.
func (l *Loop) unsealed(t *tlsConn, p []byte, n int, kept bool) {
	switch {
	case kept && n == len(p):
		l.dropSealed(t)
	case kept:
		t.sent += n
	case n < len(p):
		l.addSealed(t, p[n:])
	}
}

// keepSealed has p, which is encrypted, sent at the end of the step.
func (l *Loop) keepSealed(c *Conn, t *tlsConn, p []byte) {
	if len(p) == 0 {
		return
	}
	l.addSealed(t, p)
	if len(t.sealed.data)-t.sent > maxSealed {
		l.closeLater(c, ReasonSlowConsumer, false)
		return
	}
	l.markDirty(c)
	l.weigh(c)
}

// addSealed appends p to what is kept encrypted.
func (l *Loop) addSealed(t *tlsConn, p []byte) {
	b := t.sealed
	if b == nil || len(b.data)+len(p) > cap(b.data) {
		var rest []byte
		if b != nil {
			rest = b.data[t.sent:]
		}
		bigger := newBlock(len(rest) + len(p))
		bigger.data = append(bigger.data, rest...)
		l.dropSealed(t)
		t.sealed, b = bigger, bigger
		l.accounts.add(KindUnsent, int64(cap(b.data)))
	}
	b.data = append(b.data, p...)
}

func (l *Loop) dropSealed(t *tlsConn) {
	if b := t.sealed; b != nil {
		t.sealed, t.sent = nil, 0
		l.accounts.add(KindUnsent, -b.release())
	}
}
