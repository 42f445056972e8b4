package netsvr

import (
	"unsafe"

	"github.com/valyala/bytebufferpool"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/websocket"
	"github.com/sluicenet/sluice/engine"
	ws "github.com/sluicenet/sluice/engine/internal/client/websocket"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/internal/link"
)

// customer is one connection's state. Its size is a size class of the allocator: see TestIdleSize.
type customer struct {
	gateway.Client
	ws.Framing
	endpoint  *Endpoint
	upgrade   *upgrade // nil once the customer is told that it is in, and a worker that it is there
	lastHeard uint32   // ms on the engine's clock
	timer     gateway.PacketTimer
}

// upgrade is what is kept of an upgrade request. It is on the connection's account as
// engine.KindInput.
type upgrade struct {
	rawQuery     string
	forwarded    string
	subProtocols []string
	response     *bytebufferpool.ByteBuffer // nil once it is out
	charged      int
}

// size is how many bytes of memory u has.
func (u *upgrade) size() int {
	n := int(unsafe.Sizeof(*u)) + len(u.rawQuery) + len(u.forwarded) + cap(u.subProtocols)*int(unsafe.Sizeof(""))
	for _, p := range u.subProtocols {
		n += len(p)
	}
	if u.response != nil {
		n += cap(u.response.B)
	}
	return n
}

// recharge has the connection's account say what u is now.
func (s *customer) recharge(c *engine.Conn) {
	u := s.upgrade
	if n := u.size(); n != u.charged {
		c.Charge(engine.KindInput, n-u.charged)
		u.charged = n
	}
}

var (
	_ gateway.Session  = (*customer)(nil)
	_ link.UpgradeInfo = (*customer)(nil)
	_ ws.Messages      = (*customer)(nil)
)

func (s *customer) Base() *gateway.Client { return &s.Client }
func (s *customer) Protocol() string      { return Name }
func (s *customer) Ordered() bool         { return false }

func (s *customer) Dialect() uint8 {
	if s.Deflates() {
		return s.endpoint.dialect + deflateDialects
	}
	return s.endpoint.dialect
}

// Transport implements ws.Messages.
func (s *customer) Transport() *ws.Transport { return s.endpoint.transport }

// Describe implements link.UpgradeInfo.
func (s *customer) Describe() (rawQuery string, subProtocols []string, xForwardedFor string) {
	u := s.upgrade
	if u == nil {
		return "", nil, ""
	}
	return u.rawQuery, u.subProtocols, u.forwarded
}

// Forget implements link.UpgradeInfo: idle customers are many.
func (s *customer) Forget(c *engine.Conn) {
	u := s.upgrade
	if u == nil {
		return
	}
	if u.response != nil {
		bytebufferpool.Put(u.response)
	}
	c.Charge(engine.KindInput, -u.charged)
	s.upgrade = nil
}

// OnBytes implements engine.Handler.
func (s *customer) OnBytes(c *engine.Conn, b []byte) (n, need int) {
	s.Admit(s.endpoint.limits(s))
	n, need, whole := s.Feed(c, b, s)
	s.endpoint.gateway.Received(c, s, &s.timer, whole, len(b)-n+s.Unfinished())
	return n, need
}

// LoginDone answers the upgrade request.
func (s *customer) LoginDone(c *engine.Conn, o gateway.Outcome) {
	if o != gateway.LoginOK {
		refusal := &websocket.Refusal{Status: 401, Reason: "Login refused"}
		switch o {
		case gateway.LoginUnavailable:
			refusal = &websocket.Refusal{Status: 503, Reason: "Login unavailable"}
		case gateway.LoginBanned:
			refusal = &websocket.Refusal{Status: 429, Reason: "Too many refused logins from this address"}
		case gateway.LoginMalformed:
			refusal = &websocket.Refusal{Status: 400, Reason: textCustomWrong}
		}
		c.Commit(refusal.Append(c.Buffer(512)), 1)
		c.Close(o.Reason())
		return
	}
	if u := s.upgrade; u != nil && u.response != nil {
		c.Write(u.response.B)
		bytebufferpool.Put(u.response)
		u.response = nil
		s.recharge(c)
	}
	s.heard(c)
	s.endpoint.gateway.Arm(c, s)
}

// NoWorker cuts the customer off: the worker that is to be told of it is not there.
func (s *customer) NoWorker(c *engine.Conn) { c.Close(engine.ReasonNoWorker) }

func (s *customer) heard(c *engine.Conn) { s.lastHeard = uint32(c.Loop().Now()) }

// prefixLen is the length of the worker id in front of a message.
const prefixLen = 3

// OnMessage works off a message, in the order of the protocol's section "Message handling".
func (s *customer) OnMessage(c *engine.Conn, op websocket.Opcode, payload []byte) {
	s.heard(c)
	switch {
	case string(payload) == netsvr.V2.Ping():
		s.endpoint.hub.Heartbeat()
		s.sendText(c, op, netsvr.V2.Pong())
		return
	case len(payload)-prefixLen > s.endpoint.config.MaxMessage:
		s.sendText(c, op, textTooLarge)
		return
	}
	id, ok := workerID(payload)
	if !ok {
		s.sendText(c, op, textWorkerWrong)
		return
	}
	data := payload[prefixLen:]
	if !s.endpoint.gateway.AllowRequest(c) {
		s.endpoint.gateway.Log().Debug("Message rate limited", "protocol", Name, "workerId", id, "by", "max-request-rate")
		return
	}
	if h, ok := s.endpoint.gateway.WorkerHere(id).(MessageHandler); ok && !link.Serves(s.endpoint.hub, id) {
		h.ServeMessage(c, s.endpoint.gateway, data)
		return
	}
	switch s.endpoint.hub.Transfer(c, id, s, data) {
	case link.Limited:
		s.endpoint.gateway.Log().Debug("Message rate limited", "protocol", Name, "workerId", id)
	case link.NoWorker:
		s.endpoint.gateway.Log().Debug("message for a worker that is not there", "protocol", Name, "workerId", id)
	}
}

// A MessageHandler is a worker in this process that takes customers' messages, while no worker of its
// id is attached.
type MessageHandler interface {
	// ServeMessage is called on the customer's loop; data is borrowed.
	ServeMessage(c *engine.Conn, g *gateway.Gateway, data []byte)
}

// workerID reads the prefix: exactly three digits, 001 to 999.
func workerID(payload []byte) (id int, ok bool) {
	if len(payload) < prefixLen {
		return 0, false
	}
	for _, d := range payload[:prefixLen] {
		if d < '0' || d > '9' {
			return 0, false
		}
		id = id*10 + int(d-'0')
	}
	return id, id > 0
}

// sendText sends a text of the protocol, with the opcode of the message it is about.
func (s *customer) sendText(c *engine.Conn, op websocket.Opcode, text string) {
	s.endpoint.hub.Wrote(len(text))
	c.Commit(websocket.AppendFrame(c.Buffer(len(text)+websocket.MaxHeaderSize), op, []byte(text)), 1)
}

// OnPing implements ws.Messages.
func (s *customer) OnPing(c *engine.Conn) {
	s.heard(c)
	s.endpoint.hub.Heartbeat()
	s.endpoint.hub.Wrote(0)
}

// OnPong implements ws.Messages.
func (s *customer) OnPong(c *engine.Conn) { s.heard(c) }

// OnTooLarge implements ws.Messages.
func (s *customer) OnTooLarge(c *engine.Conn, op websocket.Opcode) {
	s.heard(c)
	s.sendText(c, op, textTooLarge)
}

// OnInflated implements ws.Messages.
func (s *customer) OnInflated(c *engine.Conn, cost int) {
	if s.Online() {
		s.endpoint.gateway.Inflated(c, cost)
	}
}

// Answer implements gateway.Session: netsvr knows no requests.
func (s *customer) Answer(*engine.Conn, uint32, uint8, int, []byte) {}

// Failure implements gateway.Session.
func (s *customer) Failure(status int, _ string) (int, []byte) { return status, nil }

// OnDeadline closes a customer that has been silent for too long or does not finish a message.
func (s *customer) OnDeadline(c *engine.Conn) {
	switch {
	case s.Waiting():
		s.endpoint.gateway.Refuse(c, s, gateway.LoginUnavailable)
		return
	case !s.Online():
		c.Close(engine.ReasonLoginTimeout)
		return
	}
	if c.SilenceLeft(&s.lastHeard, s.endpoint.config.Idle.Milliseconds()) <= 0 {
		c.Close(engine.ReasonHeartbeatTimeout)
		return
	}
	if s.endpoint.gateway.PacketLate(c, &s.timer) {
		return
	}
	s.endpoint.gateway.Arm(c, s)
}

// NextDeadline implements gateway.Session: the end of the customer's silence, or of a message's time.
func (s *customer) NextDeadline(c *engine.Conn) int64 {
	next := max(c.SilenceLeft(&s.lastHeard, s.endpoint.config.Idle.Milliseconds()), 1)
	return gateway.Sooner(next, s.endpoint.gateway.PacketLeft(c, &s.timer))
}

// Goodbye sends a close frame where the protocol leaves room for one; customers that are sent away
// by a worker see the end of the connection and nothing else.
func (s *customer) Goodbye(c *engine.Conn, why engine.Reason) {
	if !s.Online() {
		return
	}
	switch why {
	case engine.ReasonShutdown, engine.ReasonServerIDLost:
		s.SendClose(c, websocket.CloseGoingAway, textShutdown)
	case engine.ReasonDisconnected:
		s.SendClose(c, websocket.CloseGoingAway, why.String())
	case engine.ReasonHeartbeatTimeout:
		s.SendClose(c, websocket.CloseGoingAway, "heartbeat timeout")
	case engine.ReasonPacketTimeout:
		s.SendClose(c, websocket.ClosePolicyViolation, "message timeout")
	case engine.ReasonSlowConsumer, engine.ReasonBacklogTotal, engine.ReasonMemory:
		s.SendClose(c, websocket.ClosePolicyViolation, why.String())
	case engine.ReasonServerError, engine.ReasonInputBacklog:
		s.SendClose(c, websocket.CloseInternalError, why.String())
	}
}

// OnClose takes the customer off the gateway's lists.
func (s *customer) OnClose(c *engine.Conn, why engine.Reason) {
	s.Release(c)
	s.endpoint.gateway.Closed(c, s, why)
	s.Forget(c)
}
