package link

import (
	"sync"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
)

// Commands by user, our own. They are for all connections that a user has when they are carried
// out. A user is found wherever he is from the moment his login is accepted.

// connections returns those of some users, in memory that the next command uses again. A user who is
// named twice has his twice, as in Multicast.
func (l *link) connections(users ...string) []engine.Ref {
	l.refs = l.refs[:0]
	for _, user := range users {
		l.refs = l.hub.gateway.Connections(l.refs, user)
	}
	return l.refs
}

// changeUsers carries out the commands that alter the connections of users.
func (l *link) changeUsers(cmd netsvr.Command, payload []byte) error {
	g := l.hub.gateway
	switch cmd {
	case netsvr.CmdUserForceOffline:
		m := new(netsvrpb.UserForceOffline)
		if err := netsvr.Unmarshal(payload, m); err != nil {
			return err
		}
		return l.offlineRefs(l.connections(m.Users...), m.Data, false)
	case netsvr.CmdUserSubscribe:
		m := new(netsvrpb.UserSubscribe)
		if err := netsvr.Unmarshal(payload, m); err != nil || len(m.Topics) == 0 {
			return err
		}
		return l.eachOf(m.User, len(payload), func(c *engine.Conn) {
			if l.subscribe(c, m.Topics, m.Last) {
				l.pushSettled(c, m.Topics, m.Data)
			}
		})
	default:
		m := new(netsvrpb.UserUnsubscribe)
		if err := netsvr.Unmarshal(payload, m); err != nil || len(m.Topics) == 0 {
			return err
		}
		return l.eachOf(m.User, len(payload), func(c *engine.Conn) {
			for _, t := range m.Topics {
				g.Unsubscribe(c, []byte(t))
			}
			l.pushTo(c, m.Data)
		})
	}
}

// eachOf runs f, which holds so many bytes, for each connection of a user on its loop.
func (l *link) eachOf(user string, bytes int, f func(*engine.Conn)) error {
	l.changing = true
	for _, ref := range l.connections(user) {
		err := l.publisher.DoOn(ref.Loop(), bytes, func(loop *engine.Loop) {
			c := loop.Conn(ref)
			if c == nil {
				return
			}
			if s, ok := c.Handler().(gateway.Session); ok && s.Base().Online() {
				f(c)
			}
		})
		if err != nil {
			return err
		}
		bytes = 0 // they share it
	}
	return nil
}

// userConns answers UserConnList. Users without connections are left out.
func (l *link) userConns(cmd netsvr.Command, server int32, payload []byte) error {
	req := new(netsvrpb.UserConnListReq)
	if err := netsvr.Unmarshal(payload, req); err != nil {
		return err
	}
	g := l.hub.gateway
	resp := &netsvrpb.UserConnListResp{ServerId: server, Items: make(map[string]*netsvrpb.UserConnListResp_Item)}
	if req.CountOnly {
		for _, user := range req.Users {
			if n := g.Online(user); n > 0 {
				resp.Items[user] = &netsvrpb.UserConnListResp_Item{Count: int32(n)}
			}
		}
		return l.respond(cmd, resp)
	}
	whose := make(map[engine.Ref]string)
	for _, user := range req.Users {
		for _, ref := range l.connections(user) {
			whose[ref] = user
		}
	}
	if len(whose) == 0 {
		return l.respond(cmd, resp)
	}
	byLoop := make([][]engine.Ref, g.Engine().Loops())
	for ref := range whose {
		byLoop[ref.Loop()] = append(byLoop[ref.Loop()], ref)
	}
	var mu sync.Mutex
	l.onLoops(func(loop *engine.Loop) {
		for _, ref := range byLoop[loop.Index()] {
			c := loop.Conn(ref)
			if c == nil {
				continue
			}
			s, ok := c.Handler().(gateway.Session)
			if !ok || !s.Base().Online() || s.Base().User() != whose[ref] {
				continue
			}
			conn := &netsvrpb.UserConnListResp_Conn{
				UniqId: g.ID(s.Base()), Session: s.Base().Session(), Protocol: s.Protocol(), Peer: string(g.Scratch(loop).Peer(c)),
			}
			mu.Lock()
			item := resp.Items[whose[ref]]
			if item == nil {
				item = new(netsvrpb.UserConnListResp_Item)
				resp.Items[whose[ref]] = item
			}
			item.Count++
			item.Conns = append(item.Conns, conn)
			mu.Unlock()
		}
	})
	mu.Lock()
	defer mu.Unlock()
	return l.respond(cmd, resp)
}
