package link

import (
	"unsafe"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/session"
)

// idRoom is memory for a client's uniqId.
type idRoom [session.MaxIDLen]byte

// bytesOf returns the bytes of a text, which are the text's own and must not be changed: a message is
// encoded from them and keeps nothing.
func bytesOf(text string) []byte { return unsafe.Slice(unsafe.StringData(text), len(text)) }

// identity says who a client is, for a link that wants to know; for any other it is zero. It is valid
// until the next call on the loop.
func (l *link) identity(c *engine.Conn, s gateway.Session) (m netsvr.Identity) {
	if !l.wantsIdentity {
		return m
	}
	cl := s.Base()
	m.User, m.Protocol, m.Peer = bytesOf(cl.User()), bytesOf(s.Protocol()), l.hub.gateway.Scratch(c.Loop()).Peer(c)
	m.Metadata, m.Claims = cl.About()
	return m
}

// identify fills in the identity of an answer to ConnInfo, on the client's loop.
func (h *Hub) identify(item *netsvrpb.ConnInfoResp_Item, c *engine.Conn, s gateway.Session) {
	cl := s.Base()
	item.User, item.Protocol, item.Peer = cl.User(), s.Protocol(), string(h.gateway.Scratch(c.Loop()).Peer(c))
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
