package websocket

import (
	"math"
	"sync"

	"github.com/sluicenet/sluice/codec/websocket"
	"github.com/sluicenet/sluice/engine"
)

// Messages receives what Framing reads. Its methods are called on the loop, and may close the
// connection.
type Messages interface {
	// Transport is what the connection came over.
	Transport() *Transport
	OnMessage(c *engine.Conn, op websocket.Opcode, payload []byte)
	// OnPing is called for a ping; Framing has queued the pong.
	OnPing(c *engine.Conn)
	// OnPong is called for a pong.
	OnPong(c *engine.Conn)
	// OnTooLarge is called for a message that is skipped because it is over the reader's limit.
	OnTooLarge(c *engine.Conn, op websocket.Opcode)
	// OnInflated is called behind OnMessage or OnTooLarge for a message that came compressed, unless
	// that has closed the connection. The cost is the event's.
	OnInflated(c *engine.Conn, cost int)
}

// A ViolationHandler is Messages of a protocol that has words of its own for a breach of the frame layer,
// in place of a close frame: OnViolation says them and closes the connection.
type ViolationHandler interface {
	OnViolation(c *engine.Conn, err error)
}

// Framing is the frame layer of one connection. Sessions embed it, call Release in OnClose, and
// Feed with what arrives. What the layer keeps of messages in fragments is on the connection's
// account, as engine.KindFragments.
type Framing struct {
	reader websocket.Reader
	// budget is how many more bytes may come before the login, while guarded.
	budget  int32
	guarded bool
	// greedy: its messages have once become so many bytes that it had to yield.
	greedy bool
	// sentClose is set once a close frame is queued: no frame may follow it.
	sentClose bool
}

// Begin prepares the layer for a client that is logged in, or needs no login. deflate says that
// permessage-deflate was agreed on.
func (f *Framing) Begin(config *websocket.ReaderConfig, deflate bool) {
	f.reader = websocket.NewReader(config, deflate)
}

// BeginGuarded prepares the layer for a client that has yet to log in: until Admit it may send
// budget bytes, frames and headers all counted, and compressed messages as what they become. One that sends more is closed as out of order.
func (f *Framing) BeginGuarded(config *websocket.ReaderConfig, deflate bool, budget int) {
	f.Begin(config, deflate)
	f.budget, f.guarded = int32(min(budget, math.MaxInt32)), true
}

// Admit changes what the layer accepts, from the next frame on, and lifts the budget.
func (f *Framing) Admit(config *websocket.ReaderConfig) {
	f.reader.SetConfig(config)
	f.guarded = false
}

// Deflates reports whether permessage-deflate was agreed on.
func (f *Framing) Deflates() bool { return f.reader.Deflates() }

// scratches are where messages are inflated to: one for each loop that does so now.
var scratches = sync.Pool{New: func() any { return new(websocket.Scratch) }}

const (
	// inflatePerTurn is how many inflated bytes a connection may make its loop handle before others
	// have their turn: 64 KiB of input can be 64 MiB of them.
	inflatePerTurn = 1 << 20
	// inflateCost is for how many inflated bytes a compressed one counts at least: it can be a block
	// of its own with nothing in it.
	inflateCost = 64
)

// Unfinished is how many bytes have come of a message that has some of its fragments and not the
// last, 0 when there is none; see websocket.Reader.Unfinished.
func (f *Framing) Unfinished() int { return f.reader.Unfinished() }

// Release lets go of what the layer keeps. It must be called from OnClose.
func (f *Framing) Release(c *engine.Conn) {
	if kept := f.reader.Buffered(); kept > 0 {
		c.Charge(engine.KindFragments, -kept)
	}
	f.reader.Drop()
}

// Feed reads frames from b until b ends within one or the connection should not be read for now.
// n and need are those of engine.Handler.OnBytes. whole says that a message, or a control frame by
// itself, has come to its end.
func (f *Framing) Feed(c *engine.Conn, b []byte, m Messages) (n, need int, whole bool) {
	var scratch *websocket.Scratch
	if f.reader.Deflates() {
		if f.greedy && len(b) > 0 && c.YieldDue() {
			c.Yield()
			return 0, 0, false
		}
		scratch = scratches.Get().(*websocket.Scratch)
		defer scratches.Put(scratch)
	}
	inflated, cost := 0, 0
	for !c.Paused() && !c.OutputFull() {
		ev, used, err := f.next(c, b[n:], scratch)
		n += used
		if err != nil {
			if b, ok := m.(ViolationHandler); ok {
				b.OnViolation(c, err)
			} else {
				f.Fail(c, err)
			}
			break
		}
		if ev.Kind == websocket.EventNeedMore {
			need = ev.Need
			break
		}
		whole = whole || f.reader.Unfinished() == 0
		if ev.Compressed > 0 {
			inflated += max(len(ev.Payload)-ev.Compressed, 0)
			cost += max(len(ev.Payload), inflateCost*ev.Compressed)
			if ev.Kind == websocket.EventTooLarge { // up to its limit it was inflated, too
				cost = inflatePerTurn
			}
			f.handleInflated(c, &ev, m)
		} else {
			f.handle(c, &ev, m)
		}
		c.CountPackets(1) // behind it, since it may say that this was enough
		if !c.Open() {
			break
		}
		if cost >= inflatePerTurn {
			f.greedy = true
			c.Yield()
			break
		}
	}
	f.spend(c, n+inflated)
	return n, need, whole
}

// next reads on to the next event. What is kept for it is charged.
func (f *Framing) next(c *engine.Conn, b []byte, s *websocket.Scratch) (ev websocket.Event, used int, err error) {
	before := f.reader.Buffered()
	ev, used, err = f.reader.Next(b, s)
	if kept := f.reader.Buffered(); kept != before {
		c.Charge(engine.KindFragments, kept-before)
	}
	return ev, used, err
}

// handleInflated handles a message that came compressed. While that lasts, what it has become is on
// the connection's account.
func (f *Framing) handleInflated(c *engine.Conn, ev *websocket.Event, m Messages) {
	counters := &m.Transport().counters
	counters.inflated.Add(1)
	counters.inflatedFrom.Add(uint64(ev.Compressed))
	counters.inflatedTo.Add(uint64(len(ev.Payload)))
	size := len(ev.Payload)
	c.Charge(engine.KindInput, size)
	defer c.Charge(engine.KindInput, -size)
	f.handle(c, ev, m)
	if c.Open() {
		m.OnInflated(c, ev.InflateCost)
	}
}

func (f *Framing) handle(c *engine.Conn, ev *websocket.Event, m Messages) {
	switch ev.Kind {
	case websocket.EventMessage:
		m.OnMessage(c, ev.Opcode, ev.Payload)
	case websocket.EventPing:
		dst := c.Buffer(len(ev.Payload) + websocket.MaxHeaderSize)
		c.Commit(websocket.AppendFrame(dst, websocket.OpPong, ev.Payload), 1)
		m.OnPing(c)
	case websocket.EventPong:
		m.OnPong(c)
	case websocket.EventTooLarge:
		m.OnTooLarge(c, ev.Opcode)
	case websocket.EventClose:
		f.SendClose(c, ev.Code, string(ev.Payload)) // echoed, as RFC 6455 5.5.1 wants
		c.Close(engine.ReasonClientClose)
	}
}

// spend takes n bytes off what may come before the login.
func (f *Framing) spend(c *engine.Conn, n int) {
	if !f.guarded {
		return
	}
	if f.budget -= int32(min(n, math.MaxInt32)); f.budget < 0 {
		f.budget = 0
		c.Close(engine.ReasonOutOfOrder) // pings, for instance: a login was due
	}
}

// Fail ends the connection for a breach of the protocol, with the close code that names it.
func (f *Framing) Fail(c *engine.Conn, err error) {
	code := websocket.CodeOf(err)
	f.SendClose(c, code, websocket.ReasonOf(err))
	why := engine.ReasonMalformed
	if code == websocket.CloseMessageTooBig {
		why = engine.ReasonTooLarge
	}
	c.Close(why)
}

// SendClose queues a close frame, unless one is out already. The reason of a close that is
// not an echo is the gateway's own text, with nothing in it that a peer has sent.
func (f *Framing) SendClose(c *engine.Conn, code websocket.CloseCode, reason string) {
	if f.sentClose {
		return
	}
	f.sentClose = true
	c.Commit(websocket.AppendClose(c.Buffer(128), code, reason), 1)
}
