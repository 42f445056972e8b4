package admin

import (
	"net/netip"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
)

// A sight is what only its loop can tell of a connection: a row of the list without the texts that
// have to be made. To take one allocates nothing, so that a loop is never held up by the garbage
// collector for the sake of a list.
type sight struct {
	ref                       engine.Ref
	peer                      netip.AddrPort
	protocol, state, user     string
	uniqID                    gateway.UniqID // of a client that is online
	online                    bool
	listener, topics, pending int
	traffic                   engine.Traffic
	holding                   engine.Holding
}

// sightOf looks at a connection, on its loop.
func sightOf(c *engine.Conn) sight {
	h := c.Handler()
	v := sight{
		ref: c.Ref(), peer: c.Peer(), protocol: protocolOf(h), state: stateOf(h), listener: c.ListenerIndex(), topics: c.TopicCount(),
		traffic: c.Traffic(), holding: c.Holding(),
	}
	if session, ok := h.(gateway.Session); ok {
		cl := session.Base()
		v.user, v.pending, v.online, v.uniqID = cl.User(), cl.Pending(), cl.Online(), gateway.UniqIDOf(cl)
	}
	return v
}

// row writes out what was seen.
func (s *Server) row(v sight) connection {
	t, k := &v.traffic, &v.holding
	since := s.engine.Time().Add(time.Duration(t.Since-s.engine.Now()) * time.Millisecond)
	row := connection{
		Connection: refText(v.ref), User: v.user, Protocol: v.protocol, State: v.state, Peer: peerText(v.peer), Listener: v.listener, Loop: v.ref.Loop(),
		Since:   since.UTC().Truncate(time.Millisecond),
		BytesIn: t.BytesIn, BytesOut: t.BytesOut, MessagesIn: t.PacketsIn, MessagesOut: t.PacketsOut,
		UnsentBytes: k.Unsent, LagBytes: k.Lag, Queue: k.Messages, InputBytes: k.Input, MemoryBytes: k.Account,
		Topics: v.topics, Pending: v.pending, Congested: k.Congested, Stalled: k.Excluded, Paused: k.Paused,
	}
	if v.online {
		row.UniqID = gateway.IDText(s.gateway, v.uniqID)
	}
	return row
}
