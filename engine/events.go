package engine

import (
	"errors"
	"io"
	"time"

	"github.com/panjf2000/gnet/v2"
)

// events receives gnet's callbacks, each on the goroutine of the loop it concerns.
type events struct {
	gnet.BuiltinEventEngine
	engine *Engine
}

// OnOpen gives the connection a slot. gnet's context is what accept put there: the listener, or
// the loop whose pair this is.
func (h *events) OnOpen(sock gnet.Conn) ([]byte, gnet.Action) {
	e := h.engine
	switch from := sock.Context().(type) {
	case *Loop:
		from.gnet = sock.EventLoop()
		if from.poller = findPoller(int32(sock.Fd())); from.poller < 0 {
			e.log.Warn("reading cannot be paused here: clients that send too much meanwhile are closed")
		}
		return nil, gnet.None
	case *acceptor:
		from.opened = true
		l := e.loopOf[sock.EventLoop()]
		l.tick()
		c, ok := l.allocate()
		if !ok {
			e.connections.Add(-1)
			e.refused[ReasonTooManyClients].Add(1)
			return nil, gnet.Close
		}
		c.state = stateOpen
		c.sock, c.fd = sock, int32(sock.Fd())
		c.listener = from.index
		c.handler = sniffer{}
		sock.SetContext(c)
		from.shareLocal(sock)
		l.stats.open.Add(1)
		l.schedule(c.slot, e.config.FirstBytes)
		if from.closed.Load() { // too late for CloseAll, perhaps
			e.Tell(c.Ref(), func(c *Conn) {
				if c != nil {
					c.Close(ReasonShutdown)
				}
			})
		}
	}
	return nil, gnet.None
}

// OnTraffic hands input to the connection's handler, then sends what came of it.
func (h *events) OnTraffic(sock gnet.Conn) gnet.Action {
	switch c := sock.Context().(type) {
	case *Conn:
		c.loop.tick()
		c.loop.traffic(c)
	case *Loop:
		_, _ = sock.Discard(-1)
		c.guardedTurn()
	default:
		_, _ = sock.Discard(-1)
	}
	return gnet.None
}

// OnClose frees the connection's slot.
func (h *events) OnClose(sock gnet.Conn, err error) gnet.Action {
	if c, ok := sock.Context().(*Conn); ok && c.sock == sock {
		l := c.loop
		l.tick()
		l.guardedClose(c, err)
		l.wrapUp()
	}
	return gnet.None
}

func (l *Loop) guardedClose(c *Conn, err error) {
	defer l.caught("close")
	l.closed(c, err)
}

func isEOF(err error) bool { return errors.Is(err, io.EOF) }

// traffic handles what has arrived for c and flushes.
func (l *Loop) traffic(c *Conn) {
	l.waitLeft = briefWait
	defer l.caught("traffic")
	ref := c.Ref()
	l.guardedPump(c, l.pumpArrived)
	l.wrapUp()
	l.replyNow(ref)
}

func (l *Loop) guardedPump(c *Conn, pump func(*Conn)) {
	ref := c.Ref()
	defer func() {
		if r := recover(); r != nil {
			l.panicked("input", r)
			if c := l.conn(ref); c != nil {
				c.Cut(ReasonServerError)
			}
		}
	}()
	pump(c)
}

func (l *Loop) pumpArrived(c *Conn) { l.pump(c, false) }
func (l *Loop) pumpResumed(c *Conn) { l.pump(c, true) }

// inputWindow is how much input a handler sees at a time when it sits in gnet's ring, which may
// have to copy it.
const inputWindow = 64 << 10

// pump hands input to c's handler until there is no whole packet left, or the handler or c's own
// unsent replies hold it back. resumed has the handler called once even if nothing has arrived:
// it may have kept something back itself.
func (l *Loop) pump(c *Conn, resumed bool) {
	gen := c.gen
	had := int(c.input)
	if arrived := c.sock.InboundBuffered() - had; arrived > 0 {
		l.stats.bytesIn.Add(uint64(arrived))
	}
	ring := had > 0
	for c.state == stateOpen && !c.Holding() {
		avail := c.sock.InboundBuffered()
		if !resumed && (avail == 0 || avail < int(c.need)) {
			break
		}
		window := avail
		if ring {
			window = min(avail, max(int(c.need), inputWindow))
		}
		var b []byte
		if window > 0 { // to Peek, 0 is everything
			var err error
			if b, err = c.sock.Peek(window); err != nil {
				break
			}
		}
		resumed = false
		n, need := c.handler.OnBytes(c, b)
		if c.gen != gen || c.state != stateOpen {
			break
		}
		if n > 0 {
			_, _ = c.sock.Discard(n)
			if n >= had {
				ring = false
			} else {
				had -= n
			}
		}
		c.need = uint32(need)
		if c.Crowded() {
			l.makeRoom(c)
		} else if n == 0 && need <= len(b) && !c.Holding() {
			c.need = uint32(len(b) + 1) // a handler with no use for what is there waits for more
		}
	}
	if c.gen != gen || c.sock == nil {
		return
	}
	if c.state != stateOpen {
		_, _ = c.sock.Discard(-1)
		return
	}
	left := c.sock.InboundBuffered()
	l.input(c, left)
	limit := l.engine.config.InputBacklog
	if c.flags&flagTagged == 0 {
		limit = l.engine.config.LoginBytes
	}
	switch {
	case c.Holding() && left > pauseAbove && l.pause(c):
		// TCP holds the peer back; what is here by now is all there will be.
	case c.Holding() && left > limit:
		c.Close(ReasonInputBacklog)
	case left > inputWindow && l.engine.inputTotal.Load()+l.inputDelta > l.engine.config.BacklogTotal:
		c.Close(ReasonInputTotal)
	}
}

// makeRoom sends what c has queued. Where that is not enough, it holds c's input back until it is.
func (l *Loop) makeRoom(c *Conn) {
	l.flush(c)
	if c.state == stateOpen && c.Crowded() {
		c.flags |= flagFullIn
	}
}

// input notes how much unhandled input gnet holds for c.
func (l *Loop) input(c *Conn, left int) {
	l.inputDelta += int64(left) - int64(c.input)
	c.input = uint32(left)
	if l.inputDelta > backlogGrain || l.inputDelta < -backlogGrain {
		l.engine.inputTotal.Add(l.inputDelta)
		l.inputDelta = 0
	}
}

// A sniffer is the handler of a connection whose protocol is not known yet.
type sniffer struct{}

func (sniffer) OnBytes(c *Conn, b []byte) (n, need int) {
	more := false
	for _, p := range c.Listener().Protocols {
		switch p.Sniff(b) {
		case Matched:
			c.handler = p.Open(c)
			if c.state != stateOpen || c.Holding() {
				return 0, 0
			}
			return c.handler.OnBytes(c, b)
		case NeedMore:
			more = true
		}
	}
	if !more {
		c.Close(ReasonUnknownProtocol)
	}
	return 0, len(b) + 1
}

func (sniffer) OnDeadline(c *Conn) {
	if c.unread() { // its first bytes are there; the loop will come to them
		c.SetDeadline(tickMillis * time.Millisecond)
		return
	}
	c.Close(ReasonLoginTimeout)
}

func (sniffer) Goodbye(*Conn, Reason) {}
func (sniffer) OnClose(*Conn, Reason) {}
