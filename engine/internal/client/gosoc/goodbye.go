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
			h.overtaken(c)
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

// overtaken answers a Connect whose user, or session, a later one has by now: as if the client had
// been in for a moment and was then kicked out. The clients in the field try again at any ConnAck
// but 0 and 3, which would kick out the later login in turn; at Disconnect 1 they stop.
func (h *conn) overtaken(c *engine.Conn) {
	h.connAck(c, gosoc.Accepted)
	h.disconnect(c, gosoc.DisconnectKickOut)
}
