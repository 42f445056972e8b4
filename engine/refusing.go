package engine

import (
	"net/netip"

	"github.com/sluicenet/sluice/engine/internal/address"
)

// A refusing is the Handler of a connection that was refused on its loop. It waits for the first bytes,
// to answer them if their protocol has an answer, as listener.answer does for those that were refused
// before.
type refusing struct {
	unknown
	why  Reason
	kept netip.Addr // by which it counts in Engine.refusals
}

// refuse ends c, which was not admitted, behind an answer where there is one.
func (l *Loop) refuse(c *Conn, why Reason) {
	c.noteRefused(why)
	e := l.engine
	addr := address.Key(c.Peer().Addr())
	if !e.listenerAt(c.listener).refuser || !e.refusals.reserve(addr) {
		c.Close(why)
		return
	}
	c.handler = refusing{why: why, kept: addr}
	c.SetDeadline(refuseTime)
}

// noteRefused counts c as refused and tells of it, in place of what is told of an end.
func (c *Conn) noteRefused(why Reason) {
	c.flags |= flagRefused
	e := c.loop.engine
	e.refusals.onLoops.Add(1)
	e.refused[why].Add(1)
	c.loop.logEnd(c, why)
	e.tellRefused(c.Peer(), int(c.listener), why)
}

func (r refusing) OnBytes(c *Conn, b []byte) (n, need int) {
	if len(b) == 0 { // behind a handshake
		return 0, 1
	}
	var answer []byte
	var m Match
	from := c.loop.engine.listenerAt(c.listener)
	decrypted := c.flags&flagTLS != 0
	c.loop.Isolate(func() { answer, m = from.refusal(b, r.why, decrypted) })
	switch {
	case m == NeedMore && len(b) < refuseBytes:
		return 0, len(b) + 1
	case m == Matched:
		c.Write(answer)
	}
	c.Close(r.why)
	return 0, 0
}

func (r refusing) OnDeadline(c *Conn) { c.Close(r.why) }

func (r refusing) OnClose(c *Conn, _ Reason) { c.loop.engine.refusals.release(r.kept) }
