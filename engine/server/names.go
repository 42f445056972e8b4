package server

import (
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/internal/link"
)

// keepApart has users, uniqIds and one-time tokens be kept apart over the nodes of the cluster.
func (s *Server) keepApart() {
	gateway.Join(s.gateway, s.node.Registry(names{s}))
	s.tokens.IssueAs(s.config.Gateway.ServerID)
}

// names is what other nodes of the cluster may do with this one's connections and tokens.
type names struct{ *Server }

// Kick implements cluster.Client.
func (n names) Kick(ref engine.Ref, done func()) { gateway.Kick(n.gateway, ref, done) }

// Lose implements cluster.Client.
func (n names) Lose(ref engine.Ref, id string, data []byte, done func()) {
	closeLater := func(c *engine.Conn) { link.CloseLater(n.hub, c) }
	gateway.Lose(n.gateway, ref, id, data, closeLater, done)
}

// TakeToken implements cluster.Client.
func (n names) TakeToken(kind gateway.TokenKind, token string) (value string, ok bool) {
	switch kind {
	case gateway.LoginToken:
		return gateway.TakeLoginToken(n.gateway, token)
	case gateway.CustomIDToken:
		return n.tokens.Take(n.engine.Time(), []byte(token))
	}
	return "", false
}
