package gosoc

import (
	"github.com/sluicenet/sluice/codec/gosoc"
	"github.com/sluicenet/sluice/codec/websocket"
	"github.com/sluicenet/sluice/engine"
	ws "github.com/sluicenet/sluice/engine/internal/client/websocket"
	"github.com/sluicenet/sluice/engine/internal/gateway"
)

// Path is where GOSOC is spoken over WebSocket: whole packets, one or more, in a binary message.
const Path = "/gosoc"

// An Endpoint upgrades GOSOC clients.
type Endpoint struct {
	transport *ws.Transport
	plain     *Protocol // as it is in WebSocket messages
	deflating *Protocol // in compressed ones
	readers   readers
}

// readers are what is accepted of WebSocket clients.
type readers struct {
	early  websocket.ReaderConfig // before the login
	online websocket.ReaderConfig
}

// maxHeader is the longest fixed header of a packet, in bytes.
const maxHeader = 6

// NewEndpoint makes the WebSocket side of p.
func NewEndpoint(p *Protocol, transport *ws.Transport) *Endpoint {
	over := *p
	over.webSocket = true
	over.first += webSocketDialects
	deflating := over
	deflating.deflate = transport
	return &Endpoint{transport, &over, &deflating, newReaders(p.gateway.Config(), transport.Config())}
}

func newReaders(config *gateway.Config, ws *ws.Config) readers {
	return readers{
		early:  websocket.ReaderConfig{MaxMessage: maxHeader + min(config.LoginBytes, config.MaxPacket), MaxFragments: ws.MaxFragments},
		online: websocket.ReaderConfig{MaxMessage: maxHeader + config.MaxPacket, MaxFragments: ws.MaxFragments},
	}
}

// Profile implements ws.Endpoint.
func (e *Endpoint) Profile() ws.Profile {
	return ws.Profile{About: "GOSOC over WebSocket, whole packets in binary messages", Deflate: !e.transport.Config().NoDeflate}
}

// Upgrade implements ws.Endpoint.
func (e *Endpoint) Upgrade(c *engine.Conn, req *websocket.Request) *websocket.Refusal {
	agreed, no := e.transport.Agree(req, e.Profile())
	if no != nil {
		return no
	}
	p, deflate := e.plain, agreed.Deflate.Accepted
	if deflate {
		p = e.deflating
	}
	h := &webSocketConn{conn: newConn(p), endpoint: e}
	early := &e.readers.early
	p.gateway.SetTraceparent(c, &h.Client, ws.Traceparent(req))
	h.BeginGuarded(early, deflate, early.MaxMessage+websocket.MaxHeaderSize)
	c.Commit(websocket.AppendResponse(c.Buffer(256), req, agreed), 1)
	c.SetHandler(h)
	return nil
}

// webSocketConn is a connection whose packets travel in WebSocket messages.
type webSocketConn struct {
	conn
	ws.Framing
	endpoint *Endpoint
	waiting  *waiting // nil nearly always
}

// waiting is what a message held behind a packet that has the connection wait. It is on the
// connection's account as engine.KindInput.
type waiting struct {
	rest []byte
	size int // of the memory that rest lies in, in bytes
}

var (
	_ ws.Endpoint = (*Endpoint)(nil)
	_ ws.Messages = (*webSocketConn)(nil)

	_ ws.ViolationHandler = (*webSocketConn)(nil)
)

// OnBytes reads frames, after what the last message left.
func (h *webSocketConn) OnBytes(c *engine.Conn, b []byte) (n, need int) {
	if h.waiting != nil {
		h.packets(c, h.waiting.rest)
		if !c.Open() {
			return 0, 0
		}
	}
	n, need, whole := h.Feed(c, b, h)
	h.protocol.gateway.Received(c, h, &h.timer, whole, len(b)-n+h.Unfinished())
	return n, need
}

// OnClose lets go of what is kept of messages.
func (h *webSocketConn) OnClose(c *engine.Conn, why engine.Reason) {
	h.Release(c)
	h.keep(c, nil)
	h.conn.OnClose(c, why)
}

// LoginDone has bigger messages accepted from now on.
func (h *webSocketConn) LoginDone(c *engine.Conn, o gateway.Outcome) {
	if o == gateway.LoginOK {
		h.Admit(&h.endpoint.readers.online)
	}
	h.conn.LoginDone(c, o)
}

// OnMessage handles the packets in a message.
func (h *webSocketConn) OnMessage(c *engine.Conn, op websocket.Opcode, payload []byte) {
	if op != websocket.OpBinary {
		h.Fail(c, &websocket.Error{Code: websocket.CloseUnsupportedData, Reason: "GOSOC packets are binary"})
		return
	}
	h.packets(c, payload)
}

// packets handles the packets in payload, which is a message's or h.waiting.rest.
func (h *webSocketConn) packets(c *engine.Conn, payload []byte) {
	n, need, _ := h.serve(c, payload, true)
	switch {
	case !c.Open():
	case n == len(payload):
		h.keep(c, nil)
	case need > 0: // a packet does not go on in the next message
		if _, ok, _ := gosoc.Recognize(payload[n:]); ok && h.Fresh() {
			h.flags |= flagAsked
		}
		why := engine.ReasonMalformed
		if h.flags&flagTooLarge != 0 {
			why = engine.ReasonTooLarge
		}
		c.Close(why)
	default:
		h.keep(c, payload[n:])
		if !c.Paused() {
			c.Resume() // crowded: go on when there is room
		}
	}
}

// keep has rest handled later; none means that nothing waits any more. What waits already is not
// copied again: a message may hold very many packets.
func (h *webSocketConn) keep(c *engine.Conn, rest []byte) {
	w := h.waiting
	switch {
	case w != nil && len(rest) > 0:
		w.rest = rest
	case w != nil:
		c.Charge(engine.KindInput, -w.size)
		h.waiting = nil
	case len(rest) > 0:
		kept := append([]byte(nil), rest...)
		h.waiting = &waiting{kept, cap(kept)}
		c.Charge(engine.KindInput, cap(kept))
	}
}

// Transport implements ws.Messages.
func (h *webSocketConn) Transport() *ws.Transport { return h.endpoint.transport }

// OnPing implements ws.Messages.
func (h *webSocketConn) OnPing(c *engine.Conn) { h.lastHeard = uint32(c.Loop().Now()) }

// OnPong implements ws.Messages.
func (h *webSocketConn) OnPong(c *engine.Conn) { h.lastHeard = uint32(c.Loop().Now()) }

// OnViolation implements ws.ViolationHandler. The first message is a Connect, which is answered also
// when its frame's header alone has it refused. Its form is not known by then: it is taken for the
// compact one, as every client in the field speaks it.
func (h *webSocketConn) OnViolation(c *engine.Conn, err error) {
	if h.Fresh() && websocket.CodeOf(err) == websocket.CloseMessageTooBig {
		h.connAck(c, gosoc.ServerUnavailable)
		h.flags &^= flagAsked
	}
	h.Fail(c, err)
}

// OnTooLarge implements ws.Messages; nothing is skipped here.
func (h *webSocketConn) OnTooLarge(*engine.Conn, websocket.Opcode) {}

// OnInflated implements ws.Messages.
func (h *webSocketConn) OnInflated(c *engine.Conn, cost int) {
	if h.Online() {
		h.protocol.gateway.Inflated(c, cost)
	}
}

// Goodbye writes GOSOC's Disconnect where there is one for the reason, then WebSocket's close frame.
func (h *webSocketConn) Goodbye(c *engine.Conn, why engine.Reason) {
	h.conn.Goodbye(c, why)
	code := websocket.ClosePolicyViolation
	switch why {
	case engine.ReasonShutdown, engine.ReasonDisconnected, engine.ReasonServerIDLost:
		code = websocket.CloseGoingAway
	case engine.ReasonClientClose:
		code = websocket.CloseNormal
	case engine.ReasonMalformed, engine.ReasonOutOfOrder:
		code = websocket.CloseProtocolError
	case engine.ReasonTooLarge, engine.ReasonInflatedTooLarge:
		code = websocket.CloseMessageTooBig
	case engine.ReasonServerError:
		code = websocket.CloseInternalError
	}
	h.SendClose(c, code, why.String())
}
