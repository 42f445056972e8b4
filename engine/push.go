package engine

// Send queues p for one connection, behind what this Publisher published. p's slices may be used
// again when it returns. A connection that is gone, or is no client yet, is counted, not an error.
func (pb *Publisher) Send(ref Ref, p Push) error {
	pb.Flush()
	e := pb.engine
	if ref.loop() >= len(e.loops) || ref == 0 {
		pb.stats().dropped[DropNotConnected].Add(1)
		return nil
	}
	l := e.loops[ref.loop()]
	if l == pb.loop {
		if c := l.Conn(ref); c != nil {
			l.push(c, p)
		} else {
			l.stats.dropped[DropNotConnected].Add(1)
		}
		return nil
	}
	return pb.post(l, message{ref: ref, block: pb.copy(p), route: p.Route, cmd: p.Cmd, bytes: uint32(len(p.Payload))})
}

// Mail has m called on the loop of ref with a, b and a copy of payload, behind what this Publisher
// sent there. It is Do without an allocation.
func (pb *Publisher) Mail(ref Ref, m Mail, a uint32, b int32, payload []byte) error {
	pb.Flush()
	if ref.loop() >= len(pb.engine.loops) {
		return nil
	}
	l := pb.engine.loops[ref.loop()]
	if l == pb.loop {
		m.OnMail(l.Conn(ref), a, b, payload)
		return nil
	}
	return pb.post(l, message{mail: m, ref: ref, a: a, b: b, block: pb.copy(Push{Payload: payload}), bytes: uint32(len(payload))})
}

// Do runs fn on the loop of ref, behind what this Publisher sent there, with the connection or,
// when it is gone, with nil. fn must not publish.
func (pb *Publisher) Do(ref Ref, fn func(*Conn)) error {
	pb.Flush()
	if ref.loop() >= len(pb.engine.loops) {
		return nil
	}
	l := pb.engine.loops[ref.loop()]
	if l == pb.loop {
		fn(l.Conn(ref))
		return nil
	}
	return pb.post(l, message{fn: func(l *Loop) { fn(l.Conn(ref)) }, bytes: 64})
}

// DoEach runs fn on every loop, behind what this Publisher sent there. fn must not publish.
func (pb *Publisher) DoEach(fn func(*Loop)) error {
	pb.Flush()
	var failed error
	for _, l := range pb.engine.loops {
		if l == pb.loop {
			fn(l)
		} else if err := pb.post(l, message{fn: fn, bytes: 64}); err != nil {
			failed = err
		}
	}
	return failed
}

func (pb *Publisher) copy(p Push) *block {
	b := newBlock(len(p.Payload))
	b.data = append(b.data, p.Payload...)
	pb.account(int64(cap(b.data)))
	return b
}

// post waits for room in l's mailbox as Publish does, and for a receiver that asks for time, then
// posts m: one that is sent much in a row is slowed down for, not closed.
func (pb *Publisher) post(l *Loop, m message) error {
	_, err := pb.awaitRoom(int(m.bytes), func() (full, slow bool) {
		slow = pb.engine.backlog.Load() > pb.engine.config.BacklogSoft ||
			m.block != nil && m.mail == nil && l.askers.has(m.ref) && pb.engine.Now() < l.heldUntil.Load()
		return l.mailbox.full(), slow
	})
	if err == nil && !l.mailbox.post(m) {
		err = ErrStopped
	}
	if err != nil {
		if m.block != nil {
			pb.account(-m.block.release())
		}
		pb.stats().dropped[DropMailboxFull].Add(1)
	}
	return err
}

// push queues p for one connection.
func (l *Loop) push(c *Conn, p Push) {
	if c.state != stateOpen || c.flags&flagTagged == 0 {
		l.stats.dropped[DropNotConnected].Add(1)
		return
	}
	enc := l.engine.config.Dialects[c.dialect].Append
	if enc == nil {
		return
	}
	size := len(p.Payload) + len(p.Route) + overhead
	if c.queued+uint32(size) > l.quarter && !l.admit(c, uint32(size), 1) {
		return
	}
	dst := c.Buffer(size)
	out, err := enc(dst, p)
	if err != nil {
		c.Commit(dst, 0)
		l.stats.dropped[DropTooLong].Add(1)
		return
	}
	c.Commit(out, 1)
	l.stats.deliveries.Add(1)
	l.stats.payloadOut.Add(uint64(len(p.Payload)))
	if c.flags&flagBlocked != 0 {
		l.review(c)
	}
}

// deliverBlock queues a push posted by another goroutine for one connection.
func (l *Loop) deliverBlock(m *message) {
	c := l.Conn(m.ref)
	switch {
	case m.mail != nil:
		m.mail.OnMail(c, m.a, m.b, m.block.data)
	case c != nil:
		l.push(c, Push{Route: m.route, Cmd: m.cmd, Payload: m.block.data})
	default:
		l.stats.dropped[DropNotConnected].Add(1)
	}
	l.backlogDelta -= m.block.release()
	m.block = nil
}
