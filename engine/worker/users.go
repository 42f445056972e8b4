package worker

import (
	"context"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
)

// Commands by user are an extension of this gateway; others of the protocol end the link. They are
// for all connections that a user has when they are carried out, whatever their protocols. The empty
// user, who is anonymous, has none.

// A UserConn is a connection of a user.
type UserConn struct {
	UniqID   string
	Session  string // empty: a guest
	Protocol string // as Identity.Protocol
	Peer     string // as Identity.Peer
}

// UserCast pushes data to all connections of users; to those of one who is listed twice, twice. Push
// does so under a route or command of the caller's choice.
func (l *Link) UserCast(ctx context.Context, users []string, data []byte) error {
	return l.Push(ctx, Push{Users: users, Payload: data})
}

// UserForceOffline closes all connections of users: at once, or 3 seconds after data was pushed to
// them. Their sessions cannot be resumed.
func (l *Link) UserForceOffline(ctx context.Context, users []string, data []byte) error {
	return l.send(ctx, netsvr.CmdUserForceOffline, &netsvrpb.UserForceOffline{Users: users, Data: data})
}

// UserSubscribe adds all connections of a user to topics and pushes data to each. Connections that he
// opens later are not in them.
func (l *Link) UserSubscribe(ctx context.Context, user string, topics []string, data []byte) error {
	return l.send(ctx, netsvr.CmdUserSubscribe, &netsvrpb.UserSubscribe{User: user, Topics: topics, Data: data})
}

// UserSubscribeLast is UserSubscribe that has those of his connections which are not subscribed yet get
// the last messages first that each topic has kept, so many of it at most.
func (l *Link) UserSubscribeLast(ctx context.Context, user string, topics []string, last int, data []byte) error {
	return l.send(ctx, netsvr.CmdUserSubscribe,
		&netsvrpb.UserSubscribe{User: user, Topics: topics, Data: data, Last: number32(last)})
}

// UserUnsubscribe removes all connections of a user from topics and pushes data to each.
func (l *Link) UserUnsubscribe(ctx context.Context, user string, topics []string, data []byte) error {
	return l.send(ctx, netsvr.CmdUserUnsubscribe, &netsvrpb.UserUnsubscribe{User: user, Topics: topics, Data: data})
}

// UserConnList returns the connections of users; those who have none are left out.
func (l *Link) UserConnList(ctx context.Context, users []string) (map[string][]UserConn, error) {
	var resp netsvrpb.UserConnListResp
	err := l.ask(ctx, netsvr.CmdUserConnList, &netsvrpb.UserConnListReq{Users: users}, &resp)
	if !answered(err) {
		return nil, err
	}
	lists := make(map[string][]UserConn, len(resp.GetItems()))
	for user, item := range resp.GetItems() {
		for _, c := range item.GetConns() {
			lists[user] = append(lists[user], UserConn{
				UniqID: c.GetUniqId(), Session: c.GetSession(), Protocol: c.GetProtocol(), Peer: c.GetPeer(),
			})
		}
	}
	return lists, err
}

// Online returns how many connections users have; those who have none are left out.
func (l *Link) Online(ctx context.Context, users []string) (map[string]int, error) {
	var resp netsvrpb.UserConnListResp
	err := l.ask(ctx, netsvr.CmdUserConnList, &netsvrpb.UserConnListReq{Users: users, CountOnly: true}, &resp)
	if !answered(err) {
		return nil, err
	}
	counts := make(map[string]int, len(resp.GetItems()))
	for user, item := range resp.GetItems() {
		counts[user] = int(item.GetCount())
	}
	return counts, err
}

// UserCast pushes data to all connections of users, wherever they are.
func (w *Worker) UserCast(ctx context.Context, users []string, data []byte) error {
	return toEach(w.whom(), func(g *Gateway) error { return g.UserCast(ctx, users, data) })
}

// UserForceOffline closes all connections of users, wherever they are: at once, or 3 seconds after
// data was pushed to them. Their sessions cannot be resumed.
func (w *Worker) UserForceOffline(ctx context.Context, users []string, data []byte) error {
	return toEach(w.whom(), func(g *Gateway) error { return g.UserForceOffline(ctx, users, data) })
}

// UserSubscribe adds all connections of a user to topics, wherever they are, and pushes data to each.
func (w *Worker) UserSubscribe(ctx context.Context, user string, topics []string, data []byte) error {
	return toEach(w.whom(), func(g *Gateway) error { return g.UserSubscribe(ctx, user, topics, data) })
}

// UserSubscribeLast is UserSubscribe that has those of his connections which are not subscribed yet get
// the last messages first that each topic has kept at their gateway, so many of it at most.
func (w *Worker) UserSubscribeLast(ctx context.Context, user string, topics []string, last int, data []byte) error {
	return toEach(w.whom(), func(g *Gateway) error { return g.UserSubscribeLast(ctx, user, topics, last, data) })
}

// UserUnsubscribe removes all connections of a user from topics, wherever they are, and pushes data
// to each.
func (w *Worker) UserUnsubscribe(ctx context.Context, user string, topics []string, data []byte) error {
	return toEach(w.whom(), func(g *Gateway) error { return g.UserUnsubscribe(ctx, user, topics, data) })
}

// UserConnList returns the connections of users on all gateways together; those who have none are
// left out.
func (w *Worker) UserConnList(ctx context.Context, users []string) (map[string][]UserConn, error) {
	lists, err := gather(w.whom(), func(g *Gateway) (map[string][]UserConn, error) {
		return g.UserConnList(ctx, users)
	})
	all := make(map[string][]UserConn)
	for _, m := range lists {
		for user, conns := range m {
			all[user] = append(all[user], conns...)
		}
	}
	return all, err
}

// Online returns how many connections users have on all gateways together; those who have none are
// left out.
func (w *Worker) Online(ctx context.Context, users []string) (map[string]int, error) {
	counts, err := gather(w.whom(), func(g *Gateway) (map[string]int, error) { return g.Online(ctx, users) })
	sum := make(map[string]int)
	for _, m := range counts {
		for user, n := range m {
			sum[user] += n
		}
	}
	return sum, err
}
