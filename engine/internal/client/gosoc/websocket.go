package gosoc

import (
	"github.com/sluicenet/sluice/codec/websocket"
	"github.com/sluicenet/sluice/engine"
	ws "github.com/sluicenet/sluice/engine/internal/client/websocket"
	"github.com/sluicenet/sluice/engine/internal/gateway"
)

// Path is where GOSOC is spoken over WebSocket: whole packets, one or more, in a binary message.
const Path = "/gosoc"

// An Endpoint upgrades GOSOC clients.
type Endpoint struct{ protocol *Protocol }

// readers are what is accepted of WebSocket clients.
type readers struct {
	early  websocket.ReaderConfig // before the login
	online websocket.ReaderConfig
}

// maxHeader is the longest fixed header of a packet, in bytes.
const maxHeader = 6

// NewEndpoint makes the WebSocket side of p.
func NewEndpoint(p *Protocol) *Endpoint {
	return &Endpoint{p}
}

func newReaders(config *gateway.Config) readers {
	return readers{
		early:  websocket.ReaderConfig{MaxMessage: maxHeader + min(config.LoginBytes, config.MaxPacket)},
		online: websocket.ReaderConfig{MaxMessage: maxHeader + config.MaxPacket},
	}
}

// Upgrade implements ws.Endpoint.
func (e *Endpoint) Upgrade(c *engine.Conn, req *websocket.Request) *websocket.Refusal {
	if e.protocol.gateway.Draining() {
		return &websocket.Refusal{Status: 503, Reason: "Service shutdown"}
	}
	if no := req.Check(); no != nil {
		return no
	}
	h := &framedConn{conn: conn{protocol: e.protocol, framed: true}}
	h.Begin(&e.protocol.readers.early, false)
	c.Commit(websocket.AppendResponse(c.Buffer(256), req, websocket.ResponseOptions{}), 1)
	c.SetHandler(h)
	return nil
}

// framedConn is a connection whose packets travel in WebSocket messages.
type framedConn struct {
	conn
	ws.Framing
	// rest is what a message held behind a packet that has the connection wait.
	rest []byte
}

var (
	_ ws.Endpoint = (*Endpoint)(nil)
	_ ws.Messages = (*framedConn)(nil)
)

// OnBytes reads frames, after what the last message left.
func (h *framedConn) OnBytes(c *engine.Conn, b []byte) (n, need int) {
	if len(h.rest) > 0 {
		rest := h.rest
		h.rest = nil
		h.packets(c, rest)
		if !c.Open() {
			return 0, 0
		}
	}
	fresh := !h.Online()
	n, need = h.Feed(c, b, nil, h)
	if fresh {
		h.early += uint32(n)
		if limit := h.protocol.readers.early.MaxMessage + websocket.MaxHeaderSize; int(h.early) > limit && !h.Online() {
			c.Close(engine.ReasonOutOfOrder) // pings, for instance: a Connect was due
		}
	}
	return n, need
}

// LoginDone has bigger messages accepted from now on.
func (h *framedConn) LoginDone(c *engine.Conn, o gateway.Outcome) {
	if o == gateway.LoginOK {
		h.SetLimits(&h.protocol.readers.online)
	}
	h.conn.LoginDone(c, o)
}

// OnMessage handles the packets in a message.
func (h *framedConn) OnMessage(c *engine.Conn, op websocket.Opcode, payload []byte) {
	if op != websocket.OpBinary {
		h.Fail(c, &websocket.Error{Code: websocket.CloseUnsupportedData, Reason: "GOSOC packets are binary"})
		return
	}
	h.packets(c, payload)
}

func (h *framedConn) packets(c *engine.Conn, payload []byte) {
	n, need := h.conn.OnBytes(c, payload)
	switch {
	case !c.Open() || n == len(payload):
	case need > 0:
		c.Close(engine.ReasonMalformed) // a packet does not go on in the next message
	default:
		h.rest = append([]byte(nil), payload[n:]...)
		if !c.Holding() {
			c.Resume() // crowded: go on when there is room
		}
	}
}

// OnPing implements ws.Messages.
func (h *framedConn) OnPing(c *engine.Conn) { h.lastHeard = uint32(c.Loop().Now()) }

// OnPong implements ws.Messages.
func (h *framedConn) OnPong(c *engine.Conn) { h.lastHeard = uint32(c.Loop().Now()) }

// OnTooLarge implements ws.Messages; nothing is skipped here.
func (h *framedConn) OnTooLarge(*engine.Conn, websocket.Opcode) {}

// Goodbye says GOSOC's last words, then WebSocket's.
func (h *framedConn) Goodbye(c *engine.Conn, why engine.Reason) {
	h.conn.Goodbye(c, why)
	code := websocket.ClosePolicyViolation
	switch why {
	case engine.ReasonShutdown:
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
