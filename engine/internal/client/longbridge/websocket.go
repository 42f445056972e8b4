package longbridge

import (
	"errors"

	"github.com/sluicenet/sluice/codec/longbridge"
	"github.com/sluicenet/sluice/codec/websocket"
	"github.com/sluicenet/sluice/engine"
	ws "github.com/sluicenet/sluice/engine/internal/client/websocket"
	"github.com/sluicenet/sluice/engine/internal/gateway"
)

// An Endpoint upgrades Longbridge clients: whatever the path, the query tells.
type Endpoint struct {
	protocol *Protocol
	early    websocket.ReaderConfig // before the login
	reader   websocket.ReaderConfig
}

// NewEndpoint makes the WebSocket side of p.
func NewEndpoint(p *Protocol) *Endpoint {
	config := p.gateway.Config()
	return &Endpoint{
		protocol: p,
		early:    websocket.ReaderConfig{MaxMessage: config.LoginBytes},
		reader: websocket.ReaderConfig{MaxMessage: longbridge.MaxHeaderSize + longbridge.MaxMetadataLen +
			min(config.MaxPacket, longbridge.MaxBodyLen) + longbridge.TrailerSize},
	}
}

// Upgrade implements ws.Endpoint.
func (e *Endpoint) Upgrade(c *engine.Conn, req *websocket.Request) *websocket.Refusal {
	version, v := websocket.QueryGet(req.RawQuery, "version")
	codec, ok := websocket.QueryGet(req.RawQuery, "codec")
	platform, p := websocket.QueryGet(req.RawQuery, "platform")
	if !v && !ok && !p {
		return &websocket.Refusal{Status: 404, Reason: "Not found"}
	}
	hs, err := longbridge.ParseQuery(string(version), string(codec), string(platform))
	if err != nil {
		return &websocket.Refusal{Status: 400, Reason: err.Error()}
	}
	if e.protocol.gateway.Draining() {
		return &websocket.Refusal{Status: 503, Reason: "Service shutdown"}
	}
	if no := req.Check(); no != nil {
		return no
	}
	h := &framedConn{conn: conn{protocol: e.protocol, handshake: hs, shaken: true, framed: true}, endpoint: e}
	h.heard(c, nil)
	h.Begin(&e.early, false)
	c.Commit(websocket.AppendResponse(c.Buffer(256), req, websocket.ResponseOptions{}), 1)
	c.SetHandler(h)
	return nil
}

// framedConn is a connection whose packets travel in WebSocket messages, one in each.
type framedConn struct {
	conn
	ws.Framing
	endpoint *Endpoint
}

var (
	_ ws.Endpoint         = (*Endpoint)(nil)
	_ ws.Messages         = (*framedConn)(nil)
	_ ws.ViolationHandler = (*framedConn)(nil)
)

// OnBytes reads frames.
func (h *framedConn) OnBytes(c *engine.Conn, b []byte) (n, need int) {
	h.heard(c, b)
	fresh := !h.Online()
	n, need = h.Feed(c, b, nil, h)
	h.unhandled = uint32(len(b) - n)
	if fresh {
		h.early += uint32(n)
		if limit := h.endpoint.early.MaxMessage + websocket.MaxHeaderSize; int(h.early) > limit && !h.Online() {
			c.Close(engine.ReasonOutOfOrder) // pings, for instance: an Auth was due
		}
	}
	return n, need
}

// LoginDone has bigger messages accepted from now on.
func (h *framedConn) LoginDone(c *engine.Conn, o gateway.Outcome) {
	if o == gateway.LoginOK {
		h.SetLimits(&h.endpoint.reader)
	}
	h.conn.LoginDone(c, o)
}

var errText = errors.New("longbridge: text message")

// OnMessage handles the packet in a message.
func (h *framedConn) OnMessage(c *engine.Conn, op websocket.Opcode, payload []byte) {
	if op != websocket.OpBinary {
		h.malformed(c, errText)
		return
	}
	header, err := longbridge.ParseMessage(payload, h.handshake.Version)
	if err != nil {
		h.malformed(c, err)
		return
	}
	if h.allowed(c, &header) {
		h.handle(c, &header, payload)
	}
}

// OnViolation implements ws.ViolationHandler: the Close push is the one notice.
func (h *framedConn) OnViolation(c *engine.Conn, err error) {
	if websocket.CodeOf(err) == websocket.CloseMessageTooBig {
		c.Close(engine.ReasonTooLarge)
		return
	}
	h.malformed(c, err)
}

// OnPing implements ws.Messages; that something came is noted already.
func (h *framedConn) OnPing(*engine.Conn) {}

// OnPong implements ws.Messages.
func (h *framedConn) OnPong(*engine.Conn) {}

// OnTooLarge implements ws.Messages; nothing is skipped here.
func (h *framedConn) OnTooLarge(*engine.Conn, websocket.Opcode) {}
