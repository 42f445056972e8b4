package server

import (
	"net/netip"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
)

// ClientInfo says who a client is, to Config.OnConnect and Config.OnDisconnect. It may be kept.
type ClientInfo struct {
	UniqID   string         // the connection's, for UniqID
	User     string         // empty: anonymous
	Session  string         // the session text that workers have set; empty: none
	Protocol string         // gosoc, longbridge, netsvr or a Protocol's Name
	Peer     netip.AddrPort // where it connected from
}

// hooks calls the program's functions as clients come and go; either may be nil.
type hooks struct {
	gateway      *gateway.Gateway
	onConnect    func(ClientInfo)
	onDisconnect func(ClientInfo, engine.Reason)
}

var _ gateway.Events = hooks{}

func (h hooks) Opened(c *engine.Conn, s gateway.Session) bool {
	if h.onConnect != nil {
		who := describe(c, s, h.gateway.ID(s.Base()))
		c.Loop().Isolate(func() { h.onConnect(who) })
	}
	return true
}

func (h hooks) Closed(c *engine.Conn, s gateway.Session, id []byte, why engine.Reason) {
	if h.onDisconnect != nil {
		who := describe(c, s, string(id))
		c.Loop().Isolate(func() { h.onDisconnect(who, why) })
	}
}

func describe(c *engine.Conn, s gateway.Session, id string) ClientInfo {
	cl := s.Base()
	return ClientInfo{
		UniqID: id, User: cl.User(), Session: cl.Session(), Protocol: s.Protocol(), Peer: c.Peer(),
	}
}
