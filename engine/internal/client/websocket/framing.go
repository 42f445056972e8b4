package websocket

import (
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

// Framing is the frame layer of one connection. Sessions embed it.
type Framing struct {
	reader websocket.Reader
	// sentClose is set once a close frame is queued: no frame may follow it.
	sentClose bool
}

// Begin prepares the layer; deflate says that compression was agreed on.
func (f *Framing) Begin(config *websocket.ReaderConfig, deflate bool) {
	f.reader = websocket.NewReader(config, deflate)
}

// SetLimits changes what the layer accepts, from the next frame on.
func (f *Framing) SetLimits(config *websocket.ReaderConfig) { f.reader.SetConfig(config) }

// Feed reads frames from b until b ends within one or the connection should not be read for now.
// Its results are those of engine.Handler.OnBytes.
func (f *Framing) Feed(c *engine.Conn, b []byte, scratch *websocket.Scratch, m Messages) (n, need int) {
	packets := 0
	defer func() { c.CountPackets(packets) }()
	for !c.Holding() && !c.Crowded() {
		ev, used, err := f.reader.Next(b[n:], scratch)
		n += used
		if err != nil {
			if b, ok := m.(ViolationHandler); ok {
				b.OnViolation(c, err)
			} else {
				f.Fail(c, err)
			}
			return n, 0
		}
		switch ev.Kind {
		case websocket.EventNeedMore:
			return n, ev.Need
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
		packets++
		if !c.Open() {
			return n, 0
		}
	}
	return n, 0
}

// Fail ends the connection for a breach of the protocol, with the close code that names it.
func (f *Framing) Fail(c *engine.Conn, err error) {
	code := websocket.CodeOf(err)
	f.SendClose(c, code, "")
	why := engine.ReasonMalformed
	if code == websocket.CloseMessageTooBig {
		why = engine.ReasonTooLarge
	}
	c.Close(why)
}

// SendClose queues a close frame, unless one is out already.
func (f *Framing) SendClose(c *engine.Conn, code websocket.CloseCode, reason string) {
	if f.sentClose {
		return
	}
	f.sentClose = true
	c.Commit(websocket.AppendClose(c.Buffer(128), code, reason), 1)
}
