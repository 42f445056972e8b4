package longbridge

import (
	"github.com/sluicenet/sluice/codec/longbridge"
	"github.com/sluicenet/sluice/codec/websocket"
	"github.com/sluicenet/sluice/engine"
	ws "github.com/sluicenet/sluice/engine/internal/client/websocket"
	"github.com/sluicenet/sluice/engine/internal/gateway"
)

// An Endpoint upgrades Longbridge clients: whatever the path, the query tells.
type Endpoint struct {
	transport *ws.Transport
	plain     *Protocol              // as it is in WebSocket messages
	deflating *Protocol              // in compressed ones
	early     websocket.ReaderConfig // before the login
	reader    websocket.ReaderConfig
}

// NewEndpoint makes the WebSocket side of p.
func NewEndpoint(p *Protocol, transport *ws.Transport) *Endpoint {
	config, fragments := p.gateway.Config(), transport.Config().MaxFragments
	over := *p
	over.webSocket = true
	over.first += webSocketDialects
	deflating := over
	deflating.deflate = transport
	deflating.first += deflateDialects - webSocketDialects
	return &Endpoint{
		transport: transport,
		plain:     &over,
		deflating: &deflating,
		early:     websocket.ReaderConfig{MaxMessage: config.LoginBytes, MaxFragments: fragments, AnyText: true},
		reader: websocket.ReaderConfig{MaxFragments: fragments, AnyText: true,
			MaxMessage: longbridge.MaxHeaderSize + longbridge.MaxMetadataLen +
				min(config.MaxPacket, longbridge.MaxBodyLen) + longbridge.TrailerSize},
	}
}

// Profile implements ws.Endpoint.
func (e *Endpoint) Profile() ws.Profile {
	return ws.Profile{
		About:   "Longbridge over WebSocket, with version, codec and platform in the query",
		Deflate: !e.transport.Config().NoDeflate,
	}
}

// Upgrade implements ws.Endpoint.
func (e *Endpoint) Upgrade(c *engine.Conn, req *websocket.Request) *websocket.Refusal {
	version, _ := websocket.QueryGet(req.RawQuery, "version")
	codec, _ := websocket.QueryGet(req.RawQuery, "codec")
	platform, _ := websocket.QueryGet(req.RawQuery, "platform")
	hs, err := longbridge.ParseQuery(string(version), string(codec), string(platform))
	if err != nil {
		return &websocket.Refusal{Status: 400, Reason: err.Error()}
	}
	agreed, no := e.transport.Agree(req, e.Profile())
	if no != nil {
		return no
	}
	protocol, deflate := e.plain, agreed.Deflate.Accepted
	if deflate {
		protocol = e.deflating
	}
	h := &webSocketConn{conn: conn{protocol: protocol, handshake: hs, flags: handshakeDone}, endpoint: e}
	protocol.gateway.SetTraceparent(c, &h.Client, ws.Traceparent(req))
	h.heard(c, nil)
	h.BeginGuarded(&e.early, deflate, e.early.MaxMessage+websocket.MaxHeaderSize)
	c.Commit(websocket.AppendResponse(c.Buffer(256), req, agreed), 1)
	c.SetHandler(h)
	return nil
}

// webSocketConn is a connection whose packets travel in WebSocket messages, one in each.
type webSocketConn struct {
	conn
	ws.Framing
	endpoint *Endpoint
}

var (
	_ ws.Endpoint         = (*Endpoint)(nil)
	_ ws.Messages         = (*webSocketConn)(nil)
	_ ws.ViolationHandler = (*webSocketConn)(nil)
)

// OnBytes reads frames.
func (h *webSocketConn) OnBytes(c *engine.Conn, b []byte) (n, need int) {
	h.heard(c, b)
	n, need, whole := h.Feed(c, b, h)
	h.unhandled = uint32(len(b) - n)
	h.protocol.gateway.Received(c, h, &h.timer, whole, len(b)-n+h.Unfinished())
	return n, need
}

// OnClose lets go of what is kept of messages.
func (h *webSocketConn) OnClose(c *engine.Conn, why engine.Reason) {
	h.Release(c)
	h.conn.OnClose(c, why)
}

// LoginDone has bigger messages accepted from now on.
func (h *webSocketConn) LoginDone(c *engine.Conn, o gateway.Outcome) {
	if o == gateway.LoginOK {
		h.Admit(&h.endpoint.reader)
	}
	h.conn.LoginDone(c, o)
}

// OnMessage handles the packet in a message. A client that sends its packets in text messages is
// answered in such.
func (h *webSocketConn) OnMessage(c *engine.Conn, op websocket.Opcode, payload []byte) {
	h.flags.set(text, op == websocket.OpText)
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
func (h *webSocketConn) OnViolation(c *engine.Conn, err error) {
	if websocket.CodeOf(err) == websocket.CloseMessageTooBig {
		c.Close(engine.ReasonTooLarge)
		return
	}
	h.malformed(c, err)
}

// Transport implements ws.Messages.
func (h *webSocketConn) Transport() *ws.Transport { return h.endpoint.transport }

// OnPing implements ws.Messages; that something came is noted already.
func (h *webSocketConn) OnPing(*engine.Conn) {}

// OnPong implements ws.Messages.
func (h *webSocketConn) OnPong(*engine.Conn) {}

// OnTooLarge implements ws.Messages; nothing is skipped here.
func (h *webSocketConn) OnTooLarge(*engine.Conn, websocket.Opcode) {}

// OnInflated implements ws.Messages.
func (h *webSocketConn) OnInflated(c *engine.Conn, cost int) {
	if h.Online() {
		h.protocol.gateway.Inflated(c, cost)
	}
}
