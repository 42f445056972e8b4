package link

import (
	"net/netip"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/session"
)

// idRoom is memory for a client's uniqId and, behind it, its address.
type idRoom [session.MaxIDLen + 64]byte

// identity says who a client is, for a link that wants to know; for any other it is zero. The
// address is written behind id, which lies in a room.
func (l *link) identity(c *engine.Conn, s gateway.Session, id []byte) (m netsvr.Identity) {
	if !l.wantsIdentity {
		return m
	}
	cl := s.Base()
	m.User, m.Protocol, m.Peer = []byte(cl.User()), []byte(s.Protocol()), appendPeer(id, c)
	m.Metadata, m.Claims = cl.About()
	return m
}

// peerOf returns a client's address; one of IPv4 as such, whatever the listener's.
func peerOf(c *engine.Conn) netip.AddrPort {
	p := c.Peer()
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}

// appendPeer writes a client's address behind id and returns it alone.
func appendPeer(id []byte, c *engine.Conn) []byte {
	return peerOf(c).AppendTo(id)[len(id):]
}

// identify fills in the identity of an answer to ConnInfo, on the client's loop.
func identify(item *netsvrpb.ConnInfoResp_Item, c *engine.Conn, s gateway.Session) {
	cl := s.Base()
	item.User, item.Protocol, item.Peer = cl.User(), s.Protocol(), peerOf(c).String()
	metadata, claims := cl.About()
	item.Metadata, item.Claims = mapOf(metadata), mapOf(claims)
}

func mapOf(pairs []netsvr.Metadata) map[string]string {
	m := make(map[string]string, len(pairs))
	for _, p := range pairs {
		m[string(p.Key)] = string(p.Value)
	}
	return m
}
