package gateway

import "github.com/sluicenet/sluice/engine"

// A PacketTimer limits how long the rest of a packet, or of a message in fragments, may take to
// come once its beginning is there. Time is looked at in windows of Config.PacketTimeout: within
// each, the packet is to become whole, or minPacketRate bytes of it are to come for each second. So
// a long upload over a slow line lasts as long as it needs, while a peer that sends a byte now and
// then ends with the window, and bytes sent early buy no time later.
//
// Protocols keep one for each connection, tell Gateway.Received what OnBytes has left, and have
// Gateway.PacketLeft a word in their NextDeadline. The zero value is ready for use.
type PacketTimer struct {
	// since is when the present window began, in ms on the engine's clock and never 0. It is 0 while
	// no OnDeadline is to be expected within a window's length.
	since uint32
	// had is how many bytes of the packet were there when the window began. 0: no packet is under way.
	had uint32
}

// minPacketRate is in bytes a second: a fourth of what the slowest mobile networks carry.
const minPacketRate = 1 << 10

// lateLoop is, in ms, how late a look at a packet is when it is the loop that has been away, or does
// not come to all bytes that wait for it: its clients have another window then.
const lateLoop = 1000

// Progress notes what was done with a connection's bytes: whole says that some packet is done, and
// pending how many bytes are there of one that is not. It reports whether a deadline must be set
// anew, because none that is set already comes within a window's length.
func (t *PacketTimer) Progress(now int64, whole bool, pending int) (rearm bool) {
	if whole {
		t.had = 0
	}
	if pending <= 0 || t.had > 0 {
		return false
	}
	rearm = t.since == 0
	t.begin(now, pending)
	return rearm
}

// Left returns in how many ms the timer must be looked at again; 0 or less says that the packet's
// time is up. ok is false when no packet is under way. pending is as in Progress, timeout a window's
// length in ms.
func (t *PacketTimer) Left(now int64, pending int, timeout int64) (left int64, ok bool) {
	pending = max(pending, int(t.had))
	if pending == 0 {
		t.since = 0
		return 0, false
	}
	if t.had == 0 {
		t.begin(now, pending)
	}
	left = timeout - int64(uint32(now)-t.since)
	if left <= 0 && int64(pending)-int64(t.had) >= minPacketRate*timeout/1000 {
		t.begin(now, pending)
		left = timeout
	}
	return left, true
}

// begin opens a window.
func (t *PacketTimer) begin(now int64, pending int) {
	t.since, t.had = uint32(now), uint32(pending)
	if t.since == 0 {
		t.since-- // a millisecond earlier
	}
}

// Received notes what a client's OnBytes has done: whole says that a packet was handled, and pending
// how many bytes are there of one that is not whole. When that one must be timed, the connection's
// deadline is set anew.
func (g *Gateway) Received(c *engine.Conn, s Session, t *PacketTimer, whole bool, pending int) {
	if g.Config().PacketTimeout < 0 || !c.Open() {
		return
	}
	if c.Paused() || c.OutputFull() {
		pending = 0 // it is the gateway that goes no further
	}
	if t.Progress(c.Loop().Now(), whole, pending) && s.Base().Online() {
		g.Arm(c, s)
	}
}

// PacketLeft returns in how many ms OnDeadline must look at a client's unfinished packet, at least 1;
// 0 when there is none. Protocols call it from NextDeadline.
func (g *Gateway) PacketLeft(c *engine.Conn, t *PacketTimer) int64 {
	if left, ok := g.packetLeft(c, t); ok {
		return max(left, 1)
	}
	return 0
}

func (g *Gateway) packetLeft(c *engine.Conn, t *PacketTimer) (left int64, ok bool) {
	if g.Config().PacketTimeout < 0 {
		return 0, false
	}
	return t.Left(c.Loop().Now(), unfinished(c), g.packetTimeout())
}

func (g *Gateway) packetTimeout() int64 { return max(g.Config().PacketTimeout.Milliseconds(), 1) }

// unfinished returns how many bytes are there of a packet, or of a message in fragments, that is not
// whole.
func unfinished(c *engine.Conn) int {
	n := c.Unhandled()
	if f, ok := c.Handler().(interface{ Unfinished() int }); ok {
		n += f.Unfinished()
	}
	return n
}

// PacketLate closes a client whose unfinished packet has had its time, and reports whether it did.
// Protocols call it from OnDeadline.
func (g *Gateway) PacketLate(c *engine.Conn, t *PacketTimer) bool {
	left, ok := g.packetLeft(c, t)
	if !ok || left > 0 {
		return false
	}
	now, since := c.Loop().Now(), t.since
	switch {
	case c.Paused():
		t.begin(now, unfinished(c))
		return false
	case c.SilenceLeft(&since, g.packetTimeout()) > 0: // bytes wait in the socket to be read
		// The next look is a tick away, when they are read. They buy no window: of a peer that drips,
		// some byte is always about to be read.
		if -left >= lateLoop {
			t.begin(now, unfinished(c))
		}
		return false
	}
	c.Close(engine.ReasonPacketTimeout)
	return true
}

// Sooner returns the earlier of two times from now in ms, of which 0 means never.
func Sooner(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
