package engine

import (
	"github.com/panjf2000/gnet/v2"

	"github.com/sluicenet/sluice/engine/internal/address"
)

// events receives gnet's callbacks, each on the goroutine of the loop it concerns.
type events struct {
	gnet.BuiltinEventEngine
	engine *Engine
}

// beginCall is called where gnet calls the loop, behind tick: it notes that the loop is at something.
// It reports false when the loop was at something already, as where a close is under way.
func (l *Loop) beginCall() (outermost bool) {
	n := l.stats.calls.Load()
	if n%2 != 0 {
		return false
	}
	l.stats.calls.Store(n + 1)
	l.engine.lag.Begin()
	return true
}

// endCall notes that the loop is done with what it was called for. outermost is what beginCall has
// returned.
func (l *Loop) endCall(outermost bool) {
	if outermost {
		l.stats.calls.Store(l.stats.calls.Load() + 1)
	}
}

// OnOpen gives the connection a slot. gnet's context is what accept put there: the listener, or
// the loop whose pair this is.
func (h *events) OnOpen(sock gnet.Conn) ([]byte, gnet.Action) {
	e := h.engine
	switch from := sock.Context().(type) {
	case *Loop:
		from.gnet = sock.EventLoop()
		from.goroutine.note()
		if from.poller = findPoller(int32(sock.Fd())); from.poller < 0 {
			e.log.Warn("reading cannot be paused here: clients that send too much meanwhile are closed")
		}
		return nil, gnet.None
	case *attachment:
		l := e.loopOf[sock.EventLoop()]
		l.tick()
		defer l.endCall(l.beginCall())
		if !l.openAttached(sock, from) {
			return nil, gnet.Close
		}
	case *acceptor:
		from.opened = true
		l := e.loopOf[sock.EventLoop()]
		l.tick()
		defer l.endCall(l.beginCall())
		c, ok := l.allocate()
		if !ok {
			e.connections.Add(-1)
			e.refused[ReasonTooManyClients].Add(1)
			if from.counted {
				e.addresses.leave(keyOf(address.Of(sock.RemoteAddr()).Addr()))
			}
			e.logRefused(address.Of(sock.RemoteAddr()), from.index, ReasonTooManyClients)
			return nil, gnet.Close
		}
		c.state = stateOpen
		c.sock, c.fd = sock, int32(sock.Fd())
		c.listener = from.index
		c.flags |= flagTrusted
		if from.counted {
			c.flags |= flagCounted
		}
		if from.unadmitted {
			c.flags |= flagUnadmitted
		}
		sock.SetContext(c)
		from.shareLocal(sock)
		l.stats.open.Add(1)
		l.enter(c, stageProxy)
	}
	return nil, gnet.None
}

// OnTraffic hands input to the connection's handler, then sends what came of it.
func (h *events) OnTraffic(sock gnet.Conn) gnet.Action {
	switch c := sock.Context().(type) {
	case *Conn:
		l := c.loop
		l.tick()
		outermost := l.beginCall()
		l.traffic(c)
		l.endCall(outermost)
	case *Loop:
		_, _ = sock.Discard(-1)
		c.guardedTurn()
	default:
		_, _ = sock.Discard(-1)
	}
	return gnet.None
}

// OnClose ends a connection that gnet closes by itself. What the loop closes it frees itself.
func (h *events) OnClose(sock gnet.Conn, err error) gnet.Action {
	if c, ok := sock.Context().(*Conn); ok && c.sock == sock {
		l := c.loop
		l.tick()
		outermost := l.beginCall()
		l.guardedGone(c, err)
		l.endStep()
		l.ensureTurn()
		l.endCall(outermost)
	}
	return gnet.None
}

func (l *Loop) guardedGone(c *Conn, err error) {
	defer func() {
		if r := recover(); r != nil {
			l.panicked("close", r)
			if c.sock != nil { // its handler panicked in pump
				if c.state == stateOpen {
					l.endHandler(c, ReasonServerError, false)
				}
				l.leaveAddress(c)
				c.sock = nil
				l.free(c)
			}
		}
	}()
	l.gone(c, err)
}

// traffic handles what has arrived for c and flushes.
func (l *Loop) traffic(c *Conn) {
	defer l.caught("traffic")
	ref := c.Ref()
	l.guardedPump(c, l.pumpArrived)
	l.endStep()
	l.replyNow(ref)
	l.ensureTurn()
}

// ensureTurn has a turn follow when a step outside one has left something for it.
func (l *Loop) ensureTurn() {
	if l.unfinished() {
		l.mailbox.postTick()
	}
}

func (l *Loop) guardedPump(c *Conn, pump func(*Conn)) {
	ref := c.Ref()
	defer func() {
		if r := recover(); r != nil {
			l.panicked("input", r)
			if c := l.conn(ref); c != nil {
				c.Abort(ReasonServerError)
			}
		}
	}()
	pump(c)
}

func (l *Loop) pumpArrived(c *Conn) { l.pump(c, false) }
func (l *Loop) pumpResumed(c *Conn) { l.pump(c, true) }

// inputWindow is how much unhandled input may be left in gnet's ring, which may have to copy it.
const inputWindow = 64 << 10

// pump hands input to c's handler until there is no whole packet left, or the handler, a deferred
// publish or c's own unsent replies keep it from being handled. resumed has the handler called once
// even if nothing has arrived: it may have kept something back itself.
func (l *Loop) pump(c *Conn, resumed bool) {
	if t := l.encrypted(c); t != nil {
		l.pumpTLS(c, t, resumed)
		return
	}
	had := int(c.input)
	if arrived := l.buffered(c) - had; arrived > 0 {
		l.countArrived(c, arrived)
	}
	slices, wide := inputSlices{loop: l}, 0
	for c.Open() && !c.Paused() {
		avail := l.buffered(c)
		if !resumed && (avail == 0 || avail < int(c.need)) {
			break
		}
		window := slices.window(avail, max(int(c.need), wide))
		var b []byte
		if window > 0 { // to Peek, 0 is everything
			var err error
			if b, err = l.peek(c, window); err != nil {
				break
			}
		}
		resumed = false
		n, need := l.serve(c, b)
		if !c.Open() {
			break
		}
		// One that cannot tell how long its packet is wants a byte more than it sees: it sees twice as
		// much, or a long packet would have it called for each byte.
		if wide = 0; n == 0 {
			wide = 2 * len(b)
		}
		if n > 0 {
			l.discard(c, n)
		}
		l.handled(c, n, need, len(b))
		slices.next(c, n, avail-n)
	}
	if !c.Open() {
		l.discardAll(c)
		return
	}
	if c.sock == nil { // what keepHalf has taken over is kept until all of it is handled
		return
	}
	left := l.buffered(c)
	if c.flags&flagLongInput == 0 && left > 0 && max(left, int(c.need)) > inputWindow {
		l.takeLongInput(c, left)
	}
	l.setInput(c, left)
	if c.Paused() {
		l.boundPaused(c, left)
	}
}

// handled notes that c's handler has taken n of size bytes, and wants to see need before it is called
// again. One with no use for what is there waits for more.
func (l *Loop) handled(c *Conn, n, need, size int) {
	c.need = uint32(need)
	if c.OutputFull() {
		l.makeRoom(c)
	} else if n == 0 && need <= size && !c.Paused() {
		c.need = uint32(size + 1)
	}
}

// boundPaused bounds the input of c, which is paused; left bytes are here. Where nothing more comes it
// is bounded.
func (l *Loop) boundPaused(c *Conn, left int) {
	most := l.engine.config.InputBacklog
	limit := most
	if c.flags&flagClient == 0 {
		limit = l.engine.config.LoginBytes
	}
	switch {
	case c.sock == nil, c.flags&flagReadingPaused != 0:
	case left > min(pauseAbove, most) && l.pause(c):
		// TCP holds the peer back; what is here by now is all there will be.
	case left > limit:
		c.Close(ReasonInputBacklog)
	}
}

// makeRoom sends what c has queued. Where that is not enough, it keeps c's input from being handled
// until it is.
func (l *Loop) makeRoom(c *Conn) {
	l.flush(c)
	if c.Open() && c.OutputFull() {
		c.flags |= flagOutputPause
	}
}

// setInput notes how much unhandled input there is of c.
func (l *Loop) setInput(c *Conn, left int) {
	if c.flags&flagLongInput != 0 {
		c.input = uint32(left)
		l.weigh(c)
		return
	}
	if uint32(left) == c.input {
		return
	}
	l.accounts.add(KindInput, inputRoom(uint32(left))-inputRoom(c.input))
	c.input = uint32(left)
	l.weigh(c)
}
