package engine

import "time"

// Send queues p for one connection, behind what this Publisher published. p's slices may be used
// again when it returns. A connection that is gone, or is no client yet, is counted, not an error:
// that is ErrStopped.
func (pb *Publisher) Send(ref Ref, p Push) error {
	pb.Flush()
	e := pb.engine
	if ref.loop() >= len(e.loops) || ref == 0 {
		pb.stats().dropped[DropNotConnected].Add(1)
		return nil
	}
	l := e.loops[ref.loop()]
	pb.one[0] = ref
	if err := pb.await(&audience{kind: theseConns, refs: pb.one[:]}); err != nil {
		pb.stats().dropped[DropMailboxFull].Add(1)
		return err
	}
	return pb.post(l, message{ref: ref, block: pb.copy(p), route: p.Route, cmd: p.Cmd, bytes: uint32(len(p.Payload))})
}

// Mail has m called on the loop of ref with a, b and a copy of payload, behind what this Publisher
// sent there. It is Do without an allocation. The error is ErrStopped.
func (pb *Publisher) Mail(ref Ref, m Mail, a uint32, b int32, payload []byte) error {
	pb.Flush()
	if ref.loop() >= len(pb.engine.loops) {
		return nil
	}
	l := pb.engine.loops[ref.loop()]
	return pb.post(l, message{mail: m, ref: ref, a: a, b: b, block: pb.copy(Push{Payload: payload}), bytes: uint32(len(payload))})
}

// Do runs fn on the loop of ref, behind what this Publisher sent there, with the connection or,
// when it is gone, with nil. fn must not publish. The error is ErrStopped.
func (pb *Publisher) Do(ref Ref, fn func(*Conn)) error {
	pb.Flush()
	if ref.loop() >= len(pb.engine.loops) {
		return nil
	}
	l := pb.engine.loops[ref.loop()]
	return pb.post(l, message{fn: func(l *Loop) { fn(l.Conn(ref)) }, bytes: 64})
}

// DoEach runs fn on every loop, behind what this Publisher sent there. fn must not publish. The error
// is ErrStopped; some loops may have run fn then.
func (pb *Publisher) DoEach(fn func(*Loop)) error {
	pb.Flush()
	var failed error
	for _, l := range pb.engine.loops {
		if err := pb.post(l, message{fn: fn, bytes: 64}); err != nil {
			failed = err
		}
	}
	return failed
}

// copy is charged as unsent from here on: what a mailbox holds is on its way to one connection.
func (pb *Publisher) copy(p Push) *block {
	b := newBlock(len(p.Payload))
	b.data = append(b.data, p.Payload...)
	pb.account(KindUnsent, int64(cap(b.data)))
	return b
}

// post waits for room in l's mailbox, then posts m. It waits for no connection: what one does not read
// of its replies is no concern of the others whose replies share the mailbox.
func (pb *Publisher) post(l *Loop, m message) error {
	err := pb.awaitRoom(l)
	if err == nil && !l.mailbox.post(m) {
		err = ErrStopped
	}
	if err != nil {
		if m.block != nil {
			pb.account(KindUnsent, -m.block.release())
		}
		pb.stats().dropped[DropMailboxFull].Add(1)
	}
	return err
}

// awaitRoom waits on a goroutine outside the loops until l's mailbox has room, or the engine stops.
func (pb *Publisher) awaitRoom(l *Loop) error {
	if !l.mailbox.full() {
		return nil
	}
	e := pb.engine
	pb.stats().waits.Add(1)
	pause := 50 * time.Microsecond
	for l.mailbox.full() {
		if e.stopping.Load() {
			return ErrStopped
		}
		e.system.sleep(pause)
		pause = min(2*pause, time.Millisecond)
	}
	return nil
}

// push queues p for one connection.
func (l *Loop) push(c *Conn, p Push) {
	if !c.Open() || c.flags&flagClient == 0 {
		l.stats.dropped[DropNotConnected].Add(1)
		return
	}
	enc := l.engine.wire[c.dialect].Append
	if enc == nil {
		return
	}
	size := len(p.Payload) + len(p.Route) + overhead
	high := c.unsent()+uint32(size) > l.highWater
	if high && !l.admit(c, entryPush, uint32(size), 1) {
		return
	}
	dst := c.buffer(size, entryPush)
	out, err := enc(dst, p)
	if err != nil {
		c.commit(dst, 0, entryPush)
		l.stats.dropped[inexpressible(err)].Add(1)
		return
	}
	c.commit(out, 1, entryPush)
	l.stats.deliveries.Add(1)
	l.stats.payloadOut.Add(uint64(len(p.Payload)))
	if high {
		l.review(c)
		l.weigh(c)
	}
}

// deliverBlock queues a push posted by another goroutine for one connection.
func (l *Loop) deliverBlock(m *message) {
	defer func() { // also when the Mail panics
		l.accounts.add(KindUnsent, -m.block.release())
		m.block = nil
	}()
	c := l.Conn(m.ref)
	switch {
	case m.mail != nil:
		l.onMail(m, c)
	case c != nil:
		l.push(c, Push{Route: m.route, Cmd: m.cmd, Payload: m.block.data})
	default:
		l.stats.dropped[DropNotConnected].Add(1)
	}
}
