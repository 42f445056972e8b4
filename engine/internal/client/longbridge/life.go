package longbridge

import (
	"github.com/sluicenet/sluice/codec/longbridge"
	"github.com/sluicenet/sluice/codec/websocket"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
)

// heard notes that b has arrived; it is empty when input was paused and there is none.
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
	h.protocol.gateway.Expire(c, h)
	if !c.Open() {
		return
	}
	if h.lifeLeft(c) <= 0 {
		c.Close(engine.ReasonHeartbeatTimeout)
		return
	}
	if h.protocol.gateway.PacketLate(c, &h.timer) {
		return
	}
	if h.beatLeft(c) <= 0 {
		h.beat(c)
	}
	h.protocol.gateway.Arm(c, h)
}

// NextDeadline implements gateway.Session: the end of the client's silence or of a packet's time, or
// our next heartbeat.
func (h *conn) NextDeadline(c *engine.Conn) int64 {
	next := max(min(h.lifeLeft(c), h.beatLeft(c)), 1)
	return gateway.Sooner(next, h.protocol.gateway.PacketLeft(c, &h.timer))
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

// beatLeft returns in how many ms a heartbeat is due. WebSocket clients are pinged whatever they do,
// since some count pings only; TCP clients when they are silent.
func (h *conn) beatLeft(c *engine.Conn) int64 {
	since := h.lastBeat
	if !h.protocol.webSocket && int32(h.lastHeard-since) > 0 {
		since = h.lastHeard
	}
	interval := max(h.protocol.config.HeartbeatInterval.Milliseconds(), 1)
	return interval - int64(uint32(c.Loop().Now())-since)
}

// beat sends a heartbeat.
func (h *conn) beat(c *engine.Conn) {
	h.lastBeat = uint32(c.Loop().Now())
	if h.protocol.webSocket {
		c.Commit(websocket.AppendFrame(c.Buffer(websocket.MaxHeaderSize), websocket.OpPing, nil), 1)
		return
	}
	if h.beats++; h.beats == 0 {
		h.beats = 1 // 0 is no request id
	}
	id := int32(h.beats)
	m := longbridge.Heartbeat{Timestamp: c.Loop().Engine().Time().UnixMilli(), HeartbeatID: &id}
	header := longbridge.Header{Type: longbridge.Request, Cmd: longbridge.CmdHeartbeat, RequestID: uint32(h.beats)}
	dst := c.Buffer(128)
	b, err := longbridge.AppendControl(dst, h.handshake, header, &m)
	if err != nil {
		c.Commit(dst, 0)
		return
	}
	c.Commit(b, 1)
}
