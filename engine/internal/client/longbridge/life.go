package longbridge

import (
	"time"

	"github.com/sluicenet/sluice/codec/longbridge"
	"github.com/sluicenet/sluice/codec/websocket"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
)

// heard notes that b has arrived; it is empty when input was held back and there is none.
func (h *conn) heard(c *engine.Conn, b []byte) {
	h.lastHeard = uint32(c.Loop().Now())
	if len(b) > 0 {
		h.protocol.gateway.Heard(c, &h.Client)
	}
}

// OnDeadline closes a client that has been silent for too long or does not finish a packet, sends
// heartbeats, and answers requests whose time is up.
func (h *conn) OnDeadline(c *engine.Conn) {
	switch {
	case h.Waiting(): // the client did its part
		h.protocol.gateway.Refuse(c, h, gateway.LoginUnavailable)
		return
	case !h.Online():
		c.Close(engine.ReasonLoginTimeout)
		return
	}
	next := h.protocol.gateway.Expire(c, h)
	if !c.Open() {
		return
	}
	left := h.lifeLeft(c)
	if left <= 0 {
		c.Close(engine.ReasonHeartbeatTimeout)
		return
	}
	next = gateway.Sooner(next, left)
	next = gateway.Sooner(next, h.protocol.gateway.PacketLeft(c, &h.timer))
	if !c.Open() {
		return
	}
	next = gateway.Sooner(next, h.beat(c))
	c.SetDeadline(time.Duration(next) * time.Millisecond)
}

// lifeLeft returns for how many ms more the client may be silent.
func (h *conn) lifeLeft(c *engine.Conn) int64 {
	// Any byte counts, but the engine keeps those of a packet that is not whole to itself.
	unhandled := uint32(c.Unhandled())
	if unhandled != h.unhandled {
		h.unhandled, h.lastHeard = unhandled, uint32(c.Loop().Now())
	}
	timeout := h.protocol.config.HeartbeatTimeout.Milliseconds()
	left := c.SilenceLeft(&h.lastHeard, timeout)
	if left > 0 && unhandled > 0 {
		left = min(left, max(timeout/4, 1)) // look often, to know when such bytes stopped coming
	}
	return left
}

// beat sends a heartbeat when it is time to, and returns how many ms it is until the next. WebSocket
// clients are pinged whatever they do, since some count pings only; TCP clients when they are silent.
func (h *conn) beat(c *engine.Conn) int64 {
	now := uint32(c.Loop().Now())
	since := h.lastBeat
	if !h.protocol.webSocket && int32(h.lastHeard-since) > 0 {
		since = h.lastHeard
	}
	interval := max(h.protocol.config.HeartbeatInterval.Milliseconds(), 1)
	if left := interval - int64(now-since); left > 0 {
		return left
	}
	h.lastBeat = now
	if h.protocol.webSocket {
		c.Commit(websocket.AppendFrame(c.Buffer(websocket.MaxHeaderSize), websocket.OpPing, nil), 1)
		return interval
	}
	if h.beats++; h.beats == 0 {
		h.beats = 1 // 0 is no request id
	}
	id := int32(h.beats)
	m := longbridge.Heartbeat{Timestamp: time.Now().UnixMilli(), HeartbeatID: &id}
	header := longbridge.Header{Type: longbridge.Request, Cmd: longbridge.CmdHeartbeat, RequestID: uint32(h.beats)}
	dst := c.Buffer(128)
	b, err := longbridge.AppendControl(dst, h.handshake, header, &m)
	if err != nil {
		c.Commit(dst, 0)
		return interval
	}
	c.Commit(b, 1)
	return interval
}
