package gosoc

import (
	"github.com/sluicenet/sluice/codec/gosoc"
	"github.com/sluicenet/sluice/engine"
)

// Goodbye writes what GOSOC has to say for a close: ConnAck to a client that waits for it, and to
// one that is logged in Disconnect where there is a type that makes it do the right thing. See the
// table in the package comment.
func (h *conn) Goodbye(c *engine.Conn, why engine.Reason) {
	if !h.Online() {
		switch {
		case !h.Waiting() && h.flags&flagAsked == 0:
		case why == engine.ReasonKickedOut, why == engine.ReasonSessionTakenOver:
			h.connAck(c, gosoc.ConcurrentLogin)
		default:
			h.connAck(c, gosoc.ServerUnavailable)
		}
		return
	}
	switch why {
	case engine.ReasonKickedOut, engine.ReasonSessionTakenOver, engine.ReasonForcedOffline,
		engine.ReasonLoginRefused, engine.ReasonLoginBanned, engine.ReasonUserLimit,
		engine.ReasonLoginExpired, engine.ReasonLoginRevoked:
		h.disconnect(c, gosoc.DisconnectKickOut)
	case engine.ReasonShutdown, engine.ReasonDisconnected, engine.ReasonServerIDLost:
		h.disconnect(c, gosoc.DisconnectNormal)
	}
}
