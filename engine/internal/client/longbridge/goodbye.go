package longbridge

import (
	"github.com/valyala/bytebufferpool"

	"github.com/sluicenet/sluice/codec/longbridge"
	"github.com/sluicenet/sluice/codec/websocket"
	"github.com/sluicenet/sluice/engine"
)

// Goodbye writes the Close push. A client that was refused has its error response instead: the
// vendor's Go client, which knows then that the connection ends, locks itself up over a Close.
func (h *conn) Goodbye(c *engine.Conn, why engine.Reason) {
	if h.protocol.config.NoCloseNotice || h.flags&refused != 0 {
		return
	}
	m, ok := h.notice(why)
	if !ok {
		return
	}
	body := bytebufferpool.Get()
	defer bytebufferpool.Put(body)
	var err error
	if body.B, err = h.handshake.Codec.Append(body.B, &m); err != nil {
		return
	}
	size := headerSize(longbridge.Push, h.handshake.Version) + len(body.B)
	dst := c.Buffer(size + websocket.MaxHeaderSize)
	b := dst
	if h.protocol.webSocket {
		b = websocket.AppendFrameHeader(b, h.opcode(), size)
	}
	if b, err = longbridge.AppendPush(b, h.handshake.Version, longbridge.Header{Cmd: longbridge.CmdClose}, nil, body.B); err != nil {
		b = dst
	}
	c.Commit(b, 1)
}

// notice puts a reason in the protocol's words. The text is for what the code does not say; ok is
// false when the client left of its own accord.
func (h *conn) notice(why engine.Reason) (m longbridge.Close, ok bool) {
	m.Reason = why.String()
	switch why {
	case engine.ReasonPeerClosed, engine.ReasonClientClose, engine.ReasonWriteError, engine.ReasonUnknownProtocol:
		return m, false
	case engine.ReasonHeartbeatTimeout:
		return longbridge.Close{Code: longbridge.CloseHeartbeatTimeout}, true
	case engine.ReasonShutdown, engine.ReasonDisconnected, engine.ReasonServerIDLost:
		return longbridge.Close{Code: longbridge.CloseServerShutdown}, true
	case engine.ReasonMalformed:
		return longbridge.Close{Code: longbridge.CloseUnpackError}, true
	case engine.ReasonPacketTimeout:
		m.Code = longbridge.CloseHeartbeatTimeout
	case engine.ReasonTooLarge, engine.ReasonInflatedTooLarge, engine.ReasonGzipMembers:
		m.Code = longbridge.CloseUnpackError
	case engine.ReasonLoginRefused:
		if h.loginCmd == longbridge.CmdReconnect {
			return longbridge.Close{Code: longbridge.CloseSessExpired}, true
		}
		return longbridge.Close{Code: longbridge.CloseAuthError}, true
	case engine.ReasonLoginExpired:
		m.Code = longbridge.CloseSessExpired
	case engine.ReasonOutOfOrder, engine.ReasonLoginTimeout, engine.ReasonUserLimit, engine.ReasonForcedOffline,
		engine.ReasonLoginRevoked:
		m.Code = longbridge.CloseAuthError
	case engine.ReasonSessionTakenOver, engine.ReasonKickedOut:
		return longbridge.Close{Code: longbridge.CloseConnectDuplicate}, true
	default:
		m.Code = longbridge.CloseServerError
	}
	return m, true
}
