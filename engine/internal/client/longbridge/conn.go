package longbridge

import (
	"github.com/sluicenet/sluice/codec/longbridge"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
)

// conn is one connection's state. Its size is a size class of the allocator: see TestIdleSize.
type conn struct {
	gateway.Client
	protocol *Protocol

	// Times are in ms on the engine's clock.
	lastHeard uint32 // when the last byte was seen to have come
	lastBeat  uint32 // when we last sent a heartbeat
	timer     gateway.PacketTimer
	unhandled uint32 // received bytes of an unfinished packet, when last looked at

	// login is how many bytes of packets were handled before the login, over TCP; from the login on
	// it is that request's id.
	login     uint32
	loginCmd  uint8 // Auth or Reconnect, once it has come
	flags     flags
	beats     uint16 // request id of the last heartbeat we sent
	handshake longbridge.Handshake
}

type flags uint8

const (
	handshakeDone flags = 1 << iota // handshake is the client's
	text                            // the client's last packet came in a text message
	refused                         // an error response says why the connection ends
)

// set changes f as on says.
func (f *flags) set(f1 flags, on bool) {
	*f &^= f1
	if on {
		*f |= f1
	}
}

var _ gateway.Session = (*conn)(nil)

func (h *conn) Base() *gateway.Client { return &h.Client }
func (h *conn) Protocol() string      { return Name }
func (h *conn) Ordered() bool         { return false }

func (h *conn) Dialect() uint8 {
	d := h.protocol.first
	if h.handshake.Version == longbridge.Version2 {
		d++
	}
	if h.flags&text != 0 {
		d += textDialects - webSocketDialects
	}
	return d
}

// OnBytes handles the handshake, then whole packets.
func (h *conn) OnBytes(c *engine.Conn, b []byte) (n, need int) {
	h.heard(c, b)
	if h.flags&handshakeDone == 0 {
		hs, size, err := longbridge.ParseHandshake(b)
		switch {
		case err != nil:
			h.malformed(c, err)
			return 0, 0
		case size == 0:
			return 0, longbridge.HandshakeSize
		case !h.protocol.pinned && strangersName(b[size:]):
			c.Close(engine.ReasonUnknownProtocol)
			return 0, 0
		}
		h.handshake = hs
		h.flags |= handshakeDone
		n = size
	}
	whole := false
	for n < len(b) && !c.Paused() && !c.OutputFull() {
		used, more := h.packet(c, b[n:])
		if used == 0 {
			need = more
			break
		}
		n += used
		whole = true
		c.CountPackets(1)
		if !c.Open() {
			break
		}
	}
	h.unhandled = uint32(len(b) - n)
	h.protocol.gateway.Received(c, h, &h.timer, whole, len(b)-n)
	return n, need
}

// strangersName recognises a GOSOC Connect that has a bit set in its first byte which it must not
// have: 05 'GOSOC' stands behind its header, and no packet of ours begins like this. That client is
// to hear no words of ours.
func strangersName(b []byte) bool {
	const name = "\x05GOSOC"
	return len(b) > 1 && string(b[:min(len(b), len(name))]) == name[:min(len(b), len(name))]
}

// packet handles the packet at the front of b. used is 0 when it is not whole, and more its length
// as far as it is known.
func (h *conn) packet(c *engine.Conn, b []byte) (used, more int) {
	header, err := longbridge.ParseHeader(b, h.handshake.Version)
	if err != nil {
		h.malformed(c, err)
		return 0, 0
	}
	if header.Size == 0 {
		return 0, len(b) + 1
	}
	if !h.allowed(c, &header) {
		return 0, 0
	}
	total := header.Total()
	if len(b) < total {
		return 0, total
	}
	h.handle(c, &header, b[:total])
	return total, 0
}

// allowed looks at what a header announces, before the rest has come. It closes the connection when
// that cannot become right.
func (h *conn) allowed(c *engine.Conn, header *longbridge.Header) bool {
	config := h.protocol.gateway.Config()
	switch {
	case header.Gzip && header.BodyLen == 0:
		h.malformed(c, longbridge.ErrGzipEmpty)
		return false
	case header.BodyLen > config.MaxPacket:
		c.Close(engine.ReasonTooLarge)
		return false
	case h.Online():
		return true
	case header.Total() > config.LoginBytes:
		c.Close(engine.ReasonTooLarge)
		return false
	}
	login := header.Cmd == longbridge.CmdAuth || header.Cmd == longbridge.CmdReconnect
	if header.Type != longbridge.Request || !login && header.Cmd != longbridge.CmdHeartbeat ||
		!h.protocol.webSocket && int(h.login)+header.Total() > config.LoginBytes {
		if header.Type == longbridge.Request {
			h.fail(c, header.Cmd, header.RequestID, longbridge.StatusUnauthenticated, codeUnauthenticated, "not authenticated")
			h.flags |= refused
		}
		c.Close(engine.ReasonOutOfOrder)
		return false
	}
	return true
}

// handle works off a packet that is allowed.
func (h *conn) handle(c *engine.Conn, header *longbridge.Header, packet []byte) {
	metadata, body := header.Split(packet)
	if len(metadata) > 0 {
		if err := longbridge.CheckMetadata(metadata); err != nil {
			h.malformed(c, err)
			return
		}
	}
	g := h.protocol.gateway
	limit := g.Config().MaxInflated
	if !h.Online() {
		if !h.protocol.webSocket { // there, bytes of frames count
			h.login += uint32(len(packet))
		}
		limit = g.Config().LoginBytes
	}
	if header.Type != longbridge.Request {
		if header.Type != longbridge.Response || header.Cmd != longbridge.CmdHeartbeat { // which was a sign of life
			g.Ignore(c, &h.Client, gateway.IgnoredNoRequest)
		}
		return
	}
	if header.Gzip {
		scratch := g.Scratch(c.Loop())
		inflated, cost, err := header.Inflate(scratch.Payload, body, limit, g.Config().MaxGzipMembers)
		if err != nil {
			h.malformed(c, err)
			return
		}
		body, scratch.Payload = inflated, inflated
		if h.Online() {
			g.Inflated(c, cost)
		}
		defer scratch.Trim()
	}
	switch {
	case !header.Control():
		h.request(c, header, metadata, body)
	case header.Cmd == longbridge.CmdHeartbeat:
		// As it came: the body of a heartbeat has no fixed form.
		_ = h.respond(c, header.Cmd, header.RequestID, longbridge.StatusSuccess, body)
	case h.Online() || header.Cmd == longbridge.CmdClose:
		h.fail(c, header.Cmd, header.RequestID, longbridge.StatusBadRequest, codeBadRequest, "not a request for an authenticated connection")
	default:
		h.logIn(c, header, body)
	}
}

// malformed ends a connection whose bytes cannot be read.
func (h *conn) malformed(c *engine.Conn, err error) {
	gateway.Malformed(h.protocol.gateway, c, Name, err)
}

// OnClose takes the client off the gateway's lists.
func (h *conn) OnClose(c *engine.Conn, why engine.Reason) { h.protocol.gateway.Closed(c, h, why) }
