package gosoc

import (
	"encoding/json"
	"time"

	"github.com/sluicenet/sluice/codec/gosoc"
	"github.com/sluicenet/sluice/codec/gzip"
	"github.com/sluicenet/sluice/codec/websocket"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
)

// conn is one connection's state. Its size is a size class of the allocator: see TestIdleSize.
type conn struct {
	gateway.Client
	protocol  *Protocol
	lastHeard uint32 // ms on the engine's clock, when the wait for the next packet began
	timer     gateway.PacketTimer
	keepAlive uint16     // seconds, as the client wants it; see idleLimit
	form      gosoc.Form // unknownForm before the first byte
	flags     connFlags
}

type connFlags uint8

const (
	flagGzip  connFlags = 1 << iota // payloads travel gzipped, as Connect said
	flagAsked                       // a Connect has come that was not answered, maybe a broken one
	// flagTooLarge: the first packet's header is over the limit, and what follows must say whether it
	// is a Connect.
	flagTooLarge
)

func (h *conn) gzip() bool { return h.flags&flagGzip != 0 }

// unknownForm is the form of a connection that has sent nothing.
const unknownForm gosoc.Form = 0xff

func newConn(p *Protocol) conn { return conn{protocol: p, form: unknownForm} }

var _ gateway.Session = (*conn)(nil)

func (h *conn) Base() *gateway.Client { return &h.Client }
func (h *conn) Protocol() string      { return Name }
func (h *conn) Ordered() bool         { return true }

func (h *conn) Dialect() uint8 {
	if h.deflates() {
		return h.protocol.first + deflateDialects + uint8(h.wireForm()/2)
	}
	return h.protocol.first + uint8(h.wireForm())
}

// deflates reports whether WebSocket compresses what is sent.
func (h *conn) deflates() bool { return h.protocol.deflate != nil && !h.gzip() }

// wireForm is the connection's place among its transport's dialects.
func (h *conn) wireForm() int {
	w := compactPlain
	if h.form == gosoc.Fixed6 {
		w = fixed6Plain
	}
	if h.gzip() {
		w++
	}
	return w
}

// PacketSize implements engine.RecordPerPacket.
func (h *conn) PacketSize(b []byte) int {
	if h.protocol.config.TLSRuns {
		return len(b)
	}
	header, err := h.form.ParseHeader(b)
	if err != nil {
		return 0
	}
	return header.Len()
}

// OnBytes handles whole packets.
func (h *conn) OnBytes(c *engine.Conn, b []byte) (n, need int) {
	n, need, whole := h.serve(c, b, false)
	h.protocol.gateway.Received(c, h, &h.timer, whole, len(b)-n)
	return n, need
}

// serve handles the whole packets at the front of b, and reports whether there was one besides what
// OnBytes reports. message says that they are those of a message, which is counted.
func (h *conn) serve(c *engine.Conn, b []byte, message bool) (n, need int, whole bool) {
	if len(b) > 0 {
		h.protocol.gateway.Heard(c, &h.Client)
	}
	for n < len(b) && !c.Paused() && !c.OutputFull() {
		used, more := h.packet(c, b[n:])
		if used == 0 {
			need = more
			break
		}
		n += used
		switch {
		case !message:
			c.CountPackets(1)
		case whole: // the message counts as the first
			c.SpendPackets(1)
		}
		whole = true
		if !c.Open() {
			break
		}
	}
	if whole {
		h.lastHeard = uint32(c.Loop().Now())
	}
	return n, need, whole
}

// packet handles the packet at the front of b. used is 0 when it is not whole, and more its length
// as far as it is known.
func (h *conn) packet(c *engine.Conn, b []byte) (used, more int) {
	if h.form == unknownForm {
		form, ok := gosoc.Sniff(b[0])
		if !ok {
			c.Close(engine.ReasonMalformed)
			return 0, 0
		}
		h.form = form
	}
	header, err := h.form.ParseHeader(b)
	if err != nil {
		h.malformed(c, err)
		return 0, 0
	}
	if h.Fresh() && b[0] != byte(gosoc.TypeConnect)<<4 && h.form == gosoc.Compact {
		// Only Connect may come first; its type stands in the first byte.
		c.Close(engine.ReasonOutOfOrder)
		return 0, 0
	}
	if header.Size == 0 {
		return 0, len(b) + 1
	}
	limit := h.protocol.gateway.Config().MaxPacket
	if !h.Online() {
		limit = min(limit, h.protocol.gateway.Config().LoginBytes)
	}
	if h.Fresh() {
		if header.Type != gosoc.TypeConnect {
			c.Close(engine.ReasonOutOfOrder)
			return 0, 0
		}
		_, ok, err := gosoc.Recognize(b)
		switch {
		case err != nil: // no need to wait for the rest
			c.Close(engine.ReasonUnknownProtocol)
			return 0, 0
		case ok && (header.Remaining > limit || len(b) >= header.Len()):
			h.flags |= flagAsked
		case !ok && header.Remaining > limit:
			// What comes next says whether there is somebody to answer.
			if h.flags&flagTooLarge == 0 {
				c.SetDeadline(nameWait)
				h.flags |= flagTooLarge
			}
			return 0, len(b) + 1
		}
	}
	if header.Remaining > limit {
		c.Close(engine.ReasonTooLarge)
		return 0, 0
	}
	total := header.Size + header.Remaining
	if len(b) < total {
		if !expected(header) {
			// Of a kind or a length that cannot become right: no need to wait for the rest.
			c.Close(engine.ReasonMalformed)
			return 0, 0
		}
		return 0, total
	}
	h.handle(c, header, b[header.Size:total])
	return total, 0
}

// expected reports whether a client's packet with this header can be right.
func expected(h gosoc.Header) bool {
	switch h.Type {
	case gosoc.TypePingReq:
		return h.Remaining == 0
	case gosoc.TypeDisconnect:
		return h.Remaining == 1
	case gosoc.TypeConnect, gosoc.TypeSendReq:
		return true
	}
	return false
}

func (h *conn) handle(c *engine.Conn, header gosoc.Header, body []byte) {
	switch header.Type {
	case gosoc.TypeConnect:
		connect, err := h.form.DecodeConnect(header, body)
		switch {
		case err != nil:
			h.malformed(c, err)
		case !h.Fresh():
			h.connAck(c, gosoc.AlreadyConnected)
			c.Close(engine.ReasonOutOfOrder)
		default:
			h.connect(c, connect)
		}
	case gosoc.TypePingReq:
		if err := h.form.DecodePing(header, body); err != nil {
			h.malformed(c, err)
			return
		}
		var room [8]byte
		h.write(c, h.form.AppendPingResp(room[:0]))
	case gosoc.TypeDisconnect:
		if _, err := h.form.DecodeDisconnect(header, body); err != nil {
			h.malformed(c, err)
			return
		}
		c.Close(engine.ReasonClientClose)
	case gosoc.TypeSendReq:
		h.request(c, header, body)
	default: // packets that only servers send
		c.Close(engine.ReasonOutOfOrder)
	}
}

// nameWait is for how long the name in a Connect is waited for whose header is reason enough to refuse
// it: it comes with the header, or in the next segment.
const nameWait = 200 * time.Millisecond

// malformed closes a client that breaks the format. A Connect that could be told from other bytes is
// answered, see Goodbye.
func (h *conn) malformed(c *engine.Conn, err error) {
	gateway.Malformed(h.protocol.gateway, c, Name, err)
}

// request serves a SendReq.
func (h *conn) request(c *engine.Conn, header gosoc.Header, body []byte) {
	req, err := h.form.DecodeSendReq(header, body)
	if err != nil {
		h.malformed(c, err)
		return
	}
	g := h.protocol.gateway
	if !req.Level.Valid() { // levels 2 and 3 mean nothing; the deployed server ignores such requests too
		g.Ignore(c, &h.Client, gateway.IgnoredLevel)
		return
	}
	scratch := g.Scratch(c.Loop())
	payload, data := req.Payload, req.Data
	var cost, more int
	if h.gzip() {
		if payload, scratch.Payload, cost, err = gosoc.InflatePayload(scratch.Payload[:0], payload, g.Config().MaxInflated, g.Config().MaxGzipMembers); err != nil {
			h.malformed(c, err)
			return
		}
	}
	if req.HasData && len(data) > 0 {
		if data, scratch.Data, more, err = gosoc.InflateData(scratch.Data[:0], data, g.Config().MaxInflated, g.Config().MaxGzipMembers); err != nil {
			h.malformed(c, err)
			return
		}
	}
	g.Inflated(c, cost+more)
	r := scratch.Request()
	r.Route, r.ID, r.WantsReply = req.Route, uint32(req.ID), req.Level == gosoc.LevelReply
	r.Payload, r.Data, r.HasData = payload, data, req.HasData
	g.ServeScratch(c, h)
	scratch.Trim()
}

// Answer sends a SendResp.
func (h *conn) Answer(c *engine.Conn, id uint32, _ uint8, status int, payload []byte) {
	if len(payload) == 0 { // clients take a reply apart without looking whether there is one
		payload = emptySuccess
		if status != gateway.StatusOK {
			payload = errorBody(status, "request failed")
		}
	}
	if h.sendResp(c, uint16(id), payload) != nil {
		// Fixed6 has no words for a reply above 65,535 bytes.
		_ = h.sendResp(c, uint16(id), errorBody(gateway.StatusInternal, "the reply is too long for this wire form"))
	}
}

// Failure implements gateway.Session. GOSOC's clients know no status for a time-out.
func (h *conn) Failure(status int, message string) (int, []byte) {
	if status == gateway.StatusTimeout {
		status = gateway.StatusInternal
	}
	return status, errorBody(status, message)
}

// emptySuccess is the body of a reply that says yes and nothing else.
var emptySuccess = []byte(`{"status":0,"data":{}}`)

// errorBody is the body of a reply that says no.
func errorBody(status int, message string) []byte {
	b, err := json.Marshal(struct {
		Status  int    `json:"status"`
		Message string `json:"message"`
		Data    any    `json:"data"`
	}{status, message, nil})
	if err != nil {
		return []byte(`{"status":5,"message":"Internal BackEnd error","data":null}`)
	}
	return b
}

func (h *conn) sendResp(c *engine.Conn, id uint16, payload []byte) error {
	if h.gzip() {
		scratch := h.protocol.gateway.Scratch(c.Loop())
		scratch.Out = gzip.Deflate(scratch.Out[:0], payload)
		payload = scratch.Out
	}
	resp := gosoc.SendResp{ID: id, Payload: payload}
	size, err := h.form.SendRespSize(resp)
	if err != nil {
		return err
	}
	dst := c.Buffer(size + websocket.MaxHeaderSize)
	b := dst
	if h.protocol.webSocket {
		b = websocket.AppendFrameHeader(b, websocket.OpBinary, size)
	}
	if b, err = h.form.AppendSendResp(b, resp); err != nil {
		c.Commit(dst, 0)
		return err
	}
	if h.deflates() {
		b = h.protocol.deflate.Deflate(b, len(dst))
	}
	c.Commit(b, 1)
	return nil
}

// write queues one short packet.
func (h *conn) write(c *engine.Conn, packet []byte) {
	dst := c.Buffer(len(packet) + websocket.MaxHeaderSize)
	if h.protocol.webSocket {
		dst = websocket.AppendFrameHeader(dst, websocket.OpBinary, len(packet))
	}
	c.Commit(append(dst, packet...), 1)
}

func (h *conn) connAck(c *engine.Conn, code gosoc.ReturnCode) {
	var room [8]byte
	h.write(c, h.form.AppendConnAck(room[:0], gosoc.ConnAck{Code: code}))
}

func (h *conn) disconnect(c *engine.Conn, t gosoc.DisconnectType) {
	var room [8]byte
	h.write(c, h.form.AppendDisconnect(room[:0], gosoc.Disconnect{Type: t}))
}

// idleLimit is for how many ms the client may be without a packet: 1.5 times its keep-alive, rounded
// down to whole seconds, and no more than the protocol's limit. 0 means for ever.
func (h *conn) idleLimit() int64 {
	limit, most := int64(h.keepAlive)*3/2*1000, h.protocol.maxIdle
	if limit == 0 || most > 0 && limit > most {
		return most
	}
	return limit
}

// OnDeadline closes a client that has been silent for too long or does not finish a packet, and
// answers requests whose time is up.
func (h *conn) OnDeadline(c *engine.Conn) {
	g := h.protocol.gateway
	switch {
	case h.Waiting(): // the client did its part
		g.Refuse(c, h, gateway.LoginUnavailable)
		return
	case h.flags&flagTooLarge != 0:
		c.Close(engine.ReasonTooLarge)
		return
	case !h.Online():
		c.Close(engine.ReasonLoginTimeout)
		return
	}
	g.Expire(c, h)
	if !c.Open() {
		return
	}
	if limit := h.idleLimit(); limit > 0 && c.SilenceLeft(&h.lastHeard, limit) <= 0 {
		c.Close(engine.ReasonHeartbeatTimeout)
		return
	}
	if g.PacketLate(c, &h.timer) {
		return
	}
	g.Arm(c, h)
}

// NextDeadline implements gateway.Session: the end of the keep-alive, or of a packet's time.
func (h *conn) NextDeadline(c *engine.Conn) (next int64) {
	if limit := h.idleLimit(); limit > 0 {
		next = max(c.SilenceLeft(&h.lastHeard, limit), 1)
	}
	return gateway.Sooner(next, h.protocol.gateway.PacketLeft(c, &h.timer))
}

// OnClose takes the client off the gateway's lists.
func (h *conn) OnClose(c *engine.Conn, why engine.Reason) { h.protocol.gateway.Closed(c, h, why) }
