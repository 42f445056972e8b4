package link

import (
	"errors"
	"math"
	"time"
	"unsafe"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
)

// Commands that are never answered (protocol section "Command semantics"). Unknown ids are skipped,
// empty data pushes nothing, the empty topic is ignored.

// decoded is the reader's memory for messages: one per link, used again for every command.
type decoded struct {
	broadcast netsvr.Broadcast
	multicast netsvr.Multicast
	single    netsvr.SingleCast
	bulk      netsvr.SingleCastBulk
	publish   netsvr.TopicPublish
	topicBulk netsvr.TopicPublishBulk
	reply     netsvr.Reply
	push      netsvr.Push
}

// keptEntries is how many entries of a list in a command a link keeps room for. A multicast to more
// allocates for each of its commands.
const keptEntries = 16 << 10

// kept returns s to be used again, or nil if it has become too big to keep.
func kept[T any](s []T) []T {
	if cap(s) > keptEntries {
		return nil
	}
	return s
}

// trim lets go of lists that are too big to keep and returns the size of the others, in bytes.
func (d *decoded) trim() int {
	n := 0
	for _, list := range [...]*[][]byte{
		&d.multicast.UniqIDs, &d.bulk.UniqIDs, &d.bulk.Data, &d.publish.Topics,
		&d.topicBulk.Topics, &d.topicBulk.Data, &d.push.UniqIDs, &d.push.Topics, &d.push.Users,
	} {
		*list = kept(*list)
		n += cap(*list) * int(unsafe.Sizeof([]byte(nil)))
	}
	return n
}

func (l *link) command(cmd netsvr.Command, payload []byte) error {
	d := &l.decoded
	switch cmd {
	case netsvr.CmdTopicSubscribe, netsvr.CmdUserSubscribe, netsvr.CmdConnInfoUpdate:
		l.subscribing = l.hub.gateway.Engine().Config().Remote != nil
	default:
		l.awaitSettled()
	}
	switch cmd {
	case netsvr.CmdReply:
		if err := d.reply.Decode(payload); err != nil {
			return err
		}
		return l.reply(&d.reply)
	case netsvr.CmdSingleCast:
		if err := d.single.Decode(payload); err != nil {
			return err
		}
		return l.cast(d.single.UniqID, d.single.Data)
	case netsvr.CmdMulticast:
		if err := d.multicast.Decode(payload); err != nil {
			return err
		}
		if len(d.multicast.Data) > 0 {
			return l.multicast(d.multicast.UniqIDs, nil, l.hub.gateway.Push(d.multicast.Data))
		}
	case netsvr.CmdSingleCastBulk:
		if err := d.bulk.Decode(payload); err != nil {
			return err
		}
		l.checkBulk(cmd, len(d.bulk.UniqIDs), len(d.bulk.Data))
		for id, data := range netsvr.Bulk(d.bulk.UniqIDs, d.bulk.Data) {
			if err := l.cast(id, data); err != nil {
				return err
			}
		}
	case netsvr.CmdBroadcast:
		if err := d.broadcast.Decode(payload); err != nil {
			return err
		}
		if len(d.broadcast.Data) > 0 {
			return l.publisher.Broadcast(l.hub.gateway.Push(d.broadcast.Data))
		}
	case netsvr.CmdTopicPublish:
		if err := d.publish.Decode(payload); err != nil {
			return err
		}
		l.checkPublish(d.publish.Topics)
		for _, t := range d.publish.Topics {
			if err := l.publish(t, l.hub.gateway.Push(d.publish.Data)); err != nil {
				return err
			}
		}
	case netsvr.CmdTopicPublishBulk:
		if err := d.topicBulk.Decode(payload); err != nil {
			return err
		}
		l.checkBulk(cmd, len(d.topicBulk.Topics), len(d.topicBulk.Data))
		for t, data := range netsvr.Bulk(d.topicBulk.Topics, d.topicBulk.Data) {
			if err := l.publish(t, l.hub.gateway.Push(data)); err != nil {
				return err
			}
		}
	case netsvr.CmdPush:
		return l.push(payload)
	case netsvr.CmdUserForceOffline, netsvr.CmdUserSubscribe, netsvr.CmdUserUnsubscribe:
		return l.changeUsers(cmd, payload)
	default:
		return l.change(cmd, payload)
	}
	return nil
}

// checkBulk notes a bulk command that does nothing, since nobody knows which of its data is whose. One
// without data is no mistake.
func (l *link) checkBulk(cmd netsvr.Command, targets, data int) {
	if data == 0 || netsvr.BulkFits(targets, data) {
		return
	}
	l.hub.stats.badBulk.Add(1)
	l.hub.log.Warn("bulk refused", "peer", l.peer, "workerId", l.workerID, "command", cmd, "targets", targets, "data", data,
		"err", "want as many data as targets, or several for one")
}

// reply answers a client's request.
func (l *link) reply(m *netsvr.Reply) error {
	// Workers with a pool of links may answer on any of them. Whether it is a request's answer is for
	// the client's loop to say.
	l.hub.stats.replies.Add(1)
	if l.replyFar(m) {
		return nil
	}
	if len(m.Payload) == 0 && len(m.Message) > 0 && m.Status != gateway.StatusOK {
		return l.gatherAs(gateway.AppendFailure, gateway.TicketOf(m.ID), m.Status, m.Message)
	}
	return l.gather(gateway.TicketOf(m.ID), m.Status, m.Payload)
}

// cast pushes data to one client.
func (l *link) cast(id, data []byte) error {
	if len(data) == 0 {
		return nil
	}
	l.awaitRenames()
	if ref := l.hub.gateway.Lookup(id); ref != 0 {
		return l.publisher.Send(ref, l.hub.gateway.Push(data))
	}
	return nil
}

// multicast pushes p to the clients called ids, and to all of some users.
func (l *link) multicast(ids, users [][]byte, p engine.Push) error {
	l.awaitRenames()
	l.refs = l.refs[:0]
	for _, id := range ids {
		if ref := l.hub.gateway.Lookup(id); ref != 0 {
			l.refs = append(l.refs, ref)
		}
	}
	for _, user := range users {
		l.refs = l.hub.gateway.Connections(l.refs, string(user))
	}
	if len(l.refs) == 0 {
		return nil
	}
	return l.publisher.Multicast(l.refs, p)
}

// publish pushes p to a topic's subscribers.
func (l *link) publish(topic []byte, p engine.Push) error {
	if len(topic) == 0 || len(p.Payload) == 0 {
		return nil
	}
	l.awaitChanges() // subscriptions of this link come first
	l.published = l.scope
	return l.refused(topic, l.publisher.Publish(topic, p))
}

// refused is called with what has become of a message. A topic's history that cannot take it is no
// reason to end the link; nobody waits for an answer, and the engine has counted it.
func (l *link) refused(topic []byte, err error) error {
	if err == nil {
		return nil
	}
	var refused *engine.LogError
	if !errors.As(err, &refused) {
		return err
	}
	l.hub.log.Warn("publish refused", "peer", l.peer, "workerId", l.workerID,
		"topic", string(topic[:min(len(topic), 64)]), "err", refused.Err)
	return nil
}

// push is our own command: a cast and a publish that name route and command, and may name users.
func (l *link) push(payload []byte) error {
	m := &l.decoded.push
	if err := m.Decode(payload); err != nil {
		return err
	}
	p := l.hub.gateway.Push(m.Payload)
	if len(m.Route) > 0 {
		p.Route = string(m.Route)
	}
	switch {
	case m.Cmd == 0: // the gateway's own
	case gateway.CheckPushCmd(m.Cmd) != nil: // it reaches nobody
		l.hub.stats.badPush.Add(1)
		l.hub.log.Warn("push refused", "peer", l.peer, "workerId", l.workerID,
			"err", gateway.CheckPushCmd(m.Cmd))
		return nil
	default:
		p.Cmd = uint8(m.Cmd)
	}
	if err := l.multicast(m.UniqIDs, m.Users, p); err != nil {
		return err
	}
	for _, t := range m.Topics {
		if len(t) == 0 {
			continue
		}
		l.awaitChanges()
		l.published = l.scope
		if err := l.refused(t, l.publisher.Publish(t, p)); err != nil {
			return err
		}
	}
	return nil
}

// change carries out the commands that alter clients: each is done by the client's loop, behind
// what this link sent there before.
func (l *link) change(cmd netsvr.Command, payload []byte) error {
	switch cmd {
	case netsvr.CmdConnInfoUpdate:
		m := new(netsvrpb.ConnInfoUpdate)
		if err := netsvr.Unmarshal(payload, m); err != nil {
			return err
		}
		if m.NewUniqId != "" && l.hub.gateway.Lookup([]byte(m.NewUniqId)) != 0 {
			// Its holder is sent away by a way that overtakes what this link sent it before.
			l.barrier()
		}
		return l.client(m.UniqId, len(payload), m.NewUniqId != "", func(c *engine.Conn, s gateway.Session) {
			l.update(c, s, m)
		})
	case netsvr.CmdConnInfoDelete:
		m := new(netsvrpb.ConnInfoDelete)
		if err := netsvr.Unmarshal(payload, m); err != nil {
			return err
		}
		return l.client(m.UniqId, len(payload), m.DelUniqId, func(c *engine.Conn, s gateway.Session) {
			if m.DelTopic {
				l.hub.gateway.UnsubscribeAll(c)
			}
			if m.DelSession {
				_ = l.hub.gateway.SetSession(c, s.Base(), "") // which is never too long
			}
			if m.DelUniqId {
				l.hub.gateway.Renew(c, s.Base())
			}
			l.pushTo(c, m.Data)
		})
	case netsvr.CmdTopicSubscribe:
		m := new(netsvrpb.TopicSubscribe)
		if err := netsvr.Unmarshal(payload, m); err != nil || len(m.Topics) == 0 {
			return err
		}
		return l.client(m.UniqId, len(payload), false, func(c *engine.Conn, _ gateway.Session) {
			if l.subscribe(c, m.Topics, m.Last) {
				l.pushSettled(c, m.Topics, m.Data)
			}
		})
	case netsvr.CmdTopicUnsubscribe:
		m := new(netsvrpb.TopicUnsubscribe)
		if err := netsvr.Unmarshal(payload, m); err != nil || len(m.Topics) == 0 {
			return err
		}
		return l.client(m.UniqId, len(payload), false, func(c *engine.Conn, _ gateway.Session) {
			for _, t := range m.Topics {
				l.hub.gateway.Unsubscribe(c, []byte(t))
			}
			l.pushTo(c, m.Data)
		})
	case netsvr.CmdTopicDelete:
		m := new(netsvrpb.TopicDelete)
		if err := netsvr.Unmarshal(payload, m); err != nil {
			return err
		}
		l.changing = true
		for i := range l.hub.gateway.Engine().Loops() {
			err := l.publisher.DoOn(i, len(payload), func(loop *engine.Loop) { l.deleteTopics(loop, m) })
			if err != nil {
				return err
			}
		}
		return nil
	case netsvr.CmdForceOffline:
		if err := l.checkOffline(payload); err != nil {
			return err
		}
		m := new(netsvrpb.ForceOffline)
		if err := netsvr.Unmarshal(payload, m); err != nil {
			return err
		}
		return l.offline(m.UniqIds, m.Data, false)
	case netsvr.CmdForceOfflineGuest:
		m := new(netsvrpb.ForceOfflineGuest)
		if err := netsvr.Unmarshal(payload, m); err != nil {
			return err
		}
		if m.Delay <= 0 {
			return l.offline(m.UniqIds, m.Data, true)
		}
		// Looked up and judged when the time has come.
		if !l.hub.delayed.later(&l.delayed, time.Duration(m.Delay)*time.Second, m) {
			l.hub.stats.delayedFull.Add(1)
			l.hub.log.Warn("delayed message refused: too many bytes of them wait",
				"peer", l.peer, "workerId", l.workerID, "bytes", len(payload), "limit", l.hub.config.Delayed)
		}
		return nil
	}
	return ends(endUnknownCommand, "unknown command %v", cmd)
}

// client runs f, which holds so many bytes, on the loop of the client called id, if there is one.
// renames says that f may change ids, which the link's next command must find changed.
func (l *link) client(id string, bytes int, renames bool, f func(*engine.Conn, gateway.Session)) error {
	l.awaitRenames()
	ref := l.hub.gateway.Lookup([]byte(id))
	if ref == 0 {
		return nil
	}
	l.changing = true
	l.renaming = l.renaming || renames
	return l.publisher.DoOn(ref.Loop(), bytes, func(loop *engine.Loop) {
		c := loop.Conn(ref)
		if c == nil {
			return
		}
		if s, ok := c.Handler().(gateway.Session); ok && s.Base().Online() {
			f(c, s)
		}
	})
}

// pushTo pushes data to a client on its own loop.
func (l *link) pushTo(c *engine.Conn, data []byte) {
	if len(data) > 0 && c.Open() {
		c.Deliver(l.hub.gateway.Push(data))
	}
}

// subscribe adds a client to topics, which gets the last messages first that they have kept. false means that one of them was refused, which is counted and
// logged; the others hold. Then the command's data is not pushed: it would say that all is well.
func (l *link) subscribe(c *engine.Conn, topics []string, last uint32) (all bool) {
	all = true
	for _, t := range topics {
		if l.hub.gateway.TrySubscribeLast(c, []byte(t), int(min(last, math.MaxInt32))) != nil {
			all = false
		}
	}
	return all
}

// update carries out ConnInfoUpdate. Only fields that are not empty act. Where one is refused the
// others act, and data is not pushed.
func (l *link) update(c *engine.Conn, s gateway.Session, m *netsvrpb.ConnInfoUpdate) {
	g, all := l.hub.gateway, true
	if m.NewUniqId != "" {
		displaced, err := gateway.RenameTelling(g, c, s.Base(), m.NewUniqId, m.DataAsNewUniqIdExisted)
		all = err == nil
		if displaced != 0 {
			l.evict(displaced, m.DataAsNewUniqIdExisted)
		}
	}
	if m.NewSession != "" {
		if err := g.SetSession(c, s.Base(), m.NewSession); err != nil {
			all = false
			l.hub.log.Warn("session text not changed", "uniqId", g.ID(s.Base()),
				"bytes", len(m.NewSession), "limit", g.Config().MaxSessionText, "err", err)
		}
	}
	if len(m.NewTopics) > 0 {
		g.UnsubscribeAll(c)
		all = l.subscribe(c, m.NewTopics, 0) && all
	}
	if all {
		l.pushSettled(c, m.NewTopics, m.Data)
	}
}

// deleteTopics takes topics away from a loop's subscribers and tells each of them once.
func (l *link) deleteTopics(loop *engine.Loop, m *netsvrpb.TopicDelete) {
	affected := make(map[engine.Ref]bool)
	for _, t := range m.Topics {
		name := []byte(t)
		for _, ref := range loop.Subscribers(nil, name) {
			c := loop.Conn(ref)
			if c == nil {
				continue
			}
			l.hub.gateway.Unsubscribe(c, name)
			affected[ref] = true
		}
	}
	for ref := range affected {
		if c := loop.Conn(ref); c != nil {
			l.pushTo(c, m.Data)
		}
	}
}

// awaitRenames waits for the loops if a command may have changed ids.
func (l *link) awaitRenames() {
	if l.renaming {
		l.awaitChanges()
	}
}

// awaitChanges waits until the loops have made the changes that this link has asked for.
func (l *link) awaitChanges() {
	if l.changing {
		l.barrier()
	}
}

// barrier waits until the loops have done all that this link has asked for.
func (l *link) barrier() {
	renamed := l.renaming
	l.changing, l.renaming = false, false
	defer l.awaitFar()
	l.onLoops(func(*engine.Loop) {})
	if renamed {
		// A client whose id was taken is on another loop, perhaps, which hears of it a step
		// later.
		l.onLoops(func(*engine.Loop) {})
	}
}
