package websocket

import (
	"math"

	"github.com/sluicenet/sluice/codec/websocket"
	"github.com/sluicenet/sluice/engine"
)

// Messages receives what Framing reads. Its methods are called on the loop, and may close the
// connection.
type Messages interface {
	OnMessage(c *engine.Conn, op websocket.Opcode, payload []byte)
	// OnPing is called for a ping; Framing has queued the pong.
	OnPing(c *engine.Conn)
	// OnPong is called for a pong.
	OnPong(c *engine.Conn)
	// OnTooLarge is called for a message that is skipped because it is over the reader's limit.
	OnTooLarge(c *engine.Conn, op websocket.Opcode)
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
	// sentClose is set once a close frame is queued: no frame may follow it.
	sentClose bool
}

// Begin prepares the layer for a client that is logged in, or needs no login.
func (f *Framing) Begin(config *websocket.ReaderConfig) {
	f.reader = websocket.NewReader(config, false)
}

// BeginGuarded prepares the layer for a client that has yet to log in: until Admit it may send
// budget bytes, frames and headers all counted. One that sends more is closed as out of order.
func (f *Framing) BeginGuarded(config *websocket.ReaderConfig, budget int) {
	f.Begin(config)
	f.budget, f.guarded = int32(min(budget, math.MaxInt32)), true
}

// Admit changes what the layer accepts, from the next frame on, and lifts the budget.
func (f *Framing) Admit(config *websocket.ReaderConfig) {
	f.reader.SetConfig(config)
	f.guarded = false
}

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
	packets := 0
	for !c.Paused() && !c.OutputFull() {
		ev, used, err := f.next(c, b[n:])
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
		packets++
		whole = whole || f.reader.Unfinished() == 0
		f.handle(c, &ev, m)
		if !c.Open() {
			break
		}
	}
	c.CountPackets(packets)
	f.spend(c, n)
	return n, need, whole
}

// next reads on to the next event. What is kept for it is charged.
func (f *Framing) next(c *engine.Conn, b []byte) (ev websocket.Event, used int, err error) {
	before := f.reader.Buffered()
	ev, used, err = f.reader.Next(b, nil)
	if kept := f.reader.Buffered(); kept != before {
		c.Charge(engine.KindFragments, kept-before)
	}
	return ev, used, err
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
